// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_NEON_WEIGHT_MATMUL_H_
#define ZQFP_KERNELS_CPU_NEON_WEIGHT_MATMUL_H_

// Matmul and MatmulA8 are one here: tokens and weights of every format become
// f32, and f32 fused multiply-adds sum the products.

#include <stdint.h>

#include "kernels/core/ops.h"

namespace zqfp::kernels::neon {

// MatmulArgs or MatmulA8Args.
struct WeightMatmulArgs {
  int64_t m = 0;
  const float* x = nullptr;            // [m, k], or null:
  const uint8_t* codes = nullptr;      // [m, k]
  const float* token_scale = nullptr;  // [m]
  WeightView weight;
  const float* bias = nullptr;
  const float* residual = nullptr;
  float* y = nullptr;
};

void WeightMatmul(const WeightMatmulArgs& args, const Exec& exec) noexcept;

}  // namespace zqfp::kernels::neon

#endif  // ZQFP_KERNELS_CPU_NEON_WEIGHT_MATMUL_H_
