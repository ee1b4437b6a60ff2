// SPDX-License-Identifier: Apache-2.0
// Low-rank factors against a full singular value decomposition in f64.
#include "models/quantize/lorc.h"

#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <cmath>

#include "tests/models/quantize/calibrated_matrix.h"

namespace zqfp {
namespace {

using kernels::ValueFormat;
using testing::CalibratedMatrix;
using testing::QuantizeBench;

Eigen::MatrixXd ToMatrix(const std::vector<float>& values, int64_t n,
                         int64_t k) {
  Eigen::MatrixXd matrix(n, k);
  for (int64_t i = 0; i < n * k; ++i) matrix(i / k, i % k) = values[i];
  return matrix;
}

// The least |E - X|^2 of any X of rank r.
double BestRest(const Eigen::MatrixXd& e, int64_t rank) {
  const Eigen::VectorXd values =
      Eigen::JacobiSVD<Eigen::MatrixXd>(e).singularValues();
  double rest = 0;
  for (int64_t i = rank; i < values.size(); ++i) rest += values[i] * values[i];
  return rest;
}

std::vector<float> RoundingErrors(const CalibratedMatrix& m) {
  QuantizeBench bench;
  const RoundedWeights rounded =
      RoundToNearest(ChooseGrid({}, m.weights, m.k, {}, bench.pool), m.weights,
                     bench.machine());
  std::vector<float> error(m.weights.size());
  for (size_t i = 0; i < error.size(); ++i) {
    error[i] = m.weights[i] - rounded.values[i];
  }
  return error;
}

// What rounding the factors may add: one part in 16 (e4m3) or 256 (bf16) of
// each, of the part that is caught.
double Slack(ValueFormat format) {
  return format == ValueFormat::kE4m3 ? 1.0 / 16 : 1.0 / 256;
}

TEST(LorcTest, PlainIsNearTheBestOfItsRank) {
  const CalibratedMatrix m(60, 90, 10);
  const std::vector<float> error = RoundingErrors(m);
  const Eigen::MatrixXd e = ToMatrix(error, m.n, m.k);
  QuantizeBench bench;
  for (const ValueFormat format : {ValueFormat::kE4m3, ValueFormat::kBf16}) {
    for (const int64_t rank : {1, 8, 20}) {
      const LorcFactors lorc =
          CompensateLowRank({.rank = rank, .format = format}, error, m.k,
                            nullptr, bench.machine());
      const double best = BestRest(e, rank);
      const double found =
          (e - ToMatrix(Product(lorc, format, rank), m.n, m.k)).squaredNorm();
      const double caught = e.squaredNorm() - best;
      EXPECT_GE(found, best * (1 - 1e-6));
      EXPECT_LE(found, best + (0.01 + Slack(format)) * caught) << rank;
    }
  }
}

TEST(LorcTest, WeightedIsNearTheBestForTheOutputs) {
  const CalibratedMatrix m(50, 80, 300);
  const std::vector<float> error = RoundingErrors(m);
  const auto factors = m.hessian.Factor(ColumnOrder::kByActivation, 0.01, {});
  Eigen::MatrixXd h = Eigen::MatrixXd::Zero(m.k, m.k);
  for (int64_t t = 0; t < m.tokens; ++t) {
    Eigen::VectorXd x(m.k);
    for (int64_t i = 0; i < m.k; ++i) x[i] = m.x[t * m.k + i];
    h += x * x.transpose();
  }
  h.diagonal().array() += 0.01 * h.diagonal().mean();
  const Eigen::MatrixXd root = Eigen::LLT<Eigen::MatrixXd>(h).matrixL();
  const Eigen::MatrixXd e = ToMatrix(error, m.n, m.k);
  QuantizeBench bench;
  for (const ValueFormat format : {ValueFormat::kE4m3, ValueFormat::kBf16}) {
    const LorcFactors lorc = CompensateLowRank(
        {.rank = 8, .weighting = LorcWeighting::kWeighted, .format = format},
        error, m.k, &*factors, bench.machine());
    const double best = BestRest(e * root, 8);
    const double all = (e * root).squaredNorm();
    const double found =
        ((e - ToMatrix(Product(lorc, format, 8), m.n, m.k)) * root)
            .squaredNorm();
    EXPECT_GE(found, best * (1 - 1e-6));
    EXPECT_LE(found, best + (0.01 + Slack(format)) * (all - best));
    // And better for the outputs than the plain one.
    const LorcFactors plain = CompensateLowRank(
        {.rank = 8, .format = format}, error, m.k, nullptr, bench.machine());
    EXPECT_LT(found,
              ((e - ToMatrix(Product(plain, format, 8), m.n, m.k)) * root)
                  .squaredNorm());
  }
}

TEST(LorcTest, RankBeyondTheMatrixIsFilledWithZeros) {
  const CalibratedMatrix m(3, 40, 50);
  const std::vector<float> error = RoundingErrors(m);
  const auto factors = m.hessian.Factor(ColumnOrder::kAsStored, 0.01, {});
  QuantizeBench bench;
  for (const LorcWeighting weighting :
       {LorcWeighting::kPlain, LorcWeighting::kWeighted}) {
    const LorcFactors lorc = CompensateLowRank(
        {.rank = 8, .weighting = weighting, .format = ValueFormat::kBf16},
        error, m.k, &*factors, bench.machine());
    EXPECT_EQ(lorc.u.size(), 2u * 3 * 8);
    EXPECT_EQ(lorc.v.size(), 2u * 8 * 40);
    // Rank 3 holds all of E.
    const std::vector<float> product = Product(lorc, ValueFormat::kBf16, 8);
    for (size_t i = 0; i < error.size(); ++i) {
      EXPECT_NEAR(product[i], error[i], 0.02);
    }
  }
}

TEST(LorcTest, NothingToCompensateGivesZeros) {
  QuantizeBench bench;
  const std::vector<float> error(12 * 33, 0.0f);
  const LorcFactors lorc =
      CompensateLowRank({.rank = 4}, error, 33, nullptr, bench.machine());
  for (const float value : Product(lorc, ValueFormat::kE4m3, 4)) {
    EXPECT_EQ(value, 0);
  }
  for (const float scale : lorc.u_scale) EXPECT_GT(scale, 0);
  for (const float scale : lorc.v_scale) EXPECT_GT(scale, 0);
}

TEST(LorcTest, DoesNotDependOnTheNumberOfThreads) {
  const CalibratedMatrix m(40, 70, 100);
  const std::vector<float> error = RoundingErrors(m);
  QuantizeBench one(1), three(3);
  const LorcFactors a =
      CompensateLowRank({.rank = 8}, error, m.k, nullptr, one.machine());
  const LorcFactors b =
      CompensateLowRank({.rank = 8}, error, m.k, nullptr, three.machine());
  EXPECT_EQ(a.u, b.u);
  EXPECT_EQ(a.v, b.v);
}

}  // namespace
}  // namespace zqfp
