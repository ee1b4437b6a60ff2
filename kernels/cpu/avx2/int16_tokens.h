// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AVX2_INT16_TOKENS_H_
#define ZQFP_KERNELS_CPU_AVX2_INT16_TOKENS_H_

// Tokens in e4m3 to the integers of ../int16_tokens.h.

#include <immintrin.h>

#include "kernels/cpu/avx2/lanes.h"
#include "kernels/cpu/int16_tokens.h"

namespace zqfp::kernels::avx2 {
namespace {

// Eight 32-bit integers to the four pairs (i, i + 4) of 16-bit ones.
inline __m128i Pairs(__m256i v) {
  return _mm_blend_epi16(_mm256_castsi256_si128(v),
                         _mm_slli_epi32(_mm256_extracti128_si256(v, 1), 16),
                         0xaa);
}

// A chunk of a token for PrepareInt16Tokens.
inline int64_t StepOrder(const uint8_t* q, int64_t left, int16_t* high,
                         uint32_t at, LowPair* low, bool* nan) {
  int64_t count = 0;
  __m256 nans = _mm256_setzero_ps();
  for (int64_t i = 0; i < kChunkElements; i += kLanes) {
    const __m256 x = FromE4m3(LoadBytes(q + i, left - i));
    nans = _mm256_or_ps(nans, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    // Both exact: rounding towards zero leaves the low part its sign.
    const __m256i all =
        _mm256_cvttps_epi32(_mm256_mul_ps(x, _mm256_set1_ps(512.0f)));
    const __m256i upper =
        _mm256_cvttps_epi32(_mm256_mul_ps(x, _mm256_set1_ps(64.0f)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(high + i), Pairs(upper));
    const __m128i rest =
        Pairs(_mm256_sub_epi32(all, _mm256_slli_epi32(upper, 3)));
    if (_mm_testz_si128(rest, rest) != 0) continue;
    alignas(16) int32_t pair[4];
    _mm_store_si128(reinterpret_cast<__m128i*>(pair), rest);
    for (uint32_t p = 0; p < 4; ++p) {
      if (pair[p] == 0) continue;
      low[count++] = {at + static_cast<uint32_t>(i / 2) + p, pair[p]};
    }
  }
  *nan = _mm256_movemask_ps(nans) != 0;
  return count;
}

}  // namespace
}  // namespace zqfp::kernels::avx2

#endif  // ZQFP_KERNELS_CPU_AVX2_INT16_TOKENS_H_
