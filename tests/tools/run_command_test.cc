// SPDX-License-Identifier: Apache-2.0
// zqfp-run as scripts use it: what goes where, exit codes, messages.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/tools/program.h"

namespace zqfp::tools {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;
using zqfp::testing::CopyAndReadTokenizerConfig;
using zqfp::testing::DemoModel;
using zqfp::testing::Outcome;
using zqfp::testing::ReadWholeFile;
using zqfp::testing::RunProgram;
using zqfp::testing::ScratchDirectory;

constexpr char kStory[] = "--prompt 'Tell me a story about a cat.' ";

Outcome Answer(const std::string& arguments, const std::string& before = "",
               const std::string& after = "< /dev/null") {
  return RunProgram("zqfp-run", arguments, before, after);
}

void ExpectFailure(const std::string& arguments, const std::string& message) {
  const Outcome outcome = Answer(arguments);
  EXPECT_EQ(outcome.exit_code, 1) << arguments;
  EXPECT_THAT(outcome.out, IsEmpty());
  EXPECT_THAT(outcome.err, StartsWith("zqfp-run: error: "));
  EXPECT_THAT(outcome.err, HasSubstr(message));
}

void ExpectUsageError(const std::string& arguments,
                      const std::string& message) {
  const Outcome outcome = Answer(arguments);
  EXPECT_EQ(outcome.exit_code, 2) << arguments << "\n" << outcome.err;
  EXPECT_THAT(outcome.out, IsEmpty());
  EXPECT_THAT(outcome.err, HasSubstr(message));
  EXPECT_THAT(outcome.err, HasSubstr("usage: zqfp-run"));
}

TEST(RunCommand, TheAnswerAloneIsOnStandardOutput) {
  const Outcome outcome =
      Answer("--prompt Hello! --temperature 0 --max_tokens 100");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.err, IsEmpty());
  EXPECT_THAT(outcome.out, HasSubstr("stor"));
  EXPECT_THAT(outcome.out, EndsWith("\n"));
  EXPECT_THAT(outcome.out, Not(HasSubstr("<|")));
  EXPECT_THAT(outcome.out, Not(HasSubstr("\033")));
}

TEST(RunCommand, WithoutModelItTakesTheBundledOne) {
  const Outcome bundled = Answer("--prompt Hi --temperature 0 --max_tokens 9");
  const Outcome named = Answer(
      "--prompt Hi --temperature 0 --max_tokens 9 --model " + DemoModel());
  EXPECT_EQ(bundled.out, named.out);
  EXPECT_THAT(bundled.out, Not(IsEmpty()));
}

TEST(RunCommand, JsonHoldsIdsTextReasonAndTimings) {
  const Outcome outcome =
      Answer(std::string(kStory) + "--json --max_tokens 12");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const nlohmann::json json = outcome.Json();
  ASSERT_TRUE(json.is_object()) << outcome.out;
  EXPECT_EQ(json["finish_reason"], "length");
  EXPECT_EQ(json["ids"].size(), 12u);
  EXPECT_FALSE(json["text"].get<std::string>().empty());
  const nlohmann::json& timings = json["timings"];
  EXPECT_EQ(timings["generated_tokens"], 12);
  EXPECT_GT(timings["prompt_tokens"], 5);
  EXPECT_GT(timings["time_to_first_token_s"], 0.0);
  EXPECT_GT(timings["generate_tokens_per_s"], 0.0);
  EXPECT_GE(timings["pages"], 1);
}

TEST(RunCommand, TheSeedDecidesTheAnswer) {
  const std::string arguments =
      std::string(kStory) + "--temperature 1 --max-tokens 40 --seed ";
  const Outcome first = Answer(arguments + "7");
  EXPECT_EQ(Answer(arguments + "7").out, first.out);
  EXPECT_NE(Answer(arguments + "8").out, first.out);
  EXPECT_EQ(Answer(arguments + "7 --threads 1").out, first.out);
  const Outcome unseeded =
      Answer(std::string(kStory) + "--temperature 1 --max_tokens 40 --json");
  const uint64_t seed = unseeded.Json()["seed"].get<uint64_t>();
  EXPECT_EQ(Answer(arguments + std::to_string(seed)).out,
            unseeded.Json()["text"].get<std::string>() + "\n");
}

