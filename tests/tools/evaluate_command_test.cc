// SPDX-License-Identifier: Apache-2.0
// zqfp-evaluate as scripts use it: figures, exit codes, messages, going on.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/tools/small_model.h"

namespace zqfp::tools {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;
using zqfp::testing::AssetPath;
using zqfp::testing::Outcome;
using zqfp::testing::ReadWholeFile;
using zqfp::testing::RunProgram;
using zqfp::testing::ScratchDirectory;
using zqfp::testing::SmallStories;

constexpr char kProtocol[] = " --window 48 --split '<end>' --threads 1 ";

class EvaluateCommand : public ::testing::Test {
 protected:
  EvaluateCommand() {
    testing::WriteSmallModel(model_);
    scratch_.Write("stories.txt", SmallStories(3, 100));
    scratch_.Write("others.txt", SmallStories(2, 7000));
    scratch_.Write("calibration.txt", SmallStories(4, 30000));
    flags_ = "--model " + model_.path() +
             " --text stories=" + (scratch_ / "stories.txt") + kProtocol +
             "--group_size 32 --lorc_rank 4 --calibration " +
             (scratch_ / "calibration.txt") +
             " --calibration_split '<end>' --calibration_length 32 ";
  }
  // As the last of two flags counts, `more` may set one again.
  Outcome Evaluate(const std::string& output, const std::string& more = "",
                   const std::string& before = "") const {
    return RunProgram("zqfp-evaluate",
                      flags_ + "--output " + (scratch_ / output) + " " + more,
                      before);
  }
  nlohmann::json Results(const std::string& output) const {
    return nlohmann::json::parse(ReadWholeFile(scratch_ / output), nullptr,
                                 false);
  }
  static nlohmann::json Row(const nlohmann::json& results,
                            const std::string& name) {
    for (const auto& row : results["rows"]) {
      if (row["name"] == name) return row;
    }
    ADD_FAILURE() << "no row " << name;
    return {};
  }
  void ExpectFailure(const Outcome& outcome, int exit_code,
                     const std::string& message) const {
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(message));
    EXPECT_EQ(outcome.out, "");
  }

  ScratchDirectory model_, scratch_;
  std::string flags_;
};

