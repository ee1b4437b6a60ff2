// SPDX-License-Identifier: Apache-2.0
// MatmulA8 of many tokens, by way of cuBLASLt: what is unpacked is exact, and
// the products are those of the card.
#include "kernels/cuda/matmul_fp8.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "kernels/cuda/unpack_fp8.h"
#include "tests/cuda_emulator/emulator.h"
#include "tests/kernels/tensor_core_sums.h"
#include "tests/kernels/test_tokens.h"
#include "tests/kernels/test_weight.h"

namespace zqfp::kernels {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class MatmulFp8Test : public OpTest {
 protected:
  // In tests `cuda::` is the emulator's: its functions take no GPU's memory.
  bool IsOnChip() const { return backend().name == "cuda"; }

  // The chip sums in less than f32 (Fp8Sums::kPromoted); the emulator does not.
  void WidenForChip(const std::vector<double>& x, const TestWeight& weight,
                    std::vector<Expected>& wanted) const {
    if (!IsOnChip()) return;
    const int64_t n = weight.view.n, k = weight.view.k;
    for (int64_t i = 0; i < std::ssize(wanted); ++i) {
      wanted[i].tolerance += SumError(&x[i / n * k], &weight.exact[i % n * k],
                                      k, 128, /*is_e2m1=*/false);
    }
  }

  Device& device() { return *backend().device; }

