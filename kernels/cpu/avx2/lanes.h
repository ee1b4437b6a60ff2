// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AVX2_LANES_H_
#define ZQFP_KERNELS_CPU_AVX2_LANES_H_

// 8 numbers at a time: loads from every storage format, sums, exp and what is
// made of it. `count` is
// how many elements there are from the first lane on; lanes beyond it are
// neither read nor written, and zero in a register.

#include <immintrin.h>
#include <stdint.h>

#include "kernels/core/views.h"

namespace zqfp::kernels::avx2 {
namespace {

constexpr int64_t kLanes = 8;

// All bits of the first `count` lanes.
inline __m256i Mask(int64_t count) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const int clamped = count >= kLanes ? 8 : count < 0 ? 0 : (int)count;
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(clamped), lane);
}

inline __m256 LoadF32(const float* x, int64_t count) {
  if (count >= kLanes) return _mm256_loadu_ps(x);
  return _mm256_maskload_ps(x, Mask(count));
}

inline void StoreF32(float* x, int64_t count, __m256 v) {
  if (count >= kLanes) return _mm256_storeu_ps(x, v);
  _mm256_maskstore_ps(x, Mask(count), v);
}

// 8 bytes, 0 beyond `count`.
inline __m128i LoadBytes(const uint8_t* bytes, int64_t count) {
  if (count >= kLanes) {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes));
  }
  uint64_t value = 0;
  for (int64_t i = 0; i < count; ++i) value |= uint64_t{bytes[i]} << (8 * i);
  return _mm_cvtsi64_si128(static_cast<long long>(value));
}

// 8 numbers of 16 bits.
inline __m128i LoadHalves(const uint16_t* halves, int64_t count) {
  if (count >= kLanes) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(halves));
  }
  alignas(16) uint16_t copy[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) copy[i] = halves[i];
  return _mm_load_si128(reinterpret_cast<const __m128i*>(copy));
}

// e4m3 codes, exactly: as the bits of an f16 a code is 2^-8 of its value, with
// subnormals. 0x7f and 0xff are NaN.
inline __m256 FromE4m3(__m128i codes) {
  const __m128i wide = _mm_cvtepu8_epi16(codes);
  const __m128i magnitude = _mm_and_si128(wide, _mm_set1_epi16(0x7f));
  const __m128i sign =
      _mm_slli_epi16(_mm_and_si128(wide, _mm_set1_epi16(0x80)), 8);
  const __m128i nan = _mm_and_si128(
      _mm_cmpeq_epi16(magnitude, _mm_set1_epi16(0x7f)), _mm_set1_epi16(0x7e00));
  const __m128i half =
      _mm_or_si128(_mm_or_si128(_mm_slli_epi16(magnitude, 7), nan), sign);
  return _mm256_mul_ps(_mm256_cvtph_ps(half), _mm256_set1_ps(256.0f));
}

inline __m256 FromBf16(__m128i codes) {
  return _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_cvtepu16_epi32(codes), 16));
}

// Elements data[index + 0 .. 7].
template <ValueFormat kFormat>
inline __m256 Load(const void* data, int64_t index, int64_t count) {
  if constexpr (kFormat == ValueFormat::kF32) {
    return LoadF32(static_cast<const float*>(data) + index, count);
  } else if constexpr (kFormat == ValueFormat::kE4m3) {
    return FromE4m3(
        LoadBytes(static_cast<const uint8_t*>(data) + index, count));
  } else {
    const __m128i codes =
        LoadHalves(static_cast<const uint16_t*>(data) + index, count);
    return kFormat == ValueFormat::kBf16 ? FromBf16(codes)
                                         : _mm256_cvtph_ps(codes);
  }
}

// 32-bit lanes to 16-bit ones; each fits.
inline __m128i Narrow(__m256i v) {
  return _mm_packus_epi32(_mm256_castsi256_si128(v),
                          _mm256_extracti128_si256(v, 1));
}

// BF16 to nearest even; a NaN stays one.
inline __m128i ToBf16(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd =
      _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_srli_epi32(
      _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))),
      16);
  const __m256i quiet =
      _mm256_or_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(0x40));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  return Narrow(_mm256_blendv_epi8(rounded, quiet, nan));
}

inline __m128 AddHalves(__m256 v) {
  return _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
}

inline float SumLanes(__m256 v) {
  __m128 sum = AddHalves(v);
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}

inline float MaxLane(__m256 v) {
  __m128 most =
      _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  most = _mm_max_ps(most, _mm_movehl_ps(most, most));
  return _mm_cvtss_f32(_mm_max_ss(most, _mm_movehdup_ps(most)));
}

// 2^n for whole n in -252 .. 254, by two factors so that neither overflows.
inline __m256 ScaleByPowerOfTwo(__m256 x, __m256 n) {
  const __m256i whole = _mm256_cvtps_epi32(n);
  const __m256i half = _mm256_srai_epi32(whole, 1);
  const __m256i rest = _mm256_sub_epi32(whole, half);
  const __m256i bias = _mm256_set1_epi32(127);
  const __m256 a =
      _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
  const __m256 b =
      _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
  return _mm256_mul_ps(_mm256_mul_ps(x, a), b);
}

// exp(x) to 2 ulp where the result is a normal number: x = n ln 2 + r with
// |r| <= ln 2 / 2, Taylor to r^7 (rest below 6e-9), then n into the exponent.
// Large x give inf, small ones 0, a NaN itself.
inline __m256 Exp(__m256 x) {
  // The variable comes second: max and min return it where it is a NaN.
  x = _mm256_max_ps(_mm256_set1_ps(-110.0f), x);
  x = _mm256_min_ps(_mm256_set1_ps(90.0f), x);
  const __m256 n =
      _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)),
                      _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  // ln 2 in two parts: the first has so few bits that n times it is exact.
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), r);
  __m256 y = _mm256_set1_ps(1.0f / 5040);
  y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(1.0f / 720));
  y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(1.0f / 120));
  y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(1.0f / 24));
  y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(1.0f / 6));
  y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(0.5f));
  y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(1.0f));
  y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(1.0f));
  return ScaleByPowerOfTwo(y, n);
}

// x sigmoid(u).
inline __m256 TimesSigmoid(__m256 x, __m256 u) {
  const __m256 e = Exp(_mm256_sub_ps(_mm256_setzero_ps(), u));
  return _mm256_div_ps(x, _mm256_add_ps(_mm256_set1_ps(1.0f), e));
}

// cap * tanh(x / cap), with tanh(z) = 1 - 2 / (1 + exp(2 z)).
inline __m256 Cap(__m256 x, float cap) {
  const __m256 z = _mm256_div_ps(x, _mm256_set1_ps(cap));
  const __m256 one = _mm256_set1_ps(1.0f);
  const __m256 e = Exp(_mm256_add_ps(z, z));
  const __m256 tanh = _mm256_sub_ps(
      one, _mm256_div_ps(_mm256_set1_ps(2.0f), _mm256_add_ps(one, e)));
  return _mm256_mul_ps(_mm256_set1_ps(cap), tanh);
}

}  // namespace
}  // namespace zqfp::kernels::avx2

#endif  // ZQFP_KERNELS_CPU_AVX2_LANES_H_
