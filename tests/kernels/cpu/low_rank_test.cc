// SPDX-License-Identifier: Apache-2.0
// The low-rank branch through the ops of every backend: by itself, under a
// weight of zeros, where each of its parts can be told from the others. That it
// joins a weight rightly is in matmul_test.cc and matmul_a8_test.cc.
#include <fmt/format.h>

#include "tests/kernels/test_weight.h"

namespace zqfp::kernels {
namespace {

constexpr WeightFormat kFormats[] = {
    WeightFormat::kE4m3, WeightFormat::kE2m1Free, WeightFormat::kE2m1Shift};
constexpr ValueFormat kFactors[] = {ValueFormat::kE4m3, ValueFormat::kBf16};

// Tokens as both ops read them: small integers, exact in e4m3.
struct Tokens {
  GuardedArray<uint8_t> codes;
  GuardedArray<float> scale;
  GuardedArray<float> x;
};

Tokens IntegerTokens(std::mt19937& random, int64_t m, int64_t k) {
  Tokens tokens = {GuardedArray<uint8_t>(m * k), GuardedArray<float>(m),
                   GuardedArray<float>(m * k)};
  for (float& scale : tokens.scale) scale = std::ldexp(1.0f, random() % 4);
  for (int64_t i = 0; i < m * k; ++i) {
    const float value = static_cast<float>(random() % 9) - 4;
    tokens.codes[i] = FloatToE4m3(value);
    tokens.x[i] = value * tokens.scale[i / k];
  }
  return tokens;
}

// A weight of zeros with factors of -2 .. 2 and scales that are powers of two:
// sums are exact in any order, so y must be, too.
TestWeight ExactBranch(std::mt19937& random, WeightFormat format,
                       ValueFormat factors, int64_t n, int64_t k,
                       int64_t rank) {
  TestWeight weight = MakeWeight(random, format, n, k, 32);
  for (uint8_t& byte : weight.data) byte = 0;
  AddLorc(random, factors, rank, weight);
  std::vector<double> u, v;
  const auto fill = [&](GuardedArray<uint8_t>& data, int64_t count,
                        std::vector<double>& exact) {
    for (int64_t i = 0; i < count; ++i) {
      const float value = static_cast<float>(random() % 5) - 2;
      if (factors == ValueFormat::kE4m3) {
        data[i] = FloatToE4m3(value);
      } else {
        reinterpret_cast<uint16_t*>(data.data())[i] = FloatToBf16(value);
      }
      exact.push_back(value);
    }
  };
  fill(weight.lorc_u, rank * n, u);
  fill(weight.lorc_v, rank * k, v);
  for (float& s : weight.lorc_u_scale) s = std::ldexp(1.0f, random() % 3);
  for (float& s : weight.lorc_v_scale) s = std::ldexp(1.0f, random() % 3);
  const bool scaled = factors == ValueFormat::kE4m3;
  for (int64_t at = 0; at < n * k; ++at) {
    weight.exact[at] = 0;
    for (int64_t r = 0; r < rank; ++r) {
      const double scale =
          scaled ? double{weight.lorc_u_scale[at / k]} * weight.lorc_v_scale[r]
                 : 1;
      weight.exact[at] += scale * u[r * n + at / k] * v[r * k + at % k];
    }
  }
  return weight;
}

class LowRankTest : public OpTest {
 protected:
  enum class Op { kMatmul, kMatmulA8 };

