// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/cholesky.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "kernels/cpu/thread_pool.h"

namespace zqfp {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;

// On, off and around the borders of blocks and of small triangles.
constexpr Index kSizes[] = {1, 7, 64, 65, 128, 129, 257, 400};

MatrixXd RandomSquare(Index size, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  return MatrixXd::NullaryExpr(size, size, [&] { return normal(random); });
}

// Positive definite, eigenvalues from about 1 to 5.
MatrixXd RandomCovariance(Index size) {
  const MatrixXd root = RandomSquare(size, 7);
  return root * root.transpose() / static_cast<double>(size) +
         MatrixXd::Identity(size, size);
}

kernels::Exec On(kernels::ThreadPool* pool) {
  return {.parallel = pool->parallel()};
}

MatrixXd LowerOf(const MatrixXd& matrix) {
  return matrix.triangularView<Eigen::Lower>();
}

TEST(FactorCholeskyTest, GivesBackTheMatrix) {
  kernels::ThreadPool pool(2);
  for (const Index size : kSizes) {
    const MatrixXd whole = RandomCovariance(size);
    MatrixXd factor = whole;
    // What lies above is neither read nor written.
    factor.triangularView<Eigen::StrictlyUpper>().setConstant(
        std::numeric_limits<double>::quiet_NaN());
    ASSERT_TRUE(FactorCholesky(factor, On(&pool))) << size;
    for (Index i = 0; i < size; ++i) {
      for (Index j = i + 1; j < size; ++j)
        ASSERT_NE(factor(i, j), factor(i, j));
    }
    const MatrixXd lower = LowerOf(factor);
    EXPECT_LT((lower * lower.transpose() - whole).cwiseAbs().maxCoeff(),
              static_cast<double>(size) * 1e-15 * whole.maxCoeff())
        << size;
  }
}

// In the first block, at its end, in a later one and in the last column.
TEST(FactorCholeskyTest, RefusesWhatIsNotPositiveDefinite) {
  kernels::ThreadPool pool(2);
  const MatrixXd whole = RandomCovariance(300);
  for (const Index at : {0, 127, 128, 200, 299}) {
    for (const double value :
         {-1.0, 0.0, std::numeric_limits<double>::quiet_NaN()}) {
      MatrixXd matrix = whole;
      matrix(at, at) = value;
      EXPECT_FALSE(FactorCholesky(matrix, On(&pool))) << at << " " << value;
    }
  }
}

TEST(InvertLowerTest, TimesTheTriangleIsOne) {
  kernels::ThreadPool pool(2);
  for (const Index size : kSizes) {
    MatrixXd factor = RandomCovariance(size);
    ASSERT_TRUE(FactorCholesky(factor, On(&pool)));
    const MatrixXd lower = LowerOf(factor);
    MatrixXd inverse = lower;
    InvertLower(inverse, On(&pool));
    EXPECT_EQ(inverse, LowerOf(inverse));
    EXPECT_LT((inverse * lower - MatrixXd::Identity(size, size))
                  .cwiseAbs()
                  .maxCoeff(),
              static_cast<double>(size) * 1e-14)
        << size;
  }
}

TEST(CholeskyTest, ThreadsDoNotChangeANumber) {
  const MatrixXd whole = RandomCovariance(400);
  MatrixXd roots[2], inverses[2];
  for (const int threads : {1, 3}) {
    kernels::ThreadPool pool(threads);
    MatrixXd& root = roots[threads / 3];
    root = LowerOf(whole);
    ASSERT_TRUE(FactorCholesky(root, On(&pool)));
    inverses[threads / 3] = root;
    InvertLower(inverses[threads / 3], On(&pool));
  }
  EXPECT_EQ(roots[0], roots[1]);
  EXPECT_EQ(inverses[0], inverses[1]);
}

}  // namespace
}  // namespace zqfp
