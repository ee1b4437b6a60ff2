// SPDX-License-Identifier: Apache-2.0
// How a model's weights come to a device, and what the options change there.
#include "models/place_weights.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "kernels/backend.h"
#include "models/model.h"
#include "tests/backends.h"
#include "tests/models/editable_checkpoint.h"
#include "tests/models/sequence_runner.h"

namespace zqfp {
namespace {

using testing::DeviceBackends;
using testing::EditableCheckpoint;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::ScratchDirectory;
using testing::SequenceRunner;

// Every matrix fits cuBLASLt; the head is in e4m3.
Config SmallConfig(int64_t model_dim = 64) {
  Config config;
  config.model_dim = model_dim;
  config.ffn_dim = 3 * model_dim / 2;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = model_dim / 4;
  config.vocab_size = 112;
  config.max_positions = 256;
  config.norm_epsilon = 1e-5;
  config.quantization = QuantizationConfig();
  config.quantization->group_size = 32;
  config.quantization->constraint = ScaleConstraint::kM2;
  config.quantization->lm_head = HeadFormat::kE4m3;
  config.quantization->lorc.rank = 4;
  return config;
}

using Loaded = absl::StatusOr<std::unique_ptr<Model>>;
using Loader = std::function<Loaded(const ModelOptions&)>;

// One made on the device, and one that comes from files and the host's memory.
std::vector<Loader> Loaders(const std::string& directory) {
  return {[](const ModelOptions& options) {
            return Model::Random(SmallConfig(), 1, options);
          },
          [=](const ModelOptions& options) {
            return Model::Load(directory, options);
          }};
}

// Logits of a prompt in one step, most of whose tokens cuBLASLt multiplies.
std::vector<float> PromptLogits(Model& model) {
  std::vector<int32_t> ids(134);
  for (size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<int32_t>(i * 7 % 48);
  }
  SequenceRunner runner(&model, kernels::ValueFormat::kF32);
  const auto logits = runner.Run(ids, 134);
  EXPECT_TRUE(logits.ok()) << logits.status();
  return logits.ok() ? *logits : std::vector<float>();
}

class PlacedModel : public ::testing::Test {
 protected:
  void SetUp() override {
    EditableCheckpoint::Quantized("llama_mha", ScaleConstraint::kM2,
                                  HeadFormat::kE4m3)
        .Write(directory_);
  }

