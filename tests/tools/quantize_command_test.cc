// SPDX-License-Identifier: Apache-2.0
// zqfp-quantize as scripts use it: exit codes, messages, nothing left behind.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
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
  ExpectUsageError("--inptu a", "did you mean --input?");
}

TEST(QuantizeCommandTest, HelpListsEveryFlag) {
  const Seen outcome = RunQuantize("--help");
  EXPECT_EQ(outcome.exit_code, 0);
  for (const char* flag :
       {"--input", "--output", "--overwrite", "--group_size", "--scales",
        "--scale_rounding", "--lm_head", "--threads", "--json"}) {
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
  if (model.empty()) GTEST_SKIP() << "not run: no shared assets";
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
  if (model.empty()) GTEST_SKIP() << "not run: no shared assets";
  const ScratchDirectory scratch;
  const std::string arguments =
      "--input " + model + " --output " + (scratch / "out");
  const Seen full = RunQuantize(arguments, "ulimit -f 64; ");
  EXPECT_EQ(full.exit_code, 1);
  EXPECT_THAT(full.text, HasSubstr("cannot write: File too large"));
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
  // SIGINT as early as the shell can send it: either it came too late, or
  // nothing is left but the exit code of an interrupt.
  const Seen stopped =
      RunQuantize(arguments, "timeout --preserve-status -s INT 0.01 ");
  if (stopped.exit_code == 0) return;
  EXPECT_EQ(stopped.exit_code, 130) << stopped.text;
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
}

}  // namespace
}  // namespace zqfp::tools
