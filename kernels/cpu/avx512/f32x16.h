// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AVX512_F32X16_H_
#define ZQFP_KERNELS_CPU_AVX512_F32X16_H_

// AVX-512 as the Lanes of quantized_matmul_f32.h and low_rank.h.

#include "kernels/cpu/avx512/lanes.h"

namespace zqfp::kernels::avx512 {
namespace {

struct F32x16 {
  using V = __m512;
  static constexpr int64_t kLanes = 16;
  static constexpr int kTileTokens = 8;

  static V Set(float x) { return _mm512_set1_ps(x); }
  static V Load(const float* x) { return _mm512_loadu_ps(x); }
  static void Store(float* x, V v) { _mm512_storeu_ps(x, v); }
  static V MulAdd(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  static float Sum(V v) { return _mm512_reduce_add_ps(v); }
  static V LoadE4m3(const uint8_t* codes, int64_t count) {
    return FromE4m3(_mm_maskz_loadu_epi8(Mask(count), codes));
  }
  static V LoadBf16(const uint16_t* codes, int64_t count) {
    return FromBf16(_mm256_maskz_loadu_epi16(Mask(count), codes));
  }
  static V LoadF32(const float* x, int64_t count) {
    return _mm512_maskz_loadu_ps(Mask(count), x);
  }
  static void StoreF32(float* x, int64_t count, V v) {
    _mm512_mask_storeu_ps(x, Mask(count), v);
  }
  static __m512i LoadPacked(const uint8_t* bytes, int64_t count) {
    const __mmask64 mask =
        count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
    return _mm512_maskz_loadu_epi8(mask, bytes);
  }
  // vpermps reads four bits of a lane: the code itself.
  static V E2m1(__m512i packed, int i) {
    const __m512 table =
        _mm512_setr_ps(0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f, -0.0f,
                       -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f);
    return _mm512_permutexvar_ps(
        _mm512_srli_epi32(packed, static_cast<unsigned>(4 * i)), table);
  }
  // Lane j holds the elements 8j .. 8j+7 of a block: group 8j / group_size,
  // whose scale is that lane of `scales`.
  static V Spread(V scales, int64_t group_size) {
    const __m512i lane =
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const int log2 =
        __builtin_ctzll(static_cast<unsigned long long>(group_size));
    const __m512i group = _mm512_srl_epi32(lane, _mm_cvtsi32_si128(log2 - 3));
    return _mm512_permutexvar_ps(group, scales);
  }
};

}  // namespace
}  // namespace zqfp::kernels::avx512

#endif  // ZQFP_KERNELS_CPU_AVX512_F32X16_H_
