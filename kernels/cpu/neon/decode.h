// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_NEON_DECODE_H_
#define ZQFP_KERNELS_CPU_NEON_DECODE_H_

// Weights of any format to f32, a block of 32 elements of one row at a time,
// and the order of k that tokens share with them. e2m1 has its nibbles apart:
//   half block h, vector i, lane j  =  element 16 h + 8 (i % 2) + 2 j + i / 2
// The other formats keep the order of the elements.

#include <arm_neon.h>
#include <stdint.h>

#include "kernels/core/views.h"
#include "kernels/cpu/neon/lanes.h"

namespace zqfp::kernels::neon {
namespace {

constexpr int64_t kBlock = 32;
constexpr int kBlockVectors = 8;

constexpr int64_t BitsPerElement(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF32:
      return 32;
    case WeightFormat::kBf16:
    case WeightFormat::kF16:
      return 16;
    case WeightFormat::kE4m3:
    case WeightFormat::kE4m3Groups:
      return 8;
    default:
      return 4;
  }
}

constexpr bool IsE4m3(WeightFormat format) {
  return BitsPerElement(format) == 8;
}

// An e2m1 number as an f32 has but two bytes that are not zero: one table
// look-up for each, and interleaving puts them in place.
inline void DecodeE2m1(const uint8_t* bytes, float32x4_t (&w)[kBlockVectors]) {
  alignas(16) static constexpr uint8_t kLower[16] = {
      0, 0, 0x80, 0xc0, 0, 0x40, 0x80, 0xc0,
      0, 0, 0x80, 0xc0, 0, 0x40, 0x80, 0xc0};
  alignas(16) static constexpr uint8_t kUpper[16] = {
      0x00, 0x3f, 0x3f, 0x3f, 0x40, 0x40, 0x40, 0x40,
      0x80, 0xbf, 0xbf, 0xbf, 0xc0, 0xc0, 0xc0, 0xc0};
  const uint8x16_t packed = vld1q_u8(bytes);
  const uint8x16_t codes[2] = {vandq_u8(packed, vdupq_n_u8(0xf)),
                               vshrq_n_u8(packed, 4)};
#pragma GCC unroll 2
  for (int odd = 0; odd < 2; ++odd) {
    const uint8x16_t lower = vqtbl1q_u8(vld1q_u8(kLower), codes[odd]);
    const uint8x16_t upper = vqtbl1q_u8(vld1q_u8(kUpper), codes[odd]);
    const F32x8 first = FromBf16(vreinterpretq_u16_u8(vzip1q_u8(lower, upper)));
    const F32x8 second =
        FromBf16(vreinterpretq_u16_u8(vzip2q_u8(lower, upper)));
    w[2 * odd] = first.low;
    w[2 * odd + 1] = first.high;
    w[4 + 2 * odd] = second.low;
    w[4 + 2 * odd + 1] = second.high;
  }
}

// 16 elements of a token into the order of e2m1 weights.
inline void StoreNibblesApart(float* x, F32x8 a, F32x8 b) {
  vst1q_f32(x, vuzp1q_f32(a.low, a.high));
  vst1q_f32(x + 4, vuzp1q_f32(b.low, b.high));
  vst1q_f32(x + 8, vuzp2q_f32(a.low, a.high));
  vst1q_f32(x + 12, vuzp2q_f32(b.low, b.high));
}

// 2^-8 of the values: what f16 bits made of the codes are.
inline void DecodeE4m3(const uint8_t* bytes, float32x4_t (&w)[kBlockVectors]) {
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    const uint8x16_t codes = vld1q_u8(bytes + 16 * half);
    const uint8x16_t upper = E4m3UpperBytes(codes);
    const uint8x16_t lower = vshlq_n_u8(codes, 7);
    const F32x8 first = FromF16(vreinterpretq_u16_u8(vzip1q_u8(lower, upper)));
    const F32x8 second = FromF16(vreinterpretq_u16_u8(vzip2q_u8(lower, upper)));
    w[4 * half] = first.low;
    w[4 * half + 1] = first.high;
    w[4 * half + 2] = second.low;
    w[4 * half + 3] = second.high;
  }
}

