// SPDX-License-Identifier: Apache-2.0
#include "models/mxfp4.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/core/float_formats.h"
#include "kernels/core/views.h"

namespace zqfp {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Rows of 64 columns: two groups of 16 bytes.
struct Tensor64 {
  explicit Tensor64(std::vector<uint8_t> scales)
      : exponents(std::move(scales)), codes(exponents.size() * 16, 0x21) {}

  void Clear(size_t group) {
    // Both zeros of e2m1: +0 low, -0 high.
    std::fill_n(codes.begin() + static_cast<std::ptrdiff_t>(group * 16), 16,
                0x80);
  }
  absl::StatusOr<Mxfp4Scales> Decide() const {
    return DecideMxfp4Scales({static_cast<int64_t>(exponents.size() / 2), 64,
                              32, codes.data(), exponents.data()},
                             "file: tensor");
  }
  std::vector<uint8_t> exponents;
  std::vector<uint8_t> codes;
};

TEST(Mxfp4Test, RowsWithinTheWindowShift) {
  const auto scales = Tensor64({127, 113, 100, 114}).Decide();
  ASSERT_TRUE(scales.ok()) << scales.status();
  EXPECT_FALSE(scales->is_free());
  EXPECT_THAT(scales->row_scale, ElementsAre(1, std::ldexp(1.0f, -13)));
  EXPECT_THAT(scales->shift, ElementsAre(0, 14, 14, 0));
}

TEST(Mxfp4Test, OneStepMoreGoesFree) {
  const auto scales = Tensor64({127, 127, 127, 112}).Decide();
  ASSERT_TRUE(scales.ok()) << scales.status();
  EXPECT_TRUE(scales->is_free());
  EXPECT_EQ(scales->widest_row, 1);
  EXPECT_EQ(scales->widest_span, 15);
  EXPECT_THAT(scales->shift, IsEmpty());
  EXPECT_THAT(scales->group_scale, ElementsAre(1, 1, 1, std::ldexp(1.0f, -15)));
}

// The exponent of nothing but zeros is of no weight.
TEST(Mxfp4Test, GroupsOfZerosDoNotWiden) {
  Tensor64 tensor({0, 127, 254, 127, 10, 20});
  for (const size_t group : {0, 2, 4, 5}) tensor.Clear(group);
  const auto scales = tensor.Decide();
  ASSERT_TRUE(scales.ok()) << scales.status();
  ASSERT_FALSE(scales->is_free());
  EXPECT_THAT(scales->row_scale, ElementsAre(1, 1, 1));
  EXPECT_EQ(scales->shift[1], 0);
  EXPECT_EQ(scales->shift[3], 0);
}

TEST(Mxfp4Test, TheEndsOfTheRangeAreExact) {
  const auto least = Tensor64({0, 0}).Decide();
  ASSERT_TRUE(least.ok()) << least.status();
  EXPECT_EQ(least->row_scale[0], std::ldexp(1.0f, -127));  // a subnormal
  const auto most = Tensor64({252, 252}).Decide();
  ASSERT_TRUE(most.ok()) << most.status();
  EXPECT_TRUE(std::isfinite(6 * most->row_scale[0]));
}

TEST(Mxfp4Test, RefusesWhatIsNoScale) {
  Tensor64 zeros({255, 127});
  zeros.Clear(0);
  for (const auto& scales : {Tensor64({127, 255}).Decide(),
                             Tensor64({253, 253}).Decide(), zeros.Decide()}) {
    EXPECT_EQ(scales.status().code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(scales.status().message()),
                HasSubstr("file: tensor: want ue8m0 scales of 0..252"));
    EXPECT_THAT(std::string(scales.status().message()), HasSubstr("row 0"));
  }
}

// Whatever the exponents: the scales are the file's powers of two.
TEST(Mxfp4Test, EveryWeightKeepsItsValue) {
  std::mt19937 random(1);
  int free = 0;
  for (int turn = 0; turn < 200; ++turn) {
    std::vector<uint8_t> exponents;
    const uint32_t width = 1 + static_cast<uint32_t>(turn) % 20;
    for (int i = 0; i < 8; ++i) {
      exponents.push_back(static_cast<uint8_t>(100 + random() % width));
    }
    const auto scales = Tensor64(exponents).Decide();
    ASSERT_TRUE(scales.ok()) << scales.status();
    free += scales->is_free() ? 1 : 0;
    for (size_t i = 0; i < exponents.size(); ++i) {
      const double scale =
          scales->is_free()
              ? scales->group_scale[i]
              : std::ldexp(scales->row_scale[i / 2], -scales->shift[i]);
      EXPECT_EQ(scale, std::ldexp(1.0, exponents[i] - 127));
    }
  }
  EXPECT_GT(free, 0);
  EXPECT_LT(free, 200);
}

}  // namespace
}  // namespace zqfp
