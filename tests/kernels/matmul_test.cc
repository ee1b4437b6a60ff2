// SPDX-License-Identifier: Apache-2.0
// Matmul of every backend against the sum in f64.
#include <fmt/format.h>

#include "tests/kernels/test_weight.h"

namespace zqfp::kernels {
namespace {

constexpr WeightFormat kFormats[] = {
    WeightFormat::kF32,        WeightFormat::kBf16,
    WeightFormat::kF16,        WeightFormat::kE4m3,
    WeightFormat::kE4m3Groups, WeightFormat::kE2m1Free,
    WeightFormat::kE2m1Shift,  WeightFormat::kE2m1E4m3};
constexpr int64_t kGroupSizes[] = {32, 64, 128, 256};

class MatmulTest : public OpTest {
 protected:
  void Run(const TestWeight& weight, const float* x, int64_t m,
           const float* bias, const float* residual, float* y) {
    const MatmulArgs args = {.m = m,
                             .x = x,
                             .weight = Place(weight.view),
                             .bias = bias,
                             .residual = residual,
                             .y = y};
    ops().matmul(args, MakeExec({.num_tokens = m,
                                 .k = weight.view.k,
                                 .n = weight.view.n,
                                 .lorc_rank = weight.view.lorc.rank}));
    Wait();
  }

  void Check(WeightFormat format, int64_t m, int64_t n, int64_t k,
             Epilogue epilogue, int64_t lorc_rank = 0) {
    std::mt19937 random(static_cast<uint32_t>(m * 7919 + n * 104729 + k));
    const int64_t turn = m + n + k;
    const bool takes_16 = format == WeightFormat::kE2m1E4m3 && turn % 3 > 0;
    const int64_t group_size = takes_16 ? 16 : kGroupSizes[turn % 4];
    TestWeight weight = MakeWeight(random, format, n, k, group_size);
    if (lorc_rank > 0) AddLorc(random, ValueFormat::kBf16, lorc_rank, weight);
    const GuardedArray<float> x = RandomFloats(random, m * k);
    const GuardedArray<float> bias = RandomFloats(random, n);
    GuardedArray<float> residual = RandomFloats(random, m * n);
    const bool in_place = epilogue == Epilogue::kBothInPlace;
    const bool has_bias = in_place || epilogue == Epilogue::kBias;
    const bool has_residual = in_place || epilogue == Epilogue::kResidual;
    const float* bias_or_null = has_bias ? bias.data() : nullptr;
    const float* residual_or_null = has_residual ? residual.data() : nullptr;
    const std::vector<Expected> wanted = ExactMatmul(
        {x.begin(), x.end()}, weight, m, bias_or_null, residual_or_null,
        ErrorBound(Op::kMatmul, {.weight = format, .lorc_rank = lorc_rank}, k));
    GuardedArray<float> y = Unwritten(m * n);
    float* out = in_place ? residual.data() : y.data();
    Run(weight, x.data(), m, bias_or_null, residual_or_null, out);
    ExpectClose(in_place ? residual : y, wanted,
                fmt::format("{} m={} n={} k={} epilogue={}", Name(format), m, n,
                            k, static_cast<int>(epilogue)));
  }
};

TEST_P(MatmulTest, EveryShape) {
  int turn = 0;
  for (const int64_t m : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 33}) {
    for (const int64_t n : {1, 3, 4, 17}) {
      for (const int64_t k : {1, 7, 31, 64, 129, 172}) {
        for (const WeightFormat format : kFormats) {
          Check(format, m, n, k, kEpilogues[turn++ % 4]);
        }
      }
    }
  }
}

TEST_P(MatmulTest, EveryEpilogue) {
  for (const Epilogue epilogue : kEpilogues) {
    for (const WeightFormat format : kFormats) {
      Check(format, 1, 10, 100, epilogue);
      Check(format, 11, 10, 100, epilogue);
    }
  }
}

TEST_P(MatmulTest, ManyTiles) {
  for (const WeightFormat format : kFormats) {
    Check(format, 37, 131, 1056, Epilogue::kBothInPlace);
    Check(format, 1, 515, 1376, Epilogue::kNone);
  }
}

TEST_P(MatmulTest, LowRankBranch) {
  for (const WeightFormat format :
       {WeightFormat::kE4m3, WeightFormat::kE4m3Groups, WeightFormat::kE2m1Free,
        WeightFormat::kE2m1Shift, WeightFormat::kE2m1E4m3}) {
    for (const Epilogue epilogue : kEpilogues) {
      for (const int64_t rank : {1, 8, 19}) {
        Check(format, 1, 21, 172, epilogue, rank);
        Check(format, 9, 21, 172, epilogue, rank);
      }
    }
  }
}

TEST_P(MatmulTest, NanStaysInItsRow) {
  for (const WeightFormat format : kFormats) {
    for (const float poison : {kNan, kInfinity}) {
      std::mt19937 random(5);
      const TestWeight weight = MakeWeight(random, format, 9, 100, 32);
      GuardedArray<float> x = RandomFloats(random, 7 * 100);
      x[3 * 100 + 99] = poison;
      GuardedArray<float> y = Unwritten(7 * 9);
      Run(weight, x.data(), 7, nullptr, nullptr, y.data());
      for (int64_t i = 0; i < 7 * 9; ++i) {
        EXPECT_EQ(std::isfinite(y[i]), i / 9 != 3) << Name(format) << " " << i;
      }
    }
  }
}

// Subnormal f16 weights are numbers, not zeros.
TEST_P(MatmulTest, ReadsSubnormalWeights) {
  std::mt19937 random(8);
  TestWeight weight = MakeWeight(random, WeightFormat::kF16, 1, 70);
  auto* codes = reinterpret_cast<uint16_t*>(weight.data.data());
  GuardedArray<float> x(70, 1048576.0f);  // 2^20
  double sum = 0;
  for (int k = 0; k < 70; ++k) {
    codes[k] = static_cast<uint16_t>(k + 1);  // (k + 1) 2^-24
    sum += (k + 1) / 16.0;
  }
  GuardedArray<float> y = Unwritten(1);
  Run(weight, x.data(), 1, nullptr, nullptr, y.data());
  EXPECT_EQ(y[0], sum);
}

ZQFP_FOR_ALL_MACHINES(MatmulTest);

}  // namespace
}  // namespace zqfp::kernels
