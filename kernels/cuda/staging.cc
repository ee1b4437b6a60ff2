// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/staging.h"

#include <string.h>

#include <algorithm>

namespace zqfp::kernels::cuda {

cudaError_t Staging::Create() {
  for (Buffer& buffer : buffers_) {
    void* memory = nullptr;
    cudaError_t error =
        cudaHostAlloc(&memory, kBufferBytes, cudaHostAllocDefault);
    if (error == cudaSuccess) {
      error = cudaEventCreateWithFlags(&buffer.is_free, cudaEventDisableTiming);
    }
    if (error != cudaSuccess) return error;
    buffer.memory = static_cast<uint8_t*>(memory);
  }
  return cudaSuccess;
}

cudaError_t Staging::Upload(const void* host, int64_t num_bytes, void* memory,
                            cudaStream_t stream) {
  const auto* from = static_cast<const uint8_t*>(host);
  auto* to = static_cast<uint8_t*>(memory);
  while (num_bytes > 0) {
    if (used_bytes_ == kBufferBytes) {
      cudaError_t error = cudaEventRecord(buffers_[current_].is_free, stream);
      current_ = 1 - current_;
      used_bytes_ = 0;
      if (error == cudaSuccess) {
        error = cudaEventSynchronize(buffers_[current_].is_free);
      }
      if (error != cudaSuccess) return error;
    }
    const int64_t piece = std::min(num_bytes, kBufferBytes - used_bytes_);
    uint8_t* staged = buffers_[current_].memory + used_bytes_;
    memcpy(staged, from, static_cast<size_t>(piece));
    const cudaError_t error = cudaMemcpyAsync(
        to, staged, static_cast<size_t>(piece), cudaMemcpyHostToDevice, stream);
    if (error != cudaSuccess) return error;
    used_bytes_ += piece;
    from += piece;
    to += piece;
    num_bytes -= piece;
  }
  return cudaSuccess;
}

}  // namespace zqfp::kernels::cuda
