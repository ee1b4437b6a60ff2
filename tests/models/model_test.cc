// SPDX-License-Identifier: Apache-2.0
#include "models/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <numeric>

#include "kernels/backend.h"
#include "kernels/cpu/thread_pool.h"
#include "tests/assets.h"
#include "tests/backends.h"
#include "tests/models/safetensors_file.h"
#include "tests/models/sequence_runner.h"

namespace zqfp {
namespace {

using kernels::ValueFormat;
using ::testing::HasSubstr;
using testing::ScratchDirectory;
using testing::SequenceRunner;

std::string Golden(const std::string& variant) {
  return testing::SourcePath("tests/golden/models/" + variant);
}

std::unique_ptr<Model> LoadGolden(const std::string& variant,
                                  ModelOptions options = {.num_threads = 2}) {
  auto model = Model::Load(Golden(variant), options);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *std::move(model) : nullptr;
}

std::string LoadMessage(const std::string& directory,
                        const ModelOptions& options) {
  const auto model = Model::Load(directory, options);
  EXPECT_FALSE(model.ok());
  return std::string(model.status().message());
}

// Two sequences, of 3 new tokens of 3 and of 2 new tokens of 2.
struct Step {
  Batch batch = {.token_ids = {5, 6, 7, 8, 9},
                 .token_begin = {0, 3, 5},
                 .context_len = {3, 2},
                 .page_table = {1, 0, 2, 3},
                 .page_table_stride = 2,
                 .rope_length = {3, 2},
                 .logit_rows = {2, 4}};
  std::unique_ptr<Model> model =
      LoadGolden("llama_gqa_tied", {.num_threads = 2, .max_tokens = 5});
  KvCache cache = *KvCache::Create(
      model->config(),
      {.format = ValueFormat::kF32, .num_pages = 4, .page_size = 2});
  std::vector<float> logits = std::vector<float>(2 * 48);

