// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_NEON_LANES_H_
#define ZQFP_KERNELS_CPU_NEON_LANES_H_

// 8 numbers at a time, in two registers: loads from every storage format, sums,
// exp and what is made of it. `count` is how many elements there are from the
// first lane on; lanes beyond it are neither read nor written, and zero in a
// register.

#include <arm_neon.h>
#include <stdint.h>

#include "kernels/core/views.h"

namespace zqfp::kernels::neon {
namespace {

constexpr int64_t kLanes = 8;

struct F32x8 {
  float32x4_t low, high;
};

inline F32x8 Set(float x) { return {vdupq_n_f32(x), vdupq_n_f32(x)}; }
inline F32x8 Load(const float* x) { return {vld1q_f32(x), vld1q_f32(x + 4)}; }
inline void Store(float* x, F32x8 v) {
  vst1q_f32(x, v.low);
  vst1q_f32(x + 4, v.high);
}
inline F32x8 Add(F32x8 a, F32x8 b) {
  return {vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high)};
}
inline F32x8 Sub(F32x8 a, F32x8 b) {
  return {vsubq_f32(a.low, b.low), vsubq_f32(a.high, b.high)};
}
inline F32x8 Mul(F32x8 a, F32x8 b) {
  return {vmulq_f32(a.low, b.low), vmulq_f32(a.high, b.high)};
}
inline F32x8 Div(F32x8 a, F32x8 b) {
  return {vdivq_f32(a.low, b.low), vdivq_f32(a.high, b.high)};
}
// A NaN wins.
inline F32x8 Max(F32x8 a, F32x8 b) {
  return {vmaxq_f32(a.low, b.low), vmaxq_f32(a.high, b.high)};
}
// a * b + c, one rounding.
inline F32x8 MulAdd(F32x8 a, F32x8 b, F32x8 c) {
  return {vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)};
}
// c - a * b, one rounding.
inline F32x8 NegMulAdd(F32x8 a, F32x8 b, F32x8 c) {
  return {vfmsq_f32(c.low, a.low, b.low), vfmsq_f32(c.high, a.high, b.high)};
}

// Fewer than kLanes elements, none where count is negative; no call, for which
// a loop would have to give up its registers.
template <typename T>
inline void CopyFew(const T* from, int64_t count, T* to) {
  if (count <= 0) return;
  if (count & 4) {
    __builtin_memcpy(to, from, 4 * sizeof(T));
    from += 4, to += 4;
  }
  if (count & 2) {
    __builtin_memcpy(to, from, 2 * sizeof(T));
    from += 2, to += 2;
  }
  if (count & 1) *to = *from;
}

inline F32x8 LoadF32(const float* x, int64_t count) {
  if (count >= kLanes) return Load(x);
  float copy[kLanes] = {};
  CopyFew(x, count, copy);
  return Load(copy);
}

inline void StoreF32(float* x, int64_t count, F32x8 v) {
  if (count >= kLanes) return Store(x, v);
  float copy[kLanes];
  Store(copy, v);
  CopyFew(copy, count, x);
}

// body(i, count) for every vector of [begin, end); count is a constant but for
// the last one, so that the loop has no tail in it.
template <typename Body>
inline void ForLanes(int64_t begin, int64_t end, const Body& body) {
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) body(i, kLanes);
  if (i < end) body(i, end - i);
}

// v with zeros from lane `count` on, NaNs included.
inline F32x8 ZeroBeyond(F32x8 v, int64_t count) {
  if (count >= kLanes) return v;
  float copy[kLanes];
  Store(copy, v);
  for (int64_t i = count < 0 ? 0 : count; i < kLanes; ++i) copy[i] = 0;
  return Load(copy);
}

// 8 bytes, 0 beyond `count`.
inline uint8x8_t LoadBytes(const uint8_t* bytes, int64_t count) {
  if (count >= kLanes) return vld1_u8(bytes);
  uint8_t copy[kLanes] = {};
  CopyFew(bytes, count, copy);
  return vld1_u8(copy);
}

// 8 numbers of 16 bits.
inline uint16x8_t LoadHalves(const uint16_t* halves, int64_t count) {
  if (count >= kLanes) return vld1q_u16(halves);
  uint16_t copy[kLanes] = {};
  CopyFew(halves, count, copy);
  return vld1q_u16(copy);
}

inline F32x8 FromF16(uint16x8_t codes) {
  const float16x8_t halves = vreinterpretq_f16_u16(codes);
  return {vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves)};
}

inline F32x8 FromBf16(uint16x8_t codes) {
  const uint16x8_t zero = vdupq_n_u16(0);
  return {vreinterpretq_f32_u16(vzip1q_u16(zero, codes)),
          vreinterpretq_f32_u16(vzip2q_u16(zero, codes))};
}

// The upper bytes of the f16 numbers that are 2^-8 of these e4m3 codes, with
// subnormals; the lower bytes are codes << 7. 0x7f and 0xff, the NaNs, have all
// exponent bits here.
inline uint8x16_t E4m3UpperBytes(uint8x16_t codes) {
  const uint8x16_t magnitude = vandq_u8(codes, vdupq_n_u8(0x7f));
  const uint8x16_t nan = vceqq_u8(magnitude, vdupq_n_u8(0x7f));
  const uint8x16_t finite =
      vbslq_u8(vdupq_n_u8(0x80), codes, vshrq_n_u8(magnitude, 1));
  return vorrq_u8(finite, vandq_u8(nan, vdupq_n_u8(0x40)));
}

