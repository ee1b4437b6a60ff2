// SPDX-License-Identifier: Apache-2.0
#include "engine/tasks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/engine.h"
#include "tests/assets.h"
#include "tests/engine/tiny.h"
#include "tests/models/safetensors_file.h"

namespace zqfp {
namespace {

using ::testing::AllOf;
using testing::ByteTokenizer;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TinyConfig;
using testing::TinyModel;
using testing::TinyQuantizedConfig;

std::vector<Example> MustParse(Task task, const std::string& lines) {
  const auto examples = ParseExamples(task, lines, "f.jsonl");
  EXPECT_TRUE(examples.ok()) << examples.status();
  return examples.value_or(std::vector<Example>());
}

std::string ParseError(Task task, const std::string& line) {
  const auto examples = ParseExamples(task, "\n" + line, "f.jsonl");
  EXPECT_EQ(examples.status().code(), absl::StatusCode::kInvalidArgument)
      << line;
  return std::string(examples.status().message());
}

TEST(ParseTask, KnowsItsNames) {
  for (const Task task : {Task::kLambada, Task::kMultipleChoice}) {
    EXPECT_EQ(*ParseTask(ToString(task)), task);
  }
  EXPECT_THAT(std::string(ParseTask("hellaswag").status().message()),
              AllOf(HasSubstr("lambada"), HasSubstr("multiple-choice"),
                    HasSubstr("hellaswag")));
}

TEST(ParseExamples, LambadaSplitsAtTheLastSpace) {
  const auto examples = MustParse(Task::kLambada,
                                  "{\"text\": \"he saw the  end\", \"id\": 1}\n"
                                  "\n{\"text\": \"word\"}\n"
                                  "{\"text\": \"a\\tb \\nc\"}");
  ASSERT_EQ(examples.size(), 3);
  EXPECT_EQ(examples[0].context, "he saw the ");
  EXPECT_THAT(examples[0].choices, ElementsAre("end"));
  EXPECT_EQ(examples[0].where, "f.jsonl:1");
  EXPECT_EQ(examples[1].context, "");
  EXPECT_THAT(examples[1].choices, ElementsAre("word"));
  EXPECT_EQ(examples[2].context, "a\tb");
  EXPECT_THAT(examples[2].choices, ElementsAre("\nc"));
  EXPECT_EQ(examples[2].where, "f.jsonl:4");
}

TEST(ParseExamples, MultipleChoiceTakesIndexOrText) {
  const auto examples = MustParse(
      Task::kMultipleChoice,
      "{\"context\": \"c\", \"choices\": [\"x\", \"y\"], \"answer\": 1}\n"
      "{\"question\": \"q\", \"choices\": [\"x\", \"y\", \"x\"], "
      "\"answer\": \"y\"}\n"
      "{\"question\": \"\", \"context\": null, \"choices\": [\"1\", \"0\"], "
      "\"answer\": \"0\"}");
  ASSERT_EQ(examples.size(), 3);
  EXPECT_EQ(examples[0].context, "c");
  EXPECT_EQ(examples[0].answer, 1);
  EXPECT_EQ(examples[1].context, "q");
  EXPECT_EQ(examples[1].answer, 1);
  EXPECT_EQ(examples[2].context, "");
  EXPECT_EQ(examples[2].answer, 1) << "the text 0, not the index 0";
}

TEST(ParseExamples, RefusesWhatIsNoQuestion) {
  for (const char* line :
       {"[]", "3", "\"text\"", "{", "{\"text\"", "{\"text\": 3}",
        "{\"text\": null}", "{}", "{\"text\": \"\"}", "{\"text\": \"a b \"}",
        "{\"text\": \" \"}", "{\"text\": \"a\", \"text\": \"b\"}",
        "{\"text\": \"\xff\"}", "{\"text\": \"a b\"} x", "nul"}) {
    EXPECT_THAT(ParseError(Task::kLambada, line), HasSubstr("f.jsonl:2"));
  }
  const std::string two = "\"choices\": [\"a\", \"b\"]";
  for (const std::string& line :
       {std::string("{}"), "{" + two + ", \"answer\": 0}",
        "{\"context\": \"c\", \"question\": \"q\", " + two + ", \"answer\": 0}",
        "{\"context\": 3, " + two + ", \"answer\": 0}",
        "{\"context\": \"c\", " + two + "}",
        "{\"context\": \"c\", " + two + ", \"answer\": 2}",
        "{\"context\": \"c\", " + two + ", \"answer\": -1}",
        "{\"context\": \"c\", " + two + ", \"answer\": 0.5}",
        "{\"context\": \"c\", " + two + ", \"answer\": 99999999999999999999}",
        "{\"context\": \"c\", " + two + ", \"answer\": [0]}",
        "{\"context\": \"c\", " + two + ", \"answer\": \"c\"}",
        std::string("{\"context\": \"c\", \"choices\": [\"a\", \"a\"], "
                    "\"answer\": \"a\"}"),
        std::string("{\"context\": \"c\", \"choices\": [\"a\"], "
                    "\"answer\": 0}"),
        std::string("{\"context\": \"c\", \"choices\": [], \"answer\": 0}"),
        std::string("{\"context\": \"c\", \"choices\": [\"a\", 3], "
                    "\"answer\": 0}"),
        std::string("{\"context\": \"c\", \"choices\": [\"a\", \"\"], "
                    "\"answer\": 0}"),
        std::string("{\"context\": \"c\", \"choices\": {\"text\": [\"a\"]}, "
                    "\"answer\": 0}"),
        std::string("{\"context\": \"c\", \"choices\": \"ab\", "
                    "\"answer\": 0}")}) {
    EXPECT_THAT(ParseError(Task::kMultipleChoice, line),
                HasSubstr("f.jsonl:2"));
  }
  const std::string deep(1000, '[');
  EXPECT_THAT(ParseError(Task::kLambada, "{\"text\": " + deep),
              HasSubstr("f.jsonl:2"));
}

TEST(ReadExamples, NamesTheFile) {
  const testing::ScratchDirectory scratch;
  scratch.Write("none.jsonl", "\n \n");
  const auto none = ReadExamples(Task::kLambada, scratch / "none.jsonl");
  EXPECT_THAT(std::string(none.status().message()), HasSubstr("none.jsonl"));
  const auto absent = ReadExamples(Task::kLambada, scratch / "absent.jsonl");
  EXPECT_THAT(std::string(absent.status().message()),
              HasSubstr("absent.jsonl"));
  scratch.Write("one.jsonl", "{\"text\": \"a b\"}");
  const auto one = ReadExamples(Task::kLambada, scratch / "one.jsonl");
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_EQ(one->size(), 1);
}

struct Bench {
  ByteTokenizer tokenizer;
  std::unique_ptr<Model> model = TinyModel(TinyConfig(), 16);

