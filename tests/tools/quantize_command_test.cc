// SPDX-License-Identifier: Apache-2.0
// zqfp-quantize as scripts use it: exit codes, messages, nothing left behind.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "tests/tools/program.h"

namespace zqfp::tools {
namespace {

using ::testing::HasSubstr;
using zqfp::testing::AssetPath;
using zqfp::testing::ScratchDirectory;

// Standard output and error together, as a person sees them.
struct Seen {
  int exit_code;
  std::string text;
};

Seen RunQuantize(const std::string& arguments, const std::string& before = "") {
  const zqfp::testing::Outcome outcome =
      zqfp::testing::RunProgram("zqfp-quantize", arguments, before);
  return {outcome.exit_code, outcome.out + outcome.err};
}

void ExpectUsageError(const std::string& arguments, const char* message) {
  const Seen outcome = RunQuantize(arguments);
  EXPECT_EQ(outcome.exit_code, 2) << outcome.text;
  EXPECT_THAT(outcome.text, HasSubstr(message));
}

// Stories [first, last) of the file, white space collapsed to single spaces.
std::string Stories(const std::string& text, int first, int last) {
  const std::string separator = "<|endoftext|>";
  std::string result;
  size_t begin = 0;
  for (int i = 0; i < last; ++i) {
    const size_t end = text.find(separator, begin);
    std::istringstream words(text.substr(begin, end - begin));
    std::string word;
    for (bool is_first = true; i >= first && words >> word; is_first = false) {
      if (!is_first) result += ' ';
      result += word;
    }
    if (i >= first) result += separator;
    begin = end + separator.size();
  }
  return result;
}

TEST(QuantizeCommandTest, WrongFlagsAreUsageErrors) {
  ExpectUsageError("", "--input is missing");
  ExpectUsageError("--input a", "--output is missing");
  ExpectUsageError("--input a --output b --group_size 48",
                   "--group_size: want 32, 64, 128 or 256, found 48");
  ExpectUsageError("--input a --output b --scales m3",
                   "--scales: want one of free, m1, m2, found 'm3'");
  ExpectUsageError("--input a --output b --scale-rounding up",
                   "--scale_rounding: want one of search, nearest, paper");
  ExpectUsageError("--input a --output b --lm_head int8",
                   "--lm_head: want one of bf16, e4m3, e2m1, found 'int8'");
  ExpectUsageError("--input a --output b --threads -3", "--threads");
  ExpectUsageError("--input a --output b --method awq",
                   "--method: want one of rtn, gptq, found 'awq'");
  ExpectUsageError("--input a --output b --method gptq",
                   "--calibration: want a text");
  ExpectUsageError("--input a --output b --calibration c",
                   "--calibration: want it with --method gptq");
  ExpectUsageError("--input a --output b --resume", "--resume: want it with");
  ExpectUsageError(
      "--input a --output b --method gptq --calibration c "
      "--resume --overwrite",
      "want one of them, found both");
  ExpectUsageError("--input a --output b --weights int5",
                   "--weights: want one of e2m1, e4m3, int4, int8");
  ExpectUsageError("--input a --output b --activations int8",
                   "--activations: want one of e4m3, none, found 'int8'");
  ExpectUsageError("--input a --output b --lorc_rank 65", "want 0..64");
  ExpectUsageError("--input a --output b --lorc best",
                   "--lorc: want one of plain, weighted");
  ExpectUsageError("--input a --output b --lorc_format f32",
                   "--lorc_format: want one of e4m3, bf16");
  ExpectUsageError("--input a --output b --keep '('", "--keep: ");
  ExpectUsageError("--input a --output b --damping 0", "--damping: want");
  ExpectUsageError("--inptu a", "did you mean --input?");
}

TEST(QuantizeCommandTest, HelpListsEveryFlag) {
  const Seen outcome = RunQuantize("--help");
  EXPECT_EQ(outcome.exit_code, 0);
  for (const char* flag : {"--input",
                           "--output",
                           "--overwrite",
                           "--group_size",
                           "--scales",
                           "--scale_rounding",
                           "--lm_head",
                           "--threads",
                           "--json",
                           "--method",
                           "--calibration",
                           "--calibration_split",
                           "--calibration_samples",
                           "--calibration_length",
                           "--lorc_rank",
                           "--lorc_format",
                           "--resume",
                           "--weights",
                           "--activations",
                           "--keep",
                           "--damping",
                           "--act_order",
                           "--true_sequential"}) {
    EXPECT_THAT(outcome.text, HasSubstr(flag));
  }
}

TEST(QuantizeCommandTest, AMissingInputIsAFailure) {
  const ScratchDirectory scratch;
  const Seen outcome = RunQuantize("--input " + (scratch / "no") +
                                   " --output " + (scratch / "out"));
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.text, HasSubstr("no/config.json: cannot open"));
  EXPECT_FALSE(std::filesystem::exists(scratch / "out"));
}

TEST(QuantizeCommandTest, QuantizesARealModelAndReports) {
  const std::string model = AssetPath("models/babyllama-1m");
  if (model.empty()) GTEST_SKIP() << "NOT RUN: no shared assets";
  const ScratchDirectory scratch;
  const std::string arguments =
      "--input " + model + " --output " + (scratch / "out");
  Seen outcome = RunQuantize(
      arguments + " --group-size=32 --scales free --lm-head bf16 --json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.text;
  const auto report = nlohmann::json::parse(outcome.text, nullptr, false);
  ASSERT_TRUE(report.is_object()) << outcome.text;
  EXPECT_EQ(report["tensors"].size(), 35u);
  EXPECT_LT(report["bytes_after"], report["bytes_before"]);
  outcome = RunQuantize(arguments);
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.text, HasSubstr("--overwrite replaces it"));
  outcome = RunQuantize(arguments + " --overwrite");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.text, HasSubstr("relative squared error"));
  EXPECT_THAT(outcome.text, HasSubstr("shifts 0.."));
}

