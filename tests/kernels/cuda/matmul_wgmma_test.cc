// SPDX-License-Identifier: Apache-2.0
// MatmulA8 on the FP8 tensor cores: bit by bit where sums are exact, within the
// bound of their 14 bits where not.
#include "kernels/cuda/matmul_wgmma.h"

#include <fmt/format.h>

#include <algorithm>

#include "tests/kernels/tensor_core_sums.h"
#include "tests/kernels/test_weight.h"

namespace zqfp::kernels {

// The kernel of the emulator or of the chip.
struct WgmmaKernel {
  bool (*multiply)(const MatmulA8Args& args, int shape_index, const Exec& exec);
  int64_t (*workspace_bytes)(const WorkspaceQuery& query);
};

}  // namespace zqfp::kernels

#if defined(ZQFP_WITH_CUDA)
// In tests the word `cuda` means the namespace of the emulator's kernels.
#pragma push_macro("cuda")
#undef cuda
namespace zqfp::kernels {
namespace cuda {
bool MatmulA8Wgmma(const MatmulA8Args& args, int shape_index, const Exec& exec);
int64_t MatmulA8WgmmaWorkspaceBytes(const WorkspaceQuery& query);
}  // namespace cuda
constexpr WgmmaKernel kOfChip = {cuda::MatmulA8Wgmma,
                                 cuda::MatmulA8WgmmaWorkspaceBytes};
}  // namespace zqfp::kernels
#pragma pop_macro("cuda")
#endif

namespace zqfp::kernels {
namespace {

constexpr WgmmaKernel kOfEmulator = {cuda::MatmulA8Wgmma,
                                     cuda::MatmulA8WgmmaWorkspaceBytes};

struct Shape {
  int64_t m, n, k;
};

struct Tokens {
  GuardedArray<uint8_t> data;
  GuardedArray<float> scale;
  std::vector<double> exact;
};

// As real tokens are: a bell whose largest value is 448.
Tokens BellTokens(std::mt19937& random, int64_t m, int64_t k) {
  Tokens tokens = {GuardedArray<uint8_t>(m * k), GuardedArray<float>(m), {}};
  std::normal_distribution<float> normal(0, 110);
  for (int64_t i = 0; i < m * k; ++i) {
    if (i % k == 0) tokens.scale[i / k] = RandomScale(random);
    tokens.data[i] = FloatToE4m3(std::clamp(normal(random), -448.0f, 448.0f));
    tokens.exact.push_back(double{tokens.scale[i / k]} *
                           E4m3ToFloat(tokens.data[i]));
  }
  return tokens;
}

// -1, 0 and 1: sums of 256 products with e2m1 have 13 bits.
Tokens SignTokens(std::mt19937& random, int64_t m, int64_t k) {
  Tokens tokens = {GuardedArray<uint8_t>(m * k), GuardedArray<float>(m, 1), {}};
  for (uint8_t& code : tokens.data) {
    const float value = static_cast<float>(random() % 3) - 1;
    code = FloatToE4m3(value);
    tokens.exact.push_back(value);
  }
  return tokens;
}

class MatmulWgmmaTest : public OpTest {
 protected:
  // Calls check() with every tile that there is, whatever fits best.
  template <typename Check>
  void WithEveryShape(const Check& check) {
    for (const cuda::WgmmaShape& shape : cuda::kWgmmaShapes) {
      shape_index_ = static_cast<int>(&shape - cuda::kWgmmaShapes);
      check();
    }
    shape_index_ = cuda::kChosenShape;
  }

  const WgmmaKernel& kernel() const {
#if defined(ZQFP_WITH_CUDA)
    if (backend().name == "cuda") return kOfChip;
#endif
    return kOfEmulator;
  }

  void Run(const TestWeight& weight, const Tokens& tokens, int64_t m,
           const float* bias, const float* residual, float* y) {
    const WorkspaceQuery query = {.num_tokens = m,
                                  .k = weight.view.k,
                                  .n = weight.view.n,
                                  .lorc_rank = weight.view.lorc.rank};
    const int64_t bytes = kernel().workspace_bytes(query);
    GuardedArray<uint8_t> workspace((bytes + 63) / 64 * 64, 0xff);
    Exec exec = MakeExec(query);
    exec.workspace = workspace.data();
    const MatmulA8Args args = {.m = m,
                               .x = {tokens.data.data(), tokens.scale.data()},
                               .weight = Place(weight.view),
                               .bias = bias,
                               .residual = residual,
                               .y = y};
    ASSERT_TRUE(kernel().multiply(args, shape_index_, exec));
    Wait();
  }

  // The columns that the kernel sums before it promotes.
  static int64_t SumColumns(const WeightView& weight) {
    return HasGroups(weight.format) ? weight.group_size : 256;
  }