  ScratchDirectory directory_;
};

TEST_F(PlacedModel, ResidentRowsGiveTheSameLogits) {
  for (const std::string& backend : DeviceBackends()) {
    for (const Loader& load : Loaders(directory_.path())) {
      ModelOptions options = {
          .num_threads = 1, .backend = backend, .max_tokens = 134};
      const Loaded plain = load(options);
      options.resident_fp8 = true;
      const Loaded resident = load(options);
      ASSERT_TRUE(plain.ok() && resident.ok()) << resident.status();
      EXPECT_EQ((*plain)->resident_bytes(), 0);
      const std::vector<float> wanted = PromptLogits(**plain);
      ASSERT_FALSE(wanted.empty());
      EXPECT_EQ(PromptLogits(**resident), wanted) << backend;
      // The others have a dimension of 40.
      int64_t fitting = 0;
      for (const LinearInfo& linear : (*resident)->Explain()) {
        if (linear.n % 16 == 0 && linear.k % 16 == 0) {
          EXPECT_THAT(linear.kernel, HasSubstr("e4m3 rows, resident"));
          fitting += linear.n * linear.k;
        } else {
          EXPECT_THAT(linear.kernel, Not(HasSubstr("resident")));
        }
      }
      EXPECT_EQ((*resident)->resident_bytes(), fitting);
    }
  }
}

TEST_F(PlacedModel, FastSumsAreOffByALittleWhereAskedFor) {
  for (const std::string& backend : DeviceBackends()) {
    for (const Loader& load : Loaders(directory_.path())) {
      ModelOptions options = {
          .num_threads = 1, .backend = backend, .max_tokens = 134};
      const Loaded plain = load(options);
      options.fp8_fast_accum = true;
      const Loaded fast = load(options);
      ASSERT_TRUE(plain.ok() && fast.ok()) << fast.status();
      EXPECT_THAT((*plain)->Explain().front().kernel,
                  HasSubstr("promoted to f32"));
      EXPECT_THAT((*fast)->Explain().front().kernel,
                  HasSubstr("in 14 bits, not promoted"));
      const std::vector<float> wanted = PromptLogits(**plain);
      const std::vector<float> found = PromptLogits(**fast);
      ASSERT_EQ(found.size(), wanted.size());
      ASSERT_FALSE(wanted.empty());
      float largest = 0, difference = 0;
      for (size_t i = 0; i < wanted.size(); ++i) {
        largest = std::max(largest, std::fabs(wanted[i]));
        difference = std::max(difference, std::fabs(wanted[i] - found[i]));
      }
      // A chip promotes only every 128 of k, of which there are fewer here.
      if (backend != "cuda") EXPECT_GT(difference, 0) << backend;
      // A code of an input may round the other way, by an eighth.
      EXPECT_LT(difference, largest / 8) << backend;
    }
  }
}

// Inputs in f32 are multiplied otherwise: rows would lie there unread.
TEST_F(PlacedModel, NoRowsWhereNoMatmulReadsThem) {
  for (const std::string& backend : DeviceBackends()) {
    const Loaded model = Model::Load(directory_.path(), {.num_threads = 1,
                                                         .backend = backend,
                                                         .weight_only = true,
                                                         .resident_fp8 = true});
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ((*model)->resident_bytes(), 0);
  }
}

TEST_F(PlacedModel, TheHostSaysThatItHasNoSuchOption) {
  for (const Loader& load : Loaders(directory_.path())) {
    const auto message = [&](const ModelOptions& options) {
      const Loaded model = load(options);
      EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
      return std::string(model.status().message());
    };
    EXPECT_EQ(message({.backend = "reference", .fp8_fast_accum = true}),
              "fp8_fast_accum: want a CUDA device, found the CPU");
    EXPECT_EQ(message({.device = "cpu", .resident_fp8 = true}),
              "resident_fp8: want a CUDA device, found the CPU");
  }
}

// The rows are counted before anything is allocated.
TEST(PlaceWeightsTest, ThePlanCountsResidentRows) {
  for (const std::string& name : DeviceBackends()) {
    const auto backend = kernels::MakeBackend(name);
    ASSERT_TRUE(backend.ok()) << backend.status();
    kernels::ThreadPool pool(1);
    const Config config = SmallConfig(512);
    auto weights = RandomWeights(config, 1, pool);
    ASSERT_TRUE(weights.ok()) << weights.status();
    const int64_t weight_bytes =
        weights->StreamedBytes() + 2 * config.vocab_size * config.model_dim;
    const int64_t free = backend->device->Memory().free;
    const auto place = [&](int64_t other_bytes) {
      return PlaceWeights(config,
                          {.other_bytes = other_bytes, .keep_fp8_rows = true},
                          *backend->device, *weights);
    };
    // q, k, v, o, gate, up and down of two layers, and the head.
    constexpr int64_t kRows = 2 * 512 * (512 * 3 + 768 * 3) + 112 * 512;
    const int64_t other_bytes = free - weight_bytes - kRows + 1;
    const absl::Status refused = place(other_bytes);
    EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(std::string(refused.message()),
              fmt::format("model: want {:.0f} MB for weights, {:.0f} MB for "
                          "their e4m3 rows (resident_fp8) and {:.0f} MB for "
                          "buffers on {}, found {:.0f} MB free",
                          static_cast<double>(weight_bytes) / 1e6, kRows / 1e6,
                          static_cast<double>(other_bytes) / 1e6,
                          backend->device->Describe(),
                          static_cast<double>(free) / 1e6));
    EXPECT_TRUE(weights->placed.empty());
    // Without them, the same buffers would do.
    const absl::Status larger =
        PlaceWeights(config, {.other_bytes = other_bytes + kRows},
                     *backend->device, *weights);
    EXPECT_THAT(std::string(larger.message()),
                HasSubstr("MB for weights and "));
  }
}

TEST(PlaceWeightsTest, WhatFitsToTheByteIsPlaced) {
  const auto backend = kernels::MakeBackend("cuda_emulated");
  ASSERT_TRUE(backend.ok()) << backend.status();
  kernels::ThreadPool pool(1);
  const Config config = SmallConfig();
  auto weights = RandomWeights(config, 1, pool);
  ASSERT_TRUE(weights.ok()) << weights.status();
  const int64_t weight_bytes =
      weights->StreamedBytes() + 2 * config.vocab_size * config.model_dim;
  constexpr int64_t kRows = 2 * 64 * (64 * 3 + 96 * 3) + 112 * 64;
  const int64_t other_bytes =
      backend->device->Memory().free - weight_bytes - kRows;
  const absl::Status status =
      PlaceWeights(config, {.other_bytes = other_bytes, .keep_fp8_rows = true},
                   *backend->device, *weights);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(weights->fp8_row_bytes, kRows);
}

}  // namespace
}  // namespace zqfp
