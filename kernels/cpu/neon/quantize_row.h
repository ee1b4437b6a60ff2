// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_NEON_QUANTIZE_ROW_H_
#define ZQFP_KERNELS_CPU_NEON_QUANTIZE_ROW_H_

// One row to e4m3 with one scale, the same bits as the reference.

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu/neon/lanes.h"

namespace zqfp::kernels::neon {
namespace {

// Codes of x, not NaN, to nearest even and saturating; one in each lane.
inline uint32x4_t ToE4m3(float32x4_t x) {
  const uint32x4_t bits = vreinterpretq_u32_f32(x);
  const uint32x4_t magnitude = vandq_u32(bits, vdupq_n_u32(0x7fffffff));
  // Normal numbers: round off 20 of the 23 mantissa bits.
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 20), vdupq_n_u32(1));
  const uint32x4_t rounded =
      vaddq_u32(magnitude, vaddq_u32(odd, vdupq_n_u32(0x7ffff)));
  const uint32x4_t normal =
      vsubq_u32(vshrq_n_u32(rounded, 20), vdupq_n_u32(120 << 3));
  // Below 2^-6 the codes are multiples of 2^-9, which is the last place of
  // floats from 2^14 on: the addition rounds.
  const float32x4_t base = vdupq_n_f32(16384.0f);
  const uint32x4_t subnormal = vsubq_u32(
      vreinterpretq_u32_f32(vaddq_f32(vreinterpretq_f32_u32(magnitude), base)),
      vreinterpretq_u32_f32(base));
  const uint32x4_t small = vcltq_u32(magnitude, vdupq_n_u32((127 - 6) << 23));
  const uint32x4_t code =
      vminq_u32(vbslq_u32(small, subnormal, normal), vdupq_n_u32(0x7e));
  return vorrq_u32(code, vandq_u32(vshrq_n_u32(bits, 24), vdupq_n_u32(0x80)));
}

inline uint8x8_t ToE4m3(F32x8 x) {
  return vmovn_u16(
      vcombine_u16(vmovn_u32(ToE4m3(x.low)), vmovn_u32(ToE4m3(x.high))));
}

// The largest magnitude's bits: ordered as the magnitudes, NaN on top.
inline uint32_t LargestBits(const float* x, int64_t dim) {
  const uint32x4_t mask = vdupq_n_u32(0x7fffffff);
  uint32x4_t largest[2] = {vdupq_n_u32(0), vdupq_n_u32(0)};
  ForLanes(0, dim, [&](int64_t i, int64_t count) {
    const F32x8 v = LoadF32(x + i, count);
    largest[0] =
        vmaxq_u32(largest[0], vandq_u32(vreinterpretq_u32_f32(v.low), mask));
    largest[1] =
        vmaxq_u32(largest[1], vandq_u32(vreinterpretq_u32_f32(v.high), mask));
  });
  return vmaxvq_u32(vmaxq_u32(largest[0], largest[1]));
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
  const F32x8 divisor = Set(*scale);
  ForLanes(0, dim, [&](int64_t i, int64_t count) {
    uint8_t codes[kLanes];
    vst1_u8(codes, ToE4m3(Div(LoadF32(x + i, count), divisor)));
    __builtin_memcpy(q + i, codes, static_cast<size_t>(count));
  });
}

}  // namespace
}  // namespace zqfp::kernels::neon

#endif  // ZQFP_KERNELS_CPU_NEON_QUANTIZE_ROW_H_
