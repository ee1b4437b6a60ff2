// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_MULTIPROCESSORS_H_
#define ZQFP_KERNELS_CUDA_MULTIPROCESSORS_H_

#include <stdint.h>

namespace zqfp::kernels::cuda {

// Of the device; those of an H100 where that cannot be asked.
int64_t NumMultiprocessors();

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_MULTIPROCESSORS_H_
