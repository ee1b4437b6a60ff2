// SPDX-License-Identifier: Apache-2.0
#include <math.h>

#include "kernels/core/parallel.h"
#include "kernels/cpu/avx2/avx2.h"
#include "kernels/cpu/avx2/lanes.h"

namespace zqfp::kernels::avx2 {

void RmsNorm(const RmsNormArgs& args, const Exec& exec) noexcept {
  const int64_t dim = args.dim;
  // Short rows (the q and k norms) fork only where there are many.
  const int64_t grain = 1 + 4096 / dim;
  ParallelFor(exec, args.num_rows, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      const float* x = args.x + r * dim;
      float* y = args.y + r * dim;
      __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
      for (int64_t i = 0; i < dim; i += 2 * kLanes) {
        const __m256 a = LoadF32(x + i, dim - i);
        sum[0] = _mm256_fmadd_ps(a, a, sum[0]);
        if (i + kLanes >= dim) break;
        const __m256 b = LoadF32(x + i + kLanes, dim - i - kLanes);
        sum[1] = _mm256_fmadd_ps(b, b, sum[1]);
      }
      const float mean =
          SumLanes(_mm256_add_ps(sum[0], sum[1])) / static_cast<float>(dim);
      const __m256 inverse = _mm256_set1_ps(1.0f / sqrtf(mean + args.epsilon));
      for (int64_t i = 0; i < dim; i += kLanes) {
        const __m256 v = LoadF32(x + i, dim - i);
        const __m256 w = LoadF32(args.weight + i, dim - i);
        __m256 out = _mm256_mul_ps(_mm256_mul_ps(v, inverse), w);
        if (args.residual != nullptr) {
          out =
              _mm256_add_ps(out, LoadF32(args.residual + r * dim + i, dim - i));
        }
        StoreF32(y + i, dim - i, out);
      }
    }
  });
}

}  // namespace zqfp::kernels::avx2
