// SPDX-License-Identifier: Apache-2.0
#include <math.h>

#include "kernels/core/parallel.h"
#include "kernels/cpu/avx512/avx512.h"
#include "kernels/cpu/avx512/lanes.h"

namespace zqfp::kernels::avx512 {

void RmsNorm(const RmsNormArgs& args, const Exec& exec) noexcept {
  const int64_t dim = args.dim;
  // Short rows (the q and k norms) fork only where there are many.
  const int64_t grain = 1 + 4096 / dim;
  ParallelFor(exec, args.num_rows, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      const float* x = args.x + r * dim;
      float* y = args.y + r * dim;
      __m512 sum[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
      for (int64_t i = 0; i < dim; i += 2 * kLanes) {
        const __m512 a = _mm512_maskz_loadu_ps(Mask(dim - i), x + i);
        const __m512 b =
            _mm512_maskz_loadu_ps(Mask(dim - i - kLanes), x + i + kLanes);
        sum[0] = _mm512_fmadd_ps(a, a, sum[0]);
        sum[1] = _mm512_fmadd_ps(b, b, sum[1]);
      }
      const float mean = _mm512_reduce_add_ps(_mm512_add_ps(sum[0], sum[1])) /
                         static_cast<float>(dim);
      const __m512 inverse = _mm512_set1_ps(1.0f / sqrtf(mean + args.epsilon));
      for (int64_t i = 0; i < dim; i += kLanes) {
        const __mmask16 mask = Mask(dim - i);
        const __m512 v = _mm512_maskz_loadu_ps(mask, x + i);
        const __m512 w = _mm512_maskz_loadu_ps(mask, args.weight + i);
        __m512 out = _mm512_mul_ps(_mm512_mul_ps(v, inverse), w);
        if (args.residual != nullptr) {
          out = _mm512_add_ps(
              out, _mm512_maskz_loadu_ps(mask, args.residual + r * dim + i));
        }
        _mm512_mask_storeu_ps(y + i, mask, out);
      }
    }
  });
}

}  // namespace zqfp::kernels::avx512
