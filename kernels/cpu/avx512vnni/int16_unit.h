// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AVX512VNNI_INT16_UNIT_H_
#define ZQFP_KERNELS_CPU_AVX512VNNI_INT16_UNIT_H_

// Exact e2m1 x e4m3 on 16-bit integers.
//
// Twice an e2m1 value is an integer of at most 12. An e4m3 value is an integer
// of 18 bits in units of 2^-9: 8 high + low, where high has 15 bits and low,
// the last three, is nothing but for values below 1/8, of which a token has
// few (the largest is 448). So one dot of high parts does nearly all of the
// work, and low parts are added where there are any: for a block of 128 in
// gemv.h, for a run of 8 in gemm.h. Sums of a group are exact integers,
// 256 * 12 * 448 * 2^6 < 2^31.

#include <immintrin.h>

#include "kernels/core/ops.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/avx512/gemm.h"
#include "kernels/cpu/avx512/packed_rows.h"

namespace zqfp::kernels::avx512vnni {
namespace {

using avx512::kBlock;
using avx512::kVectors;
using avx512::LowBits64;

constexpr int64_t kRun =
    8;  // elements that one bit of Tokens::low_runs tells of
constexpr int64_t kChunk = 2 * avx512::kChunkSteps;  // of gemm.h, elements

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
  static constexpr float kFactor = 1.0f / 128;  // 2^-1 of weights, 2^-6 of high
  static constexpr bool kFoldsShift = false;
  static constexpr bool kKnowsE2m1 = true;
  static constexpr bool kKnowsE4m3 = false;
  // More than these share weights decoded by gemm.h: faster from 7 on with
  // n = k = 2048, Emerald Rapids (November 2026).
  static constexpr int64_t kMaxFew = 6;

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

  struct Tokens {
    const int16_t* high;       // in the order of gemv.h or of gemm.h
    const int16_t* low;        // likewise; in gemm.h only runs of low_runs
    const uint16_t* low_runs;  // [tokens][blocks] bit r: low parts in run r
    const float* scale;        // [tokens] NaN where a code is
    int64_t count;
    int64_t blocks;
    int64_t first;  // of the matmul's tokens

    const int32_t* steps(int64_t chunk, int64_t token) const {
      return reinterpret_cast<const int32_t*>(high) +
             (chunk * count + token) * avx512::kChunkSteps;
    }
    const int32_t* low_steps(int64_t chunk, int64_t token) const {
      return steps(chunk, token) + (low - high) / kStep;
    }
  };

  // Elements of a token, in whole chunks.
  static int64_t Padded(int64_t k) {
    return avx512::CeilDiv(k, kChunk) * kChunk;
  }
  static int64_t TokenBytes(int64_t k) {
    return 2 * Padded(k) * 2 + Padded(k) / kBlock * 2 + 4;
  }

  // One block of a token in the order of packed_rows.h; the bits of its runs.
  static uint16_t BlockOrder(const uint8_t* q, int64_t left, int16_t* high,
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
    return _mm512_test_epi32_mask(any, any);
  }

  // One block of a token in the order of gemm.h's steps: elements i and i + 4
  // of each eight are a pair.
  static uint16_t StepOrder(const uint8_t* q, int64_t left, int16_t* high,
                            int16_t* low, __mmask64& nan) {
    uint16_t runs = 0;
    for (int part = 0; part < 4; ++part) {
      const __m256i codes = _mm256_maskz_loadu_epi8(
          static_cast<__mmask32>(LowBits64(left - 32 * part)), q + 32 * part);
      const __m512i wide = _mm512_cvtepu8_epi16(codes);
      nan |= Nans(wide);
      const __m512i pairs =
          _mm512_unpacklo_epi16(wide, _mm512_bsrli_epi128(wide, 8));
      const HighLow x = Split(pairs);
      _mm512_storeu_si512(high + 32 * part, x.high);
      const unsigned lanes = _mm512_test_epi64_mask(x.low, x.low);
      if (lanes == 0) continue;
      _mm512_storeu_si512(low + 32 * part, x.low);
      const unsigned even = lanes | lanes >> 1;  // bits 0, 2, 4, 6
      const unsigned bits =
          (even & 1) | (even >> 1 & 2) | (even >> 2 & 4) | (even >> 3 & 8);
      runs = static_cast<uint16_t>(runs | bits << (4 * part));
    }
    return runs;
  }

  static __mmask64 Nans(__m512i codes) {
    const __m512i nan = _mm512_set1_epi8(0x7f);
    return _mm512_cmpeq_epi8_mask(_mm512_and_si512(codes, nan), nan);
  }

