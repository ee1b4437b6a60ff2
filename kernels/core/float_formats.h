// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CORE_FLOAT_FORMATS_H_
#define ZQFP_KERNELS_CORE_FLOAT_FORMATS_H_

// The number formats, exactly: what each code means and how a float rounds.
//
//   e2m1   s ee m        0 .5 1 1.5 2 3 4 6, both signs; no inf, no NaN
//   e4m3   s eeee mmm    max 448, min normal 2^-6, min subnormal 2^-9;
//                        0x7f and 0xff are NaN, no inf (OCP "fn")
//   e5m2   s eeeee mm    max 57344; inf and NaN as in IEEE
//   ue8m0  eeeeeeee      2^(b - 127); 0xff is NaN
//   bf16   s e*8 m*7     the upper half of an f32
//   f16    s e*5 m*10    IEEE binary16
//
// Rounding is to nearest, ties to even. The 4 and 8 bit formats saturate at
// their largest finite value; a NaN stays one where the format has one.

#include <stdint.h>

#include <bit>
#include <cmath>
#include <limits>

namespace zqfp::kernels {

inline constexpr float kE2m1Max = 6.0f;
inline constexpr float kE4m3Max = 448.0f;
inline constexpr float kE5m2Max = 57344.0f;

// A sign, exponent_bits and mantissa_bits of an IEEE-like format whose largest
// finite magnitude has the code max_code.
struct MiniFloat {
  int exponent_bits;
  int mantissa_bits;
  uint32_t max_code;

  constexpr int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  constexpr int sign_shift() const { return exponent_bits + mantissa_bits; }
};

inline constexpr MiniFloat kE2m1 = {2, 1, 0x7};
inline constexpr MiniFloat kE4m3 = {4, 3, 0x7e};
inline constexpr MiniFloat kE5m2 = {5, 2, 0x7b};
inline constexpr MiniFloat kF16 = {5, 10, 0x7bff};

// 2^exponent for -149 <= exponent <= 127.
constexpr float PowerOfTwo(int exponent) {
  if (exponent >= -126) {
    return std::bit_cast<float>(static_cast<uint32_t>(exponent + 127) << 23);
  }
  return std::bit_cast<float>(uint32_t{1} << (exponent + 149));
}

// The value of a finite code.
constexpr float DecodeFinite(MiniFloat format, uint32_t code) {
  const uint32_t mantissa = code & ((1u << format.mantissa_bits) - 1);
  const uint32_t exponent =
      (code >> format.mantissa_bits) & ((1u << format.exponent_bits) - 1);
  const bool negative = (code >> format.sign_shift()) & 1;
  const int unit = 1 - format.bias() - format.mantissa_bits;  // of subnormals
  const uint32_t hidden = exponent == 0 ? 0 : 1u << format.mantissa_bits;
  const int scale = unit + (exponent == 0 ? 0 : static_cast<int>(exponent) - 1);
  const float magnitude =
      static_cast<float>(hidden + mantissa) * PowerOfTwo(scale);
  return negative ? -magnitude : magnitude;
}

// The code nearest to |x| (no sign), ties to even, at most max_code + 1 (which
// tells the caller that x is beyond the largest finite value). x is not NaN.
constexpr uint32_t EncodeMagnitude(MiniFloat format, float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x) & 0x7fffffffu;
  const int exponent = static_cast<int>(bits >> 23) - 127;
  const int min_normal = 1 - format.bias();
  // Subnormals of the target lose one more bit per power of two.
  const int extra = exponent < min_normal ? min_normal - exponent : 0;
  const int drop = 23 - format.mantissa_bits + extra;
  if (drop > 24) return 0;  // below half of the smallest subnormal
  const uint32_t significand =
      (bits & 0x7fffffu) | (bits >> 23 ? 0x800000u : 0);
  const uint32_t kept = significand >> drop;
  const uint32_t rest = significand & ((1u << drop) - 1);
  const uint32_t half = 1u << (drop - 1);
  const uint32_t rounded =
      kept + (rest > half || (rest == half && (kept & 1)) ? 1 : 0);
  // A carry out of the mantissa moves on to the next exponent by itself.
  const uint32_t base = extra > 0 ? 0
                                  : static_cast<uint32_t>(exponent - min_normal)
                                        << format.mantissa_bits;
  const uint32_t code = base + rounded;
  return code > format.max_code ? format.max_code + 1 : code;
}

constexpr uint32_t SignBit(float x) { return std::bit_cast<uint32_t>(x) >> 31; }
constexpr bool IsNan(float x) { return x != x; }

// --- e2m1: code = sign << 3 | magnitude index ------------------------------

constexpr float E2m1ToFloat(uint8_t code) { return DecodeFinite(kE2m1, code); }

