// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AVX512_F32_UNIT_H_
#define ZQFP_KERNELS_CPU_AVX512_F32_UNIT_H_

// Exact products of e2m1 and e4m3 in f32, summed by fused multiply-adds.
//
// Tokens are f32. In gemm.h they lie in their own order, in gemv.h in that of
// what a 64-byte load of weights becomes:
//   block b, vector i, half h, lane l = element 128 b + 8 l + 4 h + i
//                                                                (e2m1 weights)
//   part p of 64, parity h, half v, lane l = element 64 p + 32 v + 2 l + h
//                                                                (e4m3 weights)

#include <immintrin.h>

#include "kernels/core/ops.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/avx512/gemm.h"
#include "kernels/cpu/avx512/gemv.h"
#include "kernels/cpu/avx512/lanes.h"
#include "kernels/cpu/avx512/packed_rows.h"

namespace zqfp::kernels::avx512 {
namespace {

struct F32Unit {
  using Sum = __m512;
  static constexpr int64_t kStep = 1;
  static constexpr float kFactor = 1;
  static constexpr bool kFoldsShift = false;
  static constexpr bool kKnowsE2m1 = true;
  static constexpr bool kKnowsE4m3 = true;
  // More than these share weights decoded by gemm.h.
  static constexpr int64_t kMaxFew = 8;

  static Sum Zero() { return _mm512_setzero_ps(); }
  static Sum Dot(Sum sum, __m512i w, __m512i x) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(w), _mm512_castsi512_ps(x), sum);
  }
  static __m512 ToF32(Sum sum) { return sum; }

  static __m512i E2m1Table() { return Bf16OfE2m1(); }

  struct Tokens {
    const float* x;
    const float* scale;  // [tokens]
    int64_t count;
    int64_t stride;  // elements, gemv.h
    int64_t first;   // of the matmul's tokens

    const int32_t* steps(int64_t chunk, int64_t token) const {
      return reinterpret_cast<const int32_t*>(x) +
             (chunk * count + token) * kChunkSteps;
    }
  };

  // A cache line more than whole blocks: gemv.h's tokens keep out of each
  // other's cache sets.
  static int64_t Stride(int64_t k) { return PaddedK(k) + 16; }
  static int64_t TokenBytes(int64_t k) { return Stride(k) * 4; }