// A whole block without its scales; of e4m3 2^-8 of that.
template <WeightFormat kFormat>
inline void DecodeBlock(const uint8_t* bytes, float32x4_t (&w)[kBlockVectors]) {
  if constexpr (BitsPerElement(kFormat) == 4) {
    DecodeE2m1(bytes, w);
  } else if constexpr (IsE4m3(kFormat)) {
    DecodeE4m3(bytes, w);
  } else {
    constexpr ValueFormat kValues =
        kFormat == WeightFormat::kF32    ? ValueFormat::kF32
        : kFormat == WeightFormat::kBf16 ? ValueFormat::kBf16
                                         : ValueFormat::kF16;
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const F32x8 v = Load<kValues>(bytes, i * kLanes, kLanes);
      w[2 * i] = v.low;
      w[2 * i + 1] = v.high;
    }
  }
}

template <WeightFormat kFormat>
inline constexpr int64_t kBlockBytes = kBlock* BitsPerElement(kFormat) / 8;

template <WeightFormat kFormat>
inline const uint8_t* RowBytes(const WeightView& w, int64_t n) {
  return static_cast<const uint8_t*>(w.data) +
         n * ((w.k * BitsPerElement(kFormat) + 7) / 8);
}

// The short block at the end of a row, zeros behind it (or, in an odd row of
// e2m1, one code that a token's padding multiplies by zero).
template <WeightFormat kFormat>
inline void CopyLastBlock(const WeightView& w, int64_t n, uint8_t* copy) {
  const int64_t begin = w.k / kBlock * kBlockBytes<kFormat>;
  const int64_t row_bytes = (w.k * BitsPerElement(kFormat) + 7) / 8;
  const uint8_t* row = RowBytes<kFormat>(w, n);
  for (int64_t i = 0; i < kBlockBytes<kFormat>; ++i) {
    copy[i] = begin + i < row_bytes ? row[begin + i] : 0;
  }
}

// Where the scales of row n begin.
inline int64_t FirstScale(const WeightView& w, int64_t n) {
  const int64_t row =
      w.format == WeightFormat::kE4m3Groups ? n / w.scale_rows : n;
  return row * NumGroups(w.k, w.group_size);
}

// What DecodeBlock's elements of a group are to be multiplied by.
template <WeightFormat kFormat>
inline float GroupScale(const WeightView& w, int64_t at) {
  if constexpr (kFormat == WeightFormat::kE2m1Free) {
    return w.group_scale[at];
  } else if constexpr (kFormat == WeightFormat::kE4m3Groups) {
    return w.group_scale[at] * 256.0f;
  } else if constexpr (kFormat == WeightFormat::kE2m1E4m3) {
    const uint32_t code = w.scale_code[at];
    const uint16_t bits =
        static_cast<uint16_t>((code & 0x80) << 8 | (code & 0x7f) << 7);
    __fp16 half;
    __builtin_memcpy(&half, &bits, sizeof(half));
    return static_cast<float>(half) * 256.0f;
  } else {
    const uint32_t bits = (127u - w.shift[at]) << 23;
    float scale;
    __builtin_memcpy(&scale, &bits, sizeof(scale));
    return scale;
  }
}

// What the whole row's sum is then still to be multiplied by.
inline float RowScale(const WeightView& w, int64_t n) {
  switch (w.format) {
    case WeightFormat::kE4m3:
      return w.row_scale[n] * 256.0f;
    case WeightFormat::kE2m1Shift:
      return w.row_scale[n];
    case WeightFormat::kE2m1E4m3:
      return w.global_scale;
    default:
      return 1;
  }
}

}  // namespace
}  // namespace zqfp::kernels::neon

#endif  // ZQFP_KERNELS_CPU_NEON_DECODE_H_
