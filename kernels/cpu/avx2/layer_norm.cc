// SPDX-License-Identifier: Apache-2.0
#include <math.h>

#include "kernels/core/parallel.h"
#include "kernels/cpu/avx2/avx2.h"
#include "kernels/cpu/avx2/lanes.h"

namespace zqfp::kernels::avx2 {
namespace {

// Sum of (x - shift) ^ kPower over a row.
template <int kPower>
inline float SumRow(const float* x, int64_t dim, float shift) {
  __m256 sum = _mm256_setzero_ps();
  for (int64_t i = 0; i < dim; i += kLanes) {
    __m256 v = _mm256_sub_ps(LoadF32(x + i, dim - i), _mm256_set1_ps(shift));
    v = _mm256_and_ps(v, _mm256_castsi256_ps(Mask(dim - i)));
    sum = kPower == 1 ? _mm256_add_ps(sum, v) : _mm256_fmadd_ps(v, v, sum);
  }
  return SumLanes(sum);
}

inline void NormalizeRow(const LayerNormArgs& args, const float* x, float* y) {
  const int64_t dim = args.dim;
  const float mean = SumRow<1>(x, dim, 0.0f) / static_cast<float>(dim);
  const float variance = SumRow<2>(x, dim, mean) / static_cast<float>(dim);
  const __m256 inverse = _mm256_set1_ps(1.0f / sqrtf(variance + args.epsilon));
  for (int64_t i = 0; i < dim; i += kLanes) {
    const __m256 v =
        _mm256_sub_ps(LoadF32(x + i, dim - i), _mm256_set1_ps(mean));
    const __m256 w = LoadF32(args.weight + i, dim - i);
    const __m256 b = LoadF32(args.bias + i, dim - i);
    StoreF32(y + i, dim - i, _mm256_fmadd_ps(_mm256_mul_ps(v, inverse), w, b));
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

}  // namespace zqfp::kernels::avx2