  absl::Status Run() {
    return model->Forward(batch, cache, absl::MakeSpan(logits));
  }
};

TEST(ModelForward, RunsASoundStep) {
  Step step;
  EXPECT_EQ(step.Run(), absl::OkStatus());
}

// Once a step, and only of one that runs.
TEST(ModelForward, CallsMeanwhileOnce) {
  Step step;
  int calls = 0;
  const auto run = [&] {
    return step.model->Forward(step.batch, step.cache,
                               absl::MakeSpan(step.logits), [&] { ++calls; });
  };
  EXPECT_EQ(run(), absl::OkStatus());
  EXPECT_EQ(calls, 1);
  step.batch.token_ids[1] = -1;
  EXPECT_FALSE(run().ok());
  EXPECT_EQ(calls, 1);
}

// Asked before every layer; what was cut short can be run again.
TEST(ModelForward, EndsBetweenTwoLayersWhereItIsToldTo) {
  Step step, whole;
  EXPECT_EQ(whole.Run(), absl::OkStatus());
  const int64_t layers = step.model->config().num_layers;
  for (int64_t most = 0; most <= layers; ++most) {
    int64_t asked = 0;
    const absl::Status status =
        step.model->Forward(step.batch, step.cache, absl::MakeSpan(step.logits),
                            {}, [&] { return asked++ < most; });
    EXPECT_EQ(absl::IsCancelled(status), most < layers) << status;
    EXPECT_EQ(asked, std::min(most + 1, layers));
  }
  EXPECT_EQ(step.logits, whole.logits);
}

// The host has all logits at hand.
TEST(ModelForward, TheBestLogitsAreADevicesBusiness) {
  Step step;
  std::vector<TopLogits> top(2);
  EXPECT_EQ(step.model->MostTopRows(), 0);
  EXPECT_EQ(step.model->ForwardTop(step.batch, step.cache, absl::MakeSpan(top))
                .code(),
            absl::StatusCode::kUnimplemented);
  step.batch.logit_rows.clear();
  EXPECT_FALSE(step.model->ForwardTop(step.batch, step.cache, {}).ok());
  EXPECT_FALSE(
      step.model->FetchLogits(0, absl::MakeSpan(step.logits).first(48)).ok());
}

// A batch may come from a scheduler's bug or a caller of the library: each
// broken limit is an error, and the cache stays as it was.
TEST(ModelForward, RefusesEveryBrokenBatchAndLeavesTheCacheAlone) {
  const std::pair<const char*, std::function<void(Batch&)>> kBroken[] = {
      {"id below 0", [](Batch& b) { b.token_ids[1] = -1; }},
      {"id too large", [](Batch& b) { b.token_ids[4] = 48; }},
      {"too many tokens",
       [](Batch& b) {
         b.token_ids.push_back(1);
         b.token_begin[2] = 6;
         b.context_len[1] = 3;
       }},
      {"no end", [](Batch& b) { b.token_begin.pop_back(); }},
      {"a temperature too few", [](Batch& b) { b.temperature = {1.0f}; }},
      {"an empty begin", [](Batch& b) { b.token_begin.clear(); }},
      {"an end beyond", [](Batch& b) { b.token_begin[2] = 6; }},
      {"begins that fall", [](Batch& b) { b.token_begin[1] = 6; }},
      {"begin not 0", [](Batch& b) { b.token_begin[0] = 1; }},
      {"begin below 0", [](Batch& b) { b.token_begin[0] = -1; }},
      {"context shorter than its tokens",
       [](Batch& b) { b.context_len[0] = 2; }},
      {"context below 0", [](Batch& b) { b.context_len[0] = -5; }},
      {"context beyond its pages", [](Batch& b) { b.context_len[0] = 5; }},
      {"context beyond the model",
       [](Batch& b) { b.context_len[0] = INT32_MAX; }},
      {"a page below 0", [](Batch& b) { b.page_table[0] = -1; }},
      {"a page that is not there", [](Batch& b) { b.page_table[2] = 4; }},
      {"a short page table", [](Batch& b) { b.page_table.pop_back(); }},
      {"a stride of 0", [](Batch& b) { b.page_table_stride = 0; }},
      {"a stride below 0", [](Batch& b) { b.page_table_stride = -2; }},
      {"a huge stride", [](Batch& b) { b.page_table_stride = INT64_MAX; }},
      {"no rope length", [](Batch& b) { b.rope_length.clear(); }},
      {"rows that fall",
       [](Batch& b) {
         b.logit_rows = {4, 2};
       }},
      {"a row twice",
       [](Batch& b) {
         b.logit_rows = {2, 2};
       }},
      {"a row beyond",
       [](Batch& b) {
         b.logit_rows = {2, 5};
       }},
      {"a row below 0",
       [](Batch& b) {
         b.logit_rows = {-1, 2};
       }},
      {"fewer rows than logits", [](Batch& b) { b.logit_rows = {2}; }},
  };
  Step step;
  for (const auto& [what, change] : kBroken) {
    const Batch sound = step.batch;
    change(step.batch);
    const absl::Status status = step.Run();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << what;
    EXPECT_THAT(std::string(status.message()), HasSubstr("want")) << what;
    const auto* k = static_cast<const char*>(step.cache.Layer(0).k);
    EXPECT_TRUE(std::all_of(k, k + 4 * 2 * 2 * 8 * 4, [](char c) {
      return c == 0;
    })) << what;
    step.batch = sound;
  }
  step.logits.resize(48);
  EXPECT_EQ(step.Run().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ModelForward, AnEmptyStepIsNothing) {
  Step step;
  step.batch = {.token_begin = {0}};
  step.logits.clear();
  EXPECT_EQ(step.Run(), absl::OkStatus());
}

// Sequences of one step do not see each other, whatever their lengths.
TEST(ModelForward, ARaggedStepEqualsItsSequencesAlone) {
  for (const char* variant : {"llama_mha", "mistral_window", "qwen3"}) {
    const auto model = LoadGolden(variant);
    const std::vector<std::vector<int32_t>> prompts = {
        {3, 4, 5, 6, 7, 8, 9}, {40}, {11, 12, 13}, {20, 21, 22, 23, 24}};
    std::vector<float> alone;
    Batch batch = {.token_begin = {0}, .page_table_stride = 2};
    for (const auto& prompt : prompts) {
      SequenceRunner runner(model.get(), ValueFormat::kF32, 16, 8);
      const auto logits = runner.RunChunks(prompt, prompt.size());
      ASSERT_TRUE(logits.ok()) << logits.status();
      alone.insert(alone.end(), logits->begin(), logits->end());
      const int32_t size = static_cast<int32_t>(prompt.size());
      batch.token_ids.insert(batch.token_ids.end(), prompt.begin(),
                             prompt.end());
      batch.token_begin.push_back(batch.token_begin.back() + size);
      batch.context_len.push_back(size);
      batch.rope_length.push_back(size);
      const int32_t page = 2 * static_cast<int32_t>(batch.context_len.size());
      batch.page_table.push_back(page - 1);
      batch.page_table.push_back(page - 2);
    }
    batch.logit_rows.resize(batch.token_ids.size());
    std::iota(batch.logit_rows.begin(), batch.logit_rows.end(), 0);
    auto cache = KvCache::Create(
        model->config(),
        {.format = ValueFormat::kF32, .num_pages = 8, .page_size = 8});
    ASSERT_TRUE(cache.ok());
    std::vector<float> together(alone.size());
    ASSERT_EQ(model->Forward(batch, *cache, absl::MakeSpan(together)),
              absl::OkStatus());
    for (size_t i = 0; i < alone.size(); ++i) {
      ASSERT_NEAR(together[i], alone[i], 1e-4) << variant << " at " << i;
    }
  }
}

TEST(ModelLoad, SaysWhatIsNotThere) {
  const ScratchDirectory empty;
  EXPECT_THAT(LoadMessage(empty.path(), {}), HasSubstr("config.json"));
  EXPECT_THAT(LoadMessage(empty / "nowhere", {}), HasSubstr("nowhere"));
  EXPECT_THAT(LoadMessage("", {}), HasSubstr("config.json"));
}

TEST(ModelLoad, RefusesOptionsThatCannotBe) {
  const std::string directory = Golden("llama_mha");
  EXPECT_THAT(LoadMessage(directory, {.num_threads = -1}), HasSubstr("-1"));
  EXPECT_THAT(LoadMessage(directory, {.max_tokens = -7}), HasSubstr("-7"));
  EXPECT_THAT(LoadMessage(directory, {.backend = "cuda9"}), HasSubstr("cuda9"));
}

TEST(ModelLoad, StrictAcceptsWhatServesEveryOp) {
  for (const std::string& backend : testing::Backends()) {
    const auto model =
        Model::Load(Golden("llama_mha"),
                    {.num_threads = 1, .backend = backend, .strict = true});
    EXPECT_TRUE(model.ok()) << backend << ": " << model.status();
  }
}

TEST(ModelLoad, ResolvesItsOptions) {
  const auto model = LoadGolden("llama_mha", {});
  EXPECT_EQ(model->options().num_threads, kernels::PhysicalCores());
  EXPECT_EQ(model->options().backend, kernels::SelectBackend()->name);
  EXPECT_GT(model->buffer_bytes(), 0);
}

TEST(ModelExplain, NamesEveryLinearOnce) {
  const auto model = LoadGolden("llama_gqa_tied");
  const std::vector<LinearInfo> list = model->Explain();
  ASSERT_EQ(list.size(), 2u * 7 + 1);
  EXPECT_EQ(list.front().name, "model.layers.0.self_attn.q_proj");
  EXPECT_EQ(list.front().weights, "bf16");
  EXPECT_EQ(list.front().activations, "f32");
  EXPECT_EQ(list.front().op, "matmul");
  EXPECT_FALSE(list.front().exact);
  EXPECT_EQ(list.back().name, "lm_head");
  int64_t bytes = 0;
  for (const LinearInfo& linear : list) {
    EXPECT_EQ(linear.num_bytes, linear.n * linear.k * 2) << linear.name;
    EXPECT_NE(linear.kernel, "none");
    bytes += linear.num_bytes;
  }
  EXPECT_EQ(bytes, model->weight_bytes());
}

TEST(ModelPrecision, OnlyF32WeightsAreFull) {
  EXPECT_TRUE(LoadGolden("llama_f32")->full_precision());
  EXPECT_FALSE(LoadGolden("llama_f16")->full_precision());
  EXPECT_FALSE(LoadGolden("llama_mha")->full_precision());
}

}  // namespace
}  // namespace zqfp
