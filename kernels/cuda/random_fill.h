// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_RANDOM_FILL_H_
#define ZQFP_KERNELS_CUDA_RANDOM_FILL_H_

// Random data, made where they are needed.

#include "kernels/core/ops.h"
#include "kernels/core/random_values.h"

namespace zqfp::kernels::cuda {

// Enqueues elements [0, count) of that kind and seed.
void RandomFill(RandomKind kind, uint64_t seed, float unit, int64_t count,
                void* memory, const Exec& exec);

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_RANDOM_FILL_H_
