// SPDX-License-Identifier: Apache-2.0
// MatmulA8 of every backend against the sum in f64.
#include <fmt/format.h>

#include <algorithm>

#include "tests/kernels/test_tokens.h"
#include "tests/kernels/test_weight.h"

namespace zqfp::kernels {
namespace {

struct Shape {
  int64_t m, n, k;
};

// One row, no row, tails of every vector and tile length, the ends of register
// tiles (4 rows, 6 and 8 tokens), and shapes of several tiles.
const Shape kShapes[] = {
    {1, 1, 1},    {1, 1, 7},     {1, 4, 32},    {1, 5, 172}, {1, 33, 129},
    {2, 3, 31},   {3, 7, 64},    {4, 4, 256},   {5, 6, 300}, {6, 13, 172},
    {7, 9, 33},   {8, 16, 512},  {9, 5, 160},   {0, 4, 64},  {12, 8, 127},
    {13, 17, 96}, {33, 66, 288}, {1, 64, 1024}, {1, 7, 63}};

// As real tokens are: a bell whose largest value is 448, with few codes below
// 1/8 and none in most blocks.
Tokens BellTokens(std::mt19937& random, int64_t m, int64_t k) {
  Tokens tokens = {GuardedArray<uint8_t>(m * k), GuardedArray<float>(m), {}};
  std::normal_distribution<float> normal(0, 110);
  for (int64_t t = 0; t < m; ++t) {
    tokens.scale[t] = RandomScale(random);
    for (int64_t i = 0; i < k; ++i) {
      const float value = std::clamp(normal(random), -448.0f, 448.0f);
      tokens.data[t * k + i] = FloatToE4m3(value);
      tokens.exact.push_back(double{tokens.scale[t]} *
                             E4m3ToFloat(tokens.data[t * k + i]));
    }
  }
  return tokens;
}

class MatmulA8Test : public OpTest {
 protected:
  void Run(const TestWeight& weight, const Tokens& tokens, int64_t m,
           const float* bias, const float* residual, float* y) {
    const MatmulA8Args args = {.m = m,
                               .x = tokens.view(),
                               .weight = Place(weight.view),
                               .bias = bias,
                               .residual = residual,
                               .y = y};
    ops().matmul_a8(args, MakeExec({.num_tokens = m,
                                    .k = weight.view.k,
                                    .n = weight.view.n,
                                    .lorc_rank = weight.view.lorc.rank}));
    Wait();
  }

