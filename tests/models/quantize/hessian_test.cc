// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/hessian.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "tests/models/quantize/calibrated_matrix.h"

namespace zqfp {
namespace {

using testing::CalibratedMatrix;
using ::testing::HasSubstr;

// H by its definition, in f64, damped and in the order of the factors.
double Entry(const CalibratedMatrix& m, const HessianFactors& factors,
             double damping, int64_t i, int64_t j) {
  const auto h = [&](int64_t a, int64_t b) {
    double sum = 0;
    for (int64_t t = 0; t < m.tokens; ++t) {
      sum += double{m.x[t * m.k + a]} * m.x[t * m.k + b];
    }
    return sum;
  };
  double mean = 0;
  for (int64_t a = 0; a < m.k; ++a) mean += h(a, a) / m.k;
  return h(factors.order[i], factors.order[j]) + (i == j ? damping * mean : 0);
}

TEST(HessianTest, FactorsAreThoseOfTheDampedProduct) {
  for (const int64_t k : {1, 7, 70}) {
    const CalibratedMatrix m(3, k, 2 * k + 5);
    for (const ColumnOrder order :
         {ColumnOrder::kAsStored, ColumnOrder::kByActivation}) {
      const auto factors = m.hessian.Factor(order, 0.01, {});
      ASSERT_TRUE(factors.ok()) << factors.status();
      double largest = 0;
      for (int64_t i = 0; i < k; ++i) {
        largest = std::max(largest, Entry(m, *factors, 0.01, i, i));
      }
      // Sums of `tokens` products in f32, a root rounded to f32.
      const double bound = largest * (m.tokens + k) * 0x1p-23;
      for (int64_t i = 0; i < k; ++i) {
        for (int64_t j = 0; j < k; ++j) {
          double product = 0, unit = 0;
          for (int64_t l = 0; l < k; ++l) {
            product +=
                double{factors->root[i * k + l]} * factors->root[j * k + l];
            unit += double{factors->root[i * k + l]} *
                    factors->inverse_root[l * k + j];
          }
          EXPECT_NEAR(product, Entry(m, *factors, 0.01, i, j), bound);
          EXPECT_NEAR(unit, i == j, 1e-3);
          if (j < i) {
            EXPECT_EQ(factors->root[i * k + j], 0);
            EXPECT_EQ(factors->inverse_root[i * k + j], 0);
          }
        }
      }
    }
  }
}

TEST(HessianTest, LargestActivationsComeFirst) {
  const CalibratedMatrix m(3, 40, 200);
  const auto factors = m.hessian.Factor(ColumnOrder::kByActivation, 0.01, {});
  const std::vector<float> importance = m.hessian.Importance();
  std::vector<bool> seen(40);
  for (size_t i = 0; i < 40; ++i) {
    seen[static_cast<size_t>(factors->order[i])] = true;
    if (i == 0) continue;
    EXPECT_GE(importance[static_cast<size_t>(factors->order[i - 1])],
              importance[static_cast<size_t>(factors->order[i])]);
  }
  EXPECT_THAT(seen, ::testing::Each(true));
  const auto stored = m.hessian.Factor(ColumnOrder::kAsStored, 0.01, {});
  for (int32_t i = 0; i < 40; ++i) {
    EXPECT_EQ(stored->order[static_cast<size_t>(i)], i);
  }
}

TEST(HessianTest, ImportanceIsTheMeanSquare) {
  const CalibratedMatrix m(3, 5, 64);
  const std::vector<float> importance = m.hessian.Importance();
  for (int64_t i = 0; i < 5; ++i) {
    double sum = 0;
    for (int64_t t = 0; t < 64; ++t) {
      sum += double{m.x[t * 5 + i]} * m.x[t * 5 + i];
    }
    EXPECT_NEAR(importance[i], sum / 64, 1e-5 * sum);
  }
}

// Fewer tokens than columns, and columns that are always zero: damping makes
// the matrix invertible.
TEST(HessianTest, SingularMatricesAreDamped) {
  const CalibratedMatrix few(3, 60, 4);
  EXPECT_TRUE(few.hessian.Factor(ColumnOrder::kByActivation, 0.01, {}).ok());
  testing::QuantizeBench bench;
  Hessian dead(8);
  std::vector<float> x(8 * 20, 0.0f);
  for (size_t t = 0; t < 20; ++t) x[t * 8 + 3] = 1;
  dead.Add(x.data(), 20, bench.backend.ops, bench.machine().exec);
  const auto factors = dead.Factor(ColumnOrder::kByActivation, 1e-6, {});
  ASSERT_TRUE(factors.ok()) << factors.status();
  for (const float value : factors->inverse_root) {
    EXPECT_TRUE(std::isfinite(value));
  }
}

TEST(HessianTest, WhatIsNotFiniteOrAllZeroIsRefused) {
  testing::QuantizeBench bench;
  for (const float value : {0.0f, std::numeric_limits<float>::quiet_NaN(),
                            std::numeric_limits<float>::infinity()}) {
    Hessian hessian(4);
    const std::vector<float> x(12, value);
    hessian.Add(x.data(), 3, bench.backend.ops, bench.machine().exec);
    const auto factors = hessian.Factor(ColumnOrder::kAsStored, 0.01, {});
    ASSERT_FALSE(factors.ok());
    EXPECT_THAT(std::string(factors.status().message()),
                HasSubstr("want inputs that are finite and not all 0"));
  }
}

}  // namespace
}  // namespace zqfp
