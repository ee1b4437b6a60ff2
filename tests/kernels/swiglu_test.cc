// SPDX-License-Identifier: Apache-2.0
// SwiGlu of every backend against its definition in f64.
#include <fmt/format.h>

#include "tests/kernels/op_test.h"

namespace zqfp::kernels {
namespace {

class SwiGluTest : public OpTest {
 protected:
  void Run(int64_t num_tokens, int64_t dim, const float* gate, const float* up,
           float* y) {
    ops().swiglu(
        {.num_tokens = num_tokens, .dim = dim, .gate = gate, .up = up, .y = y},
        MakeExec({.num_tokens = num_tokens, .k = dim}));
  }

  static std::vector<Expected> Exact(const GuardedArray<float>& gate,
                                     const GuardedArray<float>& up) {
    // A sigmoid below the smallest normal f32 may be flushed to zero.
    constexpr double kSmallest = 0x1p-126;
    std::vector<Expected> wanted;
    for (int64_t i = 0; i < gate.size(); ++i) {
      const double g = gate[i];
      const double y = g / (1 + std::exp(-g)) * up[i];
      wanted.push_back({y, ErrorBound(Op::kSwiGlu, {}, 1) * std::fabs(y) +
                               2 * kSmallest * (1 + std::fabs(g * up[i]))});
    }
    return wanted;
  }
};

TEST_P(SwiGluTest, EveryShape) {
  std::mt19937 random(1);
  for (const int64_t num_tokens : {0, 1, 2, 9}) {
    for (const int64_t dim : {1, 3, 15, 16, 17, 33, 172, 5632}) {
      const GuardedArray<float> gate =
          RandomFloats(random, num_tokens * dim, 3);
      const GuardedArray<float> up = RandomFloats(random, num_tokens * dim);
      GuardedArray<float> y = Unwritten(num_tokens * dim);
      Run(num_tokens, dim, gate.data(), up.data(), y.data());
      ExpectClose(y, Exact(gate, up), fmt::format("{} x {}", num_tokens, dim));
    }
  }
}

// The whole range of exp, and what lies beyond it.
TEST_P(SwiGluTest, EveryGate) {
  std::vector<float> gates;
  for (int i = -3200; i <= 3200; ++i) gates.push_back(i / 16.0f);
  for (const float x : {0.0f, 1e-30f, 1e-40f, 87.3f, 88.0f, 88.72f, 88.73f,
                        89.0f, 103.9f, 104.1f, 1e4f, 1e30f, 3e38f}) {
    gates.push_back(x);
    gates.push_back(-x);
  }
  const GuardedArray<float> gate = gates;
  const GuardedArray<float> up(gate.size(), 0.75f);
  GuardedArray<float> y = Unwritten(gate.size());
  Run(1, gate.size(), gate.data(), up.data(), y.data());
  ExpectClose(y, Exact(gate, up), "gates");
}

TEST_P(SwiGluTest, InPlace) {
  std::mt19937 random(2);
  GuardedArray<float> gate = RandomFloats(random, 3 * 4001);
  const GuardedArray<float> up = RandomFloats(random, 3 * 4001);
  const std::vector<Expected> wanted = Exact(gate, up);
  Run(3, 4001, gate.data(), up.data(), gate.data());
  ExpectClose(gate, wanted, "in place");
}

TEST_P(SwiGluTest, NanSurfaces) {
  GuardedArray<float> gate(40, 1.0f), up(40, 1.0f);
  gate[3] = kNan;
  gate[37] = kNan;
  up[20] = kNan;
  up[39] = kInfinity;
  GuardedArray<float> y = Unwritten(40);
  Run(1, 40, gate.data(), up.data(), y.data());
  for (int i = 0; i < 40; ++i) {
    const bool bad = i == 3 || i == 37 || i == 20 || i == 39;
    EXPECT_EQ(std::isfinite(y[i]), !bad) << i;
  }
}

ZQFP_FOR_ALL_MACHINES(SwiGluTest);

}  // namespace
}  // namespace zqfp::kernels
