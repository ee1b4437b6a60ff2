// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CORE_RANDOM_VALUES_H_
#define ZQFP_KERNELS_CORE_RANDOM_VALUES_H_

// Random numbers that depend on (seed, index) only: however many threads fill
// an array, and on whichever machine, its elements are the same.

#include <stdint.h>

#include "kernels/core/float_formats.h"

namespace zqfp::kernels {

// What the elements of an array are.
enum class RandomKind : uint8_t {
  kByte,        // any: two e2m1 codes
  kFiniteE4m3,  // any code but the two NaNs
  kNormalE4m3,  // of about N(0, 112^2), as a quantized token is
  kShift,       // 0..3, of kE2m1Shift
  kBf16,        // of about N(0, unit^2), without a tail
  kF32,         // the same
  kConstant,    // f32: unit
};

constexpr int64_t BytesOf(RandomKind kind) {
  switch (kind) {
    case RandomKind::kBf16:
      return 2;
    case RandomKind::kF32:
    case RandomKind::kConstant:
      return 4;
    default:
      return 1;
  }
}

// SplitMix64.
constexpr uint64_t MixBits(uint64_t z) {
  z += 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

// The bits that element `index` is made of.
constexpr uint64_t RandomBits(uint64_t seed, int64_t index) {
  return MixBits(seed ^ static_cast<uint64_t>(index));
}

constexpr uint8_t RandomByte(uint64_t bits) {
  return static_cast<uint8_t>(bits >> 56);
}

constexpr uint8_t RandomFiniteE4m3(uint64_t bits) {
  const uint8_t code = RandomByte(bits);
  // 0x7f and 0xff are NaN.
  return (code & 0x7f) == 0x7f ? code ^ 0x10 : code;
}

// The sum of four uniform numbers, whose deviation is 1 / sqrt(3).
constexpr float RandomSum(uint64_t bits) {
  int32_t sum = 0;
  for (int i = 0; i < 4; ++i) {
    sum += static_cast<int32_t>(bits >> (16 * i) & 0xffff) - 0x8000;
  }
  return static_cast<float>(sum) / 0x8000 / 2;
}

constexpr uint8_t RandomNormalE4m3(uint64_t bits) {
  return FloatToE4m3(RandomSum(bits) * 194);
}

constexpr uint8_t RandomShift(uint64_t bits) {
  return static_cast<uint8_t>(bits >> 62);
}

// Uniform, of the deviation `unit`.
constexpr float RandomFloat(uint64_t bits, float unit) {
  constexpr float kRoot3 = 1.7320508f;
  const int32_t centred = static_cast<int32_t>(bits >> 40) - (1 << 23);
  return static_cast<float>(centred) * (unit * kRoot3 / float(1 << 23));
}

}  // namespace zqfp::kernels

#endif  // ZQFP_KERNELS_CORE_RANDOM_VALUES_H_
