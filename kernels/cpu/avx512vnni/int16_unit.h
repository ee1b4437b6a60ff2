// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AVX512VNNI_INT16_UNIT_H_
#define ZQFP_KERNELS_CPU_AVX512VNNI_INT16_UNIT_H_

// Exact e2m1 x e4m3 on dots of 16-bit integers (int16_tokens.h). In gemv.h,
// whose tokens lie in the order of its loads, low parts are added for a block
// of 128 where any token has some.

#include <immintrin.h>

#include "kernels/core/ops.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/avx512/gemm.h"
#include "kernels/cpu/avx512/packed_rows.h"
#include "kernels/cpu/int16_tokens.h"

namespace zqfp::kernels::avx512vnni {
namespace {

using avx512::kBlock;
using avx512::kVectors;
using avx512::LowBits64;

// 32 e4m3 codes, one in the low byte of each 16-bit lane (the high byte is
// ignored), as 8 high + low.
struct HighLow {
  __m512i high, low;
};
inline HighLow Split(__m512i lanes) {
  const __m512i magnitude = _mm512_and_si512(lanes, _mm512_set1_epi16(0x7f));
  const __mmask32 normal =
      _mm512_test_epi16_mask(lanes, _mm512_set1_epi16(0x78));
  const __mmask32 negative =
      _mm512_test_epi16_mask(lanes, _mm512_set1_epi16(0x80));
  const __m512i significand =
      _mm512_or_si512(_mm512_and_si512(lanes, _mm512_set1_epi16(7)),
                      _mm512_maskz_set1_epi16(normal, 8));
  // significand * 2^(exponent - 1), exponent >= 1
  const __m512i exponent =
      _mm512_max_epi16(_mm512_srli_epi16(magnitude, 3), _mm512_set1_epi16(1));
  const __m512i high =
      _mm512_srlv_epi16(_mm512_slli_epi16(significand, 11),
                        _mm512_sub_epi16(_mm512_set1_epi16(15), exponent));
  const __m512i low = _mm512_and_si512(
      _mm512_sllv_epi16(significand,
                        _mm512_sub_epi16(exponent, _mm512_set1_epi16(1))),
      _mm512_set1_epi16(7));
  const __m512i zero = _mm512_setzero_si512();
  return {_mm512_mask_sub_epi16(high, negative, zero, high),
          _mm512_mask_sub_epi16(low, negative, zero, low)};
}

struct Int16Unit {
  using Sum = __m512i;
  static constexpr int64_t kStep = 2;
  static constexpr float kFactor = kInt16Factor;
  static constexpr bool kFoldsShift = false;
  static constexpr bool kKnowsE2m1 = true;
  static constexpr bool kKnowsE4m3 = false;
  // More than these share weights decoded by gemm.h: faster from 6 on with
  // n = k = 2048, Emerald Rapids (November 2026).
  static constexpr int64_t kMaxFew = 5;

  static Sum Zero() { return _mm512_setzero_si512(); }
  static Sum Dot(Sum sum, __m512i w, __m512i x) {
    return _mm512_dpwssd_epi32(sum, w, x);
  }
  static __m512 ToF32(Sum sum) { return _mm512_cvtepi32_ps(sum); }

