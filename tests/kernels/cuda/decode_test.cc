// SPDX-License-Identifier: Apache-2.0
// Every code means what float_formats.h says.
#include "kernels/cuda/decode.h"

#include <gtest/gtest.h>

#include <bit>

#include "kernels/core/float_formats.h"

namespace zqfp::kernels::cuda {
namespace {

void ExpectSame(float found, float wanted, uint32_t code) {
  if (IsNan(wanted)) {
    EXPECT_TRUE(IsNan(found)) << code;
  } else {
    EXPECT_EQ(std::bit_cast<uint32_t>(found), std::bit_cast<uint32_t>(wanted))
        << code;
  }
}

TEST(Decode, EveryCode) {
  for (uint32_t code = 0; code < 16; ++code) {
    ExpectSame(DecodeE2m1(code), E2m1ToFloat(static_cast<uint8_t>(code)), code);
  }
  for (uint32_t code = 0; code < 256; ++code) {
    const float wanted = E4m3ToFloat(static_cast<uint8_t>(code));
    ExpectSame(DecodeE4m3(code), wanted, code);
    if (code < 0x7f) ExpectSame(DecodePositiveE4m3(code), wanted, code);
  }
  for (uint32_t code = 0; code < 1 << 16; ++code) {
    const uint16_t half = static_cast<uint16_t>(code);
    ExpectSame(DecodeBf16(code), Bf16ToFloat(half), code);
    ExpectSame(DecodeF16(code), F16ToFloat(half), code);
  }
}

}  // namespace
}  // namespace zqfp::kernels::cuda
