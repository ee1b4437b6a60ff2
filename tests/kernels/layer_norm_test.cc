// SPDX-License-Identifier: Apache-2.0
// LayerNorm of every backend against its definition in f64.
#include <fmt/format.h>

#include "tests/kernels/op_test.h"

namespace zqfp::kernels {
namespace {

constexpr float kEpsilon = 1e-5f;

struct Affine {
  GuardedArray<float> weight, bias;
};

std::vector<Expected> Exact(const GuardedArray<float>& x, const Affine& affine,
                            int64_t rows, float epsilon) {
  const int64_t dim = affine.weight.size();
  std::vector<Expected> wanted;
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = x.data() + r * dim;
    double mean = 0, magnitude = 0, variance = 0;
    for (int64_t i = 0; i < dim; ++i) {
      mean += row[i] / static_cast<double>(dim);
      magnitude += std::fabs(row[i]) / static_cast<double>(dim);
    }
    for (int64_t i = 0; i < dim; ++i) {
      variance += std::pow(row[i] - mean, 2) / static_cast<double>(dim);
    }
    const double sigma = std::sqrt(variance + double{epsilon});
    for (int64_t i = 0; i < dim; ++i) {
      const double y =
          (row[i] - mean) / sigma * affine.weight[i] + affine.bias[i];
      const double parts = std::fabs(affine.weight[i]) / sigma *
                               (magnitude + std::fabs(row[i] - mean)) +
                           std::fabs(affine.bias[i]);
      wanted.push_back({y, ErrorBound(Op::kLayerNorm, {}, dim) * parts});
    }
  }
  return wanted;
}

class LayerNormTest : public OpTest {
 protected:
  void Run(const float* x, const Affine& affine, int64_t rows, float epsilon,
           float* y) {
    const int64_t dim = affine.weight.size();
    ops().layer_norm({.num_rows = rows,
                      .dim = dim,
                      .epsilon = epsilon,
                      .x = x,
                      .weight = affine.weight.data(),
                      .bias = affine.bias.data(),
                      .y = y},
                     MakeExec({.num_tokens = rows, .k = dim}));
    Wait();
  }
  static Affine RandomAffine(std::mt19937& random, int64_t dim) {
    return {RandomFloats(random, dim), RandomFloats(random, dim)};
  }
};

TEST_P(LayerNormTest, EveryShape) {
  std::mt19937 random(1);
  for (const int64_t rows : {0, 1, 2, 7, 40}) {
    for (const int64_t dim : {1, 2, 8, 15, 16, 17, 33, 64, 172, 1000, 2048}) {
      const GuardedArray<float> x = RandomFloats(random, rows * dim);
      const Affine affine = RandomAffine(random, dim);
      GuardedArray<float> y = Unwritten(rows * dim);
      Run(x.data(), affine, rows, kEpsilon, y.data());
      ExpectClose(y, Exact(x, affine, rows, kEpsilon),
                  fmt::format("{} x {}", rows, dim));
    }
  }
}

TEST_P(LayerNormTest, InPlace) {
  std::mt19937 random(2);
  GuardedArray<float> x = RandomFloats(random, 60 * 777);
  const Affine affine = RandomAffine(random, 777);
  const std::vector<Expected> wanted = Exact(x, affine, 60, kEpsilon);
  Run(x.data(), affine, 60, kEpsilon, x.data());
  ExpectClose(x, wanted, "in place");
}

// Small rows lean on epsilon; a mean far from zero must not eat the variance,
// as the difference of two sums would let it.
TEST_P(LayerNormTest, EveryMagnitudeMeanAndEpsilon) {
  std::mt19937 random(3);
  const Affine affine = RandomAffine(random, 37);
  for (const float epsilon : {1e-6f, 1e-5f, 0.1f}) {
    for (const float spread : {1e-12f, 1e-3f, 1.0f, 1e3f, 1e12f}) {
      for (const float mean : {0.0f, 1.0f, -1000.0f}) {
        GuardedArray<float> x = RandomFloats(random, 2 * 37, spread);
        for (float& value : x) value += mean * spread;
        GuardedArray<float> y = Unwritten(2 * 37);
        Run(x.data(), affine, 2, epsilon, y.data());
        ExpectClose(
            y, Exact(x, affine, 2, epsilon),
            fmt::format("spread {} mean {} epsilon {}", spread, mean, epsilon));
      }
    }
  }
}

TEST_P(LayerNormTest, AConstantRowIsTheBias) {
  const GuardedArray<float> x(24, 2.5f);
  const Affine affine = {GuardedArray<float>(24, 3.0f),
                         GuardedArray<float>(24, 0.5f)};
  GuardedArray<float> y = Unwritten(24);
  Run(x.data(), affine, 1, kEpsilon, y.data());
  for (const float value : y) EXPECT_EQ(value, 0.5f);
}

TEST_P(LayerNormTest, NanStaysInItsRow) {
  std::mt19937 random(4);
  GuardedArray<float> x = RandomFloats(random, 3 * 37);
  x[37 + 36] = kNan;
  const Affine affine = RandomAffine(random, 37);
  GuardedArray<float> y = Unwritten(3 * 37);
  Run(x.data(), affine, 3, kEpsilon, y.data());
  for (int64_t i = 0; i < 3 * 37; ++i) {
    EXPECT_EQ(std::isnan(y[i]), i / 37 == 1) << i;
  }
}

ZQFP_FOR_ALL_MACHINES(LayerNormTest);

}  // namespace
}  // namespace zqfp::kernels