  // 16 doubled e2m1 values, twice: vpermw reads 5 bits of a lane, and the fifth
  // belongs to the next code.
  static __m512i E2m1Table() {
    alignas(64) static constexpr int16_t kTable[32] = {
        0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12,
        0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
    return _mm512_load_si512(kTable);
  }

  struct Tokens : Int16Tokens {
    // gemv.h: `high` and `low` [tokens][blocks][kBlock]; which blocks have low
    // parts, of all tokens.
    const int16_t* low = nullptr;
    const uint8_t* low_blocks = nullptr;
    int64_t blocks = 0;
  };

  static int64_t TokenBytes(int64_t k) { return Int16TokenBytes(k); }

  // One block of a token in the order of gemv.h; whether it has low parts.
  static bool BlockOrder(const uint8_t* q, int64_t left, int16_t* high,
                         int16_t* low, __mmask64& nan) {
    const __m512i a = _mm512_maskz_loadu_epi8(LowBits64(left), q);
    const __m512i b = _mm512_maskz_loadu_epi8(LowBits64(left - 64), q + 64);
    nan |= Nans(a) | Nans(b);
    __m512i any = _mm512_setzero_si512();
    for (int i = 0; i < kVectors; ++i) {
      const unsigned bits = static_cast<unsigned>(8 * i);
      const __m256i first = _mm512_cvtepi32_epi16(_mm512_srli_epi32(a, bits));
      const __m256i second = _mm512_cvtepi32_epi16(_mm512_srli_epi32(b, bits));
      const HighLow x =
          Split(_mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1));
      _mm512_storeu_si512(high + 32 * i, x.high);
      _mm512_storeu_si512(low + 32 * i, x.low);
      any = _mm512_or_si512(any, x.low);
    }
    return _mm512_test_epi32_mask(any, any) != 0;
  }

  // A chunk of a token for PrepareInt16Tokens.
  static int64_t StepOrder(const uint8_t* q, int64_t left, int16_t* high,
                           uint32_t at, LowPair* low, bool* nan) {
    const __m512i lane =
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __mmask64 nans = 0;
    int64_t count = 0;
    for (int64_t part = 0; part < kChunkElements; part += 32) {
      const __m256i codes = _mm256_maskz_loadu_epi8(
          static_cast<__mmask32>(LowBits64(left - part)), q + part);
      const __m512i wide = _mm512_cvtepu8_epi16(codes);
      nans |= Nans(wide);
      const __m512i pairs =
          _mm512_unpacklo_epi16(wide, _mm512_bsrli_epi128(wide, 8));
      const HighLow x = Split(pairs);
      _mm512_storeu_si512(high + part, x.high);
      const __mmask16 bits = _mm512_test_epi32_mask(x.low, x.low);
      if (bits == 0) continue;
      alignas(64) int32_t pair[16], place[16];
      const __m512i first = _mm512_set1_epi32(static_cast<int32_t>(at) +
                                              static_cast<int32_t>(part / 2));
      _mm512_store_si512(pair, _mm512_maskz_compress_epi32(bits, x.low));
      _mm512_store_si512(place, _mm512_maskz_compress_epi32(
                                    bits, _mm512_add_epi32(lane, first)));
      const int num_bits = __builtin_popcount(bits);
      for (int i = 0; i < num_bits; ++i) {
        low[count++] = {static_cast<uint32_t>(place[i]), pair[i]};
      }
    }
    *nan = nans != 0;
    return count;
  }

  static __mmask64 Nans(__m512i codes) {
    const __m512i nan = _mm512_set1_epi8(0x7f);
    return _mm512_cmpeq_epi8_mask(_mm512_and_si512(codes, nan), nan);
  }

  static Tokens Prepare(const MatmulA8Args& args, int64_t first, int64_t count,
                        bool few, const Exec& exec, uint8_t* workspace) {
    if (few) return PrepareFew(args, first, count, workspace);
    return {PrepareInt16Tokens(args, first, count, exec, workspace, StepOrder)};
  }

