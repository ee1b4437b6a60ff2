// SPDX-License-Identifier: Apache-2.0
// Layout B: every code, shift and position, whatever the other weights are.
#include "kernels/cuda/layout_b.h"

#include <gtest/gtest.h>

#include <random>

namespace zqfp::kernels::cuda {
namespace {

TEST(LayoutB, EveryCodeShiftAndPosition) {
  std::mt19937 random(1);
  for (int shift = 0; shift < 15; ++shift) {
    const ShiftTable table = MakeShiftTable(shift);
    for (int position = 0; position < 8; ++position) {
      for (int code = 0; code < 16; ++code) {
        for (int others = 0; others < 3; ++others) {
          uint8_t codes[8];
          for (uint8_t& other : codes) {
            other = others == 0   ? 0
                    : others == 1 ? 15
                                  : static_cast<uint8_t>(random() % 16);
          }
          codes[position] = static_cast<uint8_t>(code);
          const E4m3Words words = UnpackLayoutB(PackLayoutB(codes), table);
          for (int i = 0; i < 8; ++i) {
            const uint32_t found = words.word[i / 4] >> (i % 4 * 8) & 0xff;
            ASSERT_EQ(found, ShiftedE2m1ToE4m3(codes[i], shift))
                << "code " << int{codes[i]} << " shift " << shift << " at "
                << i;
          }
        }
      }
    }
  }
}

// The published words of the table, and what they mean.
TEST(LayoutB, TableIsExact) {
  EXPECT_EQ(MakeShiftTable(0).low, 0x6C686000u);
  EXPECT_EQ(MakeShiftTable(0).high, 0x7C787470u);
  EXPECT_EQ(MakeShiftTable(14).low, 0x03020100u);
  EXPECT_EQ(MakeShiftTable(14).high, 0x0C080604u);
  for (int shift = 0; shift < 15; ++shift) {
    const ShiftTable table = MakeShiftTable(shift);
    for (int i = 0; i < 8; ++i) {
      const uint32_t word = i < 4 ? table.low : table.high;
      const uint8_t e4m3 = static_cast<uint8_t>(word >> (i % 4 * 8));
      EXPECT_EQ(E4m3ToFloat(e4m3),
                E2m1ToFloat(static_cast<uint8_t>(i)) * PowerOfTwo(6 - shift));
    }
  }
}

}  // namespace
}  // namespace zqfp::kernels::cuda