TEST_F(EvaluateCommand, MeasuresEveryRow) {
  const std::string second = "--text others=" + (scratch_ / "others.txt");
  const Outcome outcome =
      Evaluate("all.json", second + " --markdown " + (scratch_ / "all.md"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(ReadWholeFile(scratch_ / "all.md"), outcome.out);
  EXPECT_THAT(outcome.out, HasSubstr("| stories | others | mean |"));
  EXPECT_THAT(outcome.out, HasSubstr("| W4A8 | FP-FP | M2 | GPTQ | 4 | "));
  EXPECT_THAT(outcome.err, HasSubstr("[33/33] w4a8-fp-fp-m2-gptq-lorc:"));
  const nlohmann::json results = Results("all.json");
  EXPECT_EQ(results["rows"].size(), 33u);
  for (const auto& row : results["rows"]) {
    const double a = row["texts"]["stories"]["perplexity"];
    const double b = row["texts"]["others"]["perplexity"];
    EXPECT_NEAR(row["mean_perplexity"], (a + b) / 2, 1e-9);
    const std::string name = row["name"];
    EXPECT_EQ(row["execution"], name == "w16a16"          ? "as stored"
                                : row["types"] == "FP-FP" ? "native"
                                                          : "simulated");
  }
  EXPECT_FALSE(fs::exists(scratch_ / "all.json.rows"));
}

// Quantized and scored one by one, the models have the very same losses.
TEST_F(EvaluateCommand, FiguresAreThoseOfTheOtherPrograms) {
  ASSERT_EQ(Evaluate("a.json", "--rows 'w16a16|fp-fp-(m1-rtn-lorc|m2-gptq)$'")
                .exit_code,
            0);
  const auto loss = [&](const std::string& model) -> nlohmann::json {
    const Outcome outcome =
        RunProgram("zqfp-perplexity", "--model " + model + " --text " +
                                          (scratch_ / "stories.txt") +
                                          kProtocol + "--json");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.Json()["loss"];
  };
  const auto quantized = [&](const std::string& flags) {
    const Outcome outcome = RunProgram(
        "zqfp-quantize", "--input " + model_.path() + " --output " +
                             (scratch_ / "model") +
                             " --overwrite --group_size 32 --lm_head bf16 "
                             "--threads 1 " +
                             flags);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return loss(scratch_ / "model");
  };
  const nlohmann::json results = Results("a.json");
  const auto measured = [&](const std::string& row) {
    return Row(results, row)["texts"]["stories"]["loss"];
  };
  EXPECT_EQ(results["rows"].size(), 3u);
  EXPECT_EQ(measured("w16a16"), loss(model_.path()));
  EXPECT_EQ(measured("w4a8-fp-fp-m1-rtn-lorc"),
            quantized("--scales m1 --lorc_rank 4"));
  EXPECT_EQ(measured("w4a8-fp-fp-m2-gptq"),
            quantized("--scales m2 --method gptq --calibration " +
                      (scratch_ / "calibration.txt") +
                      " --calibration_split '<end>' --calibration_length 32"));
}

// Killed and interrupted again and again: in the end the same table.
TEST_F(EvaluateCommand, AnInterruptedRunGoesOn) {
  const std::string rows = "--rows 'w16a16|w4a8-fp-fp-m2|w4a8-int-fp'";
  const Outcome whole = Evaluate("whole.json", rows);
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  const char* signals[] = {"KILL", "INT", "KILL", "INT", "KILL", "INT"};
  double seconds = 0.05;
  for (const char* name : signals) {
    const Outcome part =
        Evaluate("part.json", rows,
                 "timeout --preserve-status -s " + std::string(name) + " " +
                     std::to_string(seconds) + " ");
    EXPECT_THAT(part.exit_code, ::testing::AnyOf(0, 130, 137)) << part.err;
    seconds *= 1.7;
  }
  const Outcome last = Evaluate("part.json", rows);
  ASSERT_EQ(last.exit_code, 0) << last.err;
  EXPECT_EQ(last.out, whole.out);
  EXPECT_FALSE(fs::exists(scratch_ / "part.json.rows"));
  // And once more there is nothing to do.
  const Outcome again = Evaluate("part.json", rows);
  EXPECT_EQ(again.out, whole.out);
  EXPECT_EQ(again.err,
            "9 of 9 rows are in " + (scratch_ / "part.json") + " already\n");
}

TEST_F(EvaluateCommand, RowsOfAnEarlierChoiceAreKept) {
  const std::string choice = "--rows fp-fp-m2";
  const Outcome rtn =
      Evaluate("a.json", choice + " --methods rtn --calibration ''");
  ASSERT_EQ(rtn.exit_code, 0) << rtn.err;
  EXPECT_FALSE(Results("a.json")["settings"].contains("calibration"));
  const Outcome both = Evaluate("a.json", choice);
  ASSERT_EQ(both.exit_code, 0) << both.err;
  EXPECT_THAT(both.err, HasSubstr("2 of 4 rows are in"));
  // What the first rows do not depend on belongs to the file now.
  const nlohmann::json calibration =
      Results("a.json")["settings"]["calibration"];
  EXPECT_TRUE(calibration.is_object());
  const Outcome rtn_again =
      Evaluate("a.json", choice + " --methods rtn --calibration ''");
  EXPECT_EQ(rtn_again.out, both.out);
  ExpectFailure(Evaluate("a.json", choice + " --calibration_samples 1"), 1,
                "calibration/sequences 1 (in the file: 4)");
}

TEST_F(EvaluateCommand, OtherSettingsAreNamedAndChangeNothing) {
  const std::string rows = "--rows w16a16";
  ASSERT_EQ(Evaluate("a.json", rows).exit_code, 0);
  const std::string before = ReadWholeFile(scratch_ / "a.json");
  ExpectFailure(Evaluate("a.json", rows + " --group_size 64 --window 40"), 1,
                "window 40 (in the file: 48), group_size 64 (in the file: 32)");
  scratch_.Write("stories.txt", SmallStories(3, 101));
  ExpectFailure(Evaluate("a.json", rows), 1, "texts/stories \"");
  scratch_.Write("stories.txt", SmallStories(3, 100));
  std::fstream weights(model_ / "model.safetensors",
                       std::ios::in | std::ios::out | std::ios::binary);
  weights.seekp(-1, std::ios::end);
  weights.put(1);
  weights.close();
  ExpectFailure(Evaluate("a.json", rows), 1, "model_hash \"");
  EXPECT_EQ(ReadWholeFile(scratch_ / "a.json"), before);
  const Outcome anew = Evaluate("a.json", rows + " --overwrite");
  EXPECT_EQ(anew.exit_code, 0) << anew.err;
  EXPECT_NE(ReadWholeFile(scratch_ / "a.json"), before);
}

TEST_F(EvaluateCommand, DamagedResultsAreNamedAndChangeNothing) {
  const std::string rows = "--rows w16a16";
  ASSERT_EQ(Evaluate("a.json", rows).exit_code, 0);
  const std::string sound = ReadWholeFile(scratch_ / "a.json");
  const auto replaced = [&](const std::string& old, const std::string& text) {
    std::string broken = sound;
    return broken.replace(broken.find(old), old.size(), text);
  };
  for (const auto& [text, message] :
       std::vector<std::pair<std::string, std::string>>{
           {"dear all", "a.json: not valid JSON"},
           {sound.substr(0, sound.size() / 2), "a.json: not valid JSON"},
           {replaced("\"loss\": ", "\"loss\": 1"), "perplexity: want exp"},
           {replaced("\"w16a16\"", "\"w17\""), "want a row of this table"}}) {
    scratch_.Write("a.json", text);
    ExpectFailure(Evaluate("a.json", rows), 1, message);
    EXPECT_EQ(ReadWholeFile(scratch_ / "a.json"), text);
  }
}

TEST_F(EvaluateCommand, WrongFlagsAreUsageErrors) {
  const auto expect = [&](const std::string& more, const char* message) {
    ExpectFailure(Evaluate("a.json", more), 2, message);
  };
  ExpectFailure(RunProgram("zqfp-evaluate", ""), 2, "--text: want a file");
  expect("--model ''", "--model: want a model in full precision, found none");
  expect("--output ''", "--output: want a file for the results, found none");
  expect("--text stories=x", "found 'stories' twice");
  expect("--text 'a b=x'", "--text: want NAME=FILE");
  expect("--text a=", "--text: want NAME=FILE");
  expect("--methods awq", "--methods: want one of rtn, gptq, found 'awq'");
  expect("--rows w5a8", "w4a8-fp-fp-m2-gptq-lorc");
  expect("--rows '('", "--rows: ");
  expect("--calibration ''", "--methods rtn does without");
  expect("--lm_head e4m3", "--rows fp-fp leaves them out");
  expect("--lm_head e2m1 --rows w8a8-fp", "e4m3 weights (w8a8-fp-fp-rtn)");
  expect("--group_size 48", "--group_size: want 32, 64, 128 or 256, found 48");
  expect("--lorc_rank 65", "want 0..64");
  expect("--protocol best", "--protocol: ");
  expect("--calibration_length 1", "want at least 1 and 2");
  expect("--markdown " + (scratch_ / "a.json"), "another file than --output");
  expect("--txet x", "did you mean --text?");
  EXPECT_FALSE(fs::exists(scratch_ / "a.json"));
}

TEST_F(EvaluateCommand, WhatCannotBeDoneIsRefusedAtOnce) {
  const auto expect = [&](const std::string& more, const std::string& message) {
    const Outcome outcome = Evaluate("a.json", more);
    ExpectFailure(outcome, 1, message);
    EXPECT_THAT(outcome.err, Not(HasSubstr("w16a16"))) << "began to work";
    EXPECT_FALSE(fs::exists(scratch_ / "a.json.rows"));
  };
  expect("--model /nonexistent", "/nonexistent/config.json: cannot open");
  expect("--model " + testing::DemoModel(), "quantized already (e2m1)");
  expect("--text b=/nonexistent/text", "/nonexistent/text: cannot open");
  expect("--calibration /nonexistent/text", "/nonexistent/text: cannot open");
  expect("--window 5000", "stories.txt: window: want 2 .. 256");
  expect("--output /nonexistent/a.json", "/nonexistent/a.json: cannot write");
  expect("--markdown /dev/stdout", "/dev/stdout: want a file or a new name");
  expect("--output " + (model_ / "a.json"), "one inside the other");
  expect("--work_dir " + scratch_.path(), "found ");
  EXPECT_FALSE(fs::exists(scratch_ / "a.json"));
}

TEST_F(EvaluateCommand, HelpListsEveryFlag) {
  const Outcome outcome = RunProgram("zqfp-evaluate", "--help");
  EXPECT_EQ(outcome.exit_code, 0);
  for (const char* flag : {"model",
                           "output",
                           "overwrite",
                           "markdown",
                           "work_dir",
                           "text",
                           "split",
                           "protocol",
                           "window",
                           "stride",
                           "max_tokens",
                           "kv",
                           "rows",
                           "methods",
                           "group_size",
                           "scale_rounding",
                           "lm_head",
                           "keep",
                           "calibration",
                           "calibration_split",
                           "calibration_samples",
                           "calibration_length",
                           "damping",
                           "act_order",
                           "true_sequential",
                           "lorc_rank",
                           "lorc",
                           "lorc_format",
                           "threads"}) {
    EXPECT_THAT(outcome.out, HasSubstr("--" + std::string(flag) + " "));
  }
}

TEST_F(EvaluateCommand, AFullDiskLeavesTheFinishedRows) {
  const std::string rows = "--rows 'w16a16|fp-fp-m2-rtn'";
  ASSERT_EQ(Evaluate("a.json", "--rows w16a16").exit_code, 0);
  const std::string before = ReadWholeFile(scratch_ / "a.json");
  const Outcome full = Evaluate("a.json", rows, "ulimit -f 16; ");
  EXPECT_EQ(full.exit_code, 1);
  EXPECT_THAT(full.err, HasSubstr("w4a8-fp-fp-m2-rtn: "));
  EXPECT_THAT(full.err, HasSubstr("1 of 3 rows are in"));
  EXPECT_EQ(ReadWholeFile(scratch_ / "a.json"), before);
  EXPECT_FALSE(fs::exists(scratch_ / "a.json.rows"));
  EXPECT_EQ(Evaluate("a.json", rows).exit_code, 0);
}

TEST_F(EvaluateCommand, AGgufFileIsAModel) {
  const std::string model = AssetPath("models/stories-260k");
  if (model.empty()) GTEST_SKIP() << "NOT RUN: no shared assets";
  std::string gguf;
  for (const auto& file : fs::directory_iterator(model)) {
    if (file.path().extension() == ".gguf") gguf = file.path().string();
  }
  ASSERT_NE(gguf, "");
  const Outcome outcome =
      Evaluate("a.json", "--model " + gguf + " --rows 'w16a16|w4a8-fp-fp-m2'");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(Results("a.json")["rows"].size(), 5u);
}

// The orderings that a real model must show, however small.
TEST_F(EvaluateCommand, ARealModelIsBestAsItIsAndGptqBeatsRounding) {
  const std::string model = AssetPath("models/babyllama-1m");
  const std::string stories = AssetPath("text/tinystories_train_0.txt");
  if (model.empty() || stories.empty()) {
    GTEST_SKIP() << "NOT RUN: no shared assets";
  }
  flags_ = "--text " + stories + " --threads 2 ";
  const Outcome real = Evaluate(
      "a.json", "--model " + model + " --calibration " + stories +
                    " --calibration_split '<|endoftext|>' --window 256 "
                    "--calibration_samples 8 --calibration_length 256 "
                    "--max_tokens 2048 --rows 'w16a16|fp-fp-m2|w4a8-int-int' "
                    "--lorc_rank 0 --split '<|endoftext|>' --group_size 32");
  ASSERT_EQ(real.exit_code, 0) << real.err;
  const nlohmann::json results = Results("a.json");
  const auto perplexity = [&](const std::string& row) {
    return Row(results, row)["mean_perplexity"].get<double>();
  };
  for (const std::string family : {"w4a8-fp-fp-m2", "w4a8-int-int"}) {
    EXPECT_LT(perplexity("w16a16"), perplexity(family + "-gptq"));
    EXPECT_LT(perplexity(family + "-gptq"), perplexity(family + "-rtn"));
  }
}

}  // namespace
}  // namespace zqfp::tools
