// SPDX-License-Identifier: Apache-2.0
#include "engine/evaluation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "engine/engine.h"
#include "tests/assets.h"
#include "tests/engine/tiny.h"

namespace zqfp {
namespace {

using testing::ByteTokenizer;
using ::testing::HasSubstr;
using testing::TinyConfig;
using testing::TinyModel;
using testing::TinyPrompt;

std::string RandomText(uint32_t seed, size_t size) {
  std::string text;
  for (const int32_t id : TinyPrompt(seed, size)) {
    text += static_cast<char>('a' + id % 26);
    if (id % 7 == 0) text += ' ';
  }
  text.resize(size);
  return text;
}

// Loss of ids[first + 1 ..] given all before: whole logits, plain softmax.
double PlainLoss(Engine& engine, const std::vector<int32_t>& ids, size_t first,
                 int64_t* count) {
  const auto logits =
      engine.Logits(absl::MakeConstSpan(ids).first(ids.size() - 1));
  EXPECT_TRUE(logits.ok()) << logits.status();
  double total = 0;
  for (size_t t = first; t + 1 < ids.size(); ++t) {
    double sum = 0;
    const float* row = logits->data() + t * 258;
    for (int i = 0; i < 258; ++i) sum += std::exp(static_cast<double>(row[i]));
    total += std::log(sum) - row[ids[t + 1]];
    ++*count;
  }
  return total;
}

struct Bench {
  ByteTokenizer tokenizer;
  std::unique_ptr<Model> model = TinyModel(TinyConfig(), 16);

