// SPDX-License-Identifier: Apache-2.0
// Activate of every backend against its definitions in f64.
#include <fmt/format.h>

#include <numbers>

#include "tests/kernels/op_test.h"

namespace zqfp::kernels {
namespace {

constexpr Activation kAll[] = {Activation::kSilu, Activation::kRelu,
                               Activation::kGeluTanh};

// f(x) and how far off, relative to it, f may be.
Expected Apply(Activation activation, double x) {
  const double silu_bound = ErrorBound(Op::kSilu, {}, 1);
  switch (activation) {
    case Activation::kSilu:
      return {x / (1 + std::exp(-x)), silu_bound};
    case Activation::kRelu:
      return {std::max(x, 0.0), 0};
    case Activation::kGeluTanh: {
      const double u =
          std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * std::pow(x, 3));
      // 2 u takes five roundings and two constants; exp(-2 u) moves by its
      // absolute error, and the quotient by no more than exp does.
      const double argument = 7 * 0x1p-24 * std::fabs(2 * u);
      // tanh near -1 would cancel, also in f64.
      return {x / (1 + std::exp(-2 * u)), silu_bound + 1.01 * argument};
    }
  }
  return {0, 0};
}

class ActivateTest : public OpTest {
 protected:
  // Without `up` where it is empty.
  void Run(Activation activation, int64_t num_tokens, int64_t dim,
           const GuardedArray<float>& x, const GuardedArray<float>& up,
           float* y) {
    ops().activate({.num_tokens = num_tokens,
                    .dim = dim,
                    .activation = activation,
                    .x = x.data(),
                    .up = up.size() > 0 ? up.data() : nullptr,
                    .y = y},
                   MakeExec({.num_tokens = num_tokens, .k = dim}));
    Wait();
  }

  static std::vector<Expected> Exact(Activation activation,
                                     const GuardedArray<float>& x,
                                     const GuardedArray<float>& up) {
    // What is below the smallest normal f32 may be flushed to zero.
    constexpr double kSmallest = 0x1p-126;
    std::vector<Expected> wanted;
    for (int64_t i = 0; i < x.size(); ++i) {
      const double factor = up.size() > 0 ? double{up[i]} : 1.0;
      const Expected f = Apply(activation, x[i]);
      const double y = f.value * factor;
      // Relu loses what the product loses among the subnormals.
      const double smallest =
          activation == Activation::kRelu
              ? 0x1p-150
              : 2 * kSmallest * (1 + std::fabs(x[i] * factor));
      wanted.push_back({y, (f.tolerance + 0x1p-24) * std::fabs(y) + smallest});
    }
    return wanted;
  }
};

TEST_P(ActivateTest, EveryShape) {
  std::mt19937 random(1);
  for (const Activation activation : kAll) {
    for (const int64_t num_tokens : {0, 1, 2, 9}) {
      for (const int64_t dim : {1, 3, 15, 16, 17, 33, 172, 5632}) {
        const int64_t size = num_tokens * dim;
        const GuardedArray<float> x = RandomFloats(random, size, 3);
        for (const bool gated : {true, false}) {
          const GuardedArray<float> up =
              gated ? RandomFloats(random, size) : GuardedArray<float>(0);
          GuardedArray<float> y = Unwritten(size);
          Run(activation, num_tokens, dim, x, up, y.data());
          ExpectClose(y, Exact(activation, x, up),
                      fmt::format("{} {} x {}", static_cast<int>(activation),
                                  num_tokens, dim));
        }
      }
    }
  }
}

// The whole range of exp, and what lies beyond it.
TEST_P(ActivateTest, EveryValue) {
  std::vector<float> values;
  for (int i = -3200; i <= 3200; ++i) values.push_back(i / 16.0f);
  for (const float x : {0.0f, 1e-30f, 1e-40f, 87.3f, 88.0f, 88.72f, 88.73f,
                        89.0f, 103.9f, 104.1f, 1e4f, 1e30f, 3e38f}) {
    values.push_back(x);
    values.push_back(-x);
  }
  const GuardedArray<float> x = values;
  const GuardedArray<float> up(x.size(), 0.75f);
  for (const Activation activation : kAll) {
    GuardedArray<float> y = Unwritten(x.size());
    Run(activation, 1, x.size(), x, up, y.data());
    ExpectClose(y, Exact(activation, x, up), "values");
  }
}

TEST_P(ActivateTest, InPlace) {
  std::mt19937 random(2);
  for (const Activation activation : kAll) {
    GuardedArray<float> x = RandomFloats(random, 3 * 4001);
    const GuardedArray<float> up = RandomFloats(random, 3 * 4001);
    const std::vector<Expected> wanted = Exact(activation, x, up);
    Run(activation, 3, 4001, x, up, x.data());
    ExpectClose(x, wanted, "in place");
  }
}

TEST_P(ActivateTest, NanSurfaces) {
  for (const Activation activation : kAll) {
    GuardedArray<float> x(40, 1.0f), up(40, 1.0f);
    x[3] = kNan;
    x[37] = kNan;
    up[20] = kNan;
    up[39] = kInfinity;
    GuardedArray<float> y = Unwritten(40);
    Run(activation, 1, 40, x, up, y.data());
    for (int i = 0; i < 40; ++i) {
      const bool bad = i == 3 || i == 37 || i == 20 || i == 39;
      EXPECT_EQ(std::isfinite(y[i]), !bad) << i;
    }
  }
}

ZQFP_FOR_ALL_MACHINES(ActivateTest);

}  // namespace
}  // namespace zqfp::kernels
