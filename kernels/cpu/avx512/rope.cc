// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/parallel.h"
#include "kernels/cpu/avx512/avx512.h"
#include "kernels/cpu/avx512/lanes.h"

namespace zqfp::kernels::avx512 {

void Rope(const RopeArgs& args, const Exec& exec) noexcept {
  const int64_t half = args.rotary_dim / 2;
  ParallelFor(exec, args.num_tokens, 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t h = 0; h < args.num_heads; ++h) {
        float* low = args.x + (t * args.num_heads + h) * args.head_dim;
        float* high = low + half;
        for (int64_t i = 0; i < half; i += kLanes) {
          const __mmask16 mask = Mask(half - i);
          const __m512 cos =
              _mm512_maskz_loadu_ps(mask, args.cos + t * half + i);
          const __m512 sin =
              _mm512_maskz_loadu_ps(mask, args.sin + t * half + i);
          const __m512 a = _mm512_maskz_loadu_ps(mask, low + i);
          const __m512 b = _mm512_maskz_loadu_ps(mask, high + i);
          _mm512_mask_storeu_ps(low + i, mask,
                                _mm512_fmsub_ps(a, cos, _mm512_mul_ps(b, sin)));
          _mm512_mask_storeu_ps(high + i, mask,
                                _mm512_fmadd_ps(b, cos, _mm512_mul_ps(a, sin)));
        }
      }
    }
  });
}

}  // namespace zqfp::kernels::avx512
