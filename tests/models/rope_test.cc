// SPDX-License-Identifier: Apache-2.0
// Rotary embeddings of published models against transformers, recorded by
// tests/golden/rope_golden.py.
#include "models/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "models/config.h"
#include "tests/assets.h"

namespace zqfp {
namespace {

using nlohmann::json;

json Cases() {
  std::ifstream file(testing::SourcePath("tests/golden/rope.json"));
  return json::parse(file)["cases"];
}

// transformers forms theta^(2i/d), its reciprocal and each scaling in f32:
// some 8 roundings of 2^-24 (powf errs by less than an ulp), and dynamic
// scaling's theta carries its own through the power.
constexpr double kFrequencyError = 16.0 / (1 << 24);

TEST(Rope, FrequenciesAndAnglesEqualTransformers) {
  for (const json& c : Cases()) {
    const std::string name = c["name"];
    const auto config = ParseConfig(c["config"].dump(), name);
    ASSERT_TRUE(config.ok()) << config.status();
    const auto positions = c["positions"].get<std::vector<int64_t>>();
    const RopeFrequencies found =
        ComputeRopeFrequencies(*config, positions.back() + 1);
    const auto inverse = c["inverse"].get<std::vector<double>>();
    ASSERT_EQ(found.inverse.size(), inverse.size()) << name;
    for (size_t i = 0; i < inverse.size(); ++i) {
      EXPECT_NEAR(found.inverse[i] / inverse[i], 1.0, kFrequencyError)
          << name << ", pair " << i;
    }
    EXPECT_NEAR(found.attention_factor, c["attention_factor"].get<double>(),
                1e-9)
        << name;
    std::vector<float> cos(inverse.size()), sin(inverse.size());
    for (size_t row = 0; row < positions.size(); ++row) {
      RopeRow(found, positions[row], cos.data(), sin.data());
      for (size_t j = 0; j < c["pairs"].size(); ++j) {
        const size_t pair = c["pairs"][j];
        // The error of the frequency, times the position, and cosf's own.
        const double angle =
            static_cast<double>(positions[row]) * inverse[pair];
        const double bound =
            found.attention_factor * (angle * kFrequencyError + 2e-7);
        EXPECT_NEAR(cos[pair], c["cos"][row][j].get<double>(), bound)
            << name << ", position " << positions[row] << ", pair " << pair;
        EXPECT_NEAR(sin[pair], c["sin"][row][j].get<double>(), bound)
            << name << ", position " << positions[row] << ", pair " << pair;
      }
    }
  }
}

Config Plain(int64_t head_dim, double theta) {
  Config config;
  config.head_dim = head_dim;
  config.max_positions = 4096;
  config.rope.theta = theta;
  return config;
}

TEST(Rope, TheFirstPairTurnsOneRadianAPosition) {
  const auto frequencies = ComputeRopeFrequencies(Plain(8, 10000), 0);
  ASSERT_EQ(frequencies.inverse.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_DOUBLE_EQ(frequencies.inverse[i],
                     std::pow(10.0, -static_cast<double>(i)));
  }
  EXPECT_EQ(frequencies.attention_factor, 1.0);
  float cos[4], sin[4];
  RopeRow(frequencies, 0, cos, sin);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(cos[i], 1.0f);
    EXPECT_EQ(sin[i], 0.0f);
  }
  RopeRow(frequencies, 3, cos, sin);
  EXPECT_FLOAT_EQ(cos[0], std::cos(3.0f));
  EXPECT_FLOAT_EQ(sin[0], std::sin(3.0f));
}

// Within the trained context dynamic scaling does nothing; beyond, it depends
// on the length, and never turns faster than without.
TEST(Rope, DynamicScalingBeginsBeyondTheTrainedContext) {
  Config config = Plain(64, 10000);
  const auto plain = ComputeRopeFrequencies(config, 0).inverse;
  config.rope.scaling = RopeScaling::kDynamic;
  config.rope.factor = 4;
  config.rope.original_max_positions = 2048;
  EXPECT_EQ(ComputeRopeFrequencies(config, 1).inverse, plain);
  EXPECT_EQ(ComputeRopeFrequencies(config, 2048).inverse, plain);
  auto last = plain;
  for (const int64_t length : {2049, 4096, 8192, 100000}) {
    const auto inverse = ComputeRopeFrequencies(config, length).inverse;
    EXPECT_EQ(inverse[0], 1.0) << "the fastest pair stays";
    for (size_t i = 1; i < inverse.size(); ++i) {
      EXPECT_LT(inverse[i], last[i]) << length << ", pair " << i;
    }
    last = inverse;
  }
}

// Looked up or not, in whatever order they are asked for.
TEST(Rope, AnglesAreThoseOfTheLengthAndPosition) {
  RopeConfig plain;
  RopeConfig dynamic = {.scaling = RopeScaling::kDynamic,
                        .factor = 4,
                        .original_max_positions = 20};
  RopeConfig longrope = {.scaling = RopeScaling::kLongrope,
                         .factor = 4,
                         .original_max_positions = 20,
                         .short_factor = {1, 1, 1.5, 2},
                         .long_factor = {1, 2, 5, 9}};
  for (const RopeConfig& rope : {plain, dynamic, longrope}) {
    RopeAngles angles(rope, 8);
    for (const int64_t length : {1, 30, 20, 21, 30, 5, 40}) {
      for (const int64_t position : {length - 1, int64_t{0}, length / 2}) {
        float cos[4], sin[4], wanted_cos[4], wanted_sin[4];
        angles.Fill(length, position, cos, sin);
        RopeRow(ComputeRopeFrequencies(rope, 8, length), position, wanted_cos,
                wanted_sin);
        for (int i = 0; i < 4; ++i) {
          EXPECT_EQ(cos[i], wanted_cos[i]) << length << " " << position;
          EXPECT_EQ(sin[i], wanted_sin[i]) << length << " " << position;
        }
      }
    }
  }
}

}  // namespace
}  // namespace zqfp
