// SPDX-License-Identifier: Apache-2.0
// Softcap of every backend against its definition in f64.
#include <fmt/format.h>

#include "tests/kernels/op_test.h"

namespace zqfp::kernels {
namespace {

class SoftcapTest : public OpTest {
 protected:
  // x [num_rows, dim].
  void Check(GuardedArray<float> x, int64_t num_rows, int64_t dim, float cap) {
    std::vector<Expected> wanted;
    for (const float value : x) {
      wanted.push_back({cap * std::tanh(double{value} / cap),
                        ErrorBound(Op::kSoftcap, {}, 1) * cap});
    }
    ops().softcap({.num_rows = num_rows, .dim = dim, .cap = cap, .x = x.data()},
                  MakeExec({.num_tokens = num_rows, .n = dim}));
    Wait();
    ExpectClose(x, wanted, fmt::format("{} x {}, {}", num_rows, dim, cap));
  }
};

TEST_P(SoftcapTest, EveryShapeAndCap) {
  std::mt19937 random(1);
  for (const int64_t num_rows : {0, 1, 3}) {
    for (const int64_t dim : {1, 7, 16, 17, 33, 5000}) {
      for (const float cap : {0.5f, 30.0f, 50.0f}) {
        Check(RandomFloats(random, num_rows * dim, 40), num_rows, dim, cap);
      }
    }
  }
}

TEST_P(SoftcapTest, EveryMagnitude) {
  std::vector<float> values = {0.0f};
  for (const float x : {1e-40f, 1e-20f, 1e-6f, 1e-3f, 0.1f, 1.0f, 29.0f, 300.0f,
                        1329.0f, 1e9f, 3e38f, kInfinity}) {
    values.push_back(x);
    values.push_back(-x);
  }
  Check(values, 1, std::ssize(values), 30.0f);
}

TEST_P(SoftcapTest, NanSurfaces) {
  GuardedArray<float> x(40, 1.0f);
  x[3] = kNan;
  x[37] = kNan;
  ops().softcap({.num_rows = 1, .dim = 40, .cap = 30, .x = x.data()},
                MakeExec({.num_tokens = 1, .n = 40}));
  Wait();
  for (int i = 0; i < 40; ++i) EXPECT_EQ(std::isnan(x[i]), i == 3 || i == 37);
}

ZQFP_FOR_ALL_MACHINES(SoftcapTest);

}  // namespace
}  // namespace zqfp::kernels
