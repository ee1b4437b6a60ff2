// SPDX-License-Identifier: Apache-2.0
// Rounding of tokens to formats that are simulated: values worked out by hand,
// and the properties that define a format.
#include "models/simulated_activations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kernels/backend.h"
#include "kernels/core/float_formats.h"

namespace zqfp {
namespace {

using ::testing::ElementsAre;

std::vector<float> Round(ActivationFormat format, const std::vector<float>& x,
                         int64_t num_tokens = 1) {
  std::vector<float> y(x.size());
  RoundTokens(format,
              {num_tokens, static_cast<int64_t>(x.size()) / num_tokens,
               x.data(), y.data()},
              {});
  return y;
}

TEST(SimulatedActivationsTest, ByHand) {
  // The largest becomes 448 (e4m3) or 57344 (e5m2) units.
  EXPECT_THAT(Round(ActivationFormat::kE4m3, {448, 17, -18, 0.0009f}),
              ElementsAre(448, 16, -18, 0.0f));
  EXPECT_THAT(Round(ActivationFormat::kE5m2, {-57344, 9, 11, 5}),
              ElementsAre(-57344, 8, 12, 5));
  // Next to nothing is nothing, and the widest range has no infinity in it.
  EXPECT_THAT(Round(ActivationFormat::kInt8, {0, 1e-43f}), ElementsAre(0, 0));
  for (const float y : Round(ActivationFormat::kInt8, {-3e38f, 3e38f})) {
    EXPECT_TRUE(std::isfinite(y));
  }
  // min -1, max 254: one unit is 1, ties go to even.
  EXPECT_THAT(Round(ActivationFormat::kInt8, {-1, 254, 2.5f, 3.5f, -0.25f}),
              ElementsAre(-1, 254, 2, 4, 0));
  // A range of one sign is widened to hold 0.
  EXPECT_THAT(Round(ActivationFormat::kInt8, {510, 255, 1.1f}),
              ElementsAre(510, 256, 2));
  EXPECT_THAT(Round(ActivationFormat::kBf16, {1.00390625f, 1.01171875f}),
              ElementsAre(1.0f, 1.015625f));
  EXPECT_THAT(Round(ActivationFormat::kNone, {0.1f, 7}), ElementsAre(0.1f, 7));
}

// The scale of the file, whatever the values are; beyond 448 it saturates.
TEST(SimulatedActivationsTest, StaticScale) {
  const std::vector<float> x = {0.5f, 0.53f, -8.5f, 1000, -1e30f, 0};
  std::vector<float> y(x.size());
  RoundTokens(
      ActivationFormat::kE4m3Static,
      {.num_tokens = 2, .dim = 3, .x = x.data(), .y = y.data(), .scale = 0.5f},
      {});
  EXPECT_THAT(y, ElementsAre(0.5f, 0.5f, -8, 224, -224, 0));
}

// Each group as a token of its own, the last one short; in place.
TEST(SimulatedActivationsTest, GroupsOfColumns) {
  std::vector<float> x = {448, 17, 4.48f, 0.17f, -18};
  const std::vector<float> first = Round(ActivationFormat::kE4m3, {448, 17});
  const std::vector<float> second =
      Round(ActivationFormat::kE4m3, {4.48f, 0.17f});
  RoundTokens(ActivationFormat::kE4m3Groups,
              {.num_tokens = 1,
               .dim = 5,
               .x = x.data(),
               .y = x.data(),
               .group_size = 2},
              {});
  EXPECT_THAT(x, ElementsAre(first[0], first[1], second[0], second[1], -18));
  EXPECT_NE(second[1], 0.17f);
}

TEST(SimulatedActivationsTest, ZerosStay) {
  for (const ActivationFormat format :
       {ActivationFormat::kE4m3, ActivationFormat::kE5m2,
        ActivationFormat::kInt8, ActivationFormat::kBf16}) {
    EXPECT_THAT(Round(format, {0, 0}), ElementsAre(0, 0));
  }
}

// Each token has its own scale, and what is not finite stays in its token.
TEST(SimulatedActivationsTest, NotFiniteSurfaces) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const ActivationFormat format :
       {ActivationFormat::kE4m3, ActivationFormat::kE5m2,
        ActivationFormat::kInt8, ActivationFormat::kBf16}) {
    const std::vector<float> y =
        Round(format, {1, 2, nan, 4, infinity, 1, 2, -4}, 4);
    EXPECT_TRUE(std::isnan(y[2])) << ToString(format);
    EXPECT_EQ(y[4], infinity);
    EXPECT_EQ(y[1], 2);
    EXPECT_EQ(y[7], -4);
  }
}

// The same numbers as the op that the W4A8 path uses.
TEST(SimulatedActivationsTest, E4m3IsWhatQuantizeTokensDoes) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> x(3 * 100);
  for (float& value : x) value = normal(random);
  const std::vector<float> y = Round(ActivationFormat::kE4m3, x, 3);
  std::vector<uint8_t> codes(x.size());
  std::vector<float> scales(3);
  kernels::MakeBackend("reference")
      ->ops.quantize_tokens({3, 100, x.data(), codes.data(), scales.data()},
                            {});
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(y[i], scales[i / 100] * kernels::E4m3ToFloat(codes[i]));
  }
}

// Every exponent and sign, with the mantissas next to a tie of e4m3 (of its
// subnormals too) and some between.
std::vector<float> ManyFloats() {
  std::vector<float> floats;
  for (uint32_t high = 0; high < 0x10000; ++high) {
    for (const uint32_t low : {0u, 1u, 0x7fffu, 0x8000u, 0xffffu}) {
      const auto value = std::bit_cast<float>(high << 16 | low);
      if (std::isfinite(value)) floats.push_back(value);
    }
  }
  return floats;
}

TEST(SimulatedActivationsTest, E4m3IsTheFormatsOwnRounding) {
  const std::vector<float> x = ManyFloats();
  std::vector<float> y(x.size());
  const auto size = static_cast<int64_t>(x.size());
  for (const float scale : {1.0f, 0.375f, 0x1p-100f}) {
    RoundTokens(ActivationFormat::kE4m3Static,
                {.num_tokens = 1,
                 .dim = size,
                 .x = x.data(),
                 .y = y.data(),
                 .scale = scale},
                {});
    for (size_t i = 0; i < x.size(); ++i) {
      const float wanted =
          scale * kernels::E4m3ToFloat(kernels::FloatToE4m3(x[i] / scale));
      // Zeros with their sign.
      ASSERT_EQ(std::bit_cast<uint32_t>(y[i]), std::bit_cast<uint32_t>(wanted))
          << x[i] << " / " << scale;
    }
  }
}

}  // namespace
}  // namespace zqfp
