// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/parallel.h"
#include "kernels/cpu/avx2/avx2.h"
#include "kernels/cpu/avx2/lanes.h"

namespace zqfp::kernels::avx2 {

void Rope(const RopeArgs& args, const Exec& exec) noexcept {
  const int64_t half = args.rotary_dim / 2;
  ParallelFor(exec, args.num_tokens, 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t h = 0; h < args.num_heads; ++h) {
        float* low = args.x + (t * args.num_heads + h) * args.head_dim;
        float* high = low + half;
        for (int64_t i = 0; i < half; i += kLanes) {
          const int64_t count = half - i;
          const __m256 cos = LoadF32(args.cos + t * half + i, count);
          const __m256 sin = LoadF32(args.sin + t * half + i, count);
          const __m256 a = LoadF32(low + i, count);
          const __m256 b = LoadF32(high + i, count);
          StoreF32(low + i, count,
                   _mm256_fmsub_ps(a, cos, _mm256_mul_ps(b, sin)));
          StoreF32(high + i, count,
                   _mm256_fmadd_ps(b, cos, _mm256_mul_ps(a, sin)));
        }
      }
    }
  });
}

}  // namespace zqfp::kernels::avx2
