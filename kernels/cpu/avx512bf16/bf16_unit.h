// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AVX512BF16_BF16_UNIT_H_
#define ZQFP_KERNELS_CPU_AVX512BF16_BF16_UNIT_H_

// Exact products of e2m1 and e4m3 on BF16 dots: both are subsets of BF16, and
// so is a product's every factor; a dot adds two products in f32.
//
// Tokens lie in the order of the codes that a 64-byte load of weights gives:
//   gemv.h  block b, vector i, lane j = element 128 b + 4 j + i  (e2m1 weights)
//           ... = element 128 b + 64 (i / 2) + 2 j + i % 2       (e4m3 weights)
//   gemm.h  the pairs (i, i + 4) of each eight                   (e2m1 weights)
//           the pairs (i, i + 2) of each four                    (e4m3 weights)

#include <immintrin.h>

#include "kernels/core/ops.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/avx512/gemm.h"
#include "kernels/cpu/avx512/gemv.h"
#include "kernels/cpu/avx512/packed_rows.h"
#include "kernels/cpu/int16_tokens.h"

namespace zqfp::kernels::avx512bf16 {
namespace {

using avx512::kBlock;
using avx512::kVectors;
using avx512::LowBits64;

inline __m512bh AsBf16(__m512i v) { return (__m512bh)v; }

// BF16 of the subnormals m * 2^-9, m = 0..7 (normal numbers in BF16); vpermw
// also sees two bits of the exponent, which are zero here.
inline __m512i E4m3SubnormalTable() {
  alignas(64) static constexpr uint16_t kTable[32] = {
      0x0000, 0x3b00, 0x3b80, 0x3bc0, 0x3c00, 0x3c20, 0x3c40, 0x3c60};
  return _mm512_load_si512(kTable);
}

// 32 e4m3 codes, one in the low byte of each 16-bit lane (the high byte is
// ignored), to BF16. The NaN code stays one.
inline __m512i DecodeE4m3(__m512i lanes, __m512i subnormals) {
  const __m512i magnitude = _mm512_and_si512(lanes, _mm512_set1_epi16(0x7f));
  const __m512i sign = _mm512_and_si512(_mm512_slli_epi16(lanes, 8),
                                        _mm512_set1_epi16((int16_t)0x8000));
  // Four bits of exponent move up next to BF16's; the bias grows by 120.
  __m512i value = _mm512_add_epi16(_mm512_slli_epi16(magnitude, 4),
                                   _mm512_set1_epi16(120 << 7));
  const __mmask32 small =
      _mm512_cmplt_epu16_mask(magnitude, _mm512_set1_epi16(8));
  value = _mm512_mask_permutexvar_epi16(value, small, magnitude, subnormals);
  const __mmask32 nan =
      _mm512_cmpeq_epu16_mask(magnitude, _mm512_set1_epi16(0x7f));
  value = _mm512_mask_mov_epi16(value, nan, _mm512_set1_epi16(0x7fc0));
  return _mm512_or_si512(value, sign);
}

struct Bf16Unit {
  using Sum = __m512;
  static constexpr int64_t kStep = 2;
  static constexpr float kFactor = 1;
  static constexpr bool kFoldsShift = true;
  static constexpr bool kKnowsE2m1 = true;
  static constexpr bool kKnowsE4m3 = true;
  // More than these share weights decoded by gemm.h.
  static constexpr int64_t kMaxFew = 8;

  static Sum Zero() { return _mm512_setzero_ps(); }
  static Sum Dot(Sum sum, __m512i w, __m512i x) {
    return _mm512_dpbf16_ps(sum, AsBf16(w), AsBf16(x));
  }
  static __m512 ToF32(Sum sum) { return sum; }

  static __m512i E2m1Table() { return avx512::Bf16OfE2m1(); }

  struct Tokens {
    const uint16_t* x;
    const float* scale;  // [tokens]
    int64_t count;
    int64_t stride;  // elements, gemv.h
    int64_t first;   // of the matmul's tokens

    const int32_t* steps(int64_t chunk, int64_t token) const {
      return reinterpret_cast<const int32_t*>(x) +
             (chunk * count + token) * kChunkSteps;
    }
  };

  static int64_t Padded(int64_t k) {
    return avx512::CeilDiv(k, kChunkElements) * kChunkElements;
  }
  // A cache line more than whole chunks: gemv.h's tokens keep out of each
  // other's cache sets.
  static int64_t Stride(int64_t k) { return Padded(k) + 32; }
  static int64_t TokenBytes(int64_t k) { return Stride(k) * 2; }

  // One block in the order of gemv.h.
  static void BlockOrder(const uint8_t* q, int64_t left, bool e4m3,
                         uint16_t* x) {
    const __m512i subnormals = E4m3SubnormalTable();
    const __m512i a = _mm512_maskz_loadu_epi8(LowBits64(left), q);
    const __m512i b = _mm512_maskz_loadu_epi8(LowBits64(left - 64), q + 64);
    for (unsigned i = 0; i < kVectors; ++i) {
      __m512i lanes;
      if (e4m3) {
        lanes = _mm512_srli_epi16(i < 2 ? a : b, 8 * (i % 2));
      } else {
        lanes = _mm512_inserti64x4(
            _mm512_castsi256_si512(
                _mm512_cvtepi32_epi16(_mm512_srli_epi32(a, 8 * i))),
            _mm512_cvtepi32_epi16(_mm512_srli_epi32(b, 8 * i)), 1);
      }
      _mm512_storeu_si512(x + 32 * i, DecodeE4m3(lanes, subnormals));
    }
  }

