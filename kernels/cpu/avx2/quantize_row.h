// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AVX2_QUANTIZE_ROW_H_
#define ZQFP_KERNELS_CPU_AVX2_QUANTIZE_ROW_H_

// One row to e4m3 with one scale, the same bits as the reference.

#include <immintrin.h>
#include <stdint.h>

#include "kernels/cpu/avx2/lanes.h"

namespace zqfp::kernels::avx2 {
namespace {

// Codes of x, not NaN, to nearest even and saturating; one a byte.
inline uint64_t ToE4m3(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i magnitude =
      _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff));
  // Normal numbers: round off 20 of the 23 mantissa bits.
  const __m256i odd =
      _mm256_and_si256(_mm256_srli_epi32(bits, 20), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(
      magnitude, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7ffff)));
  __m256i code = _mm256_sub_epi32(_mm256_srli_epi32(rounded, 20),
                                  _mm256_set1_epi32(120 << 3));
  // Below 2^-6 the codes are multiples of 2^-9, which is the last place of
  // floats from 2^14 on: the addition rounds.
  const __m256 base = _mm256_set1_ps(16384.0f);
  const __m256i subnormal = _mm256_sub_epi32(
      _mm256_castps_si256(_mm256_add_ps(_mm256_castsi256_ps(magnitude), base)),
      _mm256_castps_si256(base));
  const __m256i small =
      _mm256_cmpgt_epi32(_mm256_set1_epi32((127 - 6) << 23), magnitude);
  code = _mm256_blendv_epi8(code, subnormal, small);
  code = _mm256_min_epi32(code, _mm256_set1_epi32(0x7e));
  const __m256i sign =
      _mm256_and_si256(_mm256_srli_epi32(bits, 24), _mm256_set1_epi32(0x80));
  const __m128i halves = Narrow(_mm256_or_si256(code, sign));
  return static_cast<uint64_t>(
      _mm_cvtsi128_si64(_mm_packus_epi16(halves, halves)));
}

// The largest magnitude's bits: ordered as the magnitudes, NaN on top.
inline uint32_t LargestBits(const float* x, int64_t dim) {
  __m256i largest = _mm256_setzero_si256();
  for (int64_t i = 0; i < dim; i += kLanes) {
    largest = _mm256_max_epu32(
        largest, _mm256_and_si256(_mm256_castps_si256(LoadF32(x + i, dim - i)),
                                  _mm256_set1_epi32(0x7fffffff)));
  }
  alignas(32) uint32_t lanes[kLanes];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), largest);
  uint32_t most = 0;
  for (const uint32_t lane : lanes) most = lane > most ? lane : most;
  return most;
}

// q = e4m3(x / scale); a row that is not finite has scale NaN and NaN codes.
inline void QuantizeRow(const float* x, int64_t dim, uint8_t* q, float* scale) {
  const uint32_t bits = LargestBits(x, dim);
  if (bits >= 0x7f800000u) {
    *scale = __builtin_nanf("");
    for (int64_t i = 0; i < dim; ++i) q[i] = 0x7f;
    return;
  }
  float amax;
  __builtin_memcpy(&amax, &bits, sizeof(amax));
  *scale = amax / 448.0f;
  if (!(*scale > 0)) *scale = 1.0f;
  const __m256 divisor = _mm256_set1_ps(*scale);
  for (int64_t i = 0; i < dim; i += kLanes) {
    const uint64_t codes =
        ToE4m3(_mm256_div_ps(LoadF32(x + i, dim - i), divisor));
    __builtin_memcpy(q + i, &codes,
                     dim - i < kLanes ? static_cast<size_t>(dim - i) : 8);
  }
}

}  // namespace
}  // namespace zqfp::kernels::avx2

#endif  // ZQFP_KERNELS_CPU_AVX2_QUANTIZE_ROW_H_
