// SPDX-License-Identifier: Apache-2.0
#include "engine/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace zqfp {
namespace {

TEST(Statistics, MeanAndItsError) {
  EXPECT_EQ(Mean(std::vector<double>{}), 0);
  EXPECT_EQ(Mean(std::vector<double>{1, 2, 6}), 3);
  EXPECT_EQ(StandardError(std::vector<double>{}), 0);
  EXPECT_EQ(StandardError(std::vector<double>{5}), 0);
  // Deviations -2, -1, 3: s^2 = 14 / 2, so sqrt(7 / 3).
  EXPECT_DOUBLE_EQ(StandardError(std::vector<double>{1, 2, 6}),
                   std::sqrt(7.0 / 3));
  EXPECT_EQ(StandardError(std::vector<double>{4, 4, 4}), 0);
}

TEST(Statistics, QuantilesInterpolate) {
  const std::vector<double> sorted = {0, 10, 30, 40};
  EXPECT_EQ(Quantile(sorted, 0), 0);
  EXPECT_EQ(Quantile(sorted, 1), 40);
  EXPECT_EQ(Quantile(sorted, 0.5), 20);  // halfway from 10 to 30
  EXPECT_DOUBLE_EQ(Quantile(sorted, 0.25), 7.5);
  EXPECT_DOUBLE_EQ(Quantile(sorted, 0.99), 39.7);
  EXPECT_EQ(Quantile(std::vector<double>{3}, 0.7), 3);
  EXPECT_EQ(Quantile(sorted, 2), 40);
  EXPECT_EQ(Quantile(sorted, -1), 0);
}

}  // namespace
}  // namespace zqfp
