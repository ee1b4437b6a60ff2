// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AVX512_GEMV_H_
#define ZQFP_KERNELS_CPU_AVX512_GEMV_H_

// MatmulA8 for 1 to 8 tokens, at the speed of memory: each weight is read once
// in its on-disk order, decoded in registers and met with every token.
//
// Unit is what multiplies (blocked_matmul.h).

#include <immintrin.h>

#include "kernels/core/ops.h"
#include "kernels/cpu/avx512/packed_rows.h"

namespace zqfp::kernels::avx512 {
namespace {

// How far ahead of the loads weights are asked for, at least. 8-16 KB measured
// best on a Zen 5 server part (November 2026); 1-2 KB halves the speed.
constexpr int64_t kPrefetchBytes = 12 << 10;

// Bytes from the weights that `rows` rows are read of, side by side, to those
// to ask for: the same place some steps of all of the rows later. Any other
// distance falls between the rows that are just being read, where it is too
// late (Emerald Rapids, rows of 5.5 KB: 11.1 instead of 15.2 GB/s, November
// 2026).
inline int64_t PrefetchDistance(int64_t row_bytes, int64_t rows) {
  const int64_t step = rows * row_bytes;
  return CeilDiv(kPrefetchBytes, step) * step;
}

// To the second level, which has more requests under way (2 to 7 % there).
inline void Prefetch(const uint8_t* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1);
}

// The scales of up to 16 groups of one row, from group `first` on.
inline __m512 GroupScales(const WeightView& w, int64_t n, int64_t first,
                          int64_t num_groups) {
  const __mmask16 mask = Mask(num_groups - first);
  const int64_t at = n * num_groups + first;
  if (w.format == WeightFormat::kE2m1Free) {
    return _mm512_maskz_loadu_ps(mask, w.group_scale + at);
  }
  return PowerOfTwo(
      _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, w.shift + at)));
}

template <typename Unit>
struct Gemv {
  using Tokens = typename Unit::Tokens;