TEST(RunCommand, RawContinuesTheTextItself) {
  const Outcome outcome = Answer(
      "--raw --prompt 'Once upon a time' --temperature 0 --max_tokens 8 "
      "--json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  // "<s>Once upon a time": what the tokenizer adds, and no chat format.
  EXPECT_LE(outcome.Json()["timings"]["prompt_tokens"], 6);
  EXPECT_THAT(outcome.Json()["text"].get<std::string>(), HasSubstr("there"));
}

TEST(RunCommand, APipeIsAPrompt) {
  const std::string flags = "--temperature 0 --max_tokens 20 ";
  const std::string from_flag = Answer(flags + "--prompt 'Who are you?'").out;
  EXPECT_EQ(Answer(flags, "printf 'Who are you?' | ", "").out, from_flag);
  EXPECT_EQ(Answer(flags, "echo 'Who are you?' | ", "").out, from_flag);
  EXPECT_EQ(Answer(flags + "--prompt -", "echo 'Who are you?' | ", "").out,
            from_flag);
}

TEST(RunCommand, CutAnswersSaySo) {
  const Outcome length = Answer(std::string(kStory) + "--max_tokens 3");
  EXPECT_EQ(length.exit_code, 0);
  EXPECT_EQ(length.err, "zqfp-run: note: cut at --max_tokens 3\n");
  const Outcome full = Answer(std::string(kStory) + "--context 24");
  EXPECT_EQ(full.exit_code, 0);
  EXPECT_EQ(full.err, "zqfp-run: note: cut, the context is full\n");
  const Outcome json = Answer(std::string(kStory) + "--context 24 --json");
  EXPECT_EQ(json.Json()["finish_reason"], "context_full");
}

TEST(RunCommand, AStopTextEndsTheAnswerAndIsNotPartOfIt) {
  const Outcome outcome = Answer(
      "--raw --prompt 'Once upon a time' --temperature 0 --max_tokens 60 "
      "--stop . --json");
  EXPECT_EQ(outcome.Json()["finish_reason"], "stop");
  EXPECT_THAT(outcome.Json()["text"].get<std::string>(), Not(HasSubstr(".")));
}

TEST(RunCommand, EveryStorageOfKeysAndValuesAnswers) {
  for (const char* kv : {"auto", "f32", "bf16", "e4m3"}) {
    const Outcome outcome =
        Answer(std::string("--prompt Hello! --temperature 0 "
                           "--kv ") +
               kv);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr("stor")) << kv;
  }
}

TEST(RunCommand, WrongFlagsAreUsageErrors) {
  ExpectUsageError("--prompt a --temperature -1",
                   "--temperature: want 0 .. 10000, found -1");
  ExpectUsageError("--prompt a --temperature nan", "--temperature: want");
  ExpectUsageError("--prompt a --top_p 0", "--top_p: want 0 < top_p <= 1");
  ExpectUsageError("--prompt a --top_p 1.5", "found 1.5");
  ExpectUsageError("--prompt a --min_p 2", "--min_p: want 0 .. 1");
  ExpectUsageError("--prompt a --typical_p 0",
                   "--typical_p: want 0 < typical_p");
  ExpectUsageError("--prompt a --top-k -4", "--top_k: want >= 0");
  ExpectUsageError("--prompt a --repetition_penalty 500",
                   "--repetition_penalty: want 0.01 .. 100, found 500");
  ExpectUsageError("--prompt a --presence_penalty 3", "want -2 .. 2");
  ExpectUsageError("--prompt a --frequency_penalty -3", "want -2 .. 2");
  ExpectUsageError("--prompt a --max_tokens 0", "--max_tokens: want 1 or more");
  ExpectUsageError("--prompt a --max_tokens many", "cannot read 'many'");
  ExpectUsageError("--prompt ''", "--prompt: want a value, found ''");
  ExpectUsageError("--prompt a --temperature=", "--temperature: want a value");
  ExpectUsageError("--prompt a --seed -1", "--seed: cannot read '-1'");
  ExpectUsageError("--prompt a --stop 'x,,y'", "--stop: want texts");
  ExpectUsageError("--prompt a --kv int8", "want auto, f32, bf16 or e4m3");
  ExpectUsageError("--prompt a --threads -1", "--threads: want 0..1024");
  ExpectUsageError("--prompt a --raw --system b", "--raw has no turns");
  ExpectUsageError("--prompt", "--prompt wants a value");
  ExpectUsageError("--promt a", "did you mean --prompt?");
  ExpectUsageError("hello", "unexpected argument 'hello'");
}

TEST(RunCommand, WhatCannotBeDoneIsOneMessage) {
  ExpectFailure(
      "--model /nonexistent --prompt a",
      "/nonexistent: want a model directory or file, found nothing there");
  ExpectFailure("--prompt \"$(printf 'caf\\351')\"", "UTF-8");
  ExpectFailure("--prompt a --context 4000", "want 2 .. 1024 tokens");
  ExpectFailure("--prompt a --backend mmx", "mmx");
  ExpectFailure("--prompt \"$(yes word | head -n 3000)\"", "want at most 1023");
  ExpectFailure("--prompt 'Tell me a story.' --context 4",
                "prompt: want at most 3 tokens");
}