  void Check(WeightFormat format, const Shape& shape, int64_t group_size,
             Epilogue epilogue, int64_t lorc_rank = 0) {
    const auto [m, n, k] = shape;
    std::mt19937 random(static_cast<uint32_t>(m * 7919 + n * 104729 + k));
    TestWeight weight = MakeWeight(random, format, n, k, group_size);
    const std::vector<double> codes = weight.exact;
    if (lorc_rank > 0) AddLorc(random, ValueFormat::kE4m3, lorc_rank, weight);
    const Tokens tokens = BellTokens(random, m, k);
    const GuardedArray<float> bias = RandomFloats(random, n, 100);
    GuardedArray<float> residual = RandomFloats(random, m * n, 100);
    const bool in_place = epilogue == Epilogue::kBothInPlace;
    const float* added_bias =
        in_place || epilogue == Epilogue::kBias ? bias.data() : nullptr;
    const float* added =
        in_place || epilogue == Epilogue::kResidual ? residual.data() : nullptr;
    std::vector<Expected> wanted =
        ExactMatmul(tokens.exact, weight, m, added_bias, added,
                    ErrorBound(Op::kMatmulA8,
                               {.weight = format, .lorc_rank = lorc_rank}, k));
    for (int64_t i = 0; i < m * n; ++i) {
      wanted[i].tolerance +=
          SumError(&tokens.exact[i / n * k], &codes[i % n * k], k,
                   SumColumns(weight.view), IsE2m1(format));
    }
    GuardedArray<float> y = Unwritten(m * n);
    Run(weight, tokens, m, added_bias, added,
        in_place ? residual.data() : y.data());
    ExpectClose(in_place ? residual : y, wanted,
                fmt::format("{} m={} n={} k={} group={} rank={} epilogue={}",
                            Name(format), m, n, k, group_size, lorc_rank,
                            static_cast<int>(epilogue)));
  }

  // Scales that are powers of two, tokens that are signs: every sum is exact,
  // in whatever order.
  void CheckExact(WeightFormat format, const Shape& shape, int64_t group_size) {
    const auto [m, n, k] = shape;
    std::mt19937 random(static_cast<uint32_t>(m + n + k));
    TestWeight weight = MakeWeight(random, format, n, k, group_size);
    for (float& scale : weight.row_scale) scale = 1;
    for (float& scale : weight.group_scale) {
      scale = std::ldexp(1.0f, static_cast<int>(random() % 4));
    }
    for (uint8_t& shift : weight.shift) shift = random() % 4;
    const int64_t num_groups = NumGroups(k, group_size);
    const Tokens tokens = SignTokens(random, m, k);
    GuardedArray<float> y = Unwritten(m * n);
    Run(weight, tokens, m, nullptr, nullptr, y.data());
    for (int64_t i = 0; i < m * n; ++i) {
      const int64_t row = i % n;
      double wanted = 0;
      for (int64_t c = 0; c < k; ++c) {
        const int64_t group = row * num_groups + c / group_size;
        const double scale = format == WeightFormat::kE2m1Free
                                 ? weight.group_scale[group]
                                 : std::ldexp(1.0, -weight.shift[group]);
        const uint8_t byte = weight.data[row * ((k + 1) / 2) + c / 2];
        wanted += scale * E2m1ToFloat(c % 2 == 0 ? byte & 15 : byte >> 4) *
                  tokens.exact[i / n * k + c];
      }
      ASSERT_EQ(y[i], wanted)
          << Name(format) << " m=" << m << " n=" << n << " k=" << k
          << " group=" << group_size << " element " << i;
    }
  }