  // With the workspace that a plan of this many tokens asks for.
  void Run(Op op, const TestWeight& weight, const Tokens& tokens, int64_t m,
           const float* residual, float* y, int64_t planned_tokens = 0) {
    const Exec exec = MakeExec({.num_tokens = std::max(m, planned_tokens),
                                .k = weight.view.k,
                                .n = weight.view.n,
                                .lorc_rank = weight.view.lorc.rank});
    if (op == Op::kMatmul) {
      ops().matmul({.m = m,
                    .x = tokens.x.data(),
                    .weight = Place(weight.view),
                    .residual = residual,
                    .y = y},
                   exec);
    } else {
      ops().matmul_a8({.m = m,
                       .x = {tokens.codes.data(), tokens.scale.data()},
                       .weight = Place(weight.view),
                       .residual = residual,
                       .y = y},
                      exec);
    }
    Wait();
  }
};

TEST_P(LowRankTest, IsExactWhereItsNumbersAre) {
  struct Shape {
    int64_t m, n, k, rank;
  };
  for (const Shape& shape :
       {Shape{1, 1, 1, 1}, Shape{2, 15, 17, 2}, Shape{3, 16, 31, 7},
        Shape{5, 17, 33, 8}, Shape{1, 33, 64, 9}, Shape{9, 31, 15, 15},
        Shape{4, 48, 96, 17}, Shape{7, 5, 130, kMaxLorcRank},
        Shape{33, 64, 16, 3}}) {
    const auto [m, n, k, rank] = shape;
    for (const WeightFormat format : kFormats) {
      for (const ValueFormat factors : kFactors) {
        std::mt19937 random(static_cast<uint32_t>(n * 31 + k));
        const TestWeight weight =
            ExactBranch(random, format, factors, n, k, rank);
        const Tokens tokens = IntegerTokens(random, m, k);
        for (const Op op : {Op::kMatmul, Op::kMatmulA8}) {
          GuardedArray<float> y = Unwritten(m * n), residual(m * n);
          for (float& value : residual) value = random() % 100;
          Run(op, weight, tokens, m, residual.data(), y.data());
          for (int64_t at = 0; at < m * n; ++at) {
            double wanted = residual[at];
            for (int64_t i = 0; i < k; ++i) {
              wanted += double{tokens.x[at / n * k + i]} *
                        weight.exact[at % n * k + i];
            }
            ASSERT_EQ(y[at], wanted)
                << fmt::format("m={} n={} k={} rank={} {} op {} at {}", m, n, k,
                               rank, Name(format), static_cast<int>(op), at);
          }
        }
      }
    }
  }
}

// Factors of zero add nothing, not even a rounding.
TEST_P(LowRankTest, ZerosChangeNoBit) {
  for (const WeightFormat format : kFormats) {
    for (const Op op : {Op::kMatmul, Op::kMatmulA8}) {
      for (const int64_t m : {1, 6, 17}) {
        std::mt19937 random(3);
        TestWeight weight = MakeWeight(random, format, 37, 100, 32);
        const Tokens tokens = IntegerTokens(random, m, 100);
        const GuardedArray<float> residual = RandomFloats(random, m * 37);
        GuardedArray<float> without = Unwritten(m * 37);
        GuardedArray<float> with = Unwritten(m * 37);
        Run(op, weight, tokens, m, residual.data(), without.data());
        AddLorc(random, ValueFormat::kE4m3, 8, weight);
        for (uint8_t& code : weight.lorc_u) code = 0;
        Run(op, weight, tokens, m, residual.data(), with.data());
        EXPECT_EQ(with.ToVector(), without.ToVector()) << Name(format);
      }
    }
  }
}

// The workspace is planned for the longest step; shorter ones give the same.
TEST_P(LowRankTest, StepsShorterThanThePlan) {
  for (const WeightFormat format : kFormats) {
    for (const Op op : {Op::kMatmul, Op::kMatmulA8}) {
      std::mt19937 random(4);
      TestWeight weight = MakeWeight(random, format, 20, 70, 32);
      AddLorc(random, ValueFormat::kBf16, 5, weight);
      const Tokens tokens = IntegerTokens(random, 9, 70);
      GuardedArray<float> tight = Unwritten(180), wide = Unwritten(180);
      Run(op, weight, tokens, 9, nullptr, tight.data());
      Run(op, weight, tokens, 9, nullptr, wide.data(), 300);
      EXPECT_EQ(tight.ToVector(), wide.ToVector()) << Name(format);
      Run(op, weight, tokens, 0, nullptr, nullptr, 300);
    }
  }
}

// A token that is not finite stays in its own row.
TEST_P(LowRankTest, NanStaysInItsRow) {
  for (const WeightFormat format : kFormats) {
    for (const Op op : {Op::kMatmul, Op::kMatmulA8}) {
      for (const int64_t m : {3, 12}) {
        std::mt19937 random(5);
        const TestWeight weight =
            ExactBranch(random, format, ValueFormat::kE4m3, 19, 40, 8);
        Tokens tokens = IntegerTokens(random, m, 40);
        tokens.scale[1] = kNan;
        for (int64_t i = 40; i < 80; ++i) {
          tokens.codes[i] = 0x7f;
          tokens.x[i] = kNan;
        }
        GuardedArray<float> y = Unwritten(m * 19);
        Run(op, weight, tokens, m, nullptr, y.data());
        for (int64_t i = 0; i < y.size(); ++i) {
          EXPECT_EQ(std::isnan(y[i]), i / 19 == 1) << Name(format) << " " << i;
        }
      }
    }
  }
}

// Ranks cost workspace: 256 bytes more at most than four bytes a token and
// rank (of as many weights as have one launch), and no rank none.
TEST_P(LowRankTest, WorkspaceIsOneFloatPerTokenAndRank) {
  WorkspaceQuery query = {.num_tokens = 50,
                          .k = 256,
                          .n = 256,
                          .num_threads = GetParam().num_threads};
  const int64_t none = backend().WorkspaceBytes(query);
  const bool has_groups = ops().fused.matmul_a8_group != nullptr;
  const int64_t weights = has_groups ? kMostGroupedMatmuls : 1;
  for (const int64_t rank : {1, 8, 64}) {
    query.lorc_rank = rank;
    const int64_t more = backend().WorkspaceBytes(query) - none;
    EXPECT_LE(more, weights * (50 * rank * 4 + 255));
    if (backend().name != "reference") {
      EXPECT_GE(more, 0);
    }
  }
}

ZQFP_FOR_ALL_MACHINES(LowRankTest);

}  // namespace
}  // namespace zqfp::kernels