TEST(RunCommand, AModelWithoutTemplateIsRefusedForChatAndServedRaw) {
  const ScratchDirectory scratch;
  const std::string model = scratch / "plain";
  nlohmann::json config = CopyAndReadTokenizerConfig(model);
  config.erase("chat_template");
  scratch.Write("plain/tokenizer_config.json", config.dump());
  ExpectFailure("--prompt a --model " + model,
                "want a chat template, found none; --raw continues text");
  const Outcome raw =
      Answer("--raw --prompt 'Once upon' --max_tokens 4 --model " + model);
  EXPECT_EQ(raw.exit_code, 0) << raw.err;
}

TEST(RunCommand, ATemplateThatFailsIsAnErrorNotAPrompt) {
  const ScratchDirectory scratch;
  const std::string model = scratch / "broken";
  nlohmann::json config = CopyAndReadTokenizerConfig(model);
  config["chat_template"] = "{{ raise_exception('no such role') }}";
  scratch.Write("broken/tokenizer_config.json", config.dump());
  ExpectFailure("--prompt a --model " + model, "no such role");
  config["chat_template"] = "{% for m in messages %}{{ m.content }}";
  scratch.Write("broken/tokenizer_config.json", config.dump());
  ExpectFailure("--prompt a --model " + model, "chat template");
}

TEST(RunCommand, AFullOutputIsAFailure) {
  const Outcome outcome =
      Answer("--prompt Hello! --temperature 0", "", "> /dev/full < /dev/null");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("cannot write to standard output"));
}

// Where nothing can be said any more, the exit code still tells.
TEST(RunCommand, AFullErrorOutputChangesNothing) {
  const std::string quiet = " 2> /dev/full < /dev/null";
  EXPECT_EQ(Answer("--prompt Hi --max_tokens 3", "", quiet).exit_code, 0);
  EXPECT_EQ(Answer("--prompt Hi --top_p 7", "", quiet).exit_code, 2);
  EXPECT_EQ(Answer("--prompt Hi --model /absent", "", quiet).exit_code, 1);
}

// What a model's files hold is text, to a terminal too.
TEST(RunCommand, AModelsTextMovesNoCursor) {
  const ScratchDirectory scratch;
  const std::string copy = scratch / "model";
  nlohmann::json config = CopyAndReadTokenizerConfig(copy);
  config["chat_template"] = "{{ raise_exception('\x1b]0;owned\x07') }}";
  config["added_tokens_decoder"]["2"]["content"] = "\x1b[2J";
  config["eos_token"] = "\x1b[2J";
  scratch.Write("model/tokenizer_config.json", config.dump());
  const Outcome chat = Answer("--model " + copy, "echo Hi | ", "");
  EXPECT_THAT(chat.err, HasSubstr("]0;owned"));
  EXPECT_THAT(chat.err, Not(HasSubstr("\x1b")));
  EXPECT_THAT(chat.err, Not(HasSubstr("\x07")));
  const Outcome inspected = RunProgram("zqfp-inspect", "--model " + copy);
  EXPECT_THAT(inspected.out, Not(HasSubstr("\x1b")));
}

TEST(RunCommand, StrictPassesWhereNothingFallsBack) {
  EXPECT_EQ(Answer("--prompt Hi --strict --max_tokens 2").exit_code, 0);
  EXPECT_EQ(Answer("--prompt Hi --strict --backend reference --max_tokens 2")
                .exit_code,
            0);
}

TEST(RunCommand, TheEnvironmentChoosesKernelsAndIsNeverIgnored) {
  const Outcome reference =
      Answer("--prompt Hi --max_tokens 2", "ZQFP_BACKEND=reference ");
  EXPECT_EQ(reference.exit_code, 0) << reference.err;
  const Outcome unknown =
      Answer("--prompt Hi --max_tokens 2", "ZQFP_BACKEND=abacus ");
  EXPECT_EQ(unknown.exit_code, 1);
  EXPECT_THAT(unknown.err, HasSubstr("abacus"));
  // Nor does it win over a flag in silence.
  const Outcome other = Answer("--prompt Hi --max_tokens 2 --device cuda",
                               "ZQFP_BACKEND=reference ");
  EXPECT_EQ(other.exit_code, 1);
  EXPECT_THAT(other.err,
              HasSubstr("want device cuda, found the backend reference"));
}

TEST(RunCommand, HelpAndVersion) {
  const Outcome help = Answer("--help");
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.err, IsEmpty());
  for (const char* flag :
       {"--prompt", "--raw", "--json", "--max_tokens", "--temperature",
        "--seed", "--model", "--threads", "--strict", "--kv", "examples"}) {
    EXPECT_THAT(help.out, HasSubstr(flag));
  }
  EXPECT_THAT(Answer("--version").out, StartsWith("zqfp-run "));
}

}  // namespace
}  // namespace zqfp::tools
