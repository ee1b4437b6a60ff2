// SPDX-License-Identifier: Apache-2.0
// Rope of every backend against the rotation in f64.
#include <fmt/format.h>

#include "tests/kernels/op_test.h"

namespace zqfp::kernels {
namespace {

class RopeTest : public OpTest {
 protected:
  void Check(int64_t num_tokens, int64_t num_heads, int64_t head_dim,
             int64_t rotary_dim) {
    std::mt19937 random(static_cast<uint32_t>(head_dim * 31 + rotary_dim));
    const int64_t half = rotary_dim / 2;
    GuardedArray<float> cos(num_tokens * half), sin(num_tokens * half);
    std::uniform_real_distribution<float> angles(-3.2f, 3.2f);
    for (int64_t i = 0; i < num_tokens * half; ++i) {
      const float angle = angles(random);
      cos[i] = std::cos(angle);
      sin[i] = std::sin(angle);
    }
    GuardedArray<float> x =
        RandomFloats(random, num_tokens * num_heads * head_dim);
    std::vector<Expected> wanted;
    const double bound = ErrorBound(Op::kRope, {}, 1);
    for (int64_t at = 0; at < x.size(); ++at) {
      const int64_t i = at % head_dim;
      const int64_t t = at / head_dim / num_heads;
      if (i >= rotary_dim) {
        wanted.push_back({x[at], 0});  // untouched
        continue;
      }
      const double c = cos[t * half + i % half], s = sin[t * half + i % half];
      const double own = x[at];
      const double other = i < half ? -double{x[at + half]} : x[at - half];
      wanted.push_back({own * c + other * s,
                        bound * (std::fabs(own * c) + std::fabs(other * s))});
    }
    ops().rope({.num_tokens = num_tokens,
                .num_heads = num_heads,
                .head_dim = head_dim,
                .rotary_dim = rotary_dim,
                .cos = cos.data(),
                .sin = sin.data(),
                .x = x.data()},
               MakeExec({.num_tokens = num_tokens,
                         .num_heads = num_heads,
                         .head_dim = head_dim}));
    Wait();
    ExpectClose(x, wanted,
                fmt::format("{} x {} x {} (rotary {})", num_tokens, num_heads,
                            head_dim, rotary_dim));
  }
};

TEST_P(RopeTest, EveryHeadDim) {
  for (const int64_t head_dim : {2, 6, 8, 16, 32, 64, 80, 96, 128, 256}) {
    for (const int64_t num_tokens : {0, 1, 3}) {
      Check(num_tokens, 3, head_dim, head_dim);
    }
  }
}

TEST_P(RopeTest, PartOfTheHead) {
  for (const int64_t rotary_dim : {2, 10, 32, 34, 62}) {
    Check(2, 5, 64, rotary_dim);
  }
}

TEST_P(RopeTest, ManyTokens) { Check(150, 9, 64, 64); }

ZQFP_FOR_ALL_MACHINES(RopeTest);

}  // namespace
}  // namespace zqfp::kernels