  TaskResult Run(Task task, const std::vector<Example>& examples) {
    const auto result = RunTask(*model, tokenizer, examples, {.task = task});
    EXPECT_TRUE(result.ok()) << result.status();
    return result.value_or(TaskResult());
  }
  std::string Message(const std::vector<Example>& examples) {
    return std::string(
        RunTask(*model, tokenizer, examples, {}).status().message());
  }
  // ln p of ids[first ..] from whole logits, and whether all are the likeliest.
  double LogLikelihood(const std::vector<int32_t>& ids, size_t first,
                       bool* greedy) {
    auto engine =
        Engine::Create(model.get(), &tokenizer, {.kv_format = KvFormat::kF32});
    const auto logits =
        (*engine)->Logits(absl::MakeConstSpan(ids).first(ids.size() - 1));
    EXPECT_TRUE(logits.ok()) << logits.status();
    double total = 0;
    *greedy = true;
    for (size_t t = first; t < ids.size(); ++t) {
      const float* row = logits->data() + (t - 1) * 258;
      double sum = 0;
      for (int i = 0; i < 258; ++i) sum += std::exp(double{row[i]});
      total += row[ids[t]] - std::log(sum);
      if (std::max_element(row, row + 258) - row != ids[t]) *greedy = false;
    }
    return total;
  }
  std::vector<int32_t> Ids(const std::string& text) {
    return *tokenizer.Encode(text, {});
  }
};

// Encodes certain bytes as other ids.
class MappedTokenizer : public ByteTokenizer {
 public:
  absl::StatusOr<std::vector<int32_t>> Encode(
      std::string_view text, const EncodeOptions& options) const override {
    auto encoded = *ByteTokenizer::Encode(text, options);
    for (int32_t& id : encoded) {
      if (const auto other = ids.find(id); other != ids.end()) {
        id = other->second;
      }
    }
    return encoded;
  }