// Saturates at 6; e2m1 has no NaN, so callers refuse one before.
constexpr uint8_t FloatToE2m1(float x) {
  const uint32_t code = IsNan(x) ? 0 : EncodeMagnitude(kE2m1, x);
  const uint32_t magnitude = code > kE2m1.max_code ? kE2m1.max_code : code;
  return static_cast<uint8_t>(SignBit(x) << 3 | magnitude);
}

// Two codes a byte, the even k index in the low nibble.
constexpr uint8_t PackE2m1(uint8_t even, uint8_t odd) {
  return static_cast<uint8_t>(even | odd << 4);
}
constexpr uint8_t UnpackE2m1(const uint8_t* row, int64_t k_index) {
  return static_cast<uint8_t>((row[k_index / 2] >> (k_index % 2 * 4)) & 0xf);
}

// --- e4m3 -------------------------------------------------------------------

constexpr float E4m3ToFloat(uint8_t code) {
  if ((code & 0x7f) == 0x7f) return std::numeric_limits<float>::quiet_NaN();
  return DecodeFinite(kE4m3, code);
}

constexpr uint8_t FloatToE4m3(float x) {
  if (IsNan(x)) return 0x7f;
  const uint32_t code = EncodeMagnitude(kE4m3, x);
  const uint32_t magnitude = code > kE4m3.max_code ? kE4m3.max_code : code;
  return static_cast<uint8_t>(SignBit(x) << 7 | magnitude);
}

// The e4m3 code of e2m1(code) * 2^(6 - shift): exact for shift 0..kMaxShift,
// which is how FP4 weights become FP8 weights without rounding.
constexpr uint8_t ShiftedE2m1ToE4m3(uint8_t code, int shift) {
  return FloatToE4m3(E2m1ToFloat(code) * PowerOfTwo(6 - shift));
}

// --- e5m2 -------------------------------------------------------------------

constexpr float E5m2ToFloat(uint8_t code) {
  if ((code & 0x7f) > 0x7c) return std::numeric_limits<float>::quiet_NaN();
  if ((code & 0x7f) == 0x7c) {
    const float infinity = std::numeric_limits<float>::infinity();
    return code & 0x80 ? -infinity : infinity;
  }
  return DecodeFinite(kE5m2, code);
}

constexpr uint8_t FloatToE5m2(float x) {
  if (IsNan(x)) return 0x7f;
  const uint32_t code = EncodeMagnitude(kE5m2, x);
  const uint32_t magnitude = code > kE5m2.max_code ? kE5m2.max_code : code;
  return static_cast<uint8_t>(SignBit(x) << 7 | magnitude);
}

// --- ue8m0 ------------------------------------------------------------------

constexpr float Ue8m0ToFloat(uint8_t code) {
  if (code == 0xff) return std::numeric_limits<float>::quiet_NaN();
  return PowerOfTwo(static_cast<int>(code) - 127);
}

// The smallest power of two >= x, for 0 < x <= 2^127; a NaN or x <= 0 gives
// NaN, larger ones saturate.
constexpr uint8_t FloatToUe8m0Ceil(float x) {
  if (!(x > 0)) return 0xff;
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint32_t exponent = bits >> 23;
  const uint32_t fraction = bits & 0x7fffffu;
  // 2^-127 is a subnormal f32: half of the smallest normal.
  if (exponent == 0) return fraction <= 0x400000u ? 0 : 1;
  const uint32_t code = exponent + (fraction != 0 ? 1 : 0);
  return static_cast<uint8_t>(code > 254 ? 254 : code);
}

// --- bf16 and f16 -----------------------------------------------------------

constexpr float Bf16ToFloat(uint16_t code) {
  return std::bit_cast<float>(static_cast<uint32_t>(code) << 16);
}

constexpr uint16_t FloatToBf16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if (IsNan(x)) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16);
}

constexpr float F16ToFloat(uint16_t code) {
  if ((code & 0x7c00) == 0x7c00) {
    const uint32_t bits = static_cast<uint32_t>(code & 0x8000) << 16 |
                          0x7f800000u | (code & 0x3ffu) << 13;
    return std::bit_cast<float>(bits);
  }
  return DecodeFinite(kF16, code);
}

// Overflow gives an infinity, as IEEE wants.
constexpr uint16_t FloatToF16(float x) {
  const uint32_t sign = SignBit(x) << 15;
  if (IsNan(x)) return static_cast<uint16_t>(sign | 0x7e00u);
  return static_cast<uint16_t>(sign | EncodeMagnitude(kF16, x));
}

}  // namespace zqfp::kernels

#endif  // ZQFP_KERNELS_CORE_FLOAT_FORMATS_H_