  static Tokens Prepare(const MatmulA8Args& args, int64_t first, int64_t count,
                        bool few, const Exec& exec, uint8_t* workspace) {
    const int64_t k = args.weight.k;
    const int64_t padded = Padded(k);
    const int64_t blocks = padded / kBlock;
    int16_t* high = reinterpret_cast<int16_t*>(workspace);
    int16_t* low = high + count * padded;
    float* scale = reinterpret_cast<float*>(low + count * padded);
    uint16_t* low_runs = reinterpret_cast<uint16_t*>(scale + count);
    ParallelFor(exec, count, 8, [&](int64_t begin, int64_t end, int) {
      for (int64_t t = begin; t < end; ++t) {
        const uint8_t* q = args.x.data + (first + t) * k;
        uint16_t* runs = low_runs + t * blocks;
        __mmask64 nan = 0;
        for (int64_t b = 0; b < blocks; ++b) {
          const int64_t begins = b * kBlock;
          if (few) {
            const int64_t at = t * padded + begins;
            runs[b] =
                BlockOrder(q + begins, k - begins, high + at, low + at, nan);
          } else {
            const int64_t at =
                (begins / kChunk * count + t) * kChunk + begins % kChunk;
            runs[b] =
                StepOrder(q + begins, k - begins, high + at, low + at, nan);
          }
        }
        scale[t] = nan ? __builtin_nanf("") : args.x.scale[first + t];
      }
    });
    // The few are met with a weight together.
    for (int64_t t = 1; few && t < count; ++t) {
      for (int64_t b = 0; b < blocks; ++b) {
        low_runs[b] =
            static_cast<uint16_t>(low_runs[b] | low_runs[t * blocks + b]);
      }
    }
    return {.high = high,
            .low = low,
            .low_runs = low_runs,
            .scale = scale,
            .count = count,
            .blocks = blocks,
            .first = first};
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
    if (x.low_runs[block] == 0) return;
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

  // Low parts of one token, run by run.
  template <int kStrips, typename Job>
  static inline void AddRest(const Job& job, int64_t group_steps,
                             int64_t token) {
    constexpr int64_t kSteps = kRun / kStep;
    const uint16_t* runs =
        job.x.low_runs + token * job.x.blocks + job.k / kBlock;
    uint32_t left = runs[0] | uint32_t{runs[1]} << 16;
    if (left == 0) return;
    const int32_t* x = job.x.low_steps(job.k / kChunk, token);
    float* totals = job.totals + token * kStrips * avx512::kStripRows;
    const int64_t log2_group_steps =
        __builtin_ctzll(static_cast<unsigned long long>(group_steps));
    __m512 total[kStrips];
#pragma GCC unroll 4
    for (int s = 0; s < kStrips; ++s) {
      total[s] = _mm512_load_ps(totals + s * avx512::kStripRows);
    }
    for (; left != 0; left &= left - 1) {
      const int64_t step = __builtin_ctz(left) * kSteps;
      const int64_t group = job.groups > 1 ? step >> log2_group_steps : 0;
      const int32_t* weights =
          job.slab.weights + step * kStrips * avx512::kStripRows;
      Sum sum[kStrips];
#pragma GCC unroll 4
      for (int s = 0; s < kStrips; ++s) sum[s] = Zero();
#pragma GCC unroll 4
      for (int64_t i = 0; i < kSteps; ++i) {
        const __m512i low = _mm512_set1_epi32(x[step + i]);
#pragma GCC unroll 4
        for (int s = 0; s < kStrips; ++s) {
          sum[s] = Dot(sum[s],
                       _mm512_load_si512(weights + (i * kStrips + s) *
                                                       avx512::kStripRows),
                       low);
        }
      }
      const float* scales =
          job.slab.scales + group * kStrips * avx512::kStripRows;
#pragma GCC unroll 4
      for (int s = 0; s < kStrips; ++s) {
        const __m512 eighth =
            _mm512_mul_ps(_mm512_load_ps(scales + s * avx512::kStripRows),
                          _mm512_set1_ps(0.125f));
        total[s] = _mm512_fmadd_ps(ToF32(sum[s]), eighth, total[s]);
      }
    }
#pragma GCC unroll 4
    for (int s = 0; s < kStrips; ++s) {
      _mm512_store_ps(totals + s * avx512::kStripRows, total[s]);
    }
  }
};

}  // namespace
}  // namespace zqfp::kernels::avx512vnni

#endif  // ZQFP_KERNELS_CPU_AVX512VNNI_INT16_UNIT_H_
