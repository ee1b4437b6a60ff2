// SPDX-License-Identifier: Apache-2.0
// What the engine does otherwise where the model runs on a device: it fetches
// the best logits alone, and hands out texts while the next step runs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/engine.h"
#include "tests/backends.h"
#include "tests/engine/tiny.h"
#include "tokenizer/stream_decoder.h"

namespace zqfp {
namespace {

using testing::ByteTokenizer;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::TinyPrompt;

class EngineOnADevice : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    model_ = *Model::Random(testing::TinyQuantizedConfig(), 7,
                            {.num_threads = 1, .backend = GetParam()});
    ASSERT_GT(model_->MostTopRows(), 0);
    engine_ = *Engine::Create(model_.get(), &tokenizer_,
                              {.cache_tokens = 1024, .page_size = 2});
  }

  static Request Ask(uint32_t seed, const SamplingOptions& sampling,
                     int64_t max_tokens = 6) {
    Request request = {.prompt = TinyPrompt(seed, 5 + seed), .options = {}};
    request.options.sampling = sampling;
    request.options.max_tokens = max_tokens;
    request.options.ignore_end_tokens = true;
    return request;
  }

  // All in one batch.
  std::vector<Generation> RunTogether(const std::vector<Request>& requests) {
    std::vector<RequestId> ids;
    for (const Request& request : requests) {
      ids.push_back(*engine_->Submit(request));
    }
    while (!engine_->idle()) EXPECT_EQ(engine_->Step(), absl::OkStatus());
    std::vector<Generation> generations;
    for (const RequestId id : ids) {
      generations.push_back(engine_->Take(id).value_or(Generation()));
    }
    return generations;
  }

  std::string TextOf(absl::Span<const int32_t> ids) const {
    StreamDecoder decoder(&tokenizer_, StreamDecoder::Start::kContinuation);
    std::string text;
    for (const int32_t id : ids) text += decoder.Push(id);
    return text;
  }

  ByteTokenizer tokenizer_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Engine> engine_;
};

const SamplingOptions kSamplings[] = {
    {},
    {.temperature = 1, .top_k = 5, .seed = 1},
    {.temperature = 1, .top_k = 64, .top_p = 0.95, .seed = 2},
    {.temperature = 0.1, .top_p = 0.9, .seed = 3},
    {.temperature = 3, .seed = 4},
    {.temperature = 1, .typical_p = 0.5, .seed = 5},
    {.temperature = 0.2, .top_k = 20, .repetition_penalty = 1.2, .seed = 6},
    {.temperature = 0.5, .min_p = 0.1, .presence_penalty = 0.5, .seed = 7},
};

// A bias that raises a logit, by less than it can show, has all of them
// fetched.
TEST_P(EngineOnADevice, TheBestLogitsDecideAsAllDo) {
  std::vector<Request> best;
  for (const SamplingOptions& sampling : kSamplings) {
    best.push_back(Ask(static_cast<uint32_t>(best.size()), sampling));
  }
  const std::vector<Generation> found = RunTogether(best);
  // Those of typical_p, some that are drawn far and wide, few of the others.
  const int64_t num_whole = engine_->stats().tokens_from_all_logits;
  EXPECT_GE(num_whole, 6);
  EXPECT_LE(num_whole, 15);
  for (size_t i = 0; i < best.size(); ++i) {
    Request all = best[i];
    all.options.sampling.logit_bias = {{0, 1e-30f}};
    const std::vector<Generation> wanted = RunTogether({all});
    EXPECT_EQ(wanted[0].ids.size(), 6u);
    EXPECT_EQ(found[i].ids, wanted[0].ids) << i;
  }
}

TEST_P(EngineOnADevice, ATextGoesOutDuringTheNextStep) {
  const std::vector<int32_t> ids = RunTogether({Ask(1, {}, 5)})[0].ids;
  ASSERT_EQ(ids.size(), 5u);
  std::string streamed;
  Request request = Ask(1, {}, 5);
  request.options.on_text = [&](const std::string& text) {
    streamed += text;
    return true;
  };
  const RequestId id = *engine_->Submit(request);
  for (size_t step = 0; step < 4; ++step) {
    ASSERT_TRUE(engine_->Step().ok());
    EXPECT_EQ(streamed, TextOf(absl::MakeConstSpan(ids).first(step)));
    EXPECT_EQ(engine_->Take(id), std::nullopt);
  }
  ASSERT_TRUE(engine_->Step().ok());
  const auto generation = engine_->Take(id);
  ASSERT_TRUE(generation.has_value());
  EXPECT_EQ(generation->finish_reason, FinishReason::kLength);
  EXPECT_EQ(generation->text, streamed);
  EXPECT_TRUE(engine_->idle());
}