  // One block in the order of gemm.h's steps.
  static void StepOrder(const uint8_t* q, int64_t left, bool e4m3,
                        uint16_t* x) {
    const __m512i subnormals = E4m3SubnormalTable();
    for (int part = 0; part < 4; ++part) {
      const __m256i codes = _mm256_maskz_loadu_epi8(
          static_cast<__mmask32>(LowBits64(left - 32 * part)), q + 32 * part);
      __m512i lanes = _mm512_cvtepu8_epi16(codes);
      lanes = e4m3
                  ? _mm512_shufflehi_epi16(_mm512_shufflelo_epi16(lanes, 0xd8),
                                           0xd8)
                  : _mm512_unpacklo_epi16(lanes, _mm512_bsrli_epi128(lanes, 8));
      _mm512_storeu_si512(x + 32 * part, DecodeE4m3(lanes, subnormals));
    }
  }

  static Tokens Prepare(const MatmulA8Args& args, int64_t first, int64_t count,
                        bool few, const Exec& exec, uint8_t* workspace) {
    const int64_t k = args.weight.k;
    const bool e4m3 = args.weight.format == WeightFormat::kE4m3;
    const int64_t stride = Stride(k);
    uint16_t* x = reinterpret_cast<uint16_t*>(workspace);
    ParallelFor(exec, count, 8, [&](int64_t begin, int64_t end, int) {
      for (int64_t t = begin; t < end; ++t) {
        const uint8_t* q = args.x.data + (first + t) * k;
        for (int64_t at = 0; at < Padded(k); at += kBlock) {
          if (few) {
            BlockOrder(q + at, k - at, e4m3, x + t * stride + at);
          } else {
            StepOrder(q + at, k - at, e4m3,
                      x + (at / kChunkElements * count + t) * kChunkElements +
                          at % kChunkElements);
          }
        }
      }
    });
    return {.x = x,
            .scale = args.x.scale + first,
            .count = count,
            .stride = stride,
            .first = first};
  }

  // sum[t] += scale * (block of weights) . (block of token t).
  template <int kTokens>
  static inline void AddBlock(const __m512i (&w)[kVectors], const Tokens& x,
                              int64_t block, __m512 scale,
                              __m512 (&sum)[kTokens]) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const uint16_t* at = x.x + t * x.stride + block * kBlock;
      __m512 dot = Zero();
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) {
        dot = Dot(dot, w[i], _mm512_loadu_si512(at + 32 * i));
      }
      sum[t] = _mm512_fmadd_ps(dot, scale, sum[t]);
    }
  }

  // sum[r][t] += lanes of (row n + r) . (token t); the row scale is the
  // caller's business.
  template <int kRows, int kTokens>
  static inline void E4m3Rows(const WeightView& w, int64_t n, const Tokens& x,
                              __m512 (&sum)[kRows][kTokens]) {
    const __m512i subnormals = E4m3SubnormalTable();
    const int64_t ahead = avx512::PrefetchDistance(w.k, kRows);
    const uint8_t* row[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const int64_t index = n + r < w.n ? n + r : w.n - 1;
      row[r] = static_cast<const uint8_t*>(w.data) + index * w.k;
    }
    for (int64_t k = 0; k < w.k; k += 64) {
      const __mmask64 mask = LowBits64(w.k - k);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        avx512::Prefetch(row[r] + k + ahead);
        const __m512i v = _mm512_maskz_loadu_epi8(mask, row[r] + k);
        const __m512i even = DecodeE4m3(v, subnormals);
        const __m512i odd = DecodeE4m3(_mm512_srli_epi16(v, 8), subnormals);
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) {
          const uint16_t* at = x.x + t * x.stride + k;
          sum[r][t] = Dot(sum[r][t], even, _mm512_loadu_si512(at));
          sum[r][t] = Dot(sum[r][t], odd, _mm512_loadu_si512(at + 32));
        }
      }
    }
  }

  struct Decoder {
    __m512i table = E2m1Table();
    __m512i subnormals = E4m3SubnormalTable();
    __m512i shifts = _mm512_setzero_si512();

    // Lane r: the shift of a row, which becomes one of BF16 exponents.
    void SetShift(__m512i shift) {
      shifts = _mm512_mullo_epi32(shift, _mm512_set1_epi32(0x00800080));
    }
    // weight * 2^-shift; zeros have no exponent to lower.
    __m512i E2m1(__m512i codes, int i) const {
      const __m512i weights = _mm512_permutexvar_epi16(
          _mm512_srli_epi16(codes, static_cast<unsigned>(4 * i)), table);
      const __mmask32 nonzero =
          _mm512_test_epi16_mask(weights, _mm512_set1_epi16(0x7fff));
      return _mm512_mask_sub_epi16(weights, nonzero, weights, shifts);
    }
    __m512i E4m3(__m512i codes, int i) const {
      return DecodeE4m3(_mm512_srli_epi16(codes, static_cast<unsigned>(8 * i)),
                        subnormals);
    }
  };

  template <int kStrips, typename Job>
  static inline void AddRest(const Job&, int64_t) {}
};

}  // namespace
}  // namespace zqfp::kernels::avx512bf16

#endif  // ZQFP_KERNELS_CPU_AVX512BF16_BF16_UNIT_H_
