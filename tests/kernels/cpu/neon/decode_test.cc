// SPDX-License-Identifier: Apache-2.0
// Every code of the small formats through the registers of AArch64, and the
// order that tokens share with e2m1 weights. Elsewhere there is nothing to run.
#if defined(__aarch64__)
#include "kernels/cpu/neon/decode.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "kernels/core/float_formats.h"

namespace zqfp::kernels::neon {
namespace {

// Equal bits but for a NaN's.
void ExpectSame(float found, float wanted, int code) {
  if (std::isnan(wanted)) {
    EXPECT_TRUE(std::isnan(found)) << code;
    return;
  }
  EXPECT_EQ(std::bit_cast<uint32_t>(found), std::bit_cast<uint32_t>(wanted))
      << code;
}

TEST(NeonDecodeTest, EveryE4m3Code) {
  uint8_t codes[256];
  for (int i = 0; i < 256; ++i) codes[i] = static_cast<uint8_t>(i);
  for (int i = 0; i < 256; i += kLanes) {
    float found[kLanes];
    Store(found, FromE4m3(LoadBytes(codes + i, kLanes)));
    for (int j = 0; j < kLanes; ++j) {
      ExpectSame(found[j], E4m3ToFloat(codes[i + j]), i + j);
    }
  }
  for (int i = 0; i < 256; i += kBlock) {
    float32x4_t found[kBlockVectors];
    DecodeBlock<WeightFormat::kE4m3>(codes + i, found);
    for (int j = 0; j < kBlock; ++j) {
      ExpectSame(found[j / 4][j % 4] * 256.0f, E4m3ToFloat(codes[i + j]),
                 i + j);
    }
  }
}

TEST(NeonDecodeTest, EveryE2m1CodeWhereTokensHaveTheirElement) {
  for (int first = 0; first < 256; ++first) {
    uint8_t bytes[kBlock / 2];
    float element[kBlock], in_order[kBlock];
    for (int i = 0; i < kBlock / 2; ++i) {
      bytes[i] = static_cast<uint8_t>(first + 17 * i);
    }
    for (int i = 0; i < kBlock; ++i) {
      element[i] = E2m1ToFloat(UnpackE2m1(bytes, i));
    }
    for (int i = 0; i < kBlock; i += 2 * kLanes) {
      StoreNibblesApart(in_order + i, Load(element + i),
                        Load(element + i + kLanes));
    }
    float32x4_t found[kBlockVectors];
    DecodeBlock<WeightFormat::kE2m1Shift>(bytes, found);
    for (int i = 0; i < kBlock; ++i) {
      ExpectSame(found[i / 4][i % 4], in_order[i], first);
    }
  }
}

TEST(NeonDecodeTest, HalvesOfABlockAreItsHalves) {
  float element[2 * kLanes], in_order[2 * kLanes];
  for (int i = 0; i < 2 * kLanes; ++i) element[i] = static_cast<float>(i);
  StoreNibblesApart(in_order, Load(element), Load(element + kLanes));
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) {
      EXPECT_EQ(in_order[4 * i + j], 8 * (i % 2) + 2 * j + i / 2);
    }
  }
}

TEST(NeonDecodeTest, ShortLoadsAndStoresTouchNothingElse) {
  for (int count = 0; count <= kLanes; ++count) {
    // Exactly as long as it may be: the sanitizers and a guard page see more.
    std::vector<float> source(count, 1.0f);
    float found[kLanes];
    Store(found, LoadF32(source.data(), count));
    for (int i = 0; i < kLanes; ++i) EXPECT_EQ(found[i], i < count ? 1 : 0);
    float target[kLanes] = {};
    StoreF32(target, count, Set(2.0f));
    for (int i = 0; i < kLanes; ++i) EXPECT_EQ(target[i], i < count ? 2 : 0);
  }
}

}  // namespace
}  // namespace zqfp::kernels::neon
#endif  // defined(__aarch64__)