// Beside others in its batch, which get what they get alone.
TEST_P(EngineOnADevice, WhatATextEndsTakesNothingFromTheNextStep) {
  const SamplingOptions sampling = {
      .temperature = 1, .top_p = 0.95, .repetition_penalty = 1.1, .seed = 9};
  std::vector<Generation> alone;
  for (uint32_t i = 0; i < 3; ++i) {
    alone.push_back(RunTogether({Ask(i, sampling, 16)})[0]);
    engine_->DropCache();
  }
  std::vector<Request> requests;
  for (uint32_t i = 0; i < 3; ++i) requests.push_back(Ask(i, sampling, 16));
  const std::string stop = alone[0].text.substr(alone[0].text.size() / 2, 4);
  requests[0].options.stop = {stop};
  int calls = 0;
  requests[1].options.on_text = [&](const std::string&) { return ++calls < 3; };
  const std::vector<Generation> together = RunTogether(requests);

  EXPECT_EQ(together[0].finish_reason, FinishReason::kStop);
  EXPECT_EQ(together[0].text,
            alone[0].text.substr(0, alone[0].text.find(stop)));
  // No id more than it took.
  EXPECT_THAT(TextOf(absl::MakeConstSpan(together[0].ids)
                         .first(together[0].ids.size() - 1)),
              Not(HasSubstr(stop)));
  EXPECT_EQ(together[1].finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(together[1].text, TextOf(together[1].ids));
  EXPECT_EQ(calls, 3);
  for (size_t i = 0; i < 2; ++i) {
    const std::vector<int32_t>& ids = together[i].ids;
    EXPECT_LT(ids.size(), 16u);
    EXPECT_TRUE(std::equal(ids.begin(), ids.end(), alone[i].ids.begin()));
    EXPECT_EQ(together[i].stats.generated_tokens,
              static_cast<int64_t>(ids.size()));
  }
  EXPECT_EQ(together[2].ids, alone[2].ids);
  EXPECT_EQ(together[2].text, alone[2].text);
  EXPECT_EQ(engine_->stats().pages_used, 0);
}

// A request whose pages another one takes has a text that is not out yet, too.
TEST_P(EngineOnADevice, PreemptedRequestsLoseNoText) {
  std::vector<Request> requests;
  std::vector<Generation> alone;
  for (uint32_t i = 0; i < 4; ++i) {
    requests.push_back(Ask(i, {}, 10));
    alone.push_back(RunTogether({requests.back()})[0]);
  }
  engine_ = *Engine::Create(model_.get(), &tokenizer_,
                            {.context_tokens = 24, .page_size = 2});
  const std::vector<Generation> together = RunTogether(requests);
  EXPECT_GT(engine_->stats().preemptions, 0);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(together[i].ids, alone[i].ids) << i;
    EXPECT_EQ(together[i].text, TextOf(together[i].ids)) << i;
  }
}

TEST_P(EngineOnADevice, ACancelledRequestHasTheTextOfItsIds) {
  const RequestId id = *engine_->Submit(Ask(3, {}, 40));
  for (int step = 0; step < 4; ++step) ASSERT_TRUE(engine_->Step().ok());
  engine_->Cancel(id);
  ASSERT_TRUE(engine_->Step().ok());
  const auto generation = engine_->Take(id);
  ASSERT_TRUE(generation.has_value());
  EXPECT_EQ(generation->finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(generation->ids.size(), 4u);
  EXPECT_EQ(generation->text, TextOf(generation->ids));
}

INSTANTIATE_TEST_SUITE_P(Backends, EngineOnADevice,
                         ::testing::ValuesIn(testing::DeviceBackends()),
                         [](const auto& info) { return info.param; });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(EngineOnADevice);

}  // namespace
}  // namespace zqfp
