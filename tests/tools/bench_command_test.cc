// SPDX-License-Identifier: Apache-2.0
// zqfp-bench: the fields that scripts read, and the arithmetic between them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/tools/program.h"

namespace zqfp::tools {
namespace {

using ::testing::HasSubstr;
using zqfp::testing::Outcome;
using zqfp::testing::RunProgram;

Outcome Bench(const std::string& arguments) {
  return RunProgram("zqfp-bench", arguments);
}

void ExpectUsageError(const std::string& arguments,
                      const std::string& message) {
  const Outcome outcome = Bench(arguments);
  EXPECT_EQ(outcome.exit_code, 2) << arguments;
  EXPECT_THAT(outcome.err, HasSubstr(message));
}

TEST(BenchCommand, JsonHoldsTheContract) {
  const Outcome outcome =
      Bench("--prompt 20 --generate 6 --repeat 3 --threads 1 --json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const nlohmann::json json = outcome.Json();
  for (const char* speed : {"prompt_tokens_per_s", "generate_tokens_per_s"}) {
    EXPECT_GT(json[speed]["min"], 0.0);
    EXPECT_GE(json[speed]["median"], json[speed]["min"]);
    EXPECT_GE(json[speed]["max"], json[speed]["median"]);
  }
  EXPECT_GT(json["weight_bytes"], 3'000'000);
  EXPECT_GT(json["read_gb_per_s"], 0.0);
  if (json["backend"] != "reference") {
    EXPECT_GT(json["multiply_gflop_per_s"], 0.1);
  }
  EXPECT_GE(json["load_s"], 0.0);
  EXPECT_GT(json["peak_rss_bytes"], json["weight_bytes"]);
  EXPECT_EQ(json["threads"], 1);
  EXPECT_NEAR(json["streamed_gb_per_s"].get<double>(),
              json["generate_tokens_per_s"]["median"].get<double>() *
                  json["weight_bytes"].get<double>() / 1e9,
              1e-6);
}

TEST(BenchCommand, ABatchCountsAllItsTokensAndStreamsTheWeightsOnce) {
  const nlohmann::json json =
      Bench("--prompt 4 --generate 4 --batch 3 --repeat 1 --threads 1 --json")
          .Json();
  EXPECT_EQ(json["batch"], 3);
  EXPECT_NEAR(json["streamed_gb_per_s"].get<double>() * 3,
              json["generate_tokens_per_s"]["median"].get<double>() *
                  json["weight_bytes"].get<double>() / 1e9,
              1e-6);
}

TEST(BenchCommand, AShapeNeedsNoFiles) {
  const Outcome outcome = Bench(
      "--shape llama-110m --scales free --group-size 64 --prompt 3 --generate "
      "2 --repeat 1 --json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  // 110 M weights of 4.5 bits, a head of 8: 60 to 90 MB.
  EXPECT_GT(outcome.Json()["weight_bytes"], 55'000'000);
  EXPECT_LT(outcome.Json()["weight_bytes"], 95'000'000);
  EXPECT_THAT(outcome.Json()["what"].get<std::string>(),
              HasSubstr("llama-110m free group 64"));
}

TEST(BenchCommand, AProfileAccountsForTheWholeStep) {
  const Outcome outcome = Bench(
      "--profile --prompt 300 --generate 4 --repeat 2 --threads 1 --json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const nlohmann::json json = outcome.Json();
  // 300 tokens are two steps, 6 layers of 7 matmuls and the head's.
  EXPECT_EQ(json["profile"]["prompt"]["steps"], 2);
  EXPECT_EQ(json["profile"]["generate"]["steps"], 4);
  for (const char* name : {"prompt", "generate"}) {
    const nlohmann::json& phase = json["profile"][name];
    double share = 0, matmuls = 0, seconds = 0;
    for (const nlohmann::json& row : phase["ops"]) {
      share += row["share"].get<double>();
      seconds += row["s_per_step"].get<double>();
      if (!row.contains("weights")) continue;
      matmuls += row["calls_per_step"].get<double>();
      EXPECT_THAT(
          (std::vector<std::string>{"qkv", "o", "gate", "up", "down", "head"}),
          ::testing::Contains(row["part"]));
      EXPECT_GT(row["bytes_per_step"], 0);
      EXPECT_GT(row["gb_per_s"], 0);
      EXPECT_GT(row["read_share"], 0);
      EXPECT_GT(row["flop_per_step"], 0);
      EXPECT_GT(row["gflop_per_s"], 0);
    }
    EXPECT_NEAR(share, 1, 1e-9);
    EXPECT_NEAR(seconds, phase["s_per_step"].get<double>(), 1e-9);
    EXPECT_EQ(matmuls, 6 * 7 + 1);
    EXPECT_EQ(phase["ops"].back()["op"], "not in an op");
    EXPECT_GT(phase["noting_s_per_step"], 0.0);
  }
  EXPECT_FALSE(
      Bench("--prompt 4 --generate 0 --json").Json().contains("profile"));
}

TEST(BenchCommand, AProfileForPeopleAndOneWithoutGeneration) {
  const Outcome outcome = Bench("--profile --prompt 4 --generate 0 --repeat 1");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("\nprompt: 1 step of "));
  EXPECT_THAT(outcome.out, HasSubstr("matmul_a8 e2m1 shift gate"));
  EXPECT_THAT(outcome.out, HasSubstr("taking these notes"));
  EXPECT_THAT(outcome.out, ::testing::Not(HasSubstr("\ngenerate: ")));
}

// Packed weights (all of the file, embedding too) + KV + 60 MB.
TEST(BenchCommand, PeakMemoryIsTheWeightsTheCacheAndLittleElse) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer has memory of its own";
#endif
  constexpr int64_t kRest = 60'000'000;
  const std::string run = " --prompt 600 --generate 8 --repeat 1 --json";
  const auto demo = Bench("--model " + testing::DemoModel() + run).Json();
  const auto weights = static_cast<int64_t>(
      std::filesystem::file_size(testing::DemoModel() + "/model.safetensors"));
  const int64_t demo_kv = 608 * 6 * 2 * 4 * 32 * 2;  // bf16
  EXPECT_LE(demo["peak_rss_bytes"], weights + demo_kv + kRest);
  // 12 layers of 12 heads of 64; vocabulary 32000, width 768 in bf16.
  const auto shape = Bench("--shape llama-110m" + run).Json();
  const int64_t embedding = 32000 * 768 * 2;
  const int64_t kv = 608 * 12 * 2 * 768 * 2;
  EXPECT_LE(shape["peak_rss_bytes"],
            shape["weight_bytes"].get<int64_t>() + embedding + kv + kRest);
}

TEST(BenchCommand, TextForPeople) {
  const Outcome outcome = Bench("--prompt 4 --generate 2 --repeat 1");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.out, HasSubstr("tokens/s"));
  EXPECT_THAT(outcome.out, HasSubstr("weights streamed"));
  EXPECT_THAT(outcome.out, HasSubstr("peak memory"));
}

TEST(BenchCommand, WrongFlagsAreUsageErrors) {
  ExpectUsageError("--shape llama-9t", "llama-110m");
  ExpectUsageError("--shape llama-110m --group_size 33", "want 32, 64, 128");
  ExpectUsageError("--shape llama-110m --scales m7",
                   "want one of free, m1, m2");
  ExpectUsageError("--scales m1", "--scales: want it with --shape");
  ExpectUsageError("--group_size 32", "--group_size: want it with --shape");
  ExpectUsageError("--shape llama-110m --model x", "want --shape or --model");
  ExpectUsageError("--prompt 1000 --generate 1000",
                   "within the 1024 tokens of the model's context");
  ExpectUsageError("--prompt 0", "--prompt: want 1..1000000, found 0");
  ExpectUsageError("--generate -1", "--generate: want 0..");
  ExpectUsageError("--repeat 0", "--repeat: want 1..");
  ExpectUsageError("--batch 1000", "--batch: want at most 256");
  ExpectUsageError("--kv q8", "want auto, f32, bf16 or e4m3");
}

}  // namespace
}  // namespace zqfp::tools
