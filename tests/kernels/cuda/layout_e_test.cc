// SPDX-License-Identifier: Apache-2.0
// Layout E, every half word: the f16 that it unpacks to are the codes that were
// packed, whatever the other half holds.
#include "kernels/cuda/layout_e.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <random>
#include <set>
#include <thread>

#include "kernels/core/float_formats.h"
#include "kernels/cuda/packed_weight.h"

namespace zqfp::kernels::cuda {
namespace {

// Whether all eight f16 of the word are its codes times 2^-14, sign of zero
// included. The codes come from the card's table of bits, written out again.
bool UnpacksExactly(uint32_t word) {
  constexpr int kSign[4] = {15, 12, 14, 13};
  constexpr int kMagnitude[4] = {9, 6, 3, 0};
  const F16Pairs pairs = UnpackLayoutE(word);
  for (int i = 0; i < 8; ++i) {
    const uint32_t half = word >> (i % 2 * 16);
    const uint32_t code =
        (half >> kSign[i / 2] & 1) << 3 | (half >> kMagnitude[i / 2] & 7);
    // value * 2^-14 in f16: exponent field 0 or ee, mantissa m at the top.
    const uint32_t want = (code & 8) << 12 | (code & 7) << 9;
    if ((pairs.pair[i / 2] >> (i % 2 * 16) & 0xffff) != want) return false;
  }
  return true;
}

TEST(LayoutE, FieldIsTheValueInF16) {
  for (uint8_t code = 0; code < 16; ++code) {
    const uint32_t field = uint32_t{code & 8u} << 12 | uint32_t{code & 7u} << 9;
    EXPECT_EQ(F16ToFloat(static_cast<uint16_t>(field)) * kLayoutEUnit,
              E2m1ToFloat(code));
  }
}

TEST(LayoutE, EveryHalfUnpacksWhateverTheOther) {
  std::mt19937 random(1);
  for (uint32_t half = 0; half < 1 << 16; ++half) {
    for (const uint32_t other :
         {0u, 0xffffu, static_cast<uint32_t>(random()) & 0xffffu}) {
      ASSERT_TRUE(UnpacksExactly(other << 16 | half)) << half;
      ASSERT_TRUE(UnpacksExactly(half << 16 | other)) << half;
    }
  }
}

// All 2^32 words, minutes: ZQFP_EXHAUSTIVE=1. Else one of 4093.
TEST(LayoutE, EveryWordUnpacks) {
  const bool all = getenv("ZQFP_EXHAUSTIVE") != nullptr;
  const uint64_t stride = all ? 1 : 4093;
  bool good[2] = {true, true};
  const auto check = [&](int part) {
    const uint64_t begin = uint64_t{1} << 31;
    for (uint64_t word = begin * part; word < begin * (part + 1);
         word += stride) {
      good[part] &= UnpacksExactly(static_cast<uint32_t>(word));
    }
  };
  std::thread upper(check, 1);
  check(0);
  upper.join();
  EXPECT_TRUE(good[0] && good[1]);
}

TEST(LayoutE, PackIsTheInverse) {
  std::mt19937 random(2);
  for (int turn = 0; turn < 100000; ++turn) {
    const uint32_t word = static_cast<uint32_t>(random());
    uint8_t codes[8];
    for (int i = 0; i < 8; ++i) codes[i] = LayoutECode(word, i / 2, i % 2);
    ASSERT_EQ(PackLayoutE(codes), word);
    const F16Pairs pairs = UnpackLayoutE(word);
    for (int i = 0; i < 8; ++i) {
      const uint32_t f16 = pairs.pair[i / 2] >> (i % 2 * 16) & 0xffff;
      ASSERT_EQ(F16ToFloat(static_cast<uint16_t>(f16)) * kLayoutEUnit,
                E2m1ToFloat(codes[i]));
    }
  }
}

// The pairs of a step are its 16 x 16 weights, each once, and QuadOffset finds
// them again.
TEST(LayoutE, EveryWeightHasOnePlace) {
  for (const WeightFormat format :
       {WeightFormat::kE2m1Free, WeightFormat::kE4m3}) {
    const PackedWeight w = DescribePacked(
        {.format = format, .n = 40, .k = 130, .group_size = 32}, nullptr);
    EXPECT_EQ(w.num_slabs, 3);
    EXPECT_EQ(w.num_chunks, 3);
    const int quad_bytes = w.code_format == CodeFormat::kE2m1 ? 4 : 8;
    std::set<int64_t> places;
    for (int64_t n = 0; n < 48; ++n) {
      for (int64_t k = 0; k < 192; k += 4) {
        const int64_t offset = QuadOffset(w, n, k);
        EXPECT_EQ(offset % quad_bytes, 0);
        places.insert(offset * 2 + n % 16 / 8);
      }
    }
    EXPECT_EQ(places.size(), 48u * 48u);
    EXPECT_EQ(*places.rbegin() / 2 + quad_bytes,
              3 * 3 * ChunkBytes(w.code_format));
  }
  std::set<int> weights;
  for (int lane = 0; lane < 32; ++lane) {
    for (int pair = 0; pair < 4; ++pair) {
      const PairPlace place = PlaceOfPair(lane, pair);
      EXPECT_EQ(ThreadOfQuad(place.column / 4), lane % 4);
      weights.insert(place.row * 16 + place.column);
      weights.insert(place.row * 16 + place.column + 1);
    }
  }
  EXPECT_EQ(weights.size(), 256u);
}

}  // namespace
}  // namespace zqfp::kernels::cuda
