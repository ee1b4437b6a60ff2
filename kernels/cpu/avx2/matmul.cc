// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/parallel.h"
#include "kernels/cpu/avx2/avx2.h"
#include "kernels/cpu/avx2/lanes.h"

namespace zqfp::kernels::avx2 {
namespace {

constexpr int kRows = 2;
constexpr int kTileTokens = 4;
// Tokens whose x stays in a second-level cache while all rows pass.
constexpr int64_t kBlockTokens = 32;

// Two rows from n on times kTokens tokens from t on. A row beyond `end`
// repeats the last one and is not stored.
template <ValueFormat kFormat, int kTokens>
void Tile(const MatmulArgs& args, int64_t n, int64_t end, int64_t t) {
  const WeightView& w = args.weight;
  const int64_t k = w.k;
  const float* x = args.x + t * k;
  int64_t row[kRows];
  __m256 sum[kRows][kTokens];
  for (int r = 0; r < kRows; ++r) {
    row[r] = (n + r < end ? n + r : end - 1) * k;
    for (int i = 0; i < kTokens; ++i) sum[r][i] = _mm256_setzero_ps();
  }
  for (int64_t j = 0; j < k; j += kLanes) {
    __m256 weights[kRows];
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
      weights[r] = Load<kFormat>(w.data, row[r] + j, k - j);
    }
#pragma GCC unroll 4
    for (int i = 0; i < kTokens; ++i) {
      const __m256 v = LoadF32(x + i * k + j, k - j);
#pragma GCC unroll 2
      for (int r = 0; r < kRows; ++r) {
        sum[r][i] = _mm256_fmadd_ps(weights[r], v, sum[r][i]);
      }
    }
  }
  for (int i = 0; i < kTokens; ++i) {
    for (int r = 0; r < kRows && n + r < end; ++r) {
      const int64_t at = (t + i) * w.n + n + r;
      float y = SumLanes(sum[r][i]);
      if (args.bias != nullptr) y += args.bias[n + r];
      if (args.residual != nullptr) y += args.residual[at];
      args.y[at] = y;
    }
  }
}

template <ValueFormat kFormat>
void Run(const MatmulArgs& args, const Exec& exec) {
  ParallelFor(exec, args.weight.n, kRows, [&](int64_t begin, int64_t end, int) {
    for (int64_t block = 0; block < args.m; block += kBlockTokens) {
      const int64_t last =
          args.m < block + kBlockTokens ? args.m : block + kBlockTokens;
      for (int64_t n = begin; n < end; n += kRows) {
        int64_t t = block;
        for (; t + kTileTokens <= last; t += kTileTokens) {
          Tile<kFormat, kTileTokens>(args, n, end, t);
        }
        for (; t < last; ++t) Tile<kFormat, 1>(args, n, end, t);
      }
    }
  });
}

}  // namespace

void Matmul(const MatmulArgs& args, const Exec& exec) noexcept {
  switch (args.weight.format) {
    case WeightFormat::kBf16:
      return Run<ValueFormat::kBf16>(args, exec);
    case WeightFormat::kF16:
      return Run<ValueFormat::kF16>(args, exec);
    case WeightFormat::kF32:
      return Run<ValueFormat::kF32>(args, exec);
    default:
      return QuantizedMatmul(args, exec);
  }
}

}  // namespace zqfp::kernels::avx2
