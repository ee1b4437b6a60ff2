// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <thread>

#include "tests/engine/tiny.h"

namespace zqfp {
namespace {

using testing::ByteTokenizer;
using ::testing::HasSubstr;
using testing::TinyConfig;
using testing::TinyModel;
using testing::TinyPrompt;
using testing::TinyQuantizedConfig;

// A model with an engine on top. The end token is ignored unless a test asks,
// so that lengths are known.
struct Rig {
  ByteTokenizer tokenizer;
  std::unique_ptr<Model> model;
  std::unique_ptr<Engine> engine;

  explicit Rig(EngineOptions options = {}, Config config = TinyConfig(),
               int64_t max_step = 256)
      : model(TinyModel(config, max_step)) {
    auto made = Engine::Create(model.get(), &tokenizer, options);
    EXPECT_TRUE(made.ok()) << made.status();
    engine = *std::move(made);
  }

  Generation Run(std::vector<int32_t> prompt, GenerateOptions options) {
    auto generation = engine->Run({std::move(prompt), std::move(options)});
    EXPECT_TRUE(generation.ok()) << generation.status();
    return generation.ok() ? *std::move(generation) : Generation();
  }
};

GenerateOptions Greedy(int64_t max_tokens) {
  return {.max_tokens = max_tokens, .ignore_end_tokens = true};
}

GenerateOptions Sampled(int64_t max_tokens, uint64_t seed) {
  GenerateOptions options = Greedy(max_tokens);
  options.sampling = {
      .temperature = 1.0, .repetition_penalty = 1.1, .seed = seed};
  return options;
}

class EngineOnFormats : public ::testing::TestWithParam<int> {
 protected:
  Config config() const {
    return GetParam() % 2 == 0 ? TinyConfig() : TinyQuantizedConfig();
  }
  KvFormat kv() const {
    return GetParam() < 2   ? KvFormat::kAuto
           : GetParam() < 4 ? KvFormat::kBf16
                            : KvFormat::kE4m3;
  }
};

TEST_P(EngineOnFormats, ABatchEqualsSingleRuns) {
  std::vector<Generation> single;
  const auto prompt = [](uint32_t i) { return TinyPrompt(i, 1 + 17 * i % 60); };
  const auto options = [](uint32_t i) {
    return i % 2 == 0 ? Greedy(10 + i) : Sampled(10 + i, i);
  };
  for (uint32_t i = 0; i < 8; ++i) {
    Rig rig({.kv_format = kv(), .page_size = 8}, config());
    single.push_back(rig.Run(prompt(i), options(i)));
    ASSERT_EQ(single[i].ids.size(), 10 + i);
  }
  Rig rig({.kv_format = kv(), .cache_tokens = 2048, .page_size = 8}, config());
  std::vector<RequestId> ids;
  for (uint32_t i = 0; i < 8; ++i) {
    const auto id = rig.engine->Submit({prompt(i), options(i)});
    ASSERT_TRUE(id.ok()) << id.status();
    ids.push_back(*id);
    if (i % 3 == 0) {
      ASSERT_TRUE(rig.engine->Step().ok());
    }
  }
  while (!rig.engine->idle()) ASSERT_TRUE(rig.engine->Step().ok());
  for (uint32_t i = 0; i < 8; ++i) {
    const auto generation = rig.engine->Take(ids[i]);
    ASSERT_TRUE(generation.has_value());
    EXPECT_EQ(generation->ids, single[i].ids) << "request " << i;
    EXPECT_EQ(generation->text, single[i].text);
    EXPECT_FALSE(rig.engine->Take(ids[i]).has_value()) << "taken twice";
  }
}

TEST_P(EngineOnFormats, AChunkedPromptEqualsAWholeOne) {
  Rig whole({.kv_format = kv()}, config());
  const auto want = whole.Run(TinyPrompt(3, 100), Greedy(20)).ids;
  for (const int64_t max_step : {1, 3, 7, 64, 99}) {
    Rig chunked({.kv_format = kv()}, config(), max_step);
    EXPECT_EQ(chunked.Run(TinyPrompt(3, 100), Greedy(20)).ids, want)
        << "steps of " << max_step;
  }
}

TEST_P(EngineOnFormats, ReuseChangesNothingButTheWork) {
  Rig rig({.kv_format = kv(), .page_size = 8}, config());
  Rig fresh({.kv_format = kv(), .page_size = 8}, config());
  std::vector<int32_t> conversation = TinyPrompt(5, 40);
  for (uint32_t turn = 0; turn < 4; ++turn) {
    const auto with = rig.Run(conversation, Greedy(12));
    fresh.engine->DropCache();
    const auto without = fresh.Run(conversation, Greedy(12));
    EXPECT_EQ(with.ids, without.ids) << "turn " << turn;
    EXPECT_EQ(without.stats.reused_tokens, 0);
    if (turn > 0) {
      EXPECT_GE(with.stats.reused_tokens + 8 + 12,
                static_cast<int64_t>(conversation.size()) - 9);
    }
    conversation.insert(conversation.end(), with.ids.begin(), with.ids.end());
    const auto next = TinyPrompt(turn, 9);
    conversation.insert(conversation.end(), next.begin(), next.end());
  }
}

TEST_P(EngineOnFormats, FewPagesAndManyRequestsLoseNothing) {
  std::vector<std::vector<int32_t>> want;
  for (uint32_t i = 0; i < 6; ++i) {
    Rig rig({.kv_format = kv()}, config());
    want.push_back(rig.Run(TinyPrompt(i, 20), Greedy(40)).ids);
  }
  Rig rig({.kv_format = kv(), .context_tokens = 64, .page_size = 4}, config(),
          16);
  std::vector<RequestId> ids;
  for (uint32_t i = 0; i < 6; ++i) {
    ids.push_back(*rig.engine->Submit({TinyPrompt(i, 20), Greedy(40)}));
  }
  while (!rig.engine->idle()) ASSERT_TRUE(rig.engine->Step().ok());
  for (size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(rig.engine->Take(ids[i])->ids, want[i]) << "request " << i;
  }
  EXPECT_GT(rig.engine->stats().preemptions, 0);
  EXPECT_EQ(rig.engine->stats().pages_used, 0);
}

std::string FormatName(const ::testing::TestParamInfo<int>& info) {
  const char* kv[] = {"KvAuto", "KvBf16", "KvE4m3"};
  return std::string(info.param % 2 == 0 ? "F32" : "W4A8") + kv[info.param / 2];
}

INSTANTIATE_TEST_SUITE_P(Formats, EngineOnFormats, ::testing::Range(0, 6),
                         FormatName);

TEST(Engine, GreedyFollowsTheLargestLogit) {
  Rig rig;
  std::vector<int32_t> ids = TinyPrompt(2, 11);
  const auto generated = rig.Run(ids, Greedy(15)).ids;
  for (const int32_t id : generated) {
    const auto logits = rig.engine->Logits(ids);
    ASSERT_TRUE(logits.ok()) << logits.status();
    ASSERT_EQ(logits->size(), ids.size() * 258);
    const auto row = logits->end() - 258;
    EXPECT_EQ(std::max_element(row, logits->end()) - row, id);
    ids.push_back(id);
  }
}

TEST(Engine, TheSeedDecides) {
  Rig rig;
  const auto prompt = TinyPrompt(1, 10);
  const auto first = rig.Run(prompt, Sampled(30, 5)).ids;
  EXPECT_EQ(rig.Run(prompt, Sampled(30, 5)).ids, first);
  EXPECT_NE(rig.Run(prompt, Sampled(30, 6)).ids, first);
}

TEST(Engine, StopsAtMaxTokensAndSaysSo) {
  Rig rig;
  const auto one = rig.Run(TinyPrompt(1, 5), Greedy(1));
  EXPECT_EQ(one.finish_reason, FinishReason::kLength);
  EXPECT_EQ(one.ids.size(), 1u);
}

TEST(Engine, AFullContextEndsWithItsReason) {
  Rig rig({.context_tokens = 32, .page_size = 8});
  const auto generation = rig.Run(TinyPrompt(1, 20), Greedy(1000));
  EXPECT_EQ(generation.finish_reason, FinishReason::kContextFull);
  EXPECT_EQ(generation.ids.size(), 12u);
  const auto last = rig.Run(TinyPrompt(1, 31), Greedy(1000));
  EXPECT_EQ(last.finish_reason, FinishReason::kContextFull);
  EXPECT_EQ(last.ids.size(), 1u);
  EXPECT_THAT(
      std::string(rig.engine->Submit({TinyPrompt(1, 32), Greedy(1)})
                      .status()
                      .message()),
      ::testing::AllOf(HasSubstr("prompt"), HasSubstr("31"), HasSubstr("32")));
}

// Stop strings are taken from the text of a run without any.
TEST(Engine, StopStringsCutTheTextOnce) {
  Rig rig;
  const auto free_run = rig.Run(TinyPrompt(4, 6), Sampled(60, 3));
  ASSERT_EQ(free_run.ids.size(), 60u);
  for (size_t at = 1; at + 3 < free_run.text.size(); at += 5) {
    const std::string stop = free_run.text.substr(at, 3);
    GenerateOptions options = Sampled(60, 3);
    options.stop = {"never seen in this text", stop};
    std::string streamed;
    options.on_text = [&](const std::string& piece) {
      EXPECT_FALSE(piece.empty());
      streamed += piece;
      return true;
    };
    const auto generation = rig.Run(TinyPrompt(4, 6), options);
    EXPECT_EQ(generation.finish_reason, FinishReason::kStop);
    EXPECT_EQ(generation.text,
              free_run.text.substr(0, free_run.text.find(stop)));
    EXPECT_EQ(streamed, generation.text);
  }
}

TEST(Engine, TextIsWholeCharacters) {
  Rig rig;
  // All bytes of U+1F600 and nothing else: many broken characters, none cut.
  GenerateOptions options = Sampled(200, 9);
  for (const int32_t id : {0xf0, 0x9f, 0x98, 0x80}) {
    options.sampling.logit_bias.emplace_back(id, 1000.0f);
  }
  std::string streamed;
  options.on_text = [&](const std::string& piece) {
    EXPECT_NE(static_cast<uint8_t>(piece.back()) & 0xc0, 0xc0);
    streamed += piece;
    return true;
  };
  const auto generation = rig.Run(TinyPrompt(1, 4), options);
  EXPECT_EQ(generation.ids.size(), 200u);
  EXPECT_EQ(streamed, generation.text);
}

TEST(Engine, StopIdsAndEndTokens) {
  Rig rig;
  GenerateOptions options = Greedy(50);
  const auto free_run = rig.Run(TinyPrompt(7, 8), options);
  options.stop_ids = {free_run.ids[3]};
  const auto first = static_cast<size_t>(
      std::find(free_run.ids.begin(), free_run.ids.end(), free_run.ids[3]) -
      free_run.ids.begin());
  auto stopped = rig.Run(TinyPrompt(7, 8), options);
  EXPECT_EQ(stopped.finish_reason, FinishReason::kStop);
  EXPECT_EQ(stopped.ids.size(), first);
  // The end token ends the answer, and is not part of it, unless ignored.
  options = {.max_tokens = 5};
  options.sampling.logit_bias = {{testing::kEos, 1000.0f}};
  stopped = rig.Run(TinyPrompt(7, 8), options);
  EXPECT_EQ(stopped.finish_reason, FinishReason::kStop);
  EXPECT_TRUE(stopped.ids.empty());
  EXPECT_EQ(stopped.text, "");
  options.ignore_end_tokens = true;
  EXPECT_EQ(rig.Run(TinyPrompt(7, 8), options).ids.size(), 5u);
}

TEST(Engine, TheReceiverCanStop) {
  Rig rig;
  GenerateOptions options = Sampled(100, 1);
  int calls = 0;
  options.on_text = [&](const std::string&) { return ++calls < 5; };
  const auto generation = rig.Run(TinyPrompt(1, 4), options);
  EXPECT_EQ(generation.finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(calls, 5);
  EXPECT_EQ(rig.engine->stats().pages_used, 0);
  // The engine goes on as if nothing had been.
  EXPECT_EQ(rig.Run(TinyPrompt(1, 4), Greedy(5)).ids.size(), 5u);
}

TEST(Engine, CancelFromAnotherThread) {
  Rig rig({.context_tokens = 256});
  const auto stays = rig.engine->Submit({TinyPrompt(1, 4), Greedy(30)});
  const auto goes = rig.engine->Submit({TinyPrompt(2, 4), Greedy(200)});
  const auto waits = rig.engine->Submit({TinyPrompt(3, 250), Greedy(5)});
  ASSERT_TRUE(rig.engine->Step().ok());
  std::thread canceller([&] {
    rig.engine->Cancel(*goes);
    rig.engine->Cancel(*waits);
    rig.engine->Cancel(12345);
  });
  canceller.join();
  while (!rig.engine->idle()) ASSERT_TRUE(rig.engine->Step().ok());
  EXPECT_EQ(rig.engine->Take(*goes)->finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(rig.engine->Take(*waits)->finish_reason, FinishReason::kCancelled);
  const auto rest = rig.engine->Take(*stays);
  EXPECT_EQ(rest->finish_reason, FinishReason::kLength);
  Rig alone;
  EXPECT_EQ(rest->ids, alone.Run(TinyPrompt(1, 4), Greedy(30)).ids);
}

TEST(Engine, CancelAllDuringARunAndNeverAfterIt) {
  Rig rig;
  GenerateOptions options = Sampled(200, 2);
  options.on_text = [&](const std::string&) {
    std::thread([&] { rig.engine->CancelAll(); }).join();
    return true;
  };
  const auto generation = rig.Run(TinyPrompt(1, 4), options);
  EXPECT_EQ(generation.finish_reason, FinishReason::kCancelled);
  rig.engine->CancelAll();  // nothing runs: nothing to cancel
  EXPECT_EQ(rig.Run(TinyPrompt(1, 4), Greedy(5)).finish_reason,
            FinishReason::kLength);
}

TEST(Engine, AnErrorEndsItsOwnRequestOnly) {
  Rig rig;
  GenerateOptions broken = Sampled(10, 1);
  // Overflows to +infinity with any logit that is not tiny.
  broken.sampling.logit_bias = {{5, 3.4e38f}, {5, 3.4e38f}};
  const auto bad = rig.engine->Submit({TinyPrompt(1, 9), broken});
  const auto good = rig.engine->Submit({TinyPrompt(2, 9), Greedy(10)});
  ASSERT_TRUE(bad.ok()) << bad.status();
  while (!rig.engine->idle()) ASSERT_TRUE(rig.engine->Step().ok());
  const auto failed = rig.engine->Take(*bad);
  EXPECT_EQ(failed->finish_reason, FinishReason::kError);
  EXPECT_THAT(failed->error, HasSubstr("finite"));
  const auto served = rig.engine->Take(*good);
  EXPECT_EQ(served->finish_reason, FinishReason::kLength);
  EXPECT_EQ(served->error, "");
}

TEST(Engine, RefusesBadRequestsByName) {
  Rig rig;
  const auto message = [&](Request request) {
    const auto id = rig.engine->Submit(std::move(request));
    EXPECT_EQ(id.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(id.status().message());
  };
  EXPECT_THAT(message({{}, {}}), HasSubstr("prompt"));
  EXPECT_THAT(message({{1, 258}, {}}), HasSubstr("258"));
  EXPECT_THAT(message({{-1}, {}}), HasSubstr("-1"));
  EXPECT_THAT(message({{1}, {.max_tokens = 0}}), HasSubstr("max_tokens"));
  EXPECT_THAT(message({{1}, {.max_tokens = -5}}), HasSubstr("max_tokens"));
  EXPECT_THAT(message({{1}, {.sampling = {.temperature = NAN}}}),
              HasSubstr("temperature"));
  EXPECT_THAT(message({{1}, {.sampling = {.logit_bias = {{258, 1.0f}}}}}),
              HasSubstr("logit_bias"));
  EXPECT_THAT(message({{1}, {.stop = {""}}}), HasSubstr("stop"));
  EXPECT_THAT(message({{1}, {.stop = {std::string(100000, 'x')}}}),
              HasSubstr("stop"));
  EXPECT_THAT(message({{1}, {.stop = std::vector<std::string>(1000, "x")}}),
              HasSubstr("stop"));
  EXPECT_TRUE(rig.engine->idle());
  EXPECT_TRUE(rig.Run({1}, {.max_tokens = INT64_MAX}).error.empty());
}

TEST(Engine, RefusesBadOptionsByName) {
  const auto model = TinyModel(TinyConfig());
  const ByteTokenizer tokenizer;
  const auto message = [&](const EngineOptions& options) {
    const auto engine = Engine::Create(model.get(), &tokenizer, options);
    EXPECT_EQ(engine.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(engine.status().message());
  };
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  for (const int64_t context : {int64_t{-1}, int64_t{1}, int64_t{257}, kMost}) {
    EXPECT_THAT(message({.context_tokens = context}), HasSubstr("context"));
  }
  for (const int64_t tokens : {int64_t{-1}, kMost}) {
    EXPECT_THAT(message({.cache_tokens = tokens}), HasSubstr("cache"));
  }
  for (const int64_t size : {int64_t{0}, int64_t{-32}, kMost}) {
    EXPECT_THAT(message({.page_size = size}), HasSubstr("page size"));
  }
}

TEST(Engine, LogitsLeaveTheRestAlone) {
  Rig rig({.context_tokens = 64, .page_size = 8}, TinyConfig(), 5);
  const auto prompt = TinyPrompt(1, 30);
  const auto before = rig.Run(prompt, Greedy(8)).ids;
  const auto logits = rig.engine->Logits(TinyPrompt(2, 64));
  ASSERT_TRUE(logits.ok()) << logits.status();
  for (const float logit : *logits) ASSERT_TRUE(std::isfinite(logit));
  EXPECT_EQ(rig.engine->stats().pages_used, 0);
  EXPECT_EQ(rig.Run(prompt, Greedy(8)).ids, before);
  EXPECT_FALSE(rig.engine->Logits(TinyPrompt(2, 65)).ok());
  EXPECT_FALSE(rig.engine->Logits({{1, 999}}).ok());
  EXPECT_FALSE(rig.engine->Logits({}).ok());
}

TEST(Engine, StatisticsAddUp) {
  Rig rig({.page_size = 8});
  const auto first = rig.Run(TinyPrompt(1, 33), Greedy(20));
  EXPECT_EQ(first.stats.prompt_tokens, 33);
  EXPECT_EQ(first.stats.reused_tokens, 0);
  EXPECT_EQ(first.stats.generated_tokens, 20);
  EXPECT_GT(first.stats.time_to_first_token_s, 0);
  EXPECT_GT(first.stats.prompt_tokens_per_s, 0);
  EXPECT_GT(first.stats.generate_tokens_per_s, 0);
  EXPECT_EQ(first.stats.pages, 7);  // 52 tokens were run
  const auto second = rig.Run(TinyPrompt(1, 33), Greedy(20));
  EXPECT_EQ(second.stats.reused_tokens, 32);
  const EngineStats stats = rig.engine->stats();
  EXPECT_EQ(stats.prompt_tokens, 34);
  EXPECT_EQ(stats.reused_tokens, 32);
  EXPECT_EQ(stats.generated_tokens, 40);
  EXPECT_EQ(stats.steps, 40);
  EXPECT_EQ(stats.pages_used, 0);
  EXPECT_GT(stats.pages_cached, 0);
  EXPECT_EQ(stats.pages_total, 256 / 8);
  EXPECT_GT(stats.busy_s, 0);
  rig.engine->DropCache();
  EXPECT_EQ(rig.engine->stats().pages_cached, 0);
}

// Every token is the likeliest after all before it, of which all have the
// angles of a sequence of that length.
TEST(Engine, LongropeComputesAgainWhatGrowsBeyondItsShortFactors) {
  Config config = TinyConfig();
  config.rope = {.scaling = RopeScaling::kLongrope,
                 .factor = 4,
                 .original_max_positions = 32,
                 .short_factor = std::vector<double>(8, 1.0),
                 .long_factor = {1, 2, 3, 4, 6, 8, 12, 16}};
  for (const int64_t max_step : {256, 9}) {
    Rig rig({.page_size = 8}, config, max_step), fresh({}, config);
    const auto expect = [&](std::vector<int32_t> ids, int64_t reused) {
      const auto generation = rig.Run(ids, Greedy(12));
      EXPECT_EQ(generation.stats.reused_tokens, reused);
      for (const int32_t id : generation.ids) {
        const auto logits = *fresh.engine->Logits(ids);
        const auto row = logits.end() - 258;
        EXPECT_EQ(std::max_element(row, logits.end()) - row, id) << ids.size();
        ids.push_back(id);
      }
    };
    const auto all = TinyPrompt(1, 60);
    expect({all.begin(), all.begin() + 18}, 0);
    expect({all.begin(), all.begin() + 28}, 16);  // grows beyond
    expect({all.begin(), all.begin() + 44}, 24);  // of the long ones
    expect({all.begin(), all.begin() + 20}, 16);  // of the short ones
  }
}

// Sequences that give up their pages get the same keys again.
TEST(Engine, DynamicRopeSurvivesPreemption) {
  Config config = TinyConfig();
  config.rope = {.scaling = RopeScaling::kDynamic,
                 .factor = 4,
                 .original_max_positions = 24};
  std::vector<std::vector<int32_t>> want;
  for (uint32_t i = 0; i < 4; ++i) {
    Rig rig({}, config);
    want.push_back(rig.Run(TinyPrompt(i, 20), Greedy(30)).ids);
  }
  Rig rig({.context_tokens = 64, .page_size = 4}, config, 16);
  std::vector<RequestId> ids;
  for (uint32_t i = 0; i < 4; ++i) {
    ids.push_back(*rig.engine->Submit({TinyPrompt(i, 20), Greedy(30)}));
  }
  while (!rig.engine->idle()) ASSERT_TRUE(rig.engine->Step().ok());
  EXPECT_GT(rig.engine->stats().preemptions, 0);
  for (uint32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(rig.engine->Take(ids[i])->ids, want[i]) << "request " << i;
  }
}

TEST(Engine, WhatTheReceiverThrowsEndsTheAnswer) {
  Rig rig;
  GenerateOptions options = Greedy(20);
  int calls = 0;
  options.on_text = [&](const std::string&) -> bool {
    if (++calls == 3) throw std::runtime_error("no more room");
    return true;
  };
  const auto generation = rig.Run(TinyPrompt(1, 4), options);
  EXPECT_EQ(generation.finish_reason, FinishReason::kError);
  EXPECT_EQ(generation.error, "on_text: threw no more room");
  EXPECT_EQ(calls, 3);
  EXPECT_TRUE(rig.engine->idle());
  options.on_text = [](const std::string&) -> bool { throw 1; };
  EXPECT_THAT(rig.Run(TinyPrompt(1, 4), options).error,
              HasSubstr("no std::exception"));
  EXPECT_EQ(rig.Run(TinyPrompt(1, 4), Greedy(20)).ids.size(), 20u);
}

TEST(Engine, ACancelBeforeARequestEndsNothing) {
  Rig rig;
  rig.engine->CancelAll();
  const auto id = rig.engine->Submit({TinyPrompt(1, 4), Greedy(3)});
  ASSERT_TRUE(id.ok()) << id.status();
  while (!rig.engine->idle()) ASSERT_TRUE(rig.engine->Step().ok());
  EXPECT_EQ(rig.engine->Take(*id)->finish_reason, FinishReason::kLength);
}

TEST(Engine, DynamicRopeNeverReusesPages) {
  Config config = TinyConfig();
  config.rope = {.scaling = RopeScaling::kDynamic,
                 .factor = 4,
                 .original_max_positions = 32};
  Rig rig({.page_size = 8}, config), fresh({.page_size = 8}, config);
  const auto prompt = TinyPrompt(1, 30);
  auto longer = prompt;
  const auto more = TinyPrompt(2, 60);
  longer.insert(longer.end(), more.begin(), more.end());
  rig.Run(prompt, Greedy(10));
  const auto generation = rig.Run(longer, Greedy(20));
  EXPECT_EQ(generation.stats.reused_tokens, 0);
  EXPECT_EQ(generation.ids, fresh.Run(longer, Greedy(20)).ids);
}

}  // namespace
}  // namespace zqfp
