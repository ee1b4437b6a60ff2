// SPDX-License-Identifier: Apache-2.0
#include <arm_neon.h>

#include "kernels/cpu/neon/neon.h"
#include "kernels/cpu/neon/weight_matmul.h"

namespace zqfp::kernels::neon {

void MatmulA8(const MatmulA8Args& args, const Exec& exec) noexcept {
  WeightMatmul({.m = args.m,
                .codes = args.x.data,
                .token_scale = args.x.scale,
                .weight = args.weight,
                .bias = args.bias,
                .residual = args.residual,
                .y = args.y},
               exec);
}

int64_t Multiply(int64_t rounds) noexcept {
  constexpr int kSums = 16;
  float32x4_t sum[kSums];
  // Of these the compiler knows nothing.
  float32x4_t w = vdupq_n_f32(1.5f);
  const float32x4_t x = vdupq_n_f32(0.1f);
#pragma GCC unroll 16
  for (int j = 0; j < kSums; ++j) {
    __asm__ volatile("" : "+w"(w));
    sum[j] = vmulq_f32(w, x);
  }
  for (int64_t i = 0; i < rounds; ++i) {
    __asm__ volatile("" : "+w"(w));
#pragma GCC unroll 16
    for (int j = 0; j < kSums; ++j) sum[j] = vfmaq_f32(sum[j], w, x);
  }
#pragma GCC unroll 16
  for (int j = 0; j < kSums; ++j) __asm__ volatile("" : : "w"(sum[j]));
  return rounds * kSums * 4 * 2;
}

}  // namespace zqfp::kernels::neon
