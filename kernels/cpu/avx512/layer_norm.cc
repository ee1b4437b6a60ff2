// SPDX-License-Identifier: Apache-2.0
#include <math.h>

#include "kernels/core/parallel.h"
#include "kernels/cpu/avx512/avx512.h"
#include "kernels/cpu/avx512/lanes.h"

namespace zqfp::kernels::avx512 {
namespace {

// Sum of (x - shift) ^ kPower over a row.
template <int kPower>
inline float SumRow(const float* x, int64_t dim, float shift) {
  __m512 sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < dim; i += kLanes) {
    const __mmask16 mask = Mask(dim - i);
    const __m512 v = _mm512_maskz_sub_ps(
        mask, _mm512_maskz_loadu_ps(mask, x + i), _mm512_set1_ps(shift));
    sum = kPower == 1 ? _mm512_add_ps(sum, v) : _mm512_fmadd_ps(v, v, sum);
  }
  return _mm512_reduce_add_ps(sum);
}

inline void NormalizeRow(const LayerNormArgs& args, const float* x, float* y) {
  const int64_t dim = args.dim;
  const float mean = SumRow<1>(x, dim, 0.0f) / static_cast<float>(dim);
  const float variance = SumRow<2>(x, dim, mean) / static_cast<float>(dim);
  const __m512 inverse = _mm512_set1_ps(1.0f / sqrtf(variance + args.epsilon));
  for (int64_t i = 0; i < dim; i += kLanes) {
    const __mmask16 mask = Mask(dim - i);
    const __m512 v =
        _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, x + i), _mm512_set1_ps(mean));
    const __m512 w = _mm512_maskz_loadu_ps(mask, args.weight + i);
    const __m512 b = _mm512_maskz_loadu_ps(mask, args.bias + i);
    _mm512_mask_storeu_ps(y + i, mask,
                          _mm512_fmadd_ps(_mm512_mul_ps(v, inverse), w, b));
  }
}

}  // namespace

void LayerNorm(const LayerNormArgs& args, const Exec& exec) noexcept {
  ParallelFor(exec, args.num_rows, 1 + 4096 / args.dim,
              [&](int64_t begin, int64_t end, int) {
                for (int64_t r = begin; r < end; ++r) {
                  NormalizeRow(args, args.x + r * args.dim,
                               args.y + r * args.dim);
                }
              });
}

}  // namespace zqfp::kernels::avx512
