// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/multiprocessors.h"

#include <cuda_runtime.h>

namespace zqfp::kernels::cuda {

int64_t NumMultiprocessors() {
  static const int64_t count = [] {
    cudaDeviceProp properties = {};
    const bool known = cudaGetDeviceProperties(&properties, 0) == cudaSuccess;
    return known ? int64_t{properties.multiProcessorCount} : 132;
  }();
  return count;
}

}  // namespace zqfp::kernels::cuda
