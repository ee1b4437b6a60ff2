// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_DECODE_H_
#define ZQFP_KERNELS_CUDA_DECODE_H_

// Codes to f32 in a few instructions: float_formats.h says what they mean, and
// a test that both agree on every code.

#include <stdint.h>

#include <bit>
#include <limits>

namespace zqfp::kernels::cuda {

// A short float whose fields are moved into those of an f32 is the value times
// a power of two, subnormals included; the product with its inverse is exact
// (the build keeps subnormals).

constexpr float DecodeE2m1(uint32_t code) {
  const uint32_t bits = (code & 8) << 28 | (code & 7) << 22;
  return std::bit_cast<float>(bits) * 0x1p126f;
}

// Of a code of 0 .. 448.
constexpr float DecodePositiveE4m3(uint32_t code) {
  return std::bit_cast<float>(code << 20) * 0x1p120f;
}

constexpr float DecodeE4m3(uint32_t code) {
  const uint32_t bits = (code & 0x80) << 24 | (code & 0x7f) << 20;
  return (code & 0x7f) == 0x7f ? std::numeric_limits<float>::quiet_NaN()
                               : std::bit_cast<float>(bits) * 0x1p120f;
}

constexpr float DecodeBf16(uint32_t code) {
  return std::bit_cast<float>(code << 16);
}

constexpr float DecodeF16(uint32_t code) {
  const uint32_t sign = (code & 0x8000) << 16;
  const uint32_t magnitude = (code & 0x7fff) << 13;
  if ((code & 0x7c00) == 0x7c00) {
    return std::bit_cast<float>(sign | 0x70000000u | magnitude);
  }
  return std::bit_cast<float>(sign | magnitude) * 0x1p112f;
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_DECODE_H_
