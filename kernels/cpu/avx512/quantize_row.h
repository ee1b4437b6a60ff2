// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AVX512_QUANTIZE_ROW_H_
#define ZQFP_KERNELS_CPU_AVX512_QUANTIZE_ROW_H_

// One row to e4m3 with one scale, the same bits as the reference.

#include <immintrin.h>
#include <stdint.h>

#include "kernels/cpu/avx512/lanes.h"

namespace zqfp::kernels::avx512 {
namespace {

// Codes of x, not NaN, to nearest even and saturating.
inline __m128i ToE4m3(__m512 x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i magnitude =
      _mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff));
  // Normal numbers: round off 20 of the 23 mantissa bits.
  const __m512i odd =
      _mm512_and_si512(_mm512_srli_epi32(bits, 20), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(
      magnitude, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7ffff)));
  __m512i code = _mm512_sub_epi32(_mm512_srli_epi32(rounded, 20),
                                  _mm512_set1_epi32(120 << 3));
  // Below 2^-6 the codes are multiples of 2^-9, which is the last place of
  // floats from 2^14 on: the addition rounds.
  const __m512 base = _mm512_set1_ps(16384.0f);
  const __m512i subnormal = _mm512_sub_epi32(
      _mm512_castps_si512(_mm512_add_ps(_mm512_castsi512_ps(magnitude), base)),
      _mm512_castps_si512(base));
  const __mmask16 small =
      _mm512_cmplt_epi32_mask(magnitude, _mm512_set1_epi32((127 - 6) << 23));
  code = _mm512_mask_mov_epi32(code, small, subnormal);
  code = _mm512_min_epi32(code, _mm512_set1_epi32(0x7e));
  const __m512i sign =
      _mm512_and_si512(_mm512_srli_epi32(bits, 24), _mm512_set1_epi32(0x80));
  return _mm512_cvtepi32_epi8(_mm512_or_si512(code, sign));
}

// q = e4m3(x / scale); a row that is not finite has scale NaN and NaN codes.
inline void QuantizeRow(const float* x, int64_t dim, uint8_t* q, float* scale) {
  const __m512i infinity = _mm512_set1_epi32(0x7f800000);
  __m512i largest = _mm512_setzero_si512();
  for (int64_t i = 0; i < dim; i += kLanes) {
    const __m512i bits =
        _mm512_castps_si512(_mm512_maskz_loadu_ps(Mask(dim - i), x + i));
    // The bits of magnitudes are ordered as the magnitudes, NaN on top.
    largest = _mm512_max_epu32(
        largest, _mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff)));
  }
  const uint32_t bits = _mm512_reduce_max_epu32(largest);
  if (bits >= static_cast<uint32_t>(_mm512_cvtsi512_si32(infinity))) {
    *scale = __builtin_nanf("");
    for (int64_t i = 0; i < dim; ++i) q[i] = 0x7f;
    return;
  }
  float amax;
  __builtin_memcpy(&amax, &bits, sizeof(amax));
  *scale = amax / 448.0f;
  if (!(*scale > 0)) *scale = 1.0f;
  const __m512 divisor = _mm512_set1_ps(*scale);
  for (int64_t i = 0; i < dim; i += kLanes) {
    const __mmask16 mask = Mask(dim - i);
    const __m512 v = _mm512_maskz_loadu_ps(mask, x + i);
    _mm_mask_storeu_epi8(q + i, mask, ToE4m3(_mm512_div_ps(v, divisor)));
  }
}

}  // namespace
}  // namespace zqfp::kernels::avx512

#endif  // ZQFP_KERNELS_CPU_AVX512_QUANTIZE_ROW_H_