  // sum[r][t] += lanes of (row n + r) . (token t), group scales applied. Rows
  // beyond the last one repeat it; the caller drops them.
  template <int kRows, int kTokens>
  static void E2m1Rows(const WeightView& w, int64_t n, const Tokens& x,
                       __m512 (&sum)[kRows][kTokens]) {
    const int64_t row_bytes = RowBytes(w);
    const int64_t num_groups = NumGroups(w.k, w.group_size);
    const int64_t num_blocks = CeilDiv(w.k, kBlock);
    const int64_t blocks_per_16_groups = w.group_size * 16 / kBlock;
    const __m128i log2_group = _mm_cvtsi32_si128(
        __builtin_ctzll(static_cast<unsigned long long>(w.group_size)));
    const __m512i first_of_lane = _mm512_setr_epi32(
        0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120);
    const __m512i table = Unit::E2m1Table();
    const int64_t ahead = PrefetchDistance(row_bytes, kRows);
    const uint8_t* row[kRows];
    int64_t row_index[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      row_index[r] = n + r < w.n ? n + r : w.n - 1;
      row[r] = static_cast<const uint8_t*>(w.data) + row_index[r] * row_bytes;
    }
    for (int64_t first = 0; first < num_groups; first += 16) {
      __m512 scales[kRows];
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        scales[r] = GroupScales(w, row_index[r], first, num_groups);
      }
      const int64_t begin = first * w.group_size / kBlock;
      int64_t end = begin + blocks_per_16_groups;
      if (end > num_blocks) end = num_blocks;
      for (int64_t block = begin; block < end; ++block) {
        const __m512i element = _mm512_add_epi32(
            first_of_lane,
            _mm512_set1_epi32(static_cast<int>((block - begin) * kBlock)));
        const __m512i group = _mm512_srl_epi32(element, log2_group);
        // All blocks but the last one are whole.
        const bool whole = row_bytes - block * 64 >= 64;
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) {
          const uint8_t* p = row[r] + block * 64;
          Prefetch(p + ahead);
          const __m512i v = whole ? _mm512_loadu_si512(p)
                                  : _mm512_maskz_loadu_epi8(
                                        LowBits64(row_bytes - block * 64), p);
          const __m512i weights[kVectors] = {
              _mm512_permutexvar_epi16(v, table),
              _mm512_permutexvar_epi16(_mm512_srli_epi16(v, 4), table),
              _mm512_permutexvar_epi16(_mm512_srli_epi16(v, 8), table),
              _mm512_permutexvar_epi16(_mm512_srli_epi16(v, 12), table)};
          const __m512 scale = _mm512_permutexvar_ps(group, scales[r]);
          Unit::template AddBlock<kTokens>(weights, x, block, scale, sum[r]);
        }
      }
    }
  }

  // Scales, bias and residual of up to four rows of one token.
  static void StoreRows(const MatmulA8Args& args, const Tokens& x,
                        int64_t token, int64_t n, __mmask8 mask, __m128 sums) {
    const int64_t at = (x.first + token) * args.weight.n + n;
    sums = _mm_mul_ps(sums, _mm_set1_ps(Unit::kFactor));
    if (args.weight.format != WeightFormat::kE2m1Free) {
      sums =
          _mm_mul_ps(sums, _mm_maskz_loadu_ps(mask, args.weight.row_scale + n));
    }
    sums = _mm_mul_ps(sums, _mm_set1_ps(x.scale[token]));
    if (args.bias != nullptr) {
      sums = _mm_add_ps(sums, _mm_maskz_loadu_ps(mask, args.bias + n));
    }
    if (args.residual != nullptr) {
      sums = _mm_add_ps(sums, _mm_maskz_loadu_ps(mask, args.residual + at));
    }
    _mm_mask_storeu_ps(args.y + at, mask, sums);
  }

  // Rows [begin, end) for kTokens tokens.
  template <int kTokens>
  static void Rows(const MatmulA8Args& args, const Tokens& x, int64_t begin,
                   int64_t end) {
    // kRows * kTokens accumulators, four weight vectors and the tables fit in
    // 32 registers.
    constexpr int kRows = kTokens <= 4 ? 4 : 2;
    for (int64_t n = begin; n < end; n += kRows) {
      __m512 sum[kRows][kTokens];
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) sum[r][t] = _mm512_setzero_ps();
      }
      if (args.weight.format == WeightFormat::kE4m3) {
        if constexpr (Unit::kKnowsE4m3) {
          Unit::template E4m3Rows<kRows, kTokens>(args.weight, n, x, sum);
        }
      } else if constexpr (Unit::kKnowsE2m1) {
        E2m1Rows<kRows, kTokens>(args.weight, n, x, sum);
      }
      const int64_t left = end - n < kRows ? end - n : kRows;
      const __mmask8 mask = static_cast<__mmask8>((1 << left) - 1);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        const __m128 sums = SumLanes(sum[0][t], sum[1][t], sum[kRows - 2][t],
                                     sum[kRows - 1][t]);
        StoreRows(args, x, t, n, mask, sums);
      }
    }
  }

  // Up to Unit::kMaxFew tokens, 8 at most.
  static void Run(const MatmulA8Args& args, const Tokens& x, int64_t num_tokens,
                  int64_t begin, int64_t end) {
    using Body = void (*)(const MatmulA8Args&, const Tokens&, int64_t, int64_t);
    static constexpr Body kBodies[8] = {Rows<1>, Rows<2>, Rows<3>, Rows<4>,
                                        Rows<5>, Rows<6>, Rows<7>, Rows<8>};
    kBodies[num_tokens - 1](args, x, begin, end);
  }
};

}  // namespace
}  // namespace zqfp::kernels::avx512

#endif  // ZQFP_KERNELS_CPU_AVX512_GEMV_H_
