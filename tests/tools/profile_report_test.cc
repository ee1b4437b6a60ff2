// SPDX-License-Identifier: Apache-2.0
#include "tools/profile_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <optional>

#include "tests/models/sequence_runner.h"

namespace zqfp::tools {
namespace {

using kernels::OpCalls;
using kernels::WeightFormat;
using ::testing::HasSubstr;

constexpr Ceilings kMachine = {.read_bytes_per_s = 8e9,
                               .multiply_flop_per_s = 16e9};

// Two steps of 10 ms: 6 ms of a matmul, 3 ms of a norm each.
PhaseProfile TwoSteps() {
  return {.steps = 2,
          .seconds = 0.020,
          .noting_seconds = 0.0002,
          .ops = {{.op = "rms_norm",
                   .calls = 6,
                   .seconds = 0.006,
                   .work = {.bytes = 6'000'000}},
                  {.op = "matmul_a8",
                   .part = "gate",
                   .format = WeightFormat::kE2m1Shift,
                   .is_matmul = true,
                   .calls = 4,
                   .seconds = 0.012,
                   .work = {.bytes = 24'000'000, .flop = 48'000'000}}}};
}

TEST(ProfileReportTest, RowsAreOfOneStepTheLargestFirstTheRestLast) {
  const std::vector<ProfileRow> rows = RowsOf(TwoSteps());
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].name, "matmul_a8 e2m1 shift gate");
  EXPECT_DOUBLE_EQ(rows[0].calls, 2);
  EXPECT_DOUBLE_EQ(rows[0].seconds, 0.006);
  EXPECT_DOUBLE_EQ(rows[0].share, 0.6);
  EXPECT_DOUBLE_EQ(rows[0].bytes_per_s(), 2e9);
  EXPECT_DOUBLE_EQ(rows[0].flop_per_s(), 4e9);
  EXPECT_EQ(rows[1].name, "rms_norm");
  EXPECT_DOUBLE_EQ(rows[1].share, 0.3);
  EXPECT_DOUBLE_EQ(rows[1].flop_per_s(), 0);
  EXPECT_EQ(rows[2].name, kRestName);
  EXPECT_NEAR(rows[2].share, 0.1, 1e-12);
}

TEST(ProfileReportTest, JsonHoldsWhatTheTableShows) {
  const nlohmann::json json = ProfileJson(TwoSteps(), kMachine);
  EXPECT_EQ(json["steps"], 2);
  EXPECT_DOUBLE_EQ(json["s_per_step"], 0.010);
  EXPECT_DOUBLE_EQ(json["noting_s_per_step"], 0.0001);
  const nlohmann::json& matmul = json["ops"][0];
  EXPECT_EQ(matmul["op"], "matmul_a8");
  EXPECT_EQ(matmul["weights"], "e2m1 shift");
  EXPECT_EQ(matmul["part"], "gate");
  EXPECT_DOUBLE_EQ(matmul["read_share"], 0.25);
  EXPECT_DOUBLE_EQ(matmul["bytes_per_step"], 12e6);
  EXPECT_DOUBLE_EQ(matmul["gflop_per_s"], 4);
  EXPECT_DOUBLE_EQ(matmul["multiply_share"], 0.25);
  const nlohmann::json& norm = json["ops"][1];
  EXPECT_EQ(norm["op"], "rms_norm");
  EXPECT_FALSE(norm.contains("weights"));
  EXPECT_FALSE(norm.contains("gflop_per_s"));
  EXPECT_FALSE(norm.contains("multiply_share"));
  EXPECT_EQ(json["ops"][2]["op"], kRestName);
  EXPECT_FALSE(json["ops"][2].contains("gb_per_s"));
}

TEST(ProfileReportTest, TextHasALineForEachRow) {
  const std::string text = ProfileText("generate", TwoSteps(), kMachine);
  EXPECT_THAT(text, HasSubstr("generate: 2 steps of 10.000 ms\n"));
  EXPECT_THAT(text, HasSubstr("matmul_a8 e2m1 shift gate        2     6.000  "
                              "60.0 %    12.000     2.00      25 %"
                              "     0.024      4.0      25 %\n"));
  EXPECT_THAT(text, HasSubstr("not in an op                           1.000  "
                              "10.0 %\n"));
  EXPECT_THAT(text, HasSubstr("taking these notes: 1.00 % of a step\n"));
}