  EvaluationResult Run(const Corpus& corpus, const EvaluationOptions& options) {
    const auto result = Evaluate(*model, tokenizer, corpus, options);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.value_or(EvaluationResult());
  }
  std::string Message(const Corpus& corpus, const EvaluationOptions& options) {
    return std::string(
        Evaluate(*model, tokenizer, corpus, options).status().message());
  }
};

TEST(Evaluate, GptqIsTheMeanOverWindows) {
  Bench bench;
  const Corpus corpus = {.texts = {RandomText(1, 100)}};
  const auto result = bench.Run(corpus, {.window = 32});
  const auto ids = *bench.tokenizer.Encode(corpus.texts[0], {});
  auto engine = Engine::Create(bench.model.get(), &bench.tokenizer,
                               {.kv_format = KvFormat::kF32});
  // The formula of the header, to the letter.
  double sum = 0;
  for (size_t w = 0; w < 3; ++w) {
    int64_t count = 0;
    const std::vector<int32_t> window(ids.begin() + w * 32,
                                      ids.begin() + (w + 1) * 32);
    const double mean = PlainLoss(**engine, window, 0, &count) / 31;
    EXPECT_EQ(count, 31);
    sum += mean * 32;
  }
  EXPECT_NEAR(result.perplexity, std::exp(sum / (3 * 32)),
              1e-5 * result.perplexity);
  EXPECT_NEAR(result.loss, std::log(result.perplexity), 1e-12);
  EXPECT_EQ(result.num_tokens, 93);
  EXPECT_EQ(result.num_windows, 3);
  EXPECT_EQ(result.window, 32);
  EXPECT_EQ(result.stride, 0);
  EXPECT_EQ(result.tokenizer_hash, "0123456789abcdef");
  EXPECT_EQ(result.kv_format, KvFormat::kF32);
}

TEST(Evaluate, EachProtocolScoresWhatItsPlanSays) {
  Bench bench;
  auto engine = Engine::Create(bench.model.get(), &bench.tokenizer,
                               {.kv_format = KvFormat::kF32});
  const Corpus corpus = {
      .texts = {RandomText(1, 100), RandomText(2, 20), RandomText(3, 64)},
      .is_documents = true};
  const std::pair<Protocol, int64_t> kProtocols[] = {
      {Protocol::kGptq, 0},
      {Protocol::kSliding, 10},
      {Protocol::kSliding, 24},  // windows that do not overlap
      {Protocol::kLlamaCpp, 0},
      {Protocol::kLmEval, 0}};
  for (const auto& [protocol, stride] : kProtocols) {
    const auto result = bench.Run(
        corpus, {.protocol = protocol, .window = 24, .stride = stride});
    const auto plan =
        PlanWindows(bench.tokenizer, corpus,
                    {.protocol = protocol, .window = 24, .stride = stride});
    ASSERT_TRUE(plan.ok());
    double total = 0;
    int64_t count = 0;
    for (const Window& w : plan->windows) {
      const auto& text = plan->ids[static_cast<size_t>(w.text_index)];
      std::vector<int32_t> ids(text.begin() + w.begin,
                               text.begin() + w.begin + w.count);
      if (plan->first_id >= 0) ids[0] = plan->first_id;
      total +=
          PlainLoss(**engine, ids, static_cast<size_t>(w.first_scored), &count);
    }
    EXPECT_EQ(result.num_tokens, count) << ToString(protocol);
    EXPECT_NEAR(result.loss, total / static_cast<double>(count), 1e-5)
        << ToString(protocol);
    double documents = 0;
    for (const DocumentScore& d : result.documents) {
      documents += d.loss * static_cast<double>(d.num_tokens);
    }
    EXPECT_NEAR(documents, total, 1e-3);
    EXPECT_EQ(result.num_documents,
              static_cast<int64_t>(result.documents.size()));
    EXPECT_EQ(result.num_documents + result.num_dropped_documents, 3);
  }
}

TEST(Evaluate, LmEvalPerWordAndByte) {
  Bench bench;
  const Corpus corpus = {.texts = {"one two  three", "four"},
                         .is_documents = true};
  const auto r = bench.Run(corpus, {.protocol = Protocol::kLmEval});
  EXPECT_EQ(r.num_words, 4);
  EXPECT_EQ(r.num_bytes, 18);
  EXPECT_EQ(r.num_tokens, 18);
  // One token a byte: the byte's numbers are the token's.
  EXPECT_NEAR(r.byte_perplexity, r.perplexity, 1e-9 * r.perplexity);
  EXPECT_NEAR(r.bits_per_byte, r.loss / std::log(2.0), 1e-12);
  EXPECT_NEAR(std::log(r.word_perplexity), r.loss * 18 / 4, 1e-9);
}

TEST(Evaluate, TheStandardErrorIsThatOfTheMean) {
  Bench bench;
  const Corpus corpus = {.texts = {RandomText(1, 200)}};
  const auto whole = bench.Run(corpus, {.window = 2});
  // With windows of two tokens every window is one prediction.
  const auto ids = *bench.tokenizer.Encode(corpus.texts[0], {});
  std::vector<double> losses;
  auto engine = Engine::Create(bench.model.get(), &bench.tokenizer,
                               {.kv_format = KvFormat::kF32});
  for (size_t i = 0; i + 2 <= ids.size(); i += 2) {
    int64_t count = 0;
    losses.push_back(PlainLoss(**engine, {ids[i], ids[i + 1]}, 0, &count));
  }
  double mean = 0, squares = 0;
  for (const double loss : losses) mean += loss / losses.size();
  for (const double loss : losses) squares += (loss - mean) * (loss - mean);
  const double n = static_cast<double>(losses.size());
  EXPECT_NEAR(whole.standard_error, std::sqrt(squares / (n - 1)) / std::sqrt(n),
              1e-5);
  EXPECT_NEAR(whole.perplexity_standard_error,
              whole.standard_error * whole.perplexity, 1e-9);
}

TEST(Evaluate, ReportsProgressAndStops) {
  Bench bench;
  const Corpus corpus = {.texts = {RandomText(1, 100)}};
  std::vector<int64_t> seen;
  bench.Run(corpus, {.window = 32, .progress = [&](int64_t done, int64_t all) {
                       EXPECT_EQ(all, 93);
                       seen.push_back(done);
                       return true;
                     }});
  EXPECT_THAT(seen, ::testing::ElementsAre(31, 62, 93));
  const auto stopped = Evaluate(
      *bench.model, bench.tokenizer, corpus,
      {.window = 32, .progress = [](int64_t, int64_t) { return false; }});
  EXPECT_EQ(stopped.status().code(), absl::StatusCode::kCancelled);
}

TEST(Evaluate, DefaultsFitTheModel) {
  Bench bench;
  const Corpus corpus = {.texts = {RandomText(1, 600)}};
  EXPECT_EQ(bench.Run(corpus, {}).window, 256);  // the model's context
  EXPECT_EQ(bench.Run(corpus, {.protocol = Protocol::kLlamaCpp}).window, 256);
  EXPECT_EQ(bench.Run(corpus, {.protocol = Protocol::kSliding}).stride, 128);
}

TEST(Evaluate, RefusesBadOptionsByName) {
  Bench bench;
  const Corpus corpus = {.texts = {RandomText(1, 100)}};
  for (const int64_t window :
       {int64_t{-1}, int64_t{1}, int64_t{257}, INT64_MAX}) {
    EXPECT_THAT(bench.Message(corpus, {.window = window}), HasSubstr("window"));
  }
  for (const int64_t stride : {int64_t{-1}, int64_t{33}, INT64_MAX}) {
    EXPECT_THAT(bench.Message(corpus, {.protocol = Protocol::kSliding,
                                       .window = 32,
                                       .stride = stride}),
                HasSubstr("stride"));
  }
  EXPECT_THAT(bench.Message(corpus, {.window = 32, .stride = 4}),
              HasSubstr("stride"));
  EXPECT_THAT(bench.Message(corpus, {.window = 32, .max_tokens = 9}),
              HasSubstr("max_tokens: want enough for one window of 32 tokens, "
                        "found 9"));
  EXPECT_THAT(bench.Message(corpus, {.max_tokens = -1}),
              HasSubstr("max_tokens"));
  EXPECT_THAT(bench.Message(corpus, {.window = 200}), HasSubstr("200"))
      << "a text that is too short";
  EXPECT_THAT(bench.Message({.texts = {""}}, {}), HasSubstr("window"));
}

// The full-precision loss of the real babyllama-1m, by an independent program.
TEST(Evaluate, BabyllamaHasThePublishedLoss) {
  const std::string directory = testing::AssetPath("models/babyllama-1m");
  const std::string path = testing::AssetPath("text/tinystories_train_0.txt");
  if (directory.empty() || path.empty()) {
    GTEST_SKIP() << "NOT RUN: shared/assets is not here";
  }
  auto stories = ReadCorpus(path, "<|endoftext|>");
  ASSERT_TRUE(stories.ok()) << stories.status();
  Corpus corpus = {.is_documents = true};
  for (size_t i = 100; i < 160; ++i) {
    std::string text;
    for (const char c : stories->texts[i]) {
      const bool space = c == ' ' || c == '\n' || c == '\t' || c == '\r';
      if (!space) text += c;
      if (space && !text.empty() && text.back() != ' ') text += ' ';
    }
    corpus.texts.push_back(text);
  }
  auto model = Model::Load(directory, {});
  ASSERT_TRUE(model.ok()) << model.status();
  auto tokenizer = LoadTokenizer(directory);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto result = Evaluate(**model, **tokenizer, corpus,
                               {.window = 256, .max_tokens = 24 * 256});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->num_tokens, 24 * 256);
  EXPECT_NEAR(result->loss, 0.7787, 0.00005);
}

}  // namespace
}  // namespace zqfp