  std::map<int32_t, int32_t> ids;
};

// The likeliest id after some.
int32_t Likeliest(Model& model, const std::vector<int32_t>& ids) {
  const ByteTokenizer tokenizer;
  auto engine = Engine::Create(&model, &tokenizer, {});
  const auto logits = (*engine)->Logits(ids);
  const float* row = logits->data() + (ids.size() - 1) * 258;
  return static_cast<int32_t>(std::max_element(row, row + 258) - row);
}

TEST(RunTask, LambadaCountsWholeTargetsAndTheirProbability) {
  Bench bench;
  // " w" becomes what the model finds likeliest after "4444".
  MappedTokenizer tokenizer;
  std::vector<int32_t> ids = bench.Ids("4444");
  for (const char c : {' ', 'w'}) {
    ids.push_back(Likeliest(*bench.model, ids));
    tokenizer.ids[c] = ids.back();
  }
  const std::vector<Example> examples = {
      {.context = "abc", .choices = {"w"}},
      {.context = "4444", .choices = {"wx"}},  // right but for the last token
      {.context = "", .choices = {"y"}},
      {.context = "4444", .choices = {"w"}}};
  const auto run = RunTask(*bench.model, tokenizer, examples, {});
  ASSERT_TRUE(run.ok()) << run.status();
  const TaskResult& result = *run;
  double total = 0;
  std::vector<bool> greedy;
  for (size_t i = 0; i < examples.size(); ++i) {
    const Example& e = examples[i];
    bool own = false;
    const double ln_p = bench.LogLikelihood(
        *tokenizer.Encode(e.context + " " + e.choices[0], {}),
        1 + e.context.size(), &own);
    EXPECT_NEAR(result.log_likelihoods[i][0], ln_p, 1e-4);
    total += ln_p;
    greedy.push_back(own);
  }
  EXPECT_THAT(greedy, ElementsAre(false, false, false, true));
  EXPECT_EQ(result.accuracy.value, 0.25);
  // s^2 = (3/16 * 4) / 3, over 4.
  EXPECT_NEAR(result.accuracy.standard_error, 0.25, 1e-12);
  EXPECT_NEAR(std::log(result.perplexity.value), -total / 4, 1e-4);
  EXPECT_GT(result.perplexity.standard_error, 0);
  EXPECT_EQ(result.num_examples, 4);
  EXPECT_EQ(result.num_tokens, 2 + 3 + 2 + 2);
  EXPECT_EQ(result.num_truncated, 0);
  EXPECT_EQ(result.tokenizer_hash, "0123456789abcdef");
}

TEST(RunTask, MultipleChoiceByTheSumAndByTheCharacter) {
  Bench bench;
  // One token is likelier than ten; per character that need not be so. An
  // umlaut is one character and two tokens.
  const std::vector<std::string> choices = {"q", "abcdefghij",
                                            "\xc3\xa4\xc3\xa4"};
  const std::string context = "What is it?  ";
  bool greedy;
  std::vector<double> sums, means;
  const std::vector<double> lengths = {1, 10, 2};
  for (size_t i = 0; i < 3; ++i) {
    // White space at the end of the context is scored, too.
    sums.push_back(bench.LogLikelihood(bench.Ids(context + " " + choices[i]),
                                       1 + 11, &greedy));
    means.push_back(sums.back() / lengths[i]);
  }
  const auto best = [](const std::vector<double>& v) {
    return std::max_element(v.begin(), v.end()) - v.begin();
  };
  ASSERT_NE(best(sums), best(means)) << "a test that tells them apart";
  for (int64_t answer = 0; answer < 3; ++answer) {
    const auto result =
        bench.Run(Task::kMultipleChoice,
                  {{.context = context, .choices = choices, .answer = answer}});
    EXPECT_EQ(result.accuracy.value, answer == best(sums) ? 1 : 0);
    EXPECT_EQ(result.normalised_accuracy.value, answer == best(means) ? 1 : 0);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(result.log_likelihoods[0][i], sums[i], 1e-4);
    }
  }
}

TEST(RunTask, TheFirstOfEqualChoicesCounts) {
  Bench bench;
  const std::vector<std::string> same = {"same", "same", "same"};
  for (int64_t answer = 0; answer < 3; ++answer) {
    const auto result =
        bench.Run(Task::kMultipleChoice,
                  {{.context = "c", .choices = same, .answer = answer}});
    EXPECT_EQ(result.accuracy.value, answer == 0 ? 1 : 0);
    EXPECT_EQ(result.log_likelihoods[0][0], result.log_likelihoods[0][1]);
  }
}

TEST(RunTask, WhatIsTooLongLosesItsBeginning) {
  Bench bench;
  const std::string text(400, 'k');
  const auto result = bench.Run(
      Task::kLambada, {{.context = text, .choices = {"abc"}},
                       {.context = text.substr(0, 100), .choices = {"abc"}}});
  EXPECT_EQ(result.num_truncated, 1);
  const std::vector<int32_t> whole = bench.Ids(text + " abc");
  bool greedy;
  const std::vector<int32_t> last(whole.end() - 257, whole.end());
  EXPECT_NEAR(result.log_likelihoods[0][0],
              bench.LogLikelihood(last, 253, &greedy), 1e-4);
}

TEST(RunTask, RefusesWhatCannotBeScored) {
  Bench bench;
  EXPECT_THAT(bench.Message({{.where = "f:3",
                              .context = "c",
                              .choices = {std::string(300, 'x')}}}),
              AllOf(HasSubstr("f:3"), HasSubstr("256")));
  bench.tokenizer.RemoveSpecials();
  EXPECT_THAT(bench.Message({{.where = "f:9", .choices = {"x"}}}),
              AllOf(HasSubstr("f:9"), HasSubstr("context")));
  EXPECT_EQ(bench.Message({{.context = "c", .choices = {"x"}}}), "");
  Config config = TinyConfig();
  config.vocab_size = 100;
  bench.model = TinyModel(config);
  EXPECT_THAT(
      bench.Message({{.where = "f:1", .context = "c", .choices = {"xyz"}}}),
      AllOf(HasSubstr("f:1"), HasSubstr("100")));
}

TEST(RunTask, ATextThatBeginsItselfGetsNoOtherBeginning) {
  class WithText : public ByteTokenizer {
   public:
    std::string TokenText(int32_t id) const override {
      return id == testing::kBos ? "^" : TokenBytes(id);
    }
  } tokenizer;
  Bench bench;
  const auto result = RunTask(*bench.model, tokenizer,
                              {{.context = "^ab", .choices = {"c"}}}, {});
  ASSERT_TRUE(result.ok()) << result.status();
  bool greedy;
  EXPECT_NEAR(result->log_likelihoods[0][0],
              bench.LogLikelihood({'^', 'a', 'b', ' ', 'c'}, 3, &greedy), 1e-4);
}

TEST(RunTask, SharedContextsChangeNothing) {
  Config longrope = TinyQuantizedConfig();  // long factors for "onerous" alone
  longrope.rope = {.scaling = RopeScaling::kLongrope,
                   .factor = 4,
                   .original_max_positions = 55,
                   .short_factor = std::vector<double>(8, 1.0),
                   .long_factor = {1, 2, 3, 4, 6, 8, 12, 16}};
  Config dynamic = longrope;
  dynamic.rope = {.scaling = RopeScaling::kDynamic,
                  .factor = 4,
                  .original_max_positions = 40};
  const std::vector<std::string> choices = {"one", "two", "onerous", "o"};
  const std::string context(50, 'c');
  for (const Config& config : {TinyQuantizedConfig(), longrope, dynamic}) {
    Bench bench;
    bench.model = TinyModel(config, 16);
    const auto together = bench.Run(Task::kMultipleChoice,
                                    {{.context = context, .choices = choices}});
    for (size_t i = 0; i < choices.size(); ++i) {
      const auto alone = bench.Run(
          Task::kLambada, {{.context = context, .choices = {choices[i]}}});
      EXPECT_NEAR(together.log_likelihoods[0][i], alone.log_likelihoods[0][0],
                  1e-4);
    }
  }
}

TEST(RunTask, ReportsProgressAndStops) {
  Bench bench;
  const std::vector<Example> two(2, {.context = "c", .choices = {"x"}});
  std::vector<int64_t> seen;
  const auto all = RunTask(*bench.model, bench.tokenizer, two,
                           {.progress = [&](int64_t done, int64_t total) {
                             EXPECT_EQ(total, 2);
                             seen.push_back(done);
                             return true;
                           }});
  EXPECT_TRUE(all.ok());
  EXPECT_THAT(seen, ElementsAre(1, 2));
  const auto stopped =
      RunTask(*bench.model, bench.tokenizer, two,
              {.progress = [](int64_t, int64_t) { return false; }});
  EXPECT_EQ(stopped.status().code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace zqfp
