// SPDX-License-Identifier: Apache-2.0
#include "engine/comparison.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/engine/tiny.h"

namespace zqfp {
namespace {

using ::testing::AllOf;
using testing::ByteTokenizer;
using ::testing::HasSubstr;
using testing::TinyConfig;
using testing::TinyModel;
using testing::TinyPrompt;
using testing::TinyQuantizedConfig;

class OtherTokenizer : public ByteTokenizer {
 public:
  OtherTokenizer() { hash_ = "fedcba9876543210"; }
};

Corpus RandomCorpus(std::vector<size_t> sizes) {
  Corpus corpus = {.is_documents = sizes.size() > 1};
  for (const size_t size : sizes) {
    std::string& text = corpus.texts.emplace_back();
    for (const int32_t id : TinyPrompt(static_cast<uint32_t>(size), size)) {
      text += static_cast<char>('a' + id % 26);
    }
  }
  return corpus;
}

std::unique_ptr<Model> RandomModel(const Config& config, uint64_t seed,
                                   ActivationFormat simulated = {}) {
  auto model = Model::Random(
      config, seed,
      {.num_threads = 1, .max_tokens = 16, .simulated_activations = simulated});
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

struct Bench {
  ByteTokenizer tokenizer;
  std::unique_ptr<Model> original = RandomModel(TinyConfig(), 1);
  std::unique_ptr<Model> quantized = RandomModel(TinyQuantizedConfig(), 1);
  std::unique_ptr<Model> rounded =
      RandomModel(TinyConfig(), 1, ActivationFormat::kBf16);

  ComparisonArgs Args() {
    return {.original = {original.get(), &tokenizer},
            .model = {quantized.get(), &tokenizer}};
  }
  std::string Message(const ComparisonArgs& args,
                      const EvaluationOptions& options = {.window = 16}) {
    const auto result = Compare(args, RandomCorpus({100}), options);
    EXPECT_FALSE(result.ok());
    return std::string(result.status().message());
  }
};

ComparisonResult MustCompare(const ComparisonArgs& args, const Corpus& corpus,
                             const EvaluationOptions& options) {
  const auto result = Compare(args, corpus, options);
  EXPECT_TRUE(result.ok()) << result.status();
  return result.value_or(ComparisonResult());
}

TEST(Compare, AModelWithItselfDoesNotDiffer) {
  Bench bench;
  for (const Protocol protocol : {Protocol::kGptq, Protocol::kSliding,
                                  Protocol::kLlamaCpp, Protocol::kLmEval}) {
    ComparisonArgs args = bench.Args();
    args.model.model = bench.original.get();
    const auto r = MustCompare(args, RandomCorpus({100}),
                               {.protocol = protocol, .window = 24});
    EXPECT_EQ(r.divergence.mean, 0);
    EXPECT_EQ(r.divergence.max, 0);
    EXPECT_EQ(r.top1_agreement, 1);
    EXPECT_EQ(r.top1_agreement_standard_error, 0);
    EXPECT_EQ(r.delta_p.min, 0);
    EXPECT_EQ(r.delta_p.max, 0);
    EXPECT_EQ(r.perplexity_ratio, 1);
    EXPECT_EQ(r.perplexity_ratio_standard_error, 0);
    EXPECT_EQ(r.original.perplexity, r.model.perplexity);
    EXPECT_FALSE(r.noise_floor.has_value());
  }
}

TEST(Compare, BothPerplexitiesAreThoseOfEvaluate) {
  Bench bench;
  const Corpus corpus = RandomCorpus({100, 20, 60});
  for (const Protocol protocol : {Protocol::kGptq, Protocol::kSliding,
                                  Protocol::kLlamaCpp, Protocol::kLmEval}) {
    const EvaluationOptions options = {.protocol = protocol, .window = 24};
    const auto r = MustCompare(bench.Args(), corpus, options);
    const auto original =
        Evaluate(*bench.original, bench.tokenizer, corpus, options);
    const auto model =
        Evaluate(*bench.quantized, bench.tokenizer, corpus, options);
    ASSERT_TRUE(original.ok() && model.ok());
    EXPECT_EQ(r.original.loss, original->loss) << ToString(protocol);
    EXPECT_EQ(r.model.loss, model->loss);
    EXPECT_EQ(r.model.standard_error, model->standard_error);
    EXPECT_EQ(r.model.num_tokens, model->num_tokens);
    EXPECT_EQ(r.model.num_windows, model->num_windows);
    EXPECT_EQ(r.model.num_dropped_documents, model->num_dropped_documents);
    EXPECT_EQ(r.model.word_perplexity, model->word_perplexity);
    EXPECT_EQ(r.model.documents.size(), model->documents.size());
    EXPECT_NEAR(r.ln_perplexity_ratio, model->loss - original->loss, 1e-12);
    EXPECT_NEAR(r.perplexity_ratio, model->perplexity / original->perplexity,
                1e-12);
    EXPECT_GT(r.divergence.mean, 0);
  }
}

TEST(Compare, TheNoiseFloorIsTheOriginalInBf16) {
  Bench bench;
  ComparisonArgs args = bench.Args();
  args.rounded_original = bench.rounded.get();
  args.noise_floor_stride = 1;
  const Corpus corpus = RandomCorpus({200});
  const EvaluationOptions options = {.window = 16};
  const auto all = MustCompare(args, corpus, options);
  ASSERT_TRUE(all.noise_floor.has_value());
  EXPECT_EQ(all.noise_floor->num_tokens, all.model.num_tokens);
  EXPECT_GT(all.noise_floor->divergence.mean, 0);
  EXPECT_LT(all.noise_floor->divergence.mean, all.divergence.mean);
  // The floor is the comparison of the original with that model.
  ComparisonArgs direct = bench.Args();
  direct.model.model = bench.rounded.get();
  const auto floor = MustCompare(direct, corpus, options);
  EXPECT_EQ(floor.divergence.mean, all.noise_floor->divergence.mean);
  EXPECT_EQ(floor.divergence.p99, all.noise_floor->divergence.p99);
  EXPECT_EQ(floor.top1_agreement, all.noise_floor->top1_agreement);
  // Paired errors: the spread that both share does not count.
  EXPECT_LT(floor.ln_perplexity_ratio_standard_error,
            0.1 * floor.original.standard_error);
  // Every fifth of twelve windows: 0, 5 and 10.
  args.noise_floor_stride = 5;
  const auto some = MustCompare(args, corpus, options);
  EXPECT_EQ(some.noise_floor->num_tokens, 3 * 15);
  EXPECT_EQ(some.divergence.mean, all.divergence.mean);
}

TEST(Compare, BucketsHoldEveryPrediction) {
  Bench bench;
  for (const int64_t window : {2, 16, 63, 64, 65, 100, 200}) {
    const auto r =
        MustCompare(bench.Args(), RandomCorpus({450}), {.window = window});
    EXPECT_LE(r.by_position.size(), 64);
    EXPECT_EQ(r.by_position.front().begin, 1);
    EXPECT_EQ(r.by_position.back().end, window + 1);
    EXPECT_EQ(r.by_confidence.size(), 10);
    for (const auto* buckets : {&r.by_position, &r.by_confidence}) {
      int64_t count = 0;
      double sum = 0;
      for (size_t i = 0; i < buckets->size(); ++i) {
        const DivergenceBucket& bucket = (*buckets)[i];
        EXPECT_LT(bucket.begin, bucket.end);
        if (i > 0) {
          EXPECT_DOUBLE_EQ(bucket.begin, (*buckets)[i - 1].end);
        }
        EXPECT_LE(bucket.median, bucket.p99);
        count += bucket.num_tokens;
        sum += bucket.mean * static_cast<double>(bucket.num_tokens);
      }
      EXPECT_EQ(count, r.model.num_tokens) << window;
      EXPECT_NEAR(sum / static_cast<double>(count), r.divergence.mean,
                  1e-12 * static_cast<double>(count));
    }
  }
}

TEST(Compare, ThreadsAndStepsDoNotMatter) {
  Bench bench;
  const auto original =
      Model::Random(TinyConfig(), 1, {.num_threads = 3, .max_tokens = 50});
  const auto model = Model::Random(TinyQuantizedConfig(), 1,
                                   {.num_threads = 2, .max_tokens = 7});
  ASSERT_TRUE(original.ok() && model.ok());
  ComparisonArgs args = bench.Args();
  const auto a = MustCompare(args, RandomCorpus({300}), {.window = 50});
  args.original.model = original->get();
  args.model.model = model->get();
  const auto b = MustCompare(args, RandomCorpus({300}), {.window = 50});
  EXPECT_EQ(a.model.num_tokens, b.model.num_tokens);
  EXPECT_NEAR(a.divergence.mean, b.divergence.mean, 1e-5 * a.divergence.mean);
}

TEST(Compare, TheShorterContextCounts) {
  Bench bench;
  Config config = TinyConfig();
  config.max_positions = 40;
  const auto small = RandomModel(config, 2);
  ComparisonArgs args = bench.Args();
  args.model.model = small.get();
  EXPECT_EQ(MustCompare(args, RandomCorpus({300}), {}).model.window, 40);
  EXPECT_THAT(bench.Message(args, {.window = 41}), HasSubstr("40"));
}

TEST(Compare, RefusesModelsThatDoNotPredictTheSameTokens) {
  Bench bench;
  OtherTokenizer other;
  ComparisonArgs args = bench.Args();
  args.model.tokenizer = &other;
  EXPECT_THAT(bench.Message(args), AllOf(HasSubstr("0123456789abcdef"),
                                         HasSubstr("fedcba9876543210")));
  Config config = TinyConfig();
  config.vocab_size = 300;
  const auto wide = RandomModel(config, 1);
  args = bench.Args();
  args.model.model = wide.get();
  EXPECT_THAT(bench.Message(args), AllOf(HasSubstr("vocab_size"),
                                         HasSubstr("258"), HasSubstr("300")));
  args = bench.Args();
  args.rounded_original = wide.get();
  EXPECT_THAT(bench.Message(args), HasSubstr("noise floor"));
  for (const int64_t stride : {int64_t{0}, int64_t{-1}, INT64_MIN}) {
    args = bench.Args();
    args.noise_floor_stride = stride;
    EXPECT_THAT(bench.Message(args), HasSubstr("noise_floor_stride"));
  }
  EXPECT_THAT(bench.Message(bench.Args(), {.window = 1}), HasSubstr("window"));
}

TEST(Compare, ReportsProgressAndStops) {
  Bench bench;
  std::vector<int64_t> seen;
  MustCompare(bench.Args(), RandomCorpus({100}),
              {.window = 32, .progress = [&](int64_t done, int64_t) {
                 seen.push_back(done);
                 return true;
               }});
  EXPECT_THAT(seen, ::testing::ElementsAre(31, 62, 93));
  const auto stopped = Compare(
      bench.Args(), RandomCorpus({100}),
      {.window = 32, .progress = [](int64_t, int64_t) { return false; }});
  EXPECT_EQ(stopped.status().code(), absl::StatusCode::kCancelled);
}

TEST(MeasureSpread, ByHand) {
  const Spread s = MeasureSpread({3, -1, 1, 1});
  EXPECT_EQ(s.mean, 1);
  EXPECT_DOUBLE_EQ(s.standard_error, std::sqrt(8.0 / 3 / 4));
  EXPECT_DOUBLE_EQ(s.rms, std::sqrt(3.0));
  EXPECT_EQ(s.min, -1);
  EXPECT_EQ(s.p25, 0.5);
  EXPECT_EQ(s.median, 1);
  EXPECT_EQ(s.p75, 1.5);
  EXPECT_EQ(s.max, 3);
  EXPECT_EQ(MeasureSpread({}).max, 0);
}

}  // namespace
}  // namespace zqfp
