// SPDX-License-Identifier: Apache-2.0
#include "engine/prediction.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace zqfp {
namespace {

using Row = std::vector<float>;

// The definitions in 64 mantissa bits and two passes.
struct Exact {
  explicit Exact(const Row& row) {
    long double largest = row[0];
    for (const float x : row) largest = std::max<long double>(largest, x);
    long double sum = 0;
    for (const float x : row) sum += std::exp(x - largest);
    for (const float x : row) {
      log_p.push_back(x - largest - std::log(sum));
    }
  }
  long double Divergence(const Exact& model) const {
    long double sum = 0;
    for (size_t i = 0; i < log_p.size(); ++i) {
      sum += std::exp(log_p[i]) * (log_p[i] - model.log_p[i]);
    }
    return sum;
  }

  std::vector<long double> log_p;
};

Row RandomRow(uint32_t seed, size_t size, float spread) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, spread);
  Row row(size);
  for (float& x : row) x = normal(random);
  return row;
}

TEST(Prediction, ByHand) {
  // p = 1/2, 1/4, 1/8, 1/8 against 1/4, 1/4, 1/4, 1/4.
  const float ln2 = std::log(2.0f);
  const Row p = {3 + 2 * ln2, 3 + ln2, 3, 3}, q = {-7, -7, -7, -7};
  const PredictionPair pair = PredictPair(p, q, 1);
  EXPECT_NEAR(pair.original.loss, std::log(4.0), 1e-6);  // ln2 is a float
  EXPECT_NEAR(pair.original.top_probability, 0.5, 1e-6);
  EXPECT_EQ(pair.original.top_id, 0);
  EXPECT_NEAR(pair.model.loss, std::log(4.0), 1e-12);
  EXPECT_NEAR(pair.model.top_probability, 0.25, 1e-12);
  EXPECT_EQ(pair.model.top_id, 0) << "the first of equals";
  // ln 2 / 2 + 0 + 2 (1/8) ln(1/2) = ln 2 / 4.
  EXPECT_NEAR(pair.divergence, std::log(2.0) / 4, 1e-6);
  // And the other way round: ln(1/2) / 4 + 0 + 2 (1/4) ln 2 = ln 2 / 4.
  EXPECT_NEAR(PredictPair(q, p, 1).divergence, std::log(2.0) / 4, 1e-6);
}

// Every remainder of the vector width and of the search for the largest.
TEST(Prediction, EqualsTheDefinitionAtEverySize) {
  for (size_t size = 1; size < 600; size += size < 40 ? 1 : 37) {
    const uint32_t seed = static_cast<uint32_t>(size);
    const Row a = RandomRow(seed, size, 3), b = RandomRow(seed + 1000, size, 2);
    const Exact p(a), q(b);
    const int32_t target = static_cast<int32_t>(size / 2);
    const PredictionPair pair = PredictPair(a, b, target);
    const size_t t = static_cast<size_t>(target);
    const double want = static_cast<double>(p.Divergence(q));
    EXPECT_NEAR(pair.divergence, want, 2e-12 * (1 + want)) << size;
    EXPECT_NEAR(pair.original.loss, static_cast<double>(-p.log_p[t]), 1e-11);
    EXPECT_NEAR(pair.model.loss, static_cast<double>(-q.log_p[t]), 1e-11);
    const auto largest = std::max_element(a.begin(), a.end()) - a.begin();
    EXPECT_EQ(pair.original.top_id, largest) << size;
    EXPECT_NEAR(
        pair.original.top_probability,
        static_cast<double>(std::exp(p.log_p[static_cast<size_t>(largest)])),
        1e-11);
  }
}

TEST(Prediction, OneRowAloneAndInAPairAreTheSameBits) {
  for (const size_t size : {1, 7, 258, 32000}) {
    const Row a = RandomRow(1, size, 4), b = RandomRow(2, size, 4);
    const Prediction alone = Predict(a, 0), other = Predict(b, 0);
    const PredictionPair pair = PredictPair(a, b, 0);
    EXPECT_EQ(alone.loss, pair.original.loss);
    EXPECT_EQ(alone.top_id, pair.original.top_id);
    EXPECT_EQ(alone.top_probability, pair.original.top_probability);
    EXPECT_EQ(other.loss, pair.model.loss);
    EXPECT_EQ(other.top_id, pair.model.top_id);
  }
}

TEST(Prediction, EqualRowsDivergeByExactlyNothing) {
  for (const float spread : {0.0f, 1e-3f, 1.0f, 30.0f, 1e30f}) {
    for (const size_t size : {1, 5, 1000, 4099}) {
      const Row row = RandomRow(3, size, spread);
      EXPECT_EQ(PredictPair(row, row, 0).divergence, 0) << spread << size;
    }
  }
}

// Rows that are nearly alike: divergences of 1e-9, where a sum of large
// terms with opposite signs would show its rounding.
TEST(Prediction, TinyDivergencesAreExact) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const Row a = RandomRow(seed, 5000, 3);
    Row b = RandomRow(seed + 100, 5000, 3e-5f);
    for (size_t i = 0; i < b.size(); ++i) b[i] += a[i];
    const Exact p(a), q(b);
    const double want = static_cast<double>(p.Divergence(q));
    ASSERT_GT(want, 1e-11);
    ASSERT_LT(want, 1e-8);
    EXPECT_NEAR(PredictPair(a, b, 0).divergence, want, 2e-12);
  }
}

TEST(Prediction, IsNeverBelowNothing) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    const Row a = RandomRow(seed, 64, 3);
    Row b = a;
    b[seed % 64] = std::nextafter(b[seed % 64], 100.0f);
    EXPECT_GE(PredictPair(a, b, 0).divergence, 0);
  }
}

TEST(Prediction, ImprobableTokensKeepTheirLoss) {
  Row row(300, 0.0f);
  row[7] = 50;
  row[299] = -3000;  // e^-3050 is no double
  EXPECT_NEAR(Predict(row, 299).loss, 3050, 1e-9);
  EXPECT_NEAR(Predict(row, 7).loss, 299 * std::exp(-50.0), 1e-12);
  EXPECT_EQ(Predict(row, 0).top_id, 7);
  // Shifts of all logits change nothing.
  Row far = row;
  for (float& x : far) x += 4096;
  EXPECT_NEAR(PredictPair(row, far, 0).divergence, 0, 2e-12);
}

TEST(Prediction, WhatIsNotFiniteShows) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float bad : {nan, infinity, -infinity}) {
    for (const size_t place : {size_t{0}, size_t{9}, size_t{31}, size_t{32}}) {
      const Row good = RandomRow(5, 33, 1);
      Row row = good;
      row[place] = bad;
      const PredictionPair first = PredictPair(row, good, 3);
      EXPECT_FALSE(std::isfinite(first.divergence)) << bad << " at " << place;
      const PredictionPair second = PredictPair(good, row, 3);
      EXPECT_FALSE(std::isfinite(second.divergence)) << bad << " at " << place;
    }
  }
  const Row all_nan(20, nan), all_low(20, -infinity);
  EXPECT_FALSE(std::isfinite(Predict(all_nan, 0).loss));
  EXPECT_FALSE(std::isfinite(Predict(all_low, 0).loss));
}

}  // namespace
}  // namespace zqfp