  // y of the op, with a bias and in place on a residual.
  GuardedArray<float> Multiply(const WeightView& placed, const Tokens& tokens,
                               int64_t m, const GuardedArray<float>& bias) {
    std::mt19937 random(3);
    GuardedArray<float> y = RandomFloats(random, m * placed.n);
    ops().matmul_a8({.m = m,
                     .x = tokens.view(),
                     .weight = placed,
                     .bias = bias.data(),
                     .residual = y.data(),
                     .y = y.data()},
                    MakeExec({.num_tokens = m,
                              .k = placed.k,
                              .n = placed.n,
                              .lorc_rank = placed.lorc.rank}));
    Wait();
    return y;
  }
};

constexpr WeightFormat kFp8Formats[] = {WeightFormat::kE4m3,
                                        WeightFormat::kE2m1Shift};

TEST_P(MatmulFp8Test, UnpackedWeightsAreExact) {
  if (IsOnChip()) GTEST_SKIP() << "there only by the op: EveryEpilogue";
  for (const WeightFormat format : kFp8Formats) {
    for (const int64_t k : {16, 64, 80, 192}) {
      std::mt19937 random(static_cast<uint32_t>(k));
      const int64_t n = 64, first = 32, count = 32;
      const TestWeight weight = MakeWeight(random, format, n, k, 32);
      const WeightView placed = Place(weight.view);
      const cuda::PackedWeight w = cuda::DescribePacked(placed, placed.packed);
      GuardedArray<uint8_t> rows(count * k, 0x7f);
      cuda::UnpackFp8(w, first, count, k, rows.data(), MakeExec({}));
      Wait();
      for (int64_t i = 0; i < count * k; ++i) {
        const int64_t row = first + i / k;
        // The row's scale is put together on the device: in f64 here.
        const double scale = weight.row_scale[row];
        const double found = scale *
                             (format == WeightFormat::kE4m3 ? 1.0 : 1.0 / 64) *
                             E4m3ToFloat(rows[i]);
        ASSERT_EQ(found, weight.exact[row * k + i % k])
            << Name(format) << " row " << row << " column " << i % k;
      }
    }
  }
}

TEST_P(MatmulFp8Test, TakesAllTokensButTheLastFew) {
  if (IsOnChip()) GTEST_SKIP() << "there only by the op: EveryEpilogue";
  for (const WeightFormat format : kFp8Formats) {
    for (const auto& [m, wanted] :
         {std::pair<int64_t, int64_t>{128, 0}, {132, 128}, {144, 144}}) {
      std::mt19937 random(7);
      const int64_t n = 48, k = 64;
      const TestWeight weight = MakeWeight(random, format, n, k, 32);
      const GuardedArray<uint8_t> codes(m * k, 0x38);  // ones
      const GuardedArray<float> scales(m, 1.0f);
      GuardedArray<float> y = Unwritten(m * n);
      const Exec exec = MakeExec({.num_tokens = m, .k = k, .n = n});
      const int64_t done =
          cuda::MatmulFp8({.m = m,
                           .x = {codes.data(), scales.data()},
                           .weight = Place(weight.view),
                           .y = y.data()},
                          nullptr, static_cast<uint8_t*>(exec.workspace), exec);
      Wait();
      EXPECT_EQ(done, wanted) << Name(format) << " m=" << m;
    }
  }
}

TEST_P(MatmulFp8Test, EveryEpilogue) {
  int turn = 0;
  for (const WeightFormat format : kFp8Formats) {
    for (const Epilogue epilogue : kEpilogues) {
      ++turn;
      for (const int64_t rank : {0, 5}) {
        const int64_t m = 132, n = turn % 2 == 0 ? 96 : 50, k = 160;
        std::mt19937 random(static_cast<uint32_t>(n));
        TestWeight weight = MakeWeight(random, format, n, k, 64);
        if (rank > 0) AddLorc(random, ValueFormat::kE4m3, rank, weight);
        GuardedArray<uint8_t> codes(m * k);
        GuardedArray<float> scales(m);
        std::vector<double> x;
        for (float& scale : scales) scale = RandomScale(random);
        for (int64_t i = 0; i < m * k; ++i) {
          codes[i] = static_cast<uint8_t>(random() % 0x7f |
                                          (random() % 2 == 0 ? 0x80 : 0));
          x.push_back(double{scales[i / k]} * E4m3ToFloat(codes[i]));
        }
        const GuardedArray<float> bias = RandomFloats(random, n);
        GuardedArray<float> residual = RandomFloats(random, m * n);
        const bool both = epilogue == Epilogue::kBothInPlace;
        const float* added_bias =
            both || epilogue == Epilogue::kBias ? bias.data() : nullptr;
        const float* added =
            both || epilogue == Epilogue::kResidual ? residual.data() : nullptr;
        std::vector<Expected> wanted =
            ExactMatmul(x, weight, m, added_bias, added,
                        ErrorBound(Op::kMatmulA8,
                                   {.weight = format, .lorc_rank = rank}, k));
        WidenForChip(x, weight, wanted);
        GuardedArray<float> y = Unwritten(m * n);
        ops().matmul_a8(
            {.m = m,
             .x = {codes.data(), scales.data()},
             .weight = Place(weight.view),
             .bias = added_bias,
             .residual = added,
             .y = both ? residual.data() : y.data()},
            MakeExec({.num_tokens = m, .k = k, .n = n, .lorc_rank = rank}));
        Wait();
        ExpectClose(both ? residual : y, wanted,
                    fmt::format("{} n={} rank={} epilogue={}", Name(format), n,
                                rank, static_cast<int>(epilogue)));
      }
    }
  }
}

// What cuBLASLt refuses after it has offered it goes the other way, then and
// later.
TEST_P(MatmulFp8Test, WhatIsRefusedGoesTheOtherWay) {
  if (IsOnChip()) GTEST_SKIP() << "cuBLASLt refuses nothing for our sake";
  const int64_t m = 144, n = 112, k = 96;  // no other test's
  std::mt19937 random(21);
  const TestWeight weight =
      MakeWeight(random, WeightFormat::kE2m1Shift, n, k, 32);
  const WeightView placed = Place(weight.view);
  const Tokens tokens = RandomTokens(random, m, k);
  const GuardedArray<float> bias = RandomFloats(random, n);
  const auto by_library = Multiply(placed, tokens, m, bias);
  emulator::products_to_refuse = 1;
  const auto refused = Multiply(placed, tokens, m, bias);
  EXPECT_EQ(emulator::products_to_refuse, 0);
  const auto later = Multiply(placed, tokens, m, bias);
  std::mt19937 same(3);
  const GuardedArray<float> residual = RandomFloats(same, m * n);
  ExpectClose(refused,
              ExactMatmul(tokens.exact, weight, m, bias.data(), residual.data(),
                          ErrorBound(Op::kMatmulA8,
                                     {.weight = WeightFormat::kE2m1Shift}, k)),
              "refused");
  int64_t changed = 0;
  for (int64_t i = 0; i < m * n; ++i) {
    ASSERT_EQ(later[i], refused[i]);
    changed += refused[i] != by_library[i] ? 1 : 0;
  }
  EXPECT_GT(changed, 0);
}

// Rows that are kept are the rows that are unpacked, and what is read.
TEST_P(MatmulFp8Test, KeptRowsGiveTheSameBits) {
  const int64_t m = 132, n = 96, k = 160;  // four tokens go the other way
  for (const WeightFormat format : kFp8Formats) {
    for (const int64_t rank : {0, 5}) {
      std::mt19937 random(static_cast<uint32_t>(rank));
      TestWeight weight = MakeWeight(random, format, n, k, 64);
      if (rank > 0) AddLorc(random, ValueFormat::kE4m3, rank, weight);
      const Tokens tokens = RandomTokens(random, m, k);
      const GuardedArray<float> bias = RandomFloats(random, n);
      EXPECT_EQ(device().Fp8RowBytes(weight.view), n * k);
      WeightView placed = Place(weight.view);
      EXPECT_EQ(device().Fp8RowBytes(placed), n * k);
      const auto wanted = Multiply(placed, tokens, m, bias);
      const auto rows = device().PlaceFp8Rows(placed);
      ASSERT_TRUE(rows.ok()) << rows.status();
      placed.fp8_rows = static_cast<const uint8_t*>(rows->get());
      const auto found = Multiply(placed, tokens, m, bias);
      const std::vector<uint8_t> zeros(static_cast<size_t>(n * k), 0);
      ASSERT_TRUE(device().Upload(zeros.data(), n * k, rows->get()).ok());
      const auto without = Multiply(placed, tokens, m, bias);
      int64_t changed = 0;
      for (int64_t i = 0; i < m * n; ++i) {
        ASSERT_EQ(found[i], wanted[i]) << Name(format) << " element " << i;
        changed += found[i] != without[i] ? 1 : 0;
        if (i >= 128 * n) ASSERT_EQ(without[i], wanted[i]);
      }
      EXPECT_GT(changed, 127 * n);
    }
  }
}

TEST_P(MatmulFp8Test, RowsAreKeptOnlyOfWhatTheLibraryMultiplies) {
  std::mt19937 random(1);
  const auto rows_of = [&](WeightFormat format, int64_t n, int64_t k) {
    const TestWeight weight = MakeWeight(random, format, n, k, 32);
    const WeightView placed = Place(weight.view);
    const auto rows = device().PlaceFp8Rows(placed);
    EXPECT_TRUE(rows.ok()) << rows.status();
    EXPECT_EQ(*rows != nullptr, device().Fp8RowBytes(placed) > 0);
    return device().Fp8RowBytes(weight.view);
  };
  for (const WeightFormat format : kFp8Formats) {
    EXPECT_EQ(rows_of(format, 32, 48), 32 * 48) << Name(format);
    EXPECT_EQ(rows_of(format, 40, 48), 0) << Name(format);
    EXPECT_EQ(rows_of(format, 32, 56), 0) << Name(format);
  }
  for (const WeightFormat format :
       {WeightFormat::kE2m1Free, WeightFormat::kE2m1E4m3,
        WeightFormat::kE4m3Groups, WeightFormat::kBf16}) {
    EXPECT_EQ(rows_of(format, 32, 64), 0) << Name(format);
  }
}

// Not promoted, sums are off by more, within what 14 bits allow; few tokens
// have exact ones either way.
TEST_P(MatmulFp8Test, FastSumsWhereTheyAreAskedFor) {
  const int64_t m = 132, n = 32, k = 512;
  std::mt19937 random(9);
  const TestWeight weight =
      MakeWeight(random, WeightFormat::kE2m1Shift, n, k, 64);
  const Tokens tokens = RandomTokens(random, m, k);
  const GuardedArray<float> bias = RandomFloats(random, n);
  WeightView placed = Place(weight.view);
  const auto promoted = Multiply(placed, tokens, m, bias);
  placed.fp8_sums = Fp8Sums::kFast;
  const auto fast = Multiply(placed, tokens, m, bias);
  const auto residual = [&] {
    std::mt19937 same(3);
    return RandomFloats(same, m * n);
  }();
  ExpectClose(
      fast,
      ExactMatmul(tokens.exact, weight, m, bias.data(), residual.data(), 4e-3),
      "fast sums");
  int64_t changed = 0;
  for (int64_t i = 0; i < m * n; ++i) {
    changed += fast[i] != promoted[i] ? 1 : 0;
    if (i >= 128 * n) ASSERT_EQ(fast[i], promoted[i]);
  }
  // On a chip one kernel may serve both.
  if (!IsOnChip()) EXPECT_GT(changed, 100 * n);
}

TEST_P(MatmulFp8Test, SaysHowItMultiplies) {
  const uint8_t row = 0;
  WeightView weight = {
      .format = WeightFormat::kE2m1Shift, .n = 32, .k = 64, .group_size = 32};
  const auto text = [&] { return device().DescribeMatmul(weight, true); };
  EXPECT_THAT(text(),
              HasSubstr("from 129 tokens cublasLt, e4m3 rows: exact products, "
                        "sums of the tensor cores promoted to f32"));
  weight.fp8_rows = &row;
  EXPECT_THAT(text(),
              AllOf(HasSubstr("e4m3 rows, resident: "), HasSubstr("promoted")));
  weight.fp8_sums = Fp8Sums::kFast;
  EXPECT_THAT(text(),
              HasSubstr("sums of the tensor cores in 14 bits, not promoted"));
  weight.n = 33;  // no weight for cuBLASLt
  EXPECT_THAT(text(), Not(HasSubstr("cublasLt")));
  EXPECT_THAT(device().DescribeMatmul(weight, false), HasSubstr("cuda fma"));
}

INSTANTIATE_TEST_SUITE_P(Backends, MatmulFp8Test,
                         ::testing::ValuesIn(DeviceMachines()), MachineName);

}  // namespace
}  // namespace zqfp::kernels
