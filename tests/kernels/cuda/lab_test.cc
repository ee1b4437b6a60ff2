// SPDX-License-Identifier: Apache-2.0
// The lab on the devices that are here: its data, its clock, its products.
#include <fmt/format.h>
#include <string.h>

#include <cmath>

#include "kernels/core/device_lab.h"
#include "kernels/op_profile.h"
#include "tests/kernels/test_weight.h"

namespace zqfp::kernels {
namespace {

class LabTest : public OpTest {
 protected:
  DeviceLab& lab() { return *backend().lab; }

  template <typename T>
  GuardedArray<T> Filled(RandomKind kind, uint64_t seed, float unit,
                         int64_t count) {
    GuardedArray<T> values(count);
    lab().Fill(kind, seed, unit, count, values.data());
    Wait();
    return values;
  }
};

TEST_P(LabTest, FillsWithTheSameValuesAsTheHost) {
  constexpr int64_t kCount = 2000;
  constexpr uint64_t kSeed = 12345;
  const auto bytes = [&](RandomKind kind) {
    return Filled<uint8_t>(kind, kSeed, 0, kCount);
  };
  const auto any = bytes(RandomKind::kByte);
  const auto finite = bytes(RandomKind::kFiniteE4m3);
  const auto normal = bytes(RandomKind::kNormalE4m3);
  const auto shift = bytes(RandomKind::kShift);
  const auto bf16 = Filled<uint16_t>(RandomKind::kBf16, kSeed, 0.5f, kCount);
  const auto f32 = Filled<float>(RandomKind::kF32, kSeed, 0.5f, kCount);
  const auto same = Filled<float>(RandomKind::kConstant, kSeed, 3.5f, kCount);
  double square = 0, square_normal = 0;
  for (int64_t i = 0; i < kCount; ++i) {
    const uint64_t bits = RandomBits(kSeed, i);
    ASSERT_EQ(any[i], RandomByte(bits));
    ASSERT_EQ(finite[i], RandomFiniteE4m3(bits));
    ASSERT_EQ(normal[i], RandomNormalE4m3(bits));
    ASSERT_EQ(shift[i], RandomShift(bits));
    ASSERT_EQ(bf16[i], FloatToBf16(RandomFloat(bits, 0.5f)));
    ASSERT_EQ(f32[i], RandomFloat(bits, 0.5f));
    ASSERT_EQ(same[i], 3.5f);
    ASSERT_LE(shift[i], 3);
    ASSERT_FALSE(std::isnan(E4m3ToFloat(finite[i])));
    square += double{f32[i]} * f32[i];
    square_normal += std::pow(E4m3ToFloat(normal[i]), 2);
  }
  EXPECT_NEAR(std::sqrt(square / kCount), 0.5, 0.03);
  EXPECT_NEAR(std::sqrt(square_normal / kCount), 112, 6);
}

// A profile of a device's ops has its clock: their times are there once they
// have been waited for.
TEST_P(LabTest, TimesTheOpsOfAProfile) {
  OpProfile profile;
  const OpTable ops = profile.Wrap(backend().ops, &lab());
  EXPECT_TRUE(profile.is_of_device());
  const Exec exec = MakeExec({});
  GuardedArray<float> x(64, 3.0f);
  const auto softcap = [&](int64_t rows) {
    ops.softcap({.num_rows = rows, .dim = 8, .cap = 1, .x = x.data()}, exec);
  };
  softcap(1);
  ASSERT_TRUE(profile.Settle().ok());
  profile.Clear();
  softcap(8);
  softcap(4);
  ASSERT_EQ(profile.rows().size(), 1u);
  const OpCalls& row = profile.rows().front();
  EXPECT_EQ(row.calls, 2);
  EXPECT_EQ(row.work.bytes, 2 * 4 * 8 * (8 + 4));
  EXPECT_EQ(row.seconds, 0);
  ASSERT_TRUE(profile.Settle().ok());
  const double seconds = row.seconds;
  EXPECT_GT(seconds, 0);
  EXPECT_LT(seconds, 10);
  // Nothing new: nothing is added. Calls that are forgotten are not settled.
  ASSERT_TRUE(profile.Settle().ok());
  EXPECT_EQ(row.seconds, seconds);
  softcap(1);
  profile.Clear();
  ASSERT_TRUE(profile.Settle().ok());
  EXPECT_TRUE(profile.rows().empty());
  EXPECT_GT(profile.SecondsPerCall(), 0);
}

TEST_P(LabTest, PacksOnTheDeviceWhatPlaceCopiesFromTheHost) {
  for (const WeightFormat format :
       {WeightFormat::kE2m1Shift, WeightFormat::kE2m1Free,
        WeightFormat::kE4m3}) {
    std::mt19937 random(11);
    const TestWeight weight = MakeWeight(random, format, 20, 96, 32);
    const WeightView placed = Place(weight.view);
    const auto packed = lab().Pack(weight.view);
    ASSERT_TRUE(packed.ok()) << packed.status();
    EXPECT_EQ(packed->view.data, nullptr);
    const int64_t m = 3, k = 96, n = 20;
    const GuardedArray<uint8_t> codes(m * k, 0x38);
    const GuardedArray<float> scales(m, 1.0f);
    GuardedArray<float> y = Unwritten(m * n), z = Unwritten(m * n);
    const Exec exec = MakeExec({.num_tokens = m, .k = k, .n = n});
    for (const auto& [view, to] :
         {std::pair{placed, &y}, std::pair{packed->view, &z}}) {
      ops().matmul_a8({.m = m,
                       .x = {codes.data(), scales.data()},
                       .weight = view,
                       .y = to->data()},
                      exec);
    }
    Wait();
    for (int64_t i = 0; i < m * n; ++i) ASSERT_EQ(y[i], z[i]) << Name(format);
  }
}

TEST_P(LabTest, SamplesAreWholeRotations) {
  for (const TimedAs as : {TimedAs::kLaunches, TimedAs::kRecordedOps}) {
    for (const auto overlap : {LaunchOverlap::kNo, LaunchOverlap::kYes}) {
      int64_t calls = 0;
      const auto timing = lab().TimeRepeated({.as = as,
                                              .rotation = 3,
                                              .sample_us = 0,
                                              .samples = 7,
                                              .most_seconds = 1},
                                             [&](int64_t call) {
                                               EXPECT_EQ(call, calls++);
                                               lab().Nothing(overlap);
                                             });
      ASSERT_TRUE(timing.ok()) << timing.status();
      EXPECT_EQ(timing->calls, 3 * timing->samples);
      // One and a rotation to try, then the samples, or what is recorded.
      EXPECT_EQ(calls,
                4 + (as == TimedAs::kLaunches ? timing->calls : int64_t{3}));
      EXPECT_GE(timing->samples, 3);
      EXPECT_LE(timing->samples, 7);
      EXPECT_GT(timing->min_us, 0);
      EXPECT_GE(timing->median_us, timing->min_us);
      EXPECT_GE(timing->p90_us, timing->median_us);
    }
  }
}

TEST_P(LabTest, ALaunchThatIsRefusedIsAnErrorOfTheTiming) {
  // Fewer elements than none: a grid that no device takes.
  const auto timing = lab().TimeRepeated({.most_seconds = 0}, [&](int64_t) {
    lab().Fill(RandomKind::kByte, 1, 0, -10000, nullptr);
  });
  EXPECT_FALSE(timing.ok());
}

TEST_P(LabTest, CeilingsDoTheirWork) {
  constexpr int64_t kBytes = 100000 / 16 * 16;
  const auto from = Filled<uint8_t>(RandomKind::kByte, 1, 0, kBytes);
  GuardedArray<uint8_t> to(kBytes, 0);
  lab().Copy(from.data(), kBytes, to.data());
  GuardedArray<uint32_t> sums(DeviceLab::kReadSumsBytes / 4, 0);
  lab().Read(ReadBy::kLoads, from.data(), kBytes, sums.data());
  Wait();
  ASSERT_EQ(memcmp(from.data(), to.data(), kBytes), 0);
  uint32_t found = 0, wanted = 0;
  for (const uint32_t sum : sums) found ^= sum;
  for (int64_t i = 0; i < kBytes; i += 4) {
    uint32_t word;
    memcpy(&word, from.data() + i, 4);
    wanted ^= word;
  }
  EXPECT_EQ(found, wanted);
  EXPECT_EQ(lab().Multiply(3, sums.data()) % (3 * 8 * 2 * 16 * 8 * 16), 0);
  Wait();
}

// Several rounds of the ring in some blocks; what is left of the last piece is
// not read.
TEST_P(LabTest, BulkCopiesReadEveryWholePiece) {
  constexpr int64_t kPiece = 16384, kPieces = 3300;
  GuardedArray<uint32_t> from((kPieces * kPiece + 16) / 4, 0);
  uint32_t wanted = 0;
  for (int64_t i = 0; i < kPieces; ++i) {
    const auto word = static_cast<uint32_t>(MixBits(static_cast<uint64_t>(i)));
    from[i * kPiece / 4] = word;
    wanted ^= word;
  }
  from[kPieces * kPiece / 4] = 1;
  GuardedArray<uint32_t> sums(DeviceLab::kReadSumsBytes / 4, 0);
  lab().Read(ReadBy::kBulkCopies, from.data(), kPieces * kPiece + 16,
             sums.data());
  Wait();
  uint32_t found = 0;
  for (const uint32_t sum : sums) found ^= sum;
  EXPECT_EQ(found, wanted);
}

TEST_P(LabTest, ProductsOfWarpgroupsAreCounted) {
  GuardedArray<float> sums(DeviceLab::kReadSumsBytes / 4, 0);
  for (const int columns : {32, 64, 128}) {
    const int64_t flop = lab().MultiplyFp8(columns, 1, sums.data());
    Wait();
    EXPECT_GT(flop, 0);
    EXPECT_EQ(flop % (2 * 2 * 4 * 64 * 32 * columns), 0);
    // A sum of these products may be zero, but seldom.
    EXPECT_LT(std::count(sums.begin(), sums.begin() + 256, 0.0f), 4);
  }
  EXPECT_EQ(lab().MultiplyFp8(48, 1, sums.data()), 0);
}

TEST_P(LabTest, TheLibrarysProductsAreProducts) {
  constexpr int64_t kM = 16, kN = 32, kK = 48;
  for (const ValueFormat format : {ValueFormat::kBf16, ValueFormat::kE4m3}) {
    const bool is_fp8 = format == ValueFormat::kE4m3;
    const auto kind = is_fp8 ? RandomKind::kNormalE4m3 : RandomKind::kBf16;
    const int64_t width = BytesOf(kind);
    const auto weight = [&] {
      GuardedArray<uint8_t> values(kN * kK * width);
      lab().Fill(kind, 1, 1, kN * kK, values.data());
      return values;
    }();
    GuardedArray<uint8_t> x(kM * kK * width);
    lab().Fill(kind, 2, 1, kM * kK, x.data());
    const GuardedArray<float> row_scale(kN, 0.5f), token_scale(kM, 0.25f);
    GuardedArray<float> y = Unwritten(kM * kN);
    GuardedArray<uint8_t> workspace(kLibraryWorkspaceBytes);
    const LibraryGemm gemm = {.m = kM,
                              .n = kN,
                              .k = kK,
                              .format = format,
                              .y_format = ValueFormat::kF32,
                              .weight = weight.data(),
                              .row_scale = row_scale.data(),
                              .x = x.data(),
                              .token_scale = token_scale.data(),
                              .y = y.data()};
    ASSERT_GE(lab().NumAlgorithms(gemm), 1);
    ASSERT_TRUE(lab().Multiply(gemm, 0, workspace.data()).ok());
    EXPECT_FALSE(lab().Multiply(gemm, 99, workspace.data()).ok());
    Wait();
    const auto value = [&](const GuardedArray<uint8_t>& array, int64_t i) {
      if (is_fp8) return double{E4m3ToFloat(array[i])};
      uint16_t code;
      memcpy(&code, array.data() + 2 * i, 2);
      return double{Bf16ToFloat(code)};
    };
    for (int64_t i = 0; i < kM * kN; ++i) {
      double sum = 0, size = 0;
      for (int64_t j = 0; j < kK; ++j) {
        const double product =
            value(weight, i % kN * kK + j) * value(x, i / kN * kK + j);
        sum += product;
        size += std::abs(product);
      }
      const double scale = is_fp8 ? 0.125 : 1;
      ASSERT_NEAR(y[i], scale * sum, 1e-3 * scale * size) << i;
    }
  }
}

// As MatmulA8 calls it: of a part of the outputs, in place on the residual.
// Other sums or another stride of the same shape are another plan.
TEST_P(LabTest, TheLibraryAddsToAPartOfTheOutputs) {
  constexpr int64_t kM = 16, kN = 32, kK = 512;
  const auto weight = Filled<uint8_t>(RandomKind::kNormalE4m3, 1, 1, kN * kK);
  const auto x = Filled<uint8_t>(RandomKind::kNormalE4m3, 2, 1, kM * kK);
  const GuardedArray<float> row_scale(kN, 0.5f), token_scale(kM, 0.25f);
  GuardedArray<uint8_t> workspace(kLibraryWorkspaceBytes);
  double largest[2] = {};  // error of either sums, as a share of what is summed
  for (const int64_t stride : {64, 48}) {
    for (const Fp8Sums sums : {Fp8Sums::kPromoted, Fp8Sums::kFast}) {
      GuardedArray<float> y(kM * stride, 1e6f);
      const LibraryGemm gemm = {.m = kM,
                                .n = kN,
                                .k = kK,
                                .format = ValueFormat::kE4m3,
                                .y_format = ValueFormat::kF32,
                                .sums = sums,
                                .weight = weight.data(),
                                .row_scale = row_scale.data(),
                                .x = x.data(),
                                .token_scale = token_scale.data(),
                                .unit = 4,
                                .residual = y.data(),
                                .y = y.data(),
                                .stride = stride};
      ASSERT_GE(lab().NumAlgorithms(gemm), 1);
      ASSERT_TRUE(lab().Multiply(gemm, 0, workspace.data()).ok());
      Wait();
      for (int64_t i = 0; i < kM * stride; ++i) {
        if (i % stride >= kN) {
          ASSERT_EQ(y[i], 1e6f) << i;
          continue;
        }
        double sum = 0, size = 0;
        for (int64_t j = 0; j < kK; ++j) {
          const double product =
              double{E4m3ToFloat(weight[i % stride * kK + j])} *
              E4m3ToFloat(x[i / stride * kK + j]);
          sum += 0.5 * product;
          size += 0.5 * std::abs(product);
        }
        double& error = largest[static_cast<int>(sums)];
        error = std::max(error, std::abs(y[i] - 1e6 - sum) / size);
      }
    }
  }
  EXPECT_LE(largest[0], 5e-4);
  EXPECT_LE(largest[1], 4e-3);
  // On a chip one kernel may serve both.
  if (GetParam().backend != "cuda") EXPECT_GT(largest[1], largest[0]);
}

// Plans promise arrays at multiples of 16 bytes.
TEST_P(LabTest, TheLibraryGetsNoArrayThatIsNotAligned) {
  const GuardedArray<float> scale(64, 1.0f);
  GuardedArray<float> y(64 * 64);
  LibraryGemm gemm = {.m = 16,
                      .n = 32,
                      .k = 32,
                      .format = ValueFormat::kE4m3,
                      .y_format = ValueFormat::kF32,
                      .row_scale = scale.data(),
                      .token_scale = scale.data(),
                      .y = y.data()};
  EXPECT_GE(lab().NumAlgorithms(gemm), 1);
  gemm.y = y.data() + 1;
  EXPECT_EQ(lab().NumAlgorithms(gemm), 0);
  gemm.y = y.data();
  gemm.residual = y.data() + 2;
  EXPECT_EQ(lab().NumAlgorithms(gemm), 0);
  gemm.residual = nullptr;
  gemm.token_scale = scale.data() + 1;
  EXPECT_EQ(lab().NumAlgorithms(gemm), 0);
}

TEST_P(LabTest, TheLibraryRefusesTokensThatAreNoMultipleOf16) {
  const GuardedArray<float> scale(64, 1.0f);
  for (const int64_t m : {1, 15, 17}) {
    const LibraryGemm gemm = {.m = m,
                              .n = 32,
                              .k = 32,
                              .format = ValueFormat::kE4m3,
                              .row_scale = scale.data(),
                              .token_scale = scale.data()};
    if (backend().name == "cuda") continue;  // a question to the chip
    EXPECT_EQ(lab().NumAlgorithms(gemm), 0) << m;
  }
}

// Each path alone does what the op does.
TEST_P(LabTest, EveryPathIsTheOp) {
  constexpr int64_t kM = 32, kN = 48, kK = 64;
  std::mt19937 random(5);
  const TestWeight weight =
      MakeWeight(random, WeightFormat::kE2m1Shift, kN, kK, 64);
  const auto codes = Filled<uint8_t>(RandomKind::kNormalE4m3, 3, 0, kM * kK);
  const GuardedArray<float> scales(kM, 0.01f);
  GuardedArray<uint8_t> workspace(lab().PathWorkspaceBytes(kM, kK));
  Exec exec = MakeExec({});
  exec.workspace = workspace.data();
  std::vector<double> x;
  for (int64_t i = 0; i < kM * kK; ++i) {
    x.push_back(0.01f * double{E4m3ToFloat(codes[i])});
  }
  const double bound = 5e-4;  // that of the FP8 tensor cores
  const std::vector<Expected> wanted =
      ExactMatmul(x, weight, kM, nullptr, nullptr, bound);
  std::vector<std::pair<MatmulPath, int>> ways = {{MatmulPath::kHmma, 0},
                                                  {MatmulPath::kLibrary, 0}};
  for (int i = 0; !lab().VariantName(MatmulPath::kWgmma, i).empty(); ++i) {
    ways.emplace_back(MatmulPath::kWgmma, i);
  }
  EXPECT_EQ(ways.size(), 7u);
  for (const auto& [path, variant] : ways) {
    GuardedArray<float> y = Unwritten(kM * kN);
    MatmulA8Args args = {.m = kM,
                         .x = {codes.data(), scales.data()},
                         .weight = Place(weight.view),
                         .y = y.data()};
    ASSERT_TRUE(lab().MatmulA8On(path, variant, args, exec));
    Wait();
    ExpectClose(
        y, wanted,
        fmt::format("path {} variant {}", static_cast<int>(path), variant));
    args.m = 9;
    EXPECT_EQ(lab().MatmulA8On(path, variant, args, exec),
              path != MatmulPath::kLibrary);
    Wait();
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, LabTest,
                         ::testing::ValuesIn(DeviceMachines()), MachineName);

}  // namespace
}  // namespace zqfp::kernels
