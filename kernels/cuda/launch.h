// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_LAUNCH_H_
#define ZQFP_KERNELS_CUDA_LAUNCH_H_

// Launch: the one way a kernel of this folder starts.
//
// Kernels overlap (programmatic dependent launch): the blocks of one are on the
// chip while the last of the one before still run, so that a short kernel does
// not wait for a launch. Therefore a kernel begins with AwaitInputs, or with
// what reads nothing but weights and then AwaitInputs.
//
// The sources here are compiled twice: by nvcc for the chip, and by the host's
// compiler against tests/cuda_emulator, which runs every CUDA thread as a
// fiber. What the emulator lacks is therefore not used: <<<>>>, cooperative
// groups, cuda_fp16.h (ptx.h and decode.h have the conversions), inline PTX
// outside ptx.h.

#include <cuda_runtime.h>
#include <stdint.h>

#include <algorithm>

#include "kernels/core/ops.h"
#include "kernels/cuda/ptx.h"
#include "kernels/cuda/switches.h"

namespace zqfp::kernels::cuda {

// From here on what earlier kernels wrote is there, and may be written over.
// Every thread of every kernel calls it: who does not lets the kernel after
// this one start before the one before it is done. The emulator dies of a
// thread that ends without it; tests/cuda_sass_check.py finds loads in front of
// it.
__device__ __forceinline__ void AwaitInputs() {
  GridDependencyLaunch();
  GridDependencyWait();
}

struct LaunchShape {
  dim3 grid;
  dim3 block;
  int64_t shared_bytes = 0;  // dynamic
  // Of any launch of the kernel, where that depends on the arguments: a limit
  // that went down again might not suit what was recorded before.
  int64_t most_shared_bytes = 0;
};

// The dynamic shared memory of a block, 1024-byte aligned.
#if defined(__CUDACC__)
__device__ inline uint8_t* DynamicShared() {
  extern __shared__ __align__(1024) uint8_t zqfp_dynamic_shared[];
  return zqfp_dynamic_shared;
}
#else
using emulator::DynamicShared;
#endif

// Beyond this, dynamic shared memory of a kernel has to be asked for.
inline constexpr int64_t kSharedWithoutOptIn = 48 * 1024;

// Starts kernel(args...) on the stream of `exec`. An empty grid is no launch.
// Errors surface in Device::Synchronize.
template <typename... Params, typename... Args>
void Launch(const Exec& exec, const LaunchShape& shape,
            void (*kernel)(Params...), const Args&... args) {
  if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return;
  const auto* function = reinterpret_cast<const void*>(kernel);
  const int64_t most_shared =
      std::max(shape.shared_bytes, shape.most_shared_bytes);
  if (most_shared > kSharedWithoutOptIn) {
    (void)cudaFuncSetAttribute(function,
                               cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(most_shared));
  }
  if (LaunchesOverlap()) {
    // Kernels share a multiprocessor only where they divide its memory into
    // shared memory and cache alike.
    (void)cudaFuncSetAttribute(function,
                               cudaFuncAttributePreferredSharedMemoryCarveout,
                               cudaSharedmemCarveoutMaxShared);
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = static_cast<size_t>(shape.shared_bytes);
  config.stream = static_cast<cudaStream_t>(exec.stream);
  cudaLaunchAttribute overlaps = {};
  overlaps.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlaps.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &overlaps;
  config.numAttrs = LaunchesOverlap() ? 1 : 0;
  (void)cudaLaunchKernelEx(&config, kernel, static_cast<Params>(args)...);
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_LAUNCH_H_