TEST(QuantizeCommandTest, AFullDiskAndCtrlCLeaveNothing) {
  const std::string model = AssetPath("models/babyllama-1m");
  if (model.empty()) GTEST_SKIP() << "NOT RUN: no shared assets";
  const ScratchDirectory scratch;
  const std::string arguments =
      "--input " + model + " --output " + (scratch / "out");
  const Seen full = RunQuantize(arguments, "ulimit -f 64; ");
  EXPECT_EQ(full.exit_code, 1);
  EXPECT_THAT(full.text, HasSubstr("cannot write: File too large"));
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
  // SIGINT as early as the shell can send it: either it came too late, or
  // nothing is left but the exit code of an interrupt. Without --foreground
  // there would be two, and the second one ends a program at once.
  const Seen stopped = RunQuantize(
      arguments, "timeout --foreground --preserve-status -s INT 0.01 ");
  if (stopped.exit_code == 0) return;
  EXPECT_EQ(stopped.exit_code, 130) << stopped.text;
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
}

// The recipe and data of an independent program: GPTQ with weighted low-rank
// compensation brings M2 weights in groups of 32 most of the way from .8464,
// where rounding to nearest leaves the loss, to the .7787 of f32.
TEST(QuantizeCommandTest, GptqReachesTheReferenceLoss) {
  const std::string model = AssetPath("models/babyllama-1m");
  const std::string stories = AssetPath("text/tinystories_train_0.txt");
  if (model.empty() || stories.empty()) {
    GTEST_SKIP() << "NOT RUN: no shared assets";
  }
  const ScratchDirectory scratch;
  std::ifstream file(stories);
  const std::string text((std::istreambuf_iterator<char>(file)),
                         std::istreambuf_iterator<char>());
  scratch.Write("calibration.txt", Stories(text, 1000, 1200));
  scratch.Write("evaluation.txt", Stories(text, 100, 160));
  const std::string split = " '<|endoftext|>' ";
  const Seen quantized = RunQuantize(
      "--input " + model + " --output " + (scratch / "out") +
      " --group_size 32 --method gptq --lorc_rank 8 --lorc weighted "
      "--calibration " +
      (scratch / "calibration.txt") + " --calibration_split" + split +
      "--calibration_samples 48 --calibration_length 256");
  ASSERT_EQ(quantized.exit_code, 0) << quantized.text;
  EXPECT_THAT(quantized.text, HasSubstr("layer 5/5: relative squared error"));
  const zqfp::testing::Outcome loss = zqfp::testing::RunProgram(
      "zqfp-perplexity", "--model " + (scratch / "out") + " --text " +
                             (scratch / "evaluation.txt") + " --split" + split +
                             "--window 256 --max_tokens 6144 --json");
  ASSERT_EQ(loss.exit_code, 0) << loss.err;
  const auto json = nlohmann::json::parse(loss.out);
  EXPECT_EQ(json["num_tokens"], 6144);
  // .7952 with AVX-512, .7971 with AVX2, .7997 with AMX (November 2026):
  // another order of summing rounds other weights, for better or worse (on
  // other stories AMX has the best of the three). Round to nearest: .8462.
  EXPECT_LE(json["loss"].get<double>(), 0.8020);
}

}  // namespace
}  // namespace zqfp::tools
