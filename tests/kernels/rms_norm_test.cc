// SPDX-License-Identifier: Apache-2.0
// RmsNorm of every backend against its definition in f64.
#include <fmt/format.h>

#include "tests/kernels/op_test.h"

namespace zqfp::kernels {
namespace {

constexpr float kEpsilon = 1e-5f;

std::vector<Expected> Exact(const GuardedArray<float>& x,
                            const GuardedArray<float>& weight, int64_t rows,
                            float epsilon) {
  const int64_t dim = weight.size();
  std::vector<Expected> wanted;
  for (int64_t r = 0; r < rows; ++r) {
    double squares = 0;
    for (int64_t i = 0; i < dim; ++i) {
      squares += std::pow(double{x[r * dim + i]}, 2);
    }
    const double root =
        std::sqrt(squares / static_cast<double>(dim) + double{epsilon});
    for (int64_t i = 0; i < dim; ++i) {
      const double y = x[r * dim + i] / root * weight[i];
      wanted.push_back({y, ErrorBound(Op::kRmsNorm, {}, dim) * std::fabs(y)});
    }
  }
  return wanted;
}

class RmsNormTest : public OpTest {
 protected:
  void Run(const float* x, const GuardedArray<float>& weight, int64_t rows,
           float epsilon, float* y) {
    ops().rms_norm({.num_rows = rows,
                    .dim = weight.size(),
                    .epsilon = epsilon,
                    .x = x,
                    .weight = weight.data(),
                    .y = y},
                   MakeExec({.num_tokens = rows, .k = weight.size()}));
    Wait();
  }
};

TEST_P(RmsNormTest, EveryShape) {
  std::mt19937 random(1);
  for (const int64_t rows : {0, 1, 2, 7, 40}) {
    for (const int64_t dim : {1, 2, 8, 15, 16, 17, 33, 64, 172, 1000, 2048}) {
      const GuardedArray<float> x = RandomFloats(random, rows * dim);
      const GuardedArray<float> weight = RandomFloats(random, dim);
      GuardedArray<float> y = Unwritten(rows * dim);
      Run(x.data(), weight, rows, kEpsilon, y.data());
      ExpectClose(y, Exact(x, weight, rows, kEpsilon),
                  fmt::format("{} x {}", rows, dim));
    }
  }
}

TEST_P(RmsNormTest, InPlace) {
  std::mt19937 random(2);
  GuardedArray<float> x = RandomFloats(random, 60 * 777);
  const GuardedArray<float> weight = RandomFloats(random, 777);
  const std::vector<Expected> wanted = Exact(x, weight, 60, kEpsilon);
  Run(x.data(), weight, 60, kEpsilon, x.data());
  ExpectClose(x, wanted, "in place");
}

// Small rows lean on epsilon, large ones do not.
TEST_P(RmsNormTest, EveryMagnitudeAndEpsilon) {
  std::mt19937 random(3);
  const GuardedArray<float> weight = RandomFloats(random, 37);
  for (const float epsilon : {0.0f, 1e-6f, 1e-5f, 0.1f}) {
    for (const float spread : {1e-12f, 1e-3f, 1.0f, 1e3f, 1e12f}) {
      const GuardedArray<float> x = RandomFloats(random, 2 * 37, spread);
      GuardedArray<float> y = Unwritten(2 * 37);
      Run(x.data(), weight, 2, epsilon, y.data());
      ExpectClose(y, Exact(x, weight, 2, epsilon),
                  fmt::format("spread {} epsilon {}", spread, epsilon));
    }
  }
}

// y may be the residual, which is added after the weight.
TEST_P(RmsNormTest, JoinsAResidual) {
  std::mt19937 random(5);
  for (const int64_t dim : {1, 7, 16, 33, 300}) {
    const GuardedArray<float> x = RandomFloats(random, 3 * dim);
    const GuardedArray<float> weight = RandomFloats(random, dim);
    GuardedArray<float> y = RandomFloats(random, 3 * dim);
    std::vector<Expected> wanted = Exact(x, weight, 3, kEpsilon);
    for (int64_t i = 0; i < y.size(); ++i) {
      Expected& want = wanted[static_cast<size_t>(i)];
      want.value += y[i];
      want.tolerance += 0x1p-24 * std::fabs(want.value);
    }
    ops().rms_norm({.num_rows = 3,
                    .dim = dim,
                    .epsilon = kEpsilon,
                    .x = x.data(),
                    .weight = weight.data(),
                    .residual = y.data(),
                    .y = y.data()},
                   MakeExec({.num_tokens = 3, .k = dim}));
    Wait();
    ExpectClose(y, wanted, fmt::format("residual {}", dim));
  }
}

TEST_P(RmsNormTest, ZeroRowIsZero) {
  const GuardedArray<float> x(20), weight(20, 3.0f);
  GuardedArray<float> y = Unwritten(20);
  Run(x.data(), weight, 1, kEpsilon, y.data());
  for (const float value : y) EXPECT_EQ(value, 0);
}

TEST_P(RmsNormTest, NanStaysInItsRow) {
  std::mt19937 random(4);
  GuardedArray<float> x = RandomFloats(random, 3 * 37);
  x[37 + 36] = kNan;
  const GuardedArray<float> weight = RandomFloats(random, 37);
  GuardedArray<float> y = Unwritten(3 * 37);
  Run(x.data(), weight, 3, kEpsilon, y.data());
  for (int64_t i = 0; i < 3 * 37; ++i) {
    EXPECT_EQ(std::isnan(y[i]), i / 37 == 1) << i;
  }
}

ZQFP_FOR_ALL_MACHINES(RmsNormTest);

}  // namespace
}  // namespace zqfp::kernels
