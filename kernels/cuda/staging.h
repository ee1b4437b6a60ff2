// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_STAGING_H_
#define ZQFP_KERNELS_CUDA_STAGING_H_

// Staging: the way of pageable memory to the device. Two pinned buffers in
// turn: one is filled while the other one is on its way, so that a large upload
// goes as fast as the slower of the two; a small one does not wait at all.

#include <cuda_runtime.h>
#include <stdint.h>

namespace zqfp::kernels::cuda {

class Staging {
 public:
  static constexpr int64_t kBufferBytes = int64_t{16} << 20;

  cudaError_t Create();
  // Enqueues on `stream`; has read `host` when it returns.
  cudaError_t Upload(const void* host, int64_t num_bytes, void* memory,
                     cudaStream_t stream);

 private:
  struct Buffer {
    uint8_t* memory = nullptr;      // pinned
    cudaEvent_t is_free = nullptr;  // after the last copy out of it
  };

  Buffer buffers_[2];
  int current_ = 0;
  int64_t used_bytes_ = 0;  // of the current buffer
};

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_STAGING_H_
