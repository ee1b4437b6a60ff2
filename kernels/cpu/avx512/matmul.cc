// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/parallel.h"
#include "kernels/cpu/avx512/avx512.h"
#include "kernels/cpu/avx512/lanes.h"

namespace zqfp::kernels::avx512 {
namespace {

constexpr int kRows = 4;
constexpr int kTileTokens = 5;
// Tokens whose x stays in a second-level cache while all rows pass.
constexpr int64_t kBlockTokens = 40;

// Four rows from n on times kTokens tokens from t on. A row beyond `end`
// repeats the last one and is not stored.
template <ValueFormat kFormat, int kTokens>
void Tile(const MatmulArgs& args, int64_t n, int64_t end, int64_t t) {
  const WeightView& w = args.weight;
  const int64_t k = w.k;
  const float* x = args.x + t * k;
  int64_t row[kRows];
  __m512 sum[kRows][kTokens];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    row[r] = (n + r < end ? n + r : end - 1) * k;
#pragma GCC unroll 5
    for (int i = 0; i < kTokens; ++i) sum[r][i] = _mm512_setzero_ps();
  }
  for (int64_t j = 0; j < k; j += kLanes) {
    const __mmask16 mask = Mask(k - j);
    __m512 weights[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      weights[r] = Load<kFormat>(w.data, row[r] + j, mask);
    }
#pragma GCC unroll 5
    for (int i = 0; i < kTokens; ++i) {
      const __m512 v = _mm512_maskz_loadu_ps(mask, x + i * k + j);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        sum[r][i] = _mm512_fmadd_ps(weights[r], v, sum[r][i]);
      }
    }
  }
  const __mmask8 mask = static_cast<__mmask8>(Mask(end - n) & 0xf);
#pragma GCC unroll 5
  for (int i = 0; i < kTokens; ++i) {
    const int64_t at = (t + i) * w.n + n;
    __m128 y = SumLanes(sum[0][i], sum[1][i], sum[2][i], sum[3][i]);
    if (args.bias != nullptr) {
      y = _mm_add_ps(y, _mm_maskz_loadu_ps(mask, args.bias + n));
    }
    if (args.residual != nullptr) {
      y = _mm_add_ps(y, _mm_maskz_loadu_ps(mask, args.residual + at));
    }
    _mm_mask_storeu_ps(args.y + at, mask, y);
  }
}

using TileFunction = void (*)(const MatmulArgs&, int64_t, int64_t, int64_t);

template <ValueFormat kFormat>
void Run(const MatmulArgs& args, const Exec& exec) {
  static constexpr TileFunction kTiles[kTileTokens] = {
      Tile<kFormat, 1>, Tile<kFormat, 2>, Tile<kFormat, 3>, Tile<kFormat, 4>,
      Tile<kFormat, 5>};
  ParallelFor(exec, args.weight.n, kRows, [&](int64_t begin, int64_t end, int) {
    for (int64_t block = 0; block < args.m; block += kBlockTokens) {
      const int64_t last =
          args.m < block + kBlockTokens ? args.m : block + kBlockTokens;
      for (int64_t n = begin; n < end; n += kRows) {
        for (int64_t t = block; t < last; t += kTileTokens) {
          const int64_t tokens =
              last - t < kTileTokens ? last - t : kTileTokens;
          kTiles[tokens - 1](args, n, end, t);
        }
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

}  // namespace zqfp::kernels::avx512