// e4m3 codes, exactly.
inline F32x8 FromE4m3(uint8x8_t codes) {
  const uint8x16_t all = vcombine_u8(codes, vdup_n_u8(0));
  const uint8x16_t bytes = vzip1q_u8(vshlq_n_u8(all, 7), E4m3UpperBytes(all));
  return Mul(FromF16(vreinterpretq_u16_u8(bytes)), Set(256.0f));
}

// Elements data[index + 0 .. 7].
template <ValueFormat kFormat>
inline F32x8 Load(const void* data, int64_t index, int64_t count) {
  if constexpr (kFormat == ValueFormat::kF32) {
    return LoadF32(static_cast<const float*>(data) + index, count);
  } else if constexpr (kFormat == ValueFormat::kE4m3) {
    return FromE4m3(
        LoadBytes(static_cast<const uint8_t*>(data) + index, count));
  } else {
    const uint16x8_t codes =
        LoadHalves(static_cast<const uint16_t*>(data) + index, count);
    return kFormat == ValueFormat::kBf16 ? FromBf16(codes) : FromF16(codes);
  }
}

// BF16 to nearest even; a NaN stays one.
inline uint16x4_t ToBf16(float32x4_t x) {
  const uint32x4_t bits = vreinterpretq_u32_f32(x);
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t rounded =
      vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
  const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
  const uint32x4_t number = vceqq_f32(x, x);
  return vshrn_n_u32(vbslq_u32(number, rounded, quiet), 16);
}

inline float SumLanes(F32x8 v) { return vaddvq_f32(vaddq_f32(v.low, v.high)); }

// The sums of four.
inline float32x4_t SumLanes(float32x4_t a, float32x4_t b, float32x4_t c,
                            float32x4_t d) {
  return vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d));
}

inline float MaxLane(F32x8 v) { return vmaxvq_f32(vmaxq_f32(v.low, v.high)); }

// 2^n for whole n in -252 .. 254, by two factors so that neither overflows.
inline float32x4_t ScaleByPowerOfTwo(float32x4_t x, float32x4_t n) {
  const int32x4_t whole = vcvtq_s32_f32(n);
  const int32x4_t half = vshrq_n_s32(whole, 1);
  const int32x4_t rest = vsubq_s32(whole, half);
  const int32x4_t bias = vdupq_n_s32(127);
  const int32x4_t a = vshlq_n_s32(vaddq_s32(half, bias), 23);
  const int32x4_t b = vshlq_n_s32(vaddq_s32(rest, bias), 23);
  return vmulq_f32(vmulq_f32(x, vreinterpretq_f32_s32(a)),
                   vreinterpretq_f32_s32(b));
}

// exp(x) to 2 ulp where the result is a normal number: x = n ln 2 + r with
// |r| <= ln 2 / 2, Taylor to r^7 (rest below 6e-9), then n into the exponent.
// Large x give inf, small ones 0, a NaN itself.
inline F32x8 Exp(F32x8 x) {
  x = Max(x, Set(-110.0f));
  x = {vminq_f32(x.low, vdupq_n_f32(90.0f)),
       vminq_f32(x.high, vdupq_n_f32(90.0f))};
  const F32x8 turns = Mul(x, Set(1.44269504f));
  const F32x8 n = {vrndnq_f32(turns.low), vrndnq_f32(turns.high)};
  // ln 2 in two parts: the first has so few bits that n times it is exact.
  F32x8 r = NegMulAdd(n, Set(0.693359375f), x);
  r = NegMulAdd(n, Set(-2.12194440e-4f), r);
  F32x8 y = Set(1.0f / 5040);
  y = MulAdd(y, r, Set(1.0f / 720));
  y = MulAdd(y, r, Set(1.0f / 120));
  y = MulAdd(y, r, Set(1.0f / 24));
  y = MulAdd(y, r, Set(1.0f / 6));
  y = MulAdd(y, r, Set(0.5f));
  y = MulAdd(y, r, Set(1.0f));
  y = MulAdd(y, r, Set(1.0f));
  return {ScaleByPowerOfTwo(y.low, n.low), ScaleByPowerOfTwo(y.high, n.high)};
}

// x sigmoid(u).
inline F32x8 TimesSigmoid(F32x8 x, F32x8 u) {
  return Div(x, Add(Set(1.0f), Exp(Sub(Set(0.0f), u))));
}

// cap * tanh(x / cap), with tanh(z) = 1 - 2 / (1 + exp(2 z)).
inline F32x8 Cap(F32x8 x, float cap) {
  const F32x8 z = Div(x, Set(cap));
  const F32x8 one = Set(1.0f);
  const F32x8 tanh = Sub(one, Div(Set(2.0f), Add(one, Exp(Add(z, z)))));
  return Mul(Set(cap), tanh);
}

}  // namespace
}  // namespace zqfp::kernels::neon

#endif  // ZQFP_KERNELS_CPU_NEON_LANES_H_
