// SPDX-License-Identifier: Apache-2.0
// Steps on every device of this machine: a recording gives the bits that the
// ops give one by one.
#include "models/recorded_steps.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/backend.h"
#include "models/model.h"
#include "tests/assets.h"
#include "tests/backends.h"
#include "tests/models/sequence_runner.h"

namespace zqfp {
namespace {

using kernels::ValueFormat;
using testing::DeviceBackends;
using testing::SequenceRunner;

// A prompt, then steps of one token, past the end of a page table of one size.
std::vector<float> Generate(const std::string& backend, bool record_steps) {
  auto model = Model::Load(
      testing::SourcePath("tests/golden/models/llama_gqa_tied"),
      {.num_threads = 1, .backend = backend, .record_steps = record_steps});
  EXPECT_TRUE(model.ok()) << model.status();
  if (!model.ok()) return {};
  SequenceRunner runner(model->get(), ValueFormat::kE4m3);
  std::vector<float> all;
  std::vector<int32_t> ids = {5, 6, 7, 8, 9};
  for (int step = 0; step < 40; ++step) {
    const auto logits = runner.Run(ids, 0);
    EXPECT_TRUE(logits.ok()) << logits.status();
    if (!logits.ok()) return {};
    all.insert(all.end(), logits->begin(), logits->end());
    const auto last = logits->end() - (*model)->config().vocab_size;
    const auto best = std::max_element(last, logits->end());
    ids = {static_cast<int32_t>(best - last)};
  }
  return all;
}

TEST(RecordedSteps, GiveTheSameBits) {
  for (const std::string& backend : DeviceBackends()) {
    const std::vector<float> plain = Generate(backend, false);
    ASSERT_FALSE(plain.empty());
    EXPECT_EQ(Generate(backend, true), plain) << backend;
  }
}

// Rows of best logits are those of all logits, recorded or not.
TEST(RecordedSteps, TheBestLogitsAreThoseOfForward) {
  for (const std::string& backend : DeviceBackends()) {
    auto model =
        Model::Load(testing::SourcePath("tests/golden/models/llama_gqa_tied"),
                    {.num_threads = 1, .backend = backend});
    ASSERT_TRUE(model.ok()) << model.status();
    KvCache cache =
        *KvCache::Create((*model)->config(), {.format = ValueFormat::kF32,
                                              .num_pages = 4,
                                              .page_size = 8,
                                              .device = (*model)->device()});
    const Batch batch = {.token_ids = {5, 6, 7, 8, 9},
                         .token_begin = {0, 3, 5},
                         .context_len = {3, 2},
                         .page_table = {1, 2},
                         .page_table_stride = 1,
                         .rope_length = {3, 2},
                         .logit_rows = {2, 4},
                         .temperature = {0.0f, 0.5f}};
    const auto vocab = static_cast<size_t>((*model)->config().vocab_size);
    std::vector<float> logits(2 * vocab);
    std::vector<TopLogits> top(2);
    std::vector<float> fetched(vocab);
    int calls = 0;
    const auto meanwhile = [&] { ++calls; };
    for (int round = 0; round < 3; ++round) {
      ASSERT_TRUE((*model)
                      ->Forward(batch, cache, absl::MakeSpan(logits), meanwhile)
                      .ok());
      EXPECT_FALSE((*model)->FetchLogits(0, absl::MakeSpan(fetched)).ok());
      ASSERT_TRUE((*model)
                      ->ForwardTop(batch, cache, absl::MakeSpan(top), meanwhile)
                      .ok());
      EXPECT_EQ(calls, 2 * round + 2);
      EXPECT_FALSE((*model)->FetchLogits(2, absl::MakeSpan(fetched)).ok());
      EXPECT_FALSE((*model)->FetchLogits(-1, absl::MakeSpan(fetched)).ok());
      EXPECT_FALSE((*model)->FetchLogits(0, absl::MakeSpan(logits)).ok());
      EXPECT_EQ(top[0].mass, 0);
      double mass = 0;
      for (size_t i = 0; i < vocab; ++i) {
        mass += std::exp((logits[vocab + i] - top[1].logit[0]) / 0.5);
      }
      EXPECT_NEAR(top[1].mass, mass, mass * kernels::kTopMassError);
      for (size_t row = 0; row < 2; ++row) {
        const float* values = logits.data() + row * vocab;
        const float* best = std::max_element(values, values + vocab);
        EXPECT_EQ(top[row].id[0], best - values);
        ASSERT_TRUE((*model)
                        ->FetchLogits(static_cast<int64_t>(row),
                                      absl::MakeSpan(fetched))
                        .ok());
        EXPECT_TRUE(std::equal(fetched.begin(), fetched.end(), values));
        for (size_t i = 0; i < top[row].id.size() && top[row].id[i] >= 0; ++i) {
          EXPECT_EQ(top[row].logit[i], values[top[row].id[i]]);
        }
      }
    }
    EXPECT_FALSE((*model)->ForwardTop(batch, cache, {}).ok());
    Batch colder = batch;
    colder.temperature.clear();
    ASSERT_TRUE((*model)->ForwardTop(colder, cache, absl::MakeSpan(top)).ok());
    EXPECT_EQ(top[1].mass, 0) << "of the step before";
  }
}

// A step with another size or address is another step.
TEST(RecordedSteps, AKeyHasAllThatOpsAreHanded) {
  Config config;
  config.num_layers = 2;
  config.num_kv_heads = 1;
  config.head_dim = 16;
  const auto pages = [&](ValueFormat format, int64_t page_size) {
    auto cache = KvCache::Create(
        config, {.format = format, .num_pages = 2, .page_size = page_size});
    EXPECT_TRUE(cache.ok()) << cache.status();
    return *std::move(cache);
  };
  const KvCache cache = pages(ValueFormat::kE4m3, 16);
  const int32_t ids[2] = {};
  const float logits = 0, others = 0;
  StepInputs step = {.ids = ids, .num_logit_rows = 1};
  step.batch = {.num_sequences = 2,
                .page_table_stride = 3,
                .num_tokens = 4,
                .most_tokens = 3,
                .longest_context = 40};
  const auto key_of = [&](const StepInputs& inputs) {
    return RecordedSteps::KeyOf(inputs, cache, 2, {&logits, nullptr});
  };
  const RecordedSteps::Key key = key_of(step);
  EXPECT_EQ(key_of(step), key);
  for (int64_t* size :
       {&step.batch.num_sequences, &step.batch.page_table_stride,
        &step.batch.num_tokens, &step.batch.most_tokens,
        &step.batch.longest_context, &step.num_logit_rows}) {
    ++*size;
    EXPECT_NE(key_of(step), key);
    --*size;
  }
  step.ids = ids + 1;
  EXPECT_NE(key_of(step), key);
  step.ids = ids;
  EXPECT_NE(RecordedSteps::KeyOf(step, cache, 2, {&others, nullptr}), key);
  EXPECT_NE(RecordedSteps::KeyOf(step, cache, 2, {&logits, &others}), key);
  for (const KvCache& other :
       {pages(ValueFormat::kE4m3, 16), pages(ValueFormat::kBf16, 16),
        pages(ValueFormat::kE4m3, 32)}) {
    EXPECT_NE(RecordedSteps::KeyOf(step, other, 2, {&logits, nullptr}), key);
  }
}

// Counts what is enqueued in which way.
struct Counts {
  int calls = 0;
  std::function<void()> Enqueue() {
    return [this] { ++calls; };
  }
};

// The first time by calling, the second by calling to record, then no more.
TEST(RecordedSteps, AStepIsCalledTwice) {
  for (const std::string& name : DeviceBackends()) {
    const auto backend = kernels::MakeBackend(name);
    ASSERT_TRUE(backend.ok());
    RecordedSteps steps(backend->device);
    Counts counts;
    for (int i = 0; i < 5; ++i) {
      ASSERT_TRUE(steps.Run({1, 7}, counts.Enqueue()).ok());
    }
    EXPECT_EQ(counts.calls, 2);
    EXPECT_EQ(steps.num_replays(), 4);
    ASSERT_TRUE(steps.Run({1, 8}, counts.Enqueue()).ok());  // another step
    EXPECT_EQ(counts.calls, 3);
  }
}

// So many steps that the oldest is forgotten, and no large one.
TEST(RecordedSteps, ForgetsAndLeavesLargeStepsAlone) {
  for (const std::string& name : DeviceBackends()) {
    const auto backend = kernels::MakeBackend(name);
    ASSERT_TRUE(backend.ok());
    RecordedSteps steps(backend->device);
    Counts counts;
    for (int64_t i = 0; i < 65; ++i) {
      ASSERT_TRUE(steps.Run({1, i}, counts.Enqueue()).ok());
    }
    ASSERT_TRUE(steps.Run({1, 64}, counts.Enqueue()).ok());
    EXPECT_EQ(steps.num_replays(), 1);
    ASSERT_TRUE(steps.Run({1, 0}, counts.Enqueue()).ok());  // forgotten
    EXPECT_EQ(steps.num_replays(), 1);
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(steps.Run({2048, 0}, counts.Enqueue()).ok());
    }
    EXPECT_EQ(steps.num_replays(), 1);
    EXPECT_EQ(counts.calls, 65 + 1 + 1 + 3);
  }
}

}  // namespace
}  // namespace zqfp