  // One block in the order of gemv.h.
  static void BlockOrder(const uint8_t* q, int64_t left, bool e4m3, float* x) {
    const __m512i a = _mm512_maskz_loadu_epi8(LowBits64(left), q);
    const __m512i b = _mm512_maskz_loadu_epi8(LowBits64(left - 64), q + 64);
    for (unsigned i = 0; i < kVectors; ++i) {
      // 32 codes in 16-bit lanes, of which a half is a vector.
      __m512 low, high;
      if (e4m3) {
        const __m512i lanes = _mm512_srli_epi16(i < 2 ? a : b, 8 * (i % 2));
        low =
            FromE4m3Lanes(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(lanes)));
        high = FromE4m3Lanes(
            _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(lanes, 1)));
      } else {
        const __m512i lanes = _mm512_inserti64x4(
            _mm512_castsi256_si512(
                _mm512_cvtepi32_epi16(_mm512_srli_epi32(a, 8 * i))),
            _mm512_cvtepi32_epi16(_mm512_srli_epi32(b, 8 * i)), 1);
        low = FromE4m3Lanes(lanes);
        high = FromE4m3Lanes(_mm512_srli_epi32(lanes, 16));
      }
      _mm512_storeu_ps(x + 32 * i, low);
      _mm512_storeu_ps(x + 32 * i + 16, high);
    }
  }

  static Tokens Prepare(const MatmulA8Args& args, int64_t first, int64_t count,
                        bool few, const Exec& exec, uint8_t* workspace) {
    const int64_t k = args.weight.k;
    const bool e4m3 = args.weight.format == WeightFormat::kE4m3;
    const int64_t stride = Stride(k);
    float* x = reinterpret_cast<float*>(workspace);
    ParallelFor(exec, count, 8, [&](int64_t begin, int64_t end, int) {
      for (int64_t t = begin; t < end; ++t) {
        const uint8_t* q = args.x.data + (first + t) * k;
        for (int64_t at = 0; at < PaddedK(k); at += kBlock) {
          if (few) {
            BlockOrder(q + at, k - at, e4m3, x + t * stride + at);
            continue;
          }
          float* out = x + (at / kChunkSteps * count + t) * kChunkSteps;
          for (int64_t i = 0; i < kBlock; i += kLanes) {
            const __m128i codes =
                _mm_maskz_loadu_epi8(Mask(k - at - i), q + at + i);
            _mm512_storeu_ps(out + i, FromE4m3(codes));
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
    __m512 dot[kTokens];
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) dot[t] = Zero();
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      const __m512i low = _mm512_slli_epi32(w[i], 16);
      const __m512i high =
          _mm512_and_si512(w[i], _mm512_set1_epi32(int32_t(0xffff0000)));
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        const float* at = x.x + t * x.stride + block * kBlock + 32 * i;
        dot[t] = Dot(dot[t], low, _mm512_loadu_si512(at));
        dot[t] = Dot(dot[t], high, _mm512_loadu_si512(at + 16));
      }
    }
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      sum[t] = _mm512_fmadd_ps(dot[t], scale, sum[t]);
    }
  }

  // 32 e4m3 codes in the high bytes of 16-bit lanes (the low bytes are
  // ignored), times 2^-8, as f16: subnormals meet subnormals. The NaN code
  // becomes a number.
  static __m512i HalfOf(__m512i lanes) {
    return _mm512_and_si512(_mm512_srai_epi16(lanes, 1),
                            _mm512_set1_epi16(int16_t(0xbf80)));
  }

  // sum[r][t] += lanes of (row n + r) . (token t); the row scale is the
  // caller's business.
  template <int kRows, int kTokens>
  static inline void E4m3Rows(const WeightView& w, int64_t n, const Tokens& x,
                              __m512 (&sum)[kRows][kTokens]) {
    const __m512i nan = _mm512_set1_epi8(0x7f);
    const int64_t ahead = PrefetchDistance(w.k, kRows);
    const uint8_t* row[kRows];
    __mmask64 nans[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const int64_t index = n + r < w.n ? n + r : w.n - 1;
      row[r] = static_cast<const uint8_t*>(w.data) + index * w.k;
      nans[r] = 0;
    }
    for (int64_t k = 0; k < w.k; k += 64) {
      const __mmask64 mask = LowBits64(w.k - k);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        Prefetch(row[r] + k + ahead);
        const __m512i v = _mm512_maskz_loadu_epi8(mask, row[r] + k);
        nans[r] |= _mm512_cmpeq_epi8_mask(_mm512_and_si512(v, nan), nan);
        const __m512i half[2] = {HalfOf(_mm512_slli_epi16(v, 8)), HalfOf(v)};
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          const __m512 weights = _mm512_cvtph_ps(
              i % 2 == 0 ? _mm512_castsi512_si256(half[i / 2])
                         : _mm512_extracti64x4_epi64(half[i / 2], 1));
#pragma GCC unroll 8
          for (int t = 0; t < kTokens; ++t) {
            const float* at = x.x + t * x.stride + k + 16 * i;
            sum[r][t] =
                _mm512_fmadd_ps(weights, _mm512_loadu_ps(at), sum[r][t]);
          }
        }
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const __m512 rest =
          _mm512_set1_ps(nans[r] == 0 ? 256.0f : __builtin_nanf(""));
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        sum[r][t] = _mm512_mul_ps(sum[r][t], rest);
      }
    }
  }

  struct Decoder {
    __m512i table = E2m1Table();

    __m512i E2m1(__m512i codes, int i) const {
      return _mm512_slli_epi32(
          _mm512_permutexvar_epi16(
              _mm512_srli_epi32(codes, static_cast<unsigned>(4 * i)), table),
          16);
    }
    __m512i E4m3(__m512i codes, int i) const {
      return _mm512_castps_si512(FromE4m3Lanes(
          _mm512_srli_epi32(codes, static_cast<unsigned>(8 * i))));
    }
  };

  template <int kStrips, typename Job>
  static inline void AddRest(const Job&, int64_t) {}
};

}  // namespace
}  // namespace zqfp::kernels::avx512

#endif  // ZQFP_KERNELS_CPU_AVX512_F32_UNIT_H_