  static Tokens PrepareFew(const MatmulA8Args& args, int64_t first,
                           int64_t count, uint8_t* workspace) {
    const int64_t k = args.weight.k;
    const int64_t blocks = avx512::CeilDiv(k, kBlock);
    int16_t* high = reinterpret_cast<int16_t*>(workspace);
    int16_t* low = high + count * blocks * kBlock;
    float* scale = reinterpret_cast<float*>(low + count * blocks * kBlock);
    uint8_t* low_blocks = reinterpret_cast<uint8_t*>(scale + count);
    for (int64_t b = 0; b < blocks; ++b) low_blocks[b] = 0;
    for (int64_t t = 0; t < count; ++t) {
      __mmask64 nan = 0;
      for (int64_t b = 0; b < blocks; ++b) {
        const uint8_t* q = args.x.data + (first + t) * k + b * kBlock;
        const int64_t at = (t * blocks + b) * kBlock;
        low_blocks[b] |= static_cast<uint8_t>(
            BlockOrder(q, k - b * kBlock, high + at, low + at, nan));
      }
      scale[t] = nan != 0 ? __builtin_nanf("") : args.x.scale[first + t];
    }
    Tokens x = {{.high = high, .scale = scale, .count = count, .first = first}};
    x.low = low;
    x.low_blocks = low_blocks;
    x.blocks = blocks;
    return x;
  }

  // sum[t] += scale * (block of weights) . (block of token t).
  template <int kTokens>
  static inline void AddBlock(const __m512i (&w)[kVectors], const Tokens& x,
                              int64_t block, __m512 scale,
                              __m512 (&sum)[kTokens]) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const int16_t* at = x.high + (t * x.blocks + block) * kBlock;
      const __m512 dot = ToF32(DotBlock(w, at));
      sum[t] = _mm512_fmadd_ps(dot, scale, sum[t]);
    }
    if (x.low_blocks[block] == 0) return;
    const __m512 eighth = _mm512_mul_ps(scale, _mm512_set1_ps(0.125f));
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const int16_t* at = x.low + (t * x.blocks + block) * kBlock;
      const __m512 dot = ToF32(DotBlock(w, at));
      sum[t] = _mm512_fmadd_ps(dot, eighth, sum[t]);
    }
  }

  static inline Sum DotBlock(const __m512i (&w)[kVectors], const int16_t* x) {
    Sum sum = Zero();
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      sum = Dot(sum, w[i], _mm512_loadu_si512(x + 32 * i));
    }
    return sum;
  }

  struct Decoder {
    __m512i table = E2m1Table();
    __m512i E2m1(__m512i codes, int i) const {
      return _mm512_permutexvar_epi16(
          _mm512_srli_epi16(codes, static_cast<unsigned>(4 * i)), table);
    }
  };

  // The low parts of all tokens in the chunk.
  template <int kStrips, typename Job>
  static inline void AddRest(const Job& job, int64_t group_steps) {
    constexpr int64_t kRows = kStrips * avx512::kStripRows;
    alignas(64) float scales[avx512::kChunkGroups * kRows];
    for (int64_t i = 0; i < job.groups * kRows; i += avx512::kLanes) {
      _mm512_store_ps(scales + i,
                      _mm512_mul_ps(_mm512_load_ps(job.slab.scales + i),
                                    _mm512_set1_ps(0.125f)));
    }
    const int log2_group = __builtin_ctzll(static_cast<unsigned long long>(
        job.groups > 1 ? group_steps : kChunkElements));
    job.x.ForEachLowPair(
        job.k / kChunkElements, [&](int64_t token, int64_t step, int32_t pair) {
          const int32_t* weights = job.slab.weights + step * kRows;
          const float* scale = scales + (step >> log2_group) * kRows;
          float* total = job.totals + token * kRows;
#pragma GCC unroll 4
          for (int s = 0; s < kStrips; ++s) {
            const int64_t strip = s * avx512::kStripRows;
            const Sum sum = Dot(Zero(), _mm512_load_si512(weights + strip),
                                _mm512_set1_epi32(pair));
            _mm512_store_ps(
                total + strip,
                _mm512_fmadd_ps(ToF32(sum), _mm512_load_ps(scale + strip),
                                _mm512_load_ps(total + strip)));
          }
        });
  }
};

}  // namespace
}  // namespace zqfp::kernels::avx512vnni

#endif  // ZQFP_KERNELS_CPU_AVX512VNNI_INT16_UNIT_H_