TEST(ProfileReportTest, NothingMeasuredIsNoDivisionByZero) {
  const nlohmann::json json = ProfileJson({}, {});
  EXPECT_EQ(json["ops"].size(), 1u);
  EXPECT_EQ(json["ops"][0]["share"], 0.0);
  EXPECT_THAT(ProfileText("prompt", {}, {}), HasSubstr("0 steps"));
}

Config TinyConfig() {
  Config config;
  config.model_dim = 64;
  config.ffn_dim = 96;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 16;
  config.vocab_size = 100;
  config.max_positions = 64;
  config.norm_epsilon = 1e-5;
  config.rope.theta = 10000;
  config.quantization = QuantizationConfig();
  config.quantization->group_size = 32;
  return config;
}

// A tiny model with and without a profile, over the same tokens.
TEST(ProfileReportTest, AModelsOpsAreAllThereAndItsLogitsAreTheSame) {
  const std::vector<int32_t> ids = {3, 14, 15, 92, 65};
  kernels::OpProfile profile;
  const auto plain = Model::Random(TinyConfig(), 1, {.num_threads = 1});
  const auto noted =
      Model::Random(TinyConfig(), 1, {.num_threads = 1, .profile = &profile});
  ASSERT_TRUE(plain.ok() && noted.ok());
  NameParts(**noted, &profile);
  testing::SequenceRunner without(plain->get(), kernels::ValueFormat::kBf16);
  testing::SequenceRunner with(noted->get(), kernels::ValueFormat::kBf16);
  EXPECT_EQ(*without.Run(ids, 5), *with.Run(ids, 5));

  int64_t weights = 0, matmul_calls = 0;
  for (const OpCalls& row : profile.rows()) {
    EXPECT_GT(row.work.bytes, 0) << row.op;
    EXPECT_EQ(row.part.empty(), !row.is_matmul) << row.op;
    if (!row.is_matmul) continue;
    matmul_calls += row.calls;
    weights += row.work.flop / (2 * 5);
  }
  EXPECT_EQ(matmul_calls, 2 * 7 + 1);
  // q and o, k and v, gate and up and down; the head.
  EXPECT_EQ(weights, 2 * 64 * (2 * 64 + 2 * 32 + 3 * 96) + 100 * 64);

  const PhaseProfile phase = {.steps = 1, .seconds = 1, .ops = profile.rows()};
  double share = 0;
  for (const ProfileRow& row : RowsOf(phase)) share += row.share;
  EXPECT_NEAR(share, 1, 1e-9);
}

// One row: what its matmuls read is the weights and little else.
TEST(ProfileReportTest, BytesOfTheMatmulsAreTheModelsWeightBytes) {
  kernels::OpProfile profile;
  const auto model =
      Model::Random(TinyConfig(), 1, {.num_threads = 1, .profile = &profile});
  ASSERT_TRUE(model.ok());
  testing::SequenceRunner runner(model->get(), kernels::ValueFormat::kBf16);
  ASSERT_TRUE(runner.Run({7}, 1).ok());
  int64_t bytes = 0;
  for (const OpCalls& row : profile.rows()) {
    if (row.is_matmul) bytes += row.work.bytes;
  }
  // Codes and a scale of each input; outputs; residuals of o and down.
  const int64_t inputs = 2 * (6 * 64 + 96 + 7 * 4) + 64 + 4;
  const int64_t outputs = 2 * 4 * (2 * 64 + 2 * 32 + 2 * 96 + 64) + 400;
  const int64_t residuals = 2 * 2 * 4 * 64;
  EXPECT_EQ(bytes, (*model)->weight_bytes() + inputs + outputs + residuals);
}

}  // namespace
}  // namespace zqfp::tools