 private:
  int shape_index_ = cuda::kChosenShape;
};

constexpr WeightFormat kFree = WeightFormat::kE2m1Free;
constexpr WeightFormat kShift = WeightFormat::kE2m1Shift;

// Every number of tokens in and around the tiles of 32, 64 and 128.
TEST_P(MatmulWgmmaTest, EveryNumberOfTokensIsExact) {
  for (int64_t m = 1; m <= 33; ++m) {
    CheckExact(m % 2 == 0 ? kFree : kShift, {m, 70, 200}, 64 << m % 3);
  }
  for (const int64_t m : {63, 64, 65, 127, 128, 129, 200}) {
    CheckExact(kFree, {m, 70, 328}, 128);
    CheckExact(kShift, {m, 37, 191}, 64);
  }
}

// One row and column, tails of slabs, of chunks, of strips and of groups, and
// tiles of several blocks.
TEST_P(MatmulWgmmaTest, EveryShapeIsExact) {
  int turn = 0;
  for (const Shape& shape :
       {Shape{3, 1, 1}, Shape{24, 15, 64}, Shape{40, 16, 65}, Shape{9, 17, 127},
        Shape{70, 64, 128}, Shape{32, 130, 129}, Shape{65, 257, 192}}) {
    for (const int64_t group_size : {64, 128, 256}) {
      CheckExact(turn++ % 2 == 0 ? kFree : kShift, shape, group_size);
    }
  }
  CheckExact(kFree, {33, 300, 1000}, 256);
  CheckExact(kShift, {5, 129, 2112}, 128);
  CheckExact(kShift, {130, 193, 1472}, 64);
}

TEST_P(MatmulWgmmaTest, EveryTileIsExact) {
  WithEveryShape([this] {
    CheckExact(kFree, {20, 270, 1088}, 64);
    CheckExact(kShift, {70, 130, 640}, 256);
    CheckExact(kFree, {130, 65, 300}, 128);
    Check(WeightFormat::kE4m3, {40, 130, 700}, 0, Epilogue::kBias);
    Check(WeightFormat::kE4m3Groups, {40, 130, 700}, 128, Epilogue::kNone);
  });
}

TEST_P(MatmulWgmmaTest, EveryFormatAndGroupSize) {
  int turn = 0;
  for (const Shape& shape :
       {Shape{24, 70, 200}, Shape{48, 200, 1100}, Shape{100, 40, 600}}) {
    for (const int64_t group_size : {64, 128, 256}) {
      for (const WeightFormat format : {kFree, kShift, WeightFormat::kE2m1E4m3,
                                        WeightFormat::kE4m3Groups}) {
        Check(format, shape, group_size, kEpilogues[turn++ % 4]);
      }
    }
    Check(WeightFormat::kE4m3, shape, 0, kEpilogues[turn++ % 4]);
  }
}

TEST_P(MatmulWgmmaTest, LowRankBranch) {
  int turn = 0;
  for (const int64_t rank : {1, 8, 64}) {
    for (const int64_t m : {5, 33, 66}) {
      Check(kShift, {m, 37, 192}, 128, kEpilogues[turn++ % 4], rank);
      Check(kFree, {m, 150, 1100}, 64, kEpilogues[turn++ % 4], rank);
    }
  }
}

// Sums that several blocks share are added in one order. Launches of the
// emulator run their blocks in either order in turn.
TEST_P(MatmulWgmmaTest, SameBitsEveryTime) {
  for (const int64_t m : {30, 64, 70}) {
    std::mt19937 random(9);
    const TestWeight weight = MakeWeight(random, kShift, 53, 2752, 128);
    const Tokens tokens = BellTokens(random, m, 2752);
    GuardedArray<float> first = Unwritten(m * 53), second = Unwritten(m * 53);
    Run(weight, tokens, m, nullptr, nullptr, first.data());
    Run(weight, tokens, m, nullptr, nullptr, second.data());
    EXPECT_EQ(first.ToVector(), second.ToVector());
  }
}

// Rows of tokens that are no whole number of aligned pieces.
TEST_P(MatmulWgmmaTest, TokensThatAreNotAligned) {
  CheckExact(kShift, {35, 20, 250}, 64);
  CheckExact(kFree, {35, 20, 251}, 256);
}

TEST_P(MatmulWgmmaTest, NanStaysInItsRow) {
  for (const WeightFormat format :
       {kFree, kShift, WeightFormat::kE4m3, WeightFormat::kE4m3Groups}) {
    const int64_t m = 34, n = 9, k = 300;
    std::mt19937 random(5);
    const TestWeight weight = MakeWeight(random, format, n, k, 64);
    Tokens tokens = BellTokens(random, m, k);
    tokens.data[17 * k + 131] = 0x7f;
    tokens.scale[20] = kNan;
    GuardedArray<float> y = Unwritten(m * n);
    Run(weight, tokens, m, nullptr, nullptr, y.data());
    for (int64_t i = 0; i < m * n; ++i) {
      EXPECT_EQ(std::isnan(y[i]), i / n == 17 || i / n == 20)
          << Name(format) << " " << i;
    }
  }
}

TEST_P(MatmulWgmmaTest, RefusesWhatDoesNotFit) {
  std::mt19937 random(6);
  GuardedArray<uint8_t> codes(64);
  GuardedArray<float> scale(1), y = Unwritten(8);
  const auto fits = [&](WeightFormat format, int64_t group_size) {
    const TestWeight weight = MakeWeight(random, format, 8, 64, group_size);
    return cuda::HasWgmma(Place(weight.view));
  };
  EXPECT_FALSE(fits(kFree, 32));
  EXPECT_FALSE(fits(WeightFormat::kE2m1E4m3, 16));
  EXPECT_FALSE(fits(WeightFormat::kBf16, 0));
  EXPECT_TRUE(fits(kFree, 64));
  EXPECT_TRUE(fits(WeightFormat::kE4m3, 0));
  const TestWeight weight = MakeWeight(random, kFree, 8, 64, 32);
  EXPECT_FALSE(kernel().multiply({.m = 1,
                                  .x = {codes.data(), scale.data()},
                                  .weight = Place(weight.view),
                                  .y = y.data()},
                                 cuda::kChosenShape, MakeExec({})));
  Wait();
  for (const float value : y) EXPECT_EQ(value, Unwritten(1)[0]);
}

// Until somebody has measured it.
TEST(MatmulWgmma, IsNotChosen) {
  for (int64_t m = 0; m < 5000; ++m) EXPECT_FALSE(cuda::IsForWgmma(m));
}

INSTANTIATE_TEST_SUITE_P(Backends, MatmulWgmmaTest,
                         ::testing::ValuesIn(DeviceMachines()), MachineName);

}  // namespace
}  // namespace zqfp::kernels
