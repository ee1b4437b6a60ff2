// SPDX-License-Identifier: Apache-2.0
// zqfp-perplexity --against and --task: the contract, and what is refused.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "tests/tools/program.h"

namespace zqfp::tools {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;
using zqfp::testing::DemoModel;
using zqfp::testing::Outcome;
using zqfp::testing::ReadWholeFile;
using zqfp::testing::RunProgram;
using zqfp::testing::ScratchDirectory;

constexpr char kText[] =
    "Once upon a time there was a little girl named Lily. She had a red ball. "
    "One day she went to the park with her mom. They saw a big dog. The dog "
    "wanted to play with the ball. Lily was happy and they played all day.";

// The bundled model is e4m3 throughout; with its "activations" field changed
// the same weights run in f32: an original that has a noise floor.
class ComparisonCommand : public ::testing::Test {
 protected:
  ComparisonCommand() {
    std::string text;
    for (int i = 0; i < 6; ++i) text += std::string(kText) + "\n";
    scratch_.Write("text", text);
    testing::CopyDemoModel(original());
    const std::string path = original() + "/config.json";
    nlohmann::json config = nlohmann::json::parse(ReadWholeFile(path));
    config["quantization_config"]["activations"] = nullptr;
    std::ofstream(path) << config.dump();
  }
  std::string original() const { return scratch_ / "original"; }
  Outcome Score(const std::string& arguments) const {
    return RunProgram("zqfp-perplexity", arguments);
  }
  Outcome Compare(const std::string& arguments) const {
    return Score("--text " + (scratch_ / "text") + " --window 64 --against " +
                 original() + " " + arguments);
  }
  nlohmann::json CompareJson(const std::string& arguments) const {
    const Outcome outcome = Compare("--json " + arguments);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_THAT(outcome.err, IsEmpty());
    return outcome.Json();
  }

  ScratchDirectory scratch_;
};

TEST_F(ComparisonCommand, EveryProtocolReportsTheContract) {
  for (const char* protocol : {"gptq", "sliding", "llama.cpp", "lm-eval"}) {
    const nlohmann::json json =
        CompareJson(std::string("--protocol ") + protocol);
    ASSERT_TRUE(json.is_object()) << protocol;
    EXPECT_EQ(json["protocol"], protocol);
    EXPECT_GT(json["kld_mean"], 0.0);
    EXPECT_LE(json["kld_median"], json["kld_p99"]);
    EXPECT_LE(json["kld_p99"], json["kld_max"]);
    EXPECT_GT(json["kld_standard_error"], 0.0);
    EXPECT_GT(json["top1_agreement"], 0.8);
    EXPECT_LT(json["top1_agreement"], 1.0);
    EXPECT_GT(json["noise_floor"], 0.0);
    EXPECT_LT(json["noise_floor"], json["kld_mean"]);
    EXPECT_GT(json["noise_floor_num_tokens"], 0);
    EXPECT_GT(json["delta_p_rms"], 0.0);
    EXPECT_NEAR(json["perplexity_ratio"].get<double>(),
                json["perplexity"].get<double>() /
                    json["original"]["perplexity"].get<double>(),
                1e-9);
    EXPECT_GT(json["seconds"], 0.0);
    EXPECT_EQ(json["kld_by_confidence"].size(), 10);
  }
}

TEST_F(ComparisonCommand, BothPerplexitiesAreThoseOfTheModelsAlone) {
  const nlohmann::json both = CompareJson("");
  const std::string rest =
      "--json --window 64 --text " + (scratch_ / "text") + " --model ";
  EXPECT_EQ(both["perplexity"], Score(rest + DemoModel()).Json()["perplexity"]);
  EXPECT_EQ(both["original"]["perplexity"],
            Score(rest + original()).Json()["perplexity"]);
}

TEST_F(ComparisonCommand, AModelAgainstItselfIsNothing) {
  const nlohmann::json json = CompareJson("--model " + original());
  EXPECT_EQ(json["kld_mean"], 0.0);
  EXPECT_EQ(json["kld_max"], 0.0);
  EXPECT_EQ(json["top1_agreement"], 1.0);
  EXPECT_EQ(json["perplexity_ratio"], 1.0);
  EXPECT_GT(json["noise_floor"], 0.0);
}

TEST_F(ComparisonCommand, TheNoiseFloorIsAChoice) {
  const nlohmann::json all = CompareJson("--noise_floor all");
  EXPECT_EQ(all["noise_floor_num_tokens"], all["num_tokens"]);
  EXPECT_EQ(CompareJson("--noise_floor none")["noise_floor"], nullptr);
  const nlohmann::json sampled = CompareJson("--noise_floor sampled");
  EXPECT_EQ(sampled["noise_floor_num_tokens"], 63);
  // An original with e4m3 activations has none; it says so.
  const std::string itself = "--text " + (scratch_ / "text") +
                             " --window 64 --json --against " + DemoModel();
  const Outcome silent = Score(itself);
  EXPECT_EQ(silent.exit_code, 0);
  EXPECT_THAT(silent.err, HasSubstr("no noise floor"));
  EXPECT_EQ(silent.Json()["noise_floor"], nullptr);
  EXPECT_EQ(Score(itself + " --noise_floor all").exit_code, 1);
  EXPECT_EQ(Score(itself + " --noise_floor none").err, "");
}

TEST_F(ComparisonCommand, TextForPeopleHasEveryFigure) {
  const Outcome outcome = Compare("");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  for (const char* words :
       {"protocol gptq, window 64", "ratio", "KL(original || model)", "median",
        "99 %", "max", "noise floor", "same top token", "delta p", "RMS",
        "tokenizer "}) {
    EXPECT_THAT(outcome.out, HasSubstr(words));
  }
}

TEST_F(ComparisonCommand, PlotsToAFile) {
  const std::string path = scratch_ / "kld.svg";
  EXPECT_EQ(Compare("--plot " + path).exit_code, 0);
  EXPECT_THAT(ReadWholeFile(path),
              AllOf(StartsWith("<svg"), HasSubstr("</svg>"),
                    HasSubstr("KL(original || demo)")));
  const Outcome png = Compare("--plot " + (scratch_ / "kld.png"));
  EXPECT_EQ(png.exit_code, 2);
  EXPECT_THAT(png.err, HasSubstr(".svg"));
  const Outcome nowhere = Compare("--plot /nonexistent/kld.svg");
  EXPECT_EQ(nowhere.exit_code, 1);
  EXPECT_THAT(nowhere.err, HasSubstr("/nonexistent"));
  EXPECT_THAT(nowhere.out, IsEmpty());
}

TEST_F(ComparisonCommand, RefusesOtherTokenizers) {
  // The same tokenizer to the eye: a protobuf field more, which nobody reads.
  std::ofstream(original() + "/tokenizer.model",
                std::ios::binary | std::ios::app)
      << "\x98\x3f\x01";
  const Outcome other = Compare("");
  EXPECT_EQ(other.exit_code, 1);
  EXPECT_THAT(other.err, AllOf(HasSubstr("tokenizer"), HasSubstr("hash")));
  const std::string hash =
      Score("--json --window 64 --text " + (scratch_ / "text"))
          .Json()["tokenizer_hash"];
  EXPECT_THAT(other.err, HasSubstr(hash));
}

TEST_F(ComparisonCommand, SaysWhichModelIsBroken) {
  std::ofstream(original() + "/config.json") << "{";
  const Outcome outcome = Compare("");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("--against: "));
  const Outcome absent =
      Score("--text " + (scratch_ / "text") + " --against /nonexistent");
  EXPECT_EQ(absent.exit_code, 1);
  EXPECT_THAT(absent.err, HasSubstr("--against: "));
  EXPECT_THAT(absent.err, Not(HasSubstr("usage")));
}

