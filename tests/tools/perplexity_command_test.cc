// SPDX-License-Identifier: Apache-2.0
// zqfp-perplexity: the fields that scripts read, for every protocol.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "tests/tools/program.h"

namespace zqfp::tools {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using zqfp::testing::Outcome;
using zqfp::testing::RunProgram;
using zqfp::testing::ScratchDirectory;

constexpr char kText[] =
    "Once upon a time there was a little girl named Lily. She had a red ball. "
    "One day she went to the park with her mom. They saw a big dog. The dog "
    "wanted to play with the ball. Lily was happy and they played all day.";

// A scratch file with the text repeated.
class PerplexityCommand : public ::testing::Test {
 protected:
  PerplexityCommand() {
    std::string text;
    for (int i = 0; i < 8; ++i) text += std::string(kText) + "\n";
    scratch_.Write("text", text);
    scratch_.Write("stories", std::string(kText) + "<end>" + kText + "<end>");
  }
  Outcome Score(const std::string& arguments) const {
    return RunProgram("zqfp-perplexity", arguments);
  }
  nlohmann::json ScoreJson(const std::string& arguments) const {
    const Outcome outcome =
        Score("--text " + (scratch_ / "text") + " --json " + arguments);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_THAT(outcome.err, IsEmpty());
    return outcome.Json();
  }

  ScratchDirectory scratch_;
};

TEST_F(PerplexityCommand, EveryProtocolReportsTheContract) {
  for (const char* protocol : {"gptq", "sliding", "llama.cpp", "lm-eval"}) {
    const nlohmann::json json =
        ScoreJson(std::string("--window 64 --protocol ") + protocol);
    ASSERT_TRUE(json.is_object()) << protocol;
    EXPECT_EQ(json["protocol"], protocol);
    EXPECT_EQ(json["window"], 64);
    EXPECT_GT(json["num_tokens"], 100) << protocol;
    EXPECT_GT(json["loss"], 0.5);
    EXPECT_LT(json["loss"], 4.0);  // the bundled model knows such stories
    EXPECT_NEAR(json["perplexity"].get<double>(),
                std::exp(json["loss"].get<double>()), 1e-6)
        << protocol;
    EXPECT_GT(json["standard_error"], 0.0);
    EXPECT_THAT(json["tokenizer_hash"].get<std::string>(),
                MatchesRegex("[0-9a-f]{16}"));
  }
}

TEST_F(PerplexityCommand, TheSameTextGivesTheSameNumber) {
  const nlohmann::json first = ScoreJson("--window 100");
  EXPECT_EQ(ScoreJson("--window 100 --threads 1")["loss"], first["loss"]);
  EXPECT_NE(ScoreJson("--window 50")["loss"], first["loss"]);
}

TEST_F(PerplexityCommand, DocumentsAreScoredEachFromItsBeginning) {
  const Outcome outcome = Score("--json --window 32 --split '<end>' --text " +
                                (scratch_ / "stories"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.Json()["num_documents"], 2);
  EXPECT_GE(outcome.Json()["num_windows"], 2);
}

TEST_F(PerplexityCommand, MaxTokensBoundsTheWork) {
  const nlohmann::json all = ScoreJson("--window 64");
  const nlohmann::json part = ScoreJson("--window 64 --max_tokens 128");
  EXPECT_LT(part["num_tokens"], all["num_tokens"]);
  EXPECT_GE(part["num_tokens"], 100);
}

TEST_F(PerplexityCommand, TextForPeopleSaysProtocolAndTokenizer) {
  const Outcome outcome = Score("--window 64 --text " + (scratch_ / "text"));
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.out, HasSubstr("protocol gptq, window 64"));
  EXPECT_THAT(outcome.out, HasSubstr("nats per token"));
  EXPECT_THAT(outcome.out, HasSubstr("tokenizer "));
}

TEST_F(PerplexityCommand, WrongInputIsOneMessage) {
  EXPECT_EQ(Score("").exit_code, 2);
  const Outcome protocol = Score("--text x --protocol best");
  EXPECT_EQ(protocol.exit_code, 2);
  EXPECT_THAT(protocol.err, HasSubstr("llama.cpp"));
  const Outcome absent = Score("--text /nonexistent/text");
  EXPECT_EQ(absent.exit_code, 1);
  EXPECT_THAT(absent.err, HasSubstr("/nonexistent/text"));
  scratch_.Write("empty", "");
  EXPECT_EQ(Score("--text " + (scratch_ / "empty")).exit_code, 1);
  scratch_.Write("latin1", "caf\xe9 and more");
  const Outcome latin1 = Score("--text " + (scratch_ / "latin1"));
  EXPECT_EQ(latin1.exit_code, 1);
  EXPECT_THAT(latin1.err, HasSubstr("UTF-8"));
  const Outcome window = Score("--window 5000 --text " + (scratch_ / "text"));
  EXPECT_EQ(window.exit_code, 1);
  EXPECT_THAT(window.err, HasSubstr("1024"));
}

}  // namespace
}  // namespace zqfp::tools