  void Check(WeightFormat format, const Shape& shape, int64_t group_size,
             Epilogue epilogue, int64_t lorc_rank = 0,
             ValueFormat lorc_format = ValueFormat::kE4m3, bool bell = false) {
    std::mt19937 random(
        static_cast<uint32_t>(shape.m * 7919 + shape.n * 104729 + shape.k));
    const auto [m, n, k] = shape;
    TestWeight weight = MakeWeight(random, format, n, k, group_size);
    if (lorc_rank > 0) AddLorc(random, lorc_format, lorc_rank, weight);
    const Tokens tokens =
        bell ? BellTokens(random, m, k) : RandomTokens(random, m, k);
    const GuardedArray<float> bias = RandomFloats(random, n, 100);
    GuardedArray<float> residual = RandomFloats(random, m * n, 100);
    const bool in_place = epilogue == Epilogue::kBothInPlace;
    const bool has_bias = in_place || epilogue == Epilogue::kBias;
    const bool has_residual = in_place || epilogue == Epilogue::kResidual;
    const float* bias_or_null = has_bias ? bias.data() : nullptr;
    const float* residual_or_null = has_residual ? residual.data() : nullptr;
    const std::vector<Expected> wanted =
        ExactMatmul(tokens.exact, weight, m, bias_or_null, residual_or_null,
                    ErrorBound(Op::kMatmulA8,
                               {.weight = format, .lorc_rank = lorc_rank}, k));
    GuardedArray<float> y = Unwritten(m * n);
    float* out = in_place ? residual.data() : y.data();
    Run(weight, tokens, m, bias_or_null, residual_or_null, out);
    ExpectClose(
        in_place ? residual : y, wanted,
        fmt::format("{} m={} n={} k={} group={} epilogue={}", Name(format), m,
                    n, k, group_size, static_cast<int>(epilogue)));
  }
};

TEST_P(MatmulA8Test, EveryShapeAndGroupSize) {
  int turn = 0;  // epilogues in turn
  for (const Shape& shape : kShapes) {
    for (const int64_t group_size : {32, 64, 128, 256}) {
      Check(WeightFormat::kE2m1Free, shape, group_size, kEpilogues[turn % 4]);
      Check(WeightFormat::kE2m1Shift, shape, group_size,
            kEpilogues[(turn + 1) % 4]);
      Check(WeightFormat::kE2m1E4m3, shape, group_size,
            kEpilogues[(turn + 2) % 4]);
      Check(WeightFormat::kE4m3Groups, shape, group_size,
            kEpilogues[(turn + 3) % 4]);
      ++turn;
    }
    Check(WeightFormat::kE2m1E4m3, shape, 16, kEpilogues[turn % 4]);
    Check(WeightFormat::kE4m3, shape, 0, kEpilogues[turn % 4]);
    ++turn;
  }
}

// Kernels may treat small codes apart, of which random codes have many.
TEST_P(MatmulA8Test, TokensWithFewSmallCodes) {
  for (const Shape& shape : {Shape{1, 21, 1000}, Shape{3, 9, 640},
                             Shape{8, 34, 512}, Shape{33, 66, 1288}}) {
    for (const int64_t group_size : {32, 256}) {
      Check(WeightFormat::kE2m1Shift, shape, group_size, Epilogue::kNone, 0,
            ValueFormat::kE4m3, /*bell=*/true);
      Check(WeightFormat::kE2m1Free, shape, group_size, Epilogue::kBias, 0,
            ValueFormat::kE4m3, /*bell=*/true);
    }
  }
}

// And of nothing else: what is kept apart is then the whole product.
TEST_P(MatmulA8Test, TokensOfSmallCodesAlone) {
  for (const int64_t m : {1, 3, 9, 70}) {
    for (const int64_t group_size : {32, 128}) {
      std::mt19937 random(11);
      const int64_t n = 37, k = 331;
      const TestWeight weight =
          MakeWeight(random, WeightFormat::kE2m1Shift, n, k, group_size);
      Tokens tokens = RandomTokens(random, m, k);
      for (int64_t i = 0; i < m * k; ++i) {
        tokens.data[i] =
            static_cast<uint8_t>(tokens.data[i] % 24 + (tokens.data[i] & 0x80));
        tokens.exact[static_cast<size_t>(i)] =
            double{tokens.scale[i / k]} * E4m3ToFloat(tokens.data[i]);
      }
      GuardedArray<float> y = Unwritten(m * n);
      Run(weight, tokens, m, nullptr, nullptr, y.data());
      ExpectClose(y,
                  ExactMatmul(tokens.exact, weight, m, nullptr, nullptr,
                              ErrorBound(Op::kMatmulA8, {}, k)),
                  fmt::format("m={} group={}", m, group_size));
    }
  }
}

TEST_P(MatmulA8Test, EveryEpilogue) {
  for (const Epilogue epilogue : kEpilogues) {
    for (const WeightFormat format :
         {WeightFormat::kE2m1Free, WeightFormat::kE2m1Shift,
          WeightFormat::kE4m3, WeightFormat::kE4m3Groups,
          WeightFormat::kE2m1E4m3}) {
      for (const int64_t m : {1, 5, 10}) {
        Check(format, {m, 11, 172}, 32, epilogue);
      }
    }
  }
}

// Every rank in and beyond a tile of 8, both formats of the factors.
TEST_P(MatmulA8Test, LowRankBranch) {
  int turn = 0;
  for (const int64_t rank : {1, 3, 8, 9, 16, 64}) {
    for (const ValueFormat format : {ValueFormat::kE4m3, ValueFormat::kBf16}) {
      for (const int64_t m : {0, 1, 5, 10, 33}) {
        const Epilogue epilogue = kEpilogues[turn++ % 4];
        Check(WeightFormat::kE2m1Shift, {m, 37, 172}, 32, epilogue, rank,
              format);
        Check(WeightFormat::kE2m1Free, {m, 16, 128}, 64, epilogue, rank,
              format);
        Check(WeightFormat::kE4m3, {m, 5, 33}, 0, epilogue, rank, format);
      }
    }
  }
  Check(WeightFormat::kE2m1Shift, {70, 531, 2112}, 128, Epilogue::kBothInPlace,
        8);
  Check(WeightFormat::kE2m1Shift, {1, 3000, 2112}, 128, Epilogue::kBothInPlace,
        8);
}

// Several blocks in every direction, and enough work for all threads.
TEST_P(MatmulA8Test, ManyTiles) {
  Check(WeightFormat::kE2m1Shift, {70, 41, 2112}, 128, Epilogue::kBothInPlace);
  Check(WeightFormat::kE2m1Shift, {257, 5, 96}, 32, Epilogue::kResidual);
  Check(WeightFormat::kE2m1Free, {19, 131, 1056}, 32, Epilogue::kBias);
  Check(WeightFormat::kE4m3, {19, 131, 1056}, 0, Epilogue::kResidual);
  Check(WeightFormat::kE2m1Shift, {1, 515, 2752}, 256, Epilogue::kNone);
  Check(WeightFormat::kE2m1Free, {1, 515, 2752}, 128, Epilogue::kNone);
  Check(WeightFormat::kE4m3, {1, 515, 2752}, 0, Epilogue::kNone);
  Check(WeightFormat::kE2m1E4m3, {1, 515, 2752}, 16, Epilogue::kNone);
  Check(WeightFormat::kE2m1E4m3, {19, 131, 1056}, 16, Epilogue::kBias);
  Check(WeightFormat::kE4m3Groups, {19, 131, 1056}, 128, Epilogue::kBias);
}

// Each shift of the window by itself: the codes, exactly, times 2^-shift.
TEST_P(MatmulA8Test, EveryShiftOfTheWindowIsExact) {
  std::mt19937 random(1);
  for (const int64_t m : {1, 12}) {
    for (int shift = 0; shift <= kMaxShift; ++shift) {
      TestWeight weight =
          MakeWeight(random, WeightFormat::kE2m1Shift, 16, 16, 32);
      for (uint8_t& value : weight.shift) value = static_cast<uint8_t>(shift);
      for (float& scale : weight.row_scale) scale = 1;
      Tokens tokens = {
          GuardedArray<uint8_t>(m * 16), GuardedArray<float>(m, 1), {}};
      GuardedArray<float> y = Unwritten(m * 16);
      // Token t picks the column k = t.
      for (int64_t t = 0; t < m; ++t) tokens.data[t * 16 + t] = 0x38;  // 1.0
      Run(weight, tokens, m, nullptr, nullptr, y.data());
      for (int64_t i = 0; i < m * 16; ++i) {
        const uint8_t code =
            UnpackE2m1(weight.data.data() + i % 16 * 8, i / 16);
        EXPECT_EQ(y[i], std::ldexp(E2m1ToFloat(code), -shift)) << shift;
      }
    }
  }
}

// A non-finite row of x has the scale NaN: all of its outputs are NaN, and
// those of no other row.
TEST_P(MatmulA8Test, NanStaysInItsRow) {
  for (const WeightFormat format :
       {WeightFormat::kE2m1Free, WeightFormat::kE2m1Shift, WeightFormat::kE4m3,
        WeightFormat::kE4m3Groups, WeightFormat::kE2m1E4m3}) {
    for (const int64_t m : {1, 4, 11}) {
      std::mt19937 random(5);
      const TestWeight weight = MakeWeight(random, format, 9, 100, 32);
      Tokens tokens = RandomTokens(random, m, 100);
      const int64_t bad = m / 2;
      tokens.scale[bad] = kNan;
      for (int64_t k = 0; k < 100; ++k) tokens.data[bad * 100 + k] = 0x7f;
      GuardedArray<float> y = Unwritten(m * 9);
      Run(weight, tokens, m, nullptr, nullptr, y.data());
      for (int64_t i = 0; i < m * 9; ++i) {
        EXPECT_EQ(std::isnan(y[i]), i / 9 == bad) << Name(format) << " " << i;
      }
    }
  }
}

// One code among good ones, wherever it is.
TEST_P(MatmulA8Test, OneNanCodeSpoilsItsToken) {
  for (const int64_t m : {1, 9}) {
    for (const int64_t at : {0, 37, 130}) {
      std::mt19937 random(8);
      const TestWeight weight =
          MakeWeight(random, WeightFormat::kE2m1Shift, 9, 131, 32);
      Tokens tokens = RandomTokens(random, m, 131);
      const int64_t bad = m / 2;
      tokens.data[bad * 131 + at] = 0xff;
      GuardedArray<float> y = Unwritten(m * 9);
      Run(weight, tokens, m, nullptr, nullptr, y.data());
      for (int64_t i = 0; i < m * 9; ++i) {
        EXPECT_EQ(std::isnan(y[i]), i / 9 == bad) << at << " " << i;
      }
    }
  }
}

TEST_P(MatmulA8Test, NanScaleAloneSurfaces) {
  std::mt19937 random(6);
  const TestWeight weight =
      MakeWeight(random, WeightFormat::kE2m1Shift, 6, 64, 32);
  const Tokens tokens = {GuardedArray<uint8_t>(64), {kNan}, {}};
  GuardedArray<float> y = Unwritten(6);
  Run(weight, tokens, 1, nullptr, nullptr, y.data());
  for (const float value : y) EXPECT_TRUE(std::isnan(value));
}

// Four bits stay four bits: the workspace does not grow with the weight, and
// the next call reads the codes anew.
TEST_P(MatmulA8Test, KeepsNoCopyOfTheWeight) {
  WorkspaceQuery query = {.num_tokens = 1,
                          .k = 16384,
                          .n = 1 << 10,
                          .num_heads = 32,
                          .head_dim = 128,
                          .num_threads = GetParam().num_threads};
  const int64_t few_rows = backend().WorkspaceBytes(query);
  const int64_t more_rows = (1 << 20) - query.n;
  query.n += more_rows;
  const int64_t growth = backend().WorkspaceBytes(query) - few_rows;
  const int64_t row_bytes = query.k / 2;
  EXPECT_LE(growth, more_rows * row_bytes / 128);
  EXPECT_LT(few_rows, (1 << 10) * row_bytes);

  std::mt19937 random(7);
  TestWeight weight = MakeWeight(random, WeightFormat::kE2m1Free, 8, 64, 32);
  const Tokens tokens = RandomTokens(random, 2, 64);
  GuardedArray<float> before = Unwritten(16), after = Unwritten(16);
  Run(weight, tokens, 2, nullptr, nullptr, before.data());
  for (uint8_t& byte : weight.data) byte ^= 0x88;  // both signs
  Run(weight, tokens, 2, nullptr, nullptr, after.data());
  for (int64_t i = 0; i < 16; ++i) {
    EXPECT_NE(before[i], 0);
    EXPECT_EQ(after[i], -before[i]);
  }
}

// Sums that several threads or blocks share are added in one order.
TEST_P(MatmulA8Test, SameBitsEveryTime) {
  std::mt19937 random(9);
  for (const int64_t m : {1, 70}) {
    const TestWeight weight =
        MakeWeight(random, WeightFormat::kE2m1Shift, 53, 2752, 128);
    const Tokens tokens = RandomTokens(random, m, 2752);
    GuardedArray<float> first = Unwritten(m * 53), second = Unwritten(m * 53);
    Run(weight, tokens, m, nullptr, nullptr, first.data());
    Run(weight, tokens, m, nullptr, nullptr, second.data());
    EXPECT_EQ(first.ToVector(), second.ToVector());
  }
}

// The scale of a group of e4m3 codes may be negative.
TEST_P(MatmulA8Test, NegativeScaleCodes) {
  std::mt19937 random(10);
  TestWeight weight = MakeWeight(random, WeightFormat::kE2m1E4m3, 21, 96, 16);
  const Tokens tokens = RandomTokens(random, 3, 96);
  GuardedArray<float> before = Unwritten(3 * 21), after = Unwritten(3 * 21);
  Run(weight, tokens, 3, nullptr, nullptr, before.data());
  for (uint8_t& code : weight.scale_code) code |= 0x80;
  Run(weight, tokens, 3, nullptr, nullptr, after.data());
  for (int64_t i = 0; i < 3 * 21; ++i) EXPECT_EQ(after[i], -before[i]);
}

ZQFP_FOR_ALL_MACHINES(MatmulA8Test);

}  // namespace
}  // namespace zqfp::kernels
