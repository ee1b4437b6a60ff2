// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_NEON_DECODE_H_
#define ZQFP_KERNELS_CPU_NEON_DECODE_H_

// Weights of any format to f32, a block of 32 elements of one row at a time.

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

// Two table look-ups find the upper half of each f32, which is a bf16; one more
// for every four elements puts both bytes in place, with zeros below.
inline void DecodeE2m1(const uint8_t* bytes, float32x4_t (&w)[kBlockVectors]) {
  constexpr uint8_t kLower[16] = {0, 0, 0x80, 0xc0, 0, 0x40, 0x80, 0xc0,
                                  0, 0, 0x80, 0xc0, 0, 0x40, 0x80, 0xc0};
  constexpr uint8_t kUpper[16] = {0x00, 0x3f, 0x3f, 0x3f, 0x40, 0x40,
                                  0x40, 0x40, 0x80, 0xbf, 0xbf, 0xbf,
                                  0xc0, 0xc0, 0xc0, 0xc0};
  // Where the bytes of four f32 come from; 255 is nowhere and gives zero.
  constexpr uint8_t kPlace[4][16] = {
      {255, 255, 0, 16, 255, 255, 1, 17, 255, 255, 2, 18, 255, 255, 3, 19},
      {255, 255, 4, 20, 255, 255, 5, 21, 255, 255, 6, 22, 255, 255, 7, 23},
      {255, 255, 8, 24, 255, 255, 9, 25, 255, 255, 10, 26, 255, 255, 11, 27},
      {255, 255, 12, 28, 255, 255, 13, 29, 255, 255, 14, 30, 255, 255, 15, 31}};
  const uint8x16_t packed = vld1q_u8(bytes);
  const uint8x16_t even = vandq_u8(packed, vdupq_n_u8(0xf));
  const uint8x16_t odd = vshrq_n_u8(packed, 4);
  const uint8x16_t codes[2] = {vzip1q_u8(even, odd), vzip2q_u8(even, odd)};
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    const uint8x16x2_t both = {{vqtbl1q_u8(vld1q_u8(kLower), codes[half]),
                                vqtbl1q_u8(vld1q_u8(kUpper), codes[half])}};
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      w[4 * half + i] =
          vreinterpretq_f32_u8(vqtbl2q_u8(both, vld1q_u8(kPlace[i])));
    }
  }
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

// The elements k .. k + 31 of a row of `length`, zeros beyond its end (or, in
// an odd row of e2m1, one code that a token's padding multiplies by zero).
template <WeightFormat kFormat>
inline void DecodeBlock(const uint8_t* row, int64_t k, int64_t length,
                        float32x4_t (&w)[kBlockVectors]) {
  constexpr int64_t kBits = BitsPerElement(kFormat);
  const uint8_t* bytes = row + k * kBits / 8;
  if (k + kBlock <= length) return DecodeBlock<kFormat>(bytes, w);
  uint8_t copy[kBlock * kBits / 8] = {};
  const int64_t count = ((length - k) * kBits + 7) / 8;
  for (int64_t i = 0; i < count; ++i) copy[i] = bytes[i];
  DecodeBlock<kFormat>(copy, w);
}

template <WeightFormat kFormat>
inline const uint8_t* RowBytes(const WeightView& w, int64_t n) {
  return static_cast<const uint8_t*>(w.data) +
         n * ((w.k * BitsPerElement(kFormat) + 7) / 8);
}

// What group g of row n as DecodeBlock has it is to be multiplied by.
template <WeightFormat kFormat>
inline float GroupScale(const WeightView& w, int64_t n, int64_t g) {
  const int64_t num_groups = NumGroups(w.k, w.group_size);
  if constexpr (kFormat == WeightFormat::kE2m1Free) {
    return w.group_scale[n * num_groups + g];
  } else if constexpr (kFormat == WeightFormat::kE4m3Groups) {
    return w.group_scale[n / w.scale_rows * num_groups + g] * 256.0f;
  } else if constexpr (kFormat == WeightFormat::kE2m1E4m3) {
    const uint32_t code = w.scale_code[n * num_groups + g];
    const uint16_t bits =
        static_cast<uint16_t>((code & 0x80) << 8 | (code & 0x7f) << 7);
    __fp16 half;
    __builtin_memcpy(&half, &bits, sizeof(half));
    return static_cast<float>(half) * 256.0f;
  } else {
    const uint32_t bits = (127u - w.shift[n * num_groups + g]) << 23;
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
