// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AVX512BF16_DECODE_H_
#define ZQFP_KERNELS_CPU_AVX512BF16_DECODE_H_

// e2m1 and e4m3 codes to BF16, both exact, and the order of k they share.
//
// A 64-byte load of packed weights holds 128 elements; its 16-bit lane j holds
// 4j .. 4j+3. So a block of 128 elements becomes four vectors, vector i with
// the elements 4j+i, by shifts alone. Tokens are stored in the same order:
//   block b, vector i, lane j  =  element 128 b + 4 j + i       (e2m1 weights)
//   block b, vector i, lane j  =  element 128 b + 64 (i / 2) + 2 j + i % 2
//                                                               (e4m3 weights)
// A dot of two BF16 pairs adds lanes 2l and 2l+1 into f32 lane l: over the four
// vectors lane l sums the elements 8l .. 8l+7, all of one group.

#include <immintrin.h>
#include <stdint.h>

namespace zqfp::kernels::avx512bf16 {
namespace {

constexpr int64_t kBlock = 128;  // elements of k
constexpr int kVectors = 4;      // of 32 BF16 in a block

inline int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The lowest `count` bits, all 64 where count is larger, none where negative.
inline __mmask64 LowBits64(int64_t count) {
  if (count >= 64) return ~uint64_t{0};
  return count <= 0 ? 0 : (uint64_t{1} << count) - 1;
}
inline __mmask16 LowBits16(int64_t count) {
  return static_cast<__mmask16>(LowBits64(count) & 0xffff);
}

inline __m512bh AsBf16(__m512i v) { return (__m512bh)v; }

// BF16 of the 16 e2m1 codes, twice: vpermw reads 5 bits of a lane, and the
// fifth belongs to the next code.
inline __m512i E2m1Table() {
  alignas(64) static constexpr uint16_t kTable[32] = {
      0x0000, 0x3f00, 0x3f80, 0x3fc0, 0x4000, 0x4040, 0x4080, 0x40c0,
      0x8000, 0xbf00, 0xbf80, 0xbfc0, 0xc000, 0xc040, 0xc080, 0xc0c0,
      0x0000, 0x3f00, 0x3f80, 0x3fc0, 0x4000, 0x4040, 0x4080, 0x40c0,
      0x8000, 0xbf00, 0xbf80, 0xbfc0, 0xc000, 0xc040, 0xc080, 0xc0c0};
  return _mm512_load_si512(kTable);
}

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

// One token, k codes, to BF16 in the order of e2m1 weights.
inline void TokenForE2m1(const uint8_t* q, int64_t k, uint16_t* x) {
  const __m512i subnormals = E4m3SubnormalTable();
  for (int64_t begin = 0; begin < k; begin += kBlock) {
    const __m512i low =
        _mm512_maskz_loadu_epi8(LowBits64(k - begin), q + begin);
    const __m512i high =
        _mm512_maskz_loadu_epi8(LowBits64(k - begin - 64), q + begin + 64);
    for (int i = 0; i < kVectors; ++i) {
      const __m256i a = _mm512_cvtepi32_epi16(_mm512_srli_epi32(low, 8 * i));
      const __m256i b = _mm512_cvtepi32_epi16(_mm512_srli_epi32(high, 8 * i));
      const __m512i lanes = _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
      _mm512_storeu_si512(x + begin + 32 * i, DecodeE4m3(lanes, subnormals));
    }
  }
}

// One token, k codes, to BF16 in the order of e4m3 weights.
inline void TokenForE4m3(const uint8_t* q, int64_t k, uint16_t* x) {
  const __m512i subnormals = E4m3SubnormalTable();
  for (int64_t begin = 0; begin < k; begin += kBlock) {
    for (int half = 0; half < 2; ++half) {
      const int64_t at = begin + 64 * half;
      const __m512i v = _mm512_maskz_loadu_epi8(LowBits64(k - at), q + at);
      _mm512_storeu_si512(x + at, DecodeE4m3(v, subnormals));
      _mm512_storeu_si512(x + at + 32,
                          DecodeE4m3(_mm512_srli_epi16(v, 8), subnormals));
    }
  }
}

// Sums of the 16 lanes of four vectors, in order.
inline __m128 SumLanes(__m512 a, __m512 b, __m512 c, __m512 d) {
  const __m512 ab =
      _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  const __m512 cd =
      _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
  const __m512d lo =
      _mm512_unpacklo_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
  const __m512d hi =
      _mm512_unpackhi_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
  const __m512 sums = _mm512_add_ps(_mm512_castpd_ps(lo), _mm512_castpd_ps(hi));
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(sums),
                                    _mm512_extractf32x8_ps(sums, 1));
  return _mm_add_ps(_mm256_castps256_ps128(half),
                    _mm256_extractf128_ps(half, 1));
}

}  // namespace
}  // namespace zqfp::kernels::avx512bf16

#endif  // ZQFP_KERNELS_CPU_AVX512BF16_DECODE_H_
