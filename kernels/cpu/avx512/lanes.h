// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AVX512_LANES_H_
#define ZQFP_KERNELS_CPU_AVX512_LANES_H_

// 16 numbers at a time: loads from every storage format, sums, exp and what is
// made of it.

#include <immintrin.h>
#include <stdint.h>

#include "kernels/core/views.h"

namespace zqfp::kernels::avx512 {
namespace {

constexpr int64_t kLanes = 16;

inline int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The lowest min(count, 16) bits; none where count is negative.
inline __mmask16 Mask(int64_t count) {
  if (count >= kLanes) return 0xffff;
  return count <= 0 ? 0 : static_cast<__mmask16>((1u << count) - 1);
}

inline __m512 FromBf16(__m256i codes) {
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(codes), 16));
}

// 16 e4m3 codes in the low bytes of 32-bit lanes (the rest is ignored),
// exactly; 0x7f and 0xff are NaN.
inline __m512 FromE4m3Lanes(__m512i wide) {
  const __m512i magnitude = _mm512_and_si512(wide, _mm512_set1_epi32(0x7f));
  const __m512i sign =
      _mm512_slli_epi32(_mm512_and_si512(wide, _mm512_set1_epi32(0x80)), 24);
  // Four exponent bits move up next to those of f32; the bias grows by 120.
  __m512i bits = _mm512_add_epi32(_mm512_slli_epi32(magnitude, 20),
                                  _mm512_set1_epi32(120 << 23));
  const __mmask16 small =
      _mm512_cmplt_epi32_mask(magnitude, _mm512_set1_epi32(8));
  const __m512 subnormal =
      _mm512_mul_ps(_mm512_cvtepi32_ps(magnitude), _mm512_set1_ps(1.0f / 512));
  bits = _mm512_mask_mov_epi32(bits, small, _mm512_castps_si512(subnormal));
  const __mmask16 nan =
      _mm512_cmpeq_epi32_mask(magnitude, _mm512_set1_epi32(0x7f));
  bits = _mm512_mask_mov_epi32(bits, nan, _mm512_set1_epi32(0x7fc00000));
  return _mm512_castsi512_ps(_mm512_or_si512(bits, sign));
}

inline __m512 FromE4m3(__m128i codes) {
  return FromE4m3Lanes(_mm512_cvtepu8_epi32(codes));
}

// Elements data[index + 0 .. 15], zero where the mask is.
template <ValueFormat kFormat>
inline __m512 Load(const void* data, int64_t index, __mmask16 mask) {
  if constexpr (kFormat == ValueFormat::kF32) {
    return _mm512_maskz_loadu_ps(mask, static_cast<const float*>(data) + index);
  } else if constexpr (kFormat == ValueFormat::kE4m3) {
    return FromE4m3(
        _mm_maskz_loadu_epi8(mask, static_cast<const uint8_t*>(data) + index));
  } else {
    const __m256i codes = _mm256_maskz_loadu_epi16(
        mask, static_cast<const uint16_t*>(data) + index);
    return kFormat == ValueFormat::kBf16 ? FromBf16(codes)
                                         : _mm512_cvtph_ps(codes);
  }
}

// BF16 to nearest even; a NaN stays one.
inline __m256i ToBf16(__m512 x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd =
      _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_srli_epi32(
      _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))),
      16);
  const __m512i quiet =
      _mm512_or_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(0x40));
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(rounded, nan, quiet));
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

// exp(x) to 2 ulp where the result is a normal number: x = n ln 2 + r with
// |r| <= ln 2 / 2, Taylor to r^7 (rest below 6e-9), then n into the exponent.
// Large x give inf, small ones 0, a NaN itself.
inline __m512 Exp(__m512 x) {
  // The variable comes second: max and min return it where it is a NaN.
  x = _mm512_max_ps(_mm512_set1_ps(-110.0f), x);
  x = _mm512_min_ps(_mm512_set1_ps(90.0f), x);
  const __m512 n =
      _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)),
                           _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  // ln 2 in two parts: the first has so few bits that n times it is exact.
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
  __m512 y = _mm512_set1_ps(1.0f / 5040);
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.0f / 720));
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.0f / 120));
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.0f / 24));
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.0f / 6));
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(0.5f));
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.0f));
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(y, n);
}

// x sigmoid(u).
inline __m512 TimesSigmoid(__m512 x, __m512 u) {
  const __m512 e = Exp(_mm512_sub_ps(_mm512_setzero_ps(), u));
  return _mm512_div_ps(x, _mm512_add_ps(_mm512_set1_ps(1.0f), e));
}

// cap * tanh(x / cap), with tanh(z) = 1 - 2 / (1 + exp(2 z)).
inline __m512 Cap(__m512 x, float cap) {
  const __m512 z = _mm512_div_ps(x, _mm512_set1_ps(cap));
  const __m512 one = _mm512_set1_ps(1.0f);
  const __m512 e = Exp(_mm512_add_ps(z, z));
  const __m512 tanh = _mm512_sub_ps(
      one, _mm512_div_ps(_mm512_set1_ps(2.0f), _mm512_add_ps(one, e)));
  return _mm512_mul_ps(_mm512_set1_ps(cap), tanh);
}

}  // namespace
}  // namespace zqfp::kernels::avx512

#endif  // ZQFP_KERNELS_CPU_AVX512_LANES_H_
