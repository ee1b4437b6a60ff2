// SPDX-License-Identifier: Apache-2.0
// Layout E as e5m2: every code in every place, beside any others.
#include "kernels/cuda/layout_e_fp8.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/core/float_formats.h"

namespace zqfp::kernels::cuda {
namespace {

// Where the code at `half` of pair p goes: byte column % 4 of row 0 or 1.
void ExpectUnpacked(uint32_t word) {
  const Fp8Rows rows = UnpackLayoutEToE5m2(word);
  for (int p = 0; p < 4; ++p) {
    for (int half = 0; half < 2; ++half) {
      const PairPlace place = PlaceOfPair(0, p);
      const uint32_t row = rows.row[place.row / 8];
      const uint32_t byte = row >> (place.column + half) * 8 & 0xff;
      const uint8_t code = LayoutECode(word, p, half);
      ASSERT_EQ(F16ToFloat(static_cast<uint16_t>(byte << 8)),
                std::ldexp(E2m1ToFloat(code), -14))
          << word << " pair " << p << " half " << half;
      ASSERT_EQ(byte >> 7, code >> 3) << word;  // of a zero, too
    }
  }
}

TEST(LayoutEFp8, EveryCodeInEveryPlace) {
  std::mt19937 random(1);
  for (int place = 0; place < 8; ++place) {
    for (uint8_t code = 0; code < 16; ++code) {
      for (int turn = 0; turn < 64; ++turn) {
        uint8_t codes[8];
        for (uint8_t& other : codes) {
          other = turn == 0 ? 0 : turn == 1 ? 15 : random() % 16;
        }
        codes[place] = code;
        ExpectUnpacked(PackLayoutE(codes));
      }
    }
  }
}

TEST(LayoutEFp8, AnyWord) {
  std::mt19937 random(2);
  for (int turn = 0; turn < 1 << 18; ++turn) {
    ExpectUnpacked(static_cast<uint32_t>(random()));
  }
}

// The bytes of a step of e4m3 codes, pair by pair.
TEST(LayoutEFp8, E4m3CodesKeepTheirOrder) {
  uint8_t eight[8] = {};
  for (int i = 0; i < 8; ++i) {
    const PairPlace place = PlaceOfPair(0, i / 2);
    eight[i] = static_cast<uint8_t>(place.row * 16 + place.column + i % 2);
  }
  uint32_t words[2];
  memcpy(words, eight, sizeof(eight));
  const Fp8Rows rows = UnpackE4m3(words[0], words[1]);
  EXPECT_EQ(rows.row[0], 0x03020100u);
  EXPECT_EQ(rows.row[1], 0x83828180u);
}

}  // namespace
}  // namespace zqfp::kernels::cuda