TEST_F(ComparisonCommand, RefusesFlagsThatHaveNoEffect) {
  for (const char* arguments :
       {"--text x --plot a.svg", "--text x --noise_floor all",
        "--text x --max_examples 3", "--task lambada --text x --against y",
        "--task lambada --text x --protocol gptq",
        "--task lambada --text x --window 5", "--task lambada",
        "--task lambada --text x --split y",
        "--task multiple-choice --text x --stride 3",
        "--task lambada --text x --max_tokens 3", "--task chess --text x",
        "--task lambada --text x --max_examples -1",
        "--task lambada --text x --kv f8"}) {
    const Outcome outcome = Score(arguments);
    EXPECT_EQ(outcome.exit_code, 2) << arguments << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("--")) << arguments;
  }
  EXPECT_EQ(Compare("--noise_floor some").exit_code, 2);
}

TEST_F(ComparisonCommand, AnswersLambada) {
  scratch_.Write(
      "lambada.jsonl",
      "{\"text\": \"Once upon a time there was a little girl. She had a red "
      "ball. She loved to play with her ball\"}\n"
      "{\"text\": \"Lily went to the park with her mom. Lily and her mom "
      "zxqv\"}\n");
  const std::string arguments =
      "--task lambada --text " + (scratch_ / "lambada.jsonl");
  const Outcome outcome = Score("--json " + arguments);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const nlohmann::json json = outcome.Json();
  EXPECT_EQ(json["task"], "lambada");
  EXPECT_EQ(json["num_examples"], 2);
  EXPECT_EQ(json["accuracy"], 0.5);
  EXPECT_NEAR(json["accuracy_standard_error"].get<double>(), 0.5, 1e-12);
  EXPECT_GT(json["perplexity"], 1.0);
  EXPECT_EQ(Score("--json --max_examples 1 " + arguments).Json()["accuracy"],
            1.0);
  EXPECT_THAT(Score(arguments).out,
              AllOf(HasSubstr("task lambada, 2 examples"),
                    HasSubstr("accuracy 50.0000"), HasSubstr("perplexity")));
}

TEST_F(ComparisonCommand, AnswersMultipleChoice) {
  scratch_.Write("choice.jsonl",
                 "{\"question\": \"Once upon a time there was a little\", "
                 "\"choices\": [\"girl\", \"xqzzt\"], \"answer\": 0}\n"
                 "{\"context\": \"She wanted to play with her\", "
                 "\"choices\": [\"wvvqx\", \"ball\"], \"answer\": \"ball\"}\n");
  const std::string arguments =
      "--task multiple-choice --text " + (scratch_ / "choice.jsonl");
  const nlohmann::json json = Score("--json " + arguments).Json();
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["accuracy"], 1.0);
  EXPECT_EQ(json["normalised_accuracy"], 1.0);
  EXPECT_EQ(json["num_truncated"], 0);
  EXPECT_THAT(Score(arguments).out, HasSubstr("normalised by length"));
  scratch_.Write("bad.jsonl",
                 "{\"question\": \"q\", \"choices\": [\"a\", "
                 "\"b\"], \"answer\": 7}\n");
  const Outcome bad =
      Score("--task multiple-choice --text " + (scratch_ / "bad.jsonl"));
  EXPECT_EQ(bad.exit_code, 1);
  EXPECT_THAT(bad.err, AllOf(HasSubstr("bad.jsonl:1"), HasSubstr("answer")));
}

}  // namespace
}  // namespace zqfp::tools
