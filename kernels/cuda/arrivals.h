// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_ARRIVALS_H_
#define ZQFP_KERNELS_CUDA_ARRIVALS_H_

// IsLastToArrive: which of the blocks that share a result finishes it.
//
// Each leaves its part in the workspace and calls it; the last one to do so
// sees the parts of all. Its counter is a variable of the device, zero when the
// program is loaded: the workspace holds anything. The last block sets it back
// to zero, so that the next launch finds it so, also that of a recorded graph.
// Launches follow one another on the one stream of the process, and kernels
// that overlap use their counters behind AwaitInputs only, which is when the
// launches before are done.

#include <cuda_runtime.h>

#include "kernels/cuda/ptx.h"

namespace zqfp::kernels::cuda {

// True in all threads of the last of `num_blocks` blocks. All threads of a
// block together.
__device__ inline bool IsLastToArrive(unsigned* counter, int num_blocks) {
  __shared__ bool is_last;
  __syncthreads();
  if (threadIdx.x == 0) {
    const unsigned before = AddAcquireRelease(counter, 1);
    is_last = before + 1 == static_cast<unsigned>(num_blocks);
    if (is_last) *counter = 0;
  }
  __syncthreads();
  return is_last;
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_ARRIVALS_H_
