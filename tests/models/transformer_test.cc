// SPDX-License-Identifier: Apache-2.0
// Layer by layer against the whole step, what observers see, and simulated
// activations against rounding by hand.
#include "models/transformer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>

#include "kernels/backend.h"
#include "tests/models/editable_checkpoint.h"
#include "tests/models/layer_runner.h"

namespace zqfp {
namespace {

using testing::EditableCheckpoint;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::LayerRunner;
using testing::Recorder;
using testing::ScratchDirectory;
using testing::Seen;
using testing::SourcePath;

std::string Golden(const std::string& variant) {
  return SourcePath("tests/golden/models/" + variant);
}

std::unique_ptr<Model> Load(const std::string& directory,
                            ModelOptions options = {}) {
  options.num_threads = 2;
  auto model = Model::Load(directory, options);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *std::move(model) : nullptr;
}

const std::vector<std::vector<int32_t>> kSequences = {
    {5, 9, 1, 33, 47, 0, 8}, {12}, {40, 41, 2, 7, 7, 30, 11, 19, 4, 25, 3}};

// Norm and head of x, by the model's own ops, on the rows asked for.
std::vector<float> Head(Model& model, const std::vector<float>& x,
                        const std::vector<int32_t>& rows) {
  const Config& config = model.config();
  const Weights& weights = model.mutable_weights();
  const kernels::OpTable& ops = model.backend().ops;
  const auto m = static_cast<int64_t>(rows.size());
  const int64_t dim = config.model_dim;
  std::vector<float> normed,
      logits(rows.size() * static_cast<size_t>(config.vocab_size));
  for (const int32_t row : rows) {
    normed.insert(normed.end(), x.begin() + row * dim,
                  x.begin() + (row + 1) * dim);
  }
  ops.rms_norm({.num_rows = m,
                .dim = dim,
                .epsilon = static_cast<float>(config.norm_epsilon),
                .x = normed.data(),
                .weight = weights.final_norm.weight.data(),
                .y = normed.data()},
               model.exec());
  if (weights.lm_head.runs_a8()) {
    std::vector<uint8_t> codes(normed.size());
    std::vector<float> scales(rows.size());
    ops.quantize_tokens({m, dim, normed.data(), codes.data(), scales.data()},
                        model.exec());
    ops.matmul_a8({.m = m,
                   .x = {codes.data(), scales.data()},
                   .weight = weights.lm_head.view,
                   .y = logits.data()},
                  model.exec());
  } else {
    ops.matmul({.m = m,
                .x = normed.data(),
                .weight = weights.lm_head.view,
                .y = logits.data()},
               model.exec());
  }
  return logits;
}

std::vector<float> Forward(Model& model, Batch batch,
                           const std::vector<int32_t>& rows) {
  batch.logit_rows = rows;
  KvCache cache = *KvCache::Create(
      model.config(),
      {.format = kernels::ValueFormat::kF32,
       .num_pages = static_cast<int64_t>(batch.page_table.size()),
       .page_size = 16});
  std::vector<float> logits(rows.size() *
                            static_cast<size_t>(model.config().vocab_size));
  const absl::Status status =
      model.Forward(batch, cache, absl::MakeSpan(logits));
  EXPECT_TRUE(status.ok()) << status;
  return logits;
}

// The head reads f32 as it is, simulated activations or not.
void ExpectLayersMakeTheStep(Model& model, const std::string& what) {
  const std::vector<int32_t> rows = {0, 5, 6, 7, 12, 18};
  LayerRunner runner(&model, kSequences);
  ASSERT_TRUE(runner.Embed().ok());
  for (int64_t i = 0; i < model.config().num_layers; ++i) {
    Recorder recorder;
    ASSERT_TRUE(runner.Layer(i, i == 0 ? &recorder : nullptr).ok());
  }
  EXPECT_EQ(Head(model, runner.x(), rows), Forward(model, runner.batch(), rows))
      << what;
}

TEST(ForwardLayerTest, LayersMakeTheStepBitForBit) {
  for (const std::string variant :
       {"llama_mha", "llama_f32", "llama_f16", "llama_gqa_tied",
        "llama_mqa_bias", "llama_wide_head", "llama_dynamic", "llama_yarn",
        "llama_llama3", "mistral_window", "qwen2", "qwen3"}) {
    for (const std::string& backend : kernels::HostBackends()) {
      const auto model = Load(Golden(variant), {.backend = backend});
      ASSERT_NE(model, nullptr);
      ExpectLayersMakeTheStep(*model, variant + " " + backend);
    }
    for (const ActivationFormat format :
         {ActivationFormat::kE4m3, ActivationFormat::kInt8}) {
      const auto model =
          Load(Golden(variant), {.simulated_activations = format});
      ASSERT_NE(model, nullptr);
      ExpectLayersMakeTheStep(*model, variant + " simulated");
    }
  }
}

TEST(ForwardLayerTest, QuantizedLayersMakeTheStepBitForBit) {
  for (const std::string variant : {"llama_mha", "qwen3"}) {
    for (const HeadFormat head :
         {HeadFormat::kBf16, HeadFormat::kE4m3, HeadFormat::kE2m1}) {
      for (const int64_t rank : {0, 3}) {
        QuantizeOptions options;
        options.linears.grid.scales.group_size = 32;
        options.linears.lorc.rank = rank;
        options.lm_head = head;
        const ScratchDirectory scratch;
        EditableCheckpoint::Quantized(variant, options).Write(scratch);
        for (const std::string& backend : kernels::HostBackends()) {
          const auto model = Load(scratch.path(), {.backend = backend});
          ASSERT_NE(model, nullptr);
          ExpectLayersMakeTheStep(*model, variant + " " + backend);
        }
      }
    }
  }
}

TEST(EmbedTest, RowsAreThoseOfTheTable) {
  for (const std::string variant : {"llama_f32", "llama_f16", "qwen2"}) {
    const auto model = Load(Golden(variant));
    const EditableCheckpoint checkpoint = EditableCheckpoint::Golden(variant);
    const auto& table = checkpoint.tensors.at("model.embed_tokens.weight");
    const int64_t dim = model->config().model_dim;
    LayerRunner runner(model.get(), kSequences);
    ASSERT_TRUE(runner.Embed().ok());
    for (size_t at = 0; at < runner.x().size(); ++at) {
      const auto row = at / static_cast<size_t>(dim);
      const auto from =
          static_cast<size_t>(runner.batch().token_ids[row] * dim) +
          at % static_cast<size_t>(dim);
      double wanted;
      if (table.dtype == "F32") {
        float value;
        memcpy(&value, table.bytes.data() + 4 * from, 4);
        wanted = value;
      } else {
        uint16_t code;
        memcpy(&code, table.bytes.data() + 2 * from, 2);
        wanted = table.dtype == "BF16" ? testing::FloatValue(code, 8, 7)
                                       : testing::FloatValue(code, 5, 10);
      }
      ASSERT_EQ(runner.x()[at], wanted) << variant;
    }
  }
}

TEST(LinearObserverTest, SeesTheInputsInOrder) {
  for (const std::string variant : {"llama_mqa_bias", "qwen3", "qwen2"}) {
    const auto model = Load(Golden(variant));
    const Config& config = model->config();
    LayerRunner runner(model.get(), kSequences), blind(model.get(), kSequences);
    ASSERT_TRUE(runner.Embed().ok());
    ASSERT_TRUE(blind.Embed().ok());
    const std::vector<float> x = runner.x();
    Recorder recorder;
    ASSERT_TRUE(runner.Layer(0, &recorder).ok());
    ASSERT_TRUE(blind.Layer(0).ok());
    EXPECT_EQ(runner.x(), blind.x()) << "watching changed it";
    const std::vector<Seen>& seen = recorder.seen;
    ASSERT_EQ(seen.size(), 4u);
    EXPECT_THAT(seen[0].readers, ElementsAre("q_proj", "k_proj", "v_proj"));
    EXPECT_THAT(seen[1].readers, ElementsAre("o_proj"));
    EXPECT_THAT(seen[2].readers, ElementsAre("gate_proj", "up_proj"));
    EXPECT_THAT(seen[3].readers, ElementsAre("down_proj"));
    const int64_t widths[] = {config.model_dim,
                              config.num_heads * config.head_dim,
                              config.model_dim, config.ffn_dim};
    for (size_t s = 0; s < 4; ++s) {
      EXPECT_EQ(seen[s].num_rows, 19);
      EXPECT_EQ(seen[s].k, widths[s]);
    }
    // The first is Norm(x), not yet quantized.
    const auto& weight =
        model->mutable_weights().layers[0].attention_norm.weight;
    const auto dim = static_cast<size_t>(config.model_dim);
    for (size_t t = 0; t < 19; ++t) {
      double squares = 0;
      for (size_t i = 0; i < dim; ++i) squares += std::pow(x[t * dim + i], 2);
      const double root =
          std::sqrt(squares / static_cast<double>(dim) + config.norm_epsilon);
      for (size_t i = 0; i < dim; ++i) {
        const double wanted = x[t * dim + i] / root * weight[i];
        EXPECT_NEAR(seen[0].x[t * dim + i], wanted,
                    std::ldexp(std::fabs(wanted), -18));
      }
    }
  }
}

// After every stage: no later one is seen, and the layer can run again.
TEST(LinearObserverTest, StopLeavesTheRestUndone) {
  const auto model = Load(Golden("llama_mha"));
  for (size_t stop = 0; stop < 4; ++stop) {
    LayerRunner runner(model.get(), kSequences), whole(model.get(), kSequences);
    ASSERT_TRUE(runner.Embed().ok());
    ASSERT_TRUE(whole.Embed().ok());
    const std::vector<float> x = runner.x();
    Recorder all, some(stop);
    ASSERT_TRUE(whole.Layer(0, &all).ok());
    ASSERT_TRUE(runner.Layer(0, &some).ok());
    ASSERT_EQ(some.seen.size(), stop + 1);
    for (size_t s = 0; s <= stop; ++s) {
      EXPECT_EQ(some.seen[s].x, all.seen[s].x);
    }
    runner.x() = x;
    ASSERT_TRUE(runner.Layer(0).ok());
    EXPECT_EQ(runner.x(), whole.x());
  }
}

// In two runs with a stop at each stage, on every architecture: with norms
// after the linears (gemma), biases and no gate (opt, gpt2), rounded inputs.
TEST(ResumeLayerTest, TwoRunsMakeTheWholeBitForBit) {
  for (const std::string variant :
       {"llama_mha", "mistral_window", "qwen3", "gemma2", "gemma3", "opt",
        "phi3", "gpt2"}) {
    for (const ActivationFormat format :
         {ActivationFormat::kNone, ActivationFormat::kE4m3}) {
      const auto model =
          Load(Golden(variant), {.simulated_activations = format});
      ASSERT_NE(model, nullptr) << variant;
      LayerRunner whole(model.get(), kSequences);
      ASSERT_TRUE(whole.Embed().ok());
      const std::vector<float> x = whole.x();
      Recorder all;
      ASSERT_TRUE(whole.Layer(1, &all).ok());
      for (size_t stop = 1; stop < 4; ++stop) {
        LayerRunner parts(model.get(), kSequences);
        parts.x() = x;
        Recorder before(stop), after;
        ASSERT_TRUE(parts.Layer(1, &before).ok());
        // Whatever the buffers hold by then.
        LayerRunner other(model.get(), kSequences);
        ASSERT_TRUE(other.Embed().ok());
        ASSERT_TRUE(other.Layer(0).ok());
        ASSERT_TRUE(
            parts.Resume(1, kLayerStages[stop], before.seen.back(), &after)
                .ok());
        EXPECT_EQ(parts.x(), whole.x()) << variant << " " << stop;
        ASSERT_EQ(after.seen.size(), 4 - stop);
        for (size_t s = stop; s < 4; ++s) {
          EXPECT_EQ(after.seen[s - stop].readers, all.seen[s].readers);
          EXPECT_EQ(after.seen[s - stop].x, all.seen[s].x);
        }
      }
    }
  }
}

TEST(ResumeLayerTest, RefusesWhatCannotBe) {
  const auto model = Load(Golden("llama_mha"), {.max_tokens = 20});
  const auto dim = static_cast<size_t>(model->config().model_dim);
  struct Bad {
    const char* message;
    int64_t layer;
    LayerStage stage;
    size_t hidden, input;  // floats
  };
  using enum LayerStage;
  for (const Bad& bad : {Bad{"layers below", 2, kFfnInput, dim, dim},
                         Bad{"layers below", -1, kFfnInput, dim, dim},
                         Bad{"stage after", 0, kAttentionInput, dim, dim},
                         Bad{"tokens, at", 0, kFfnInput, 21 * dim, 21 * dim},
                         Bad{"input of", 0, kFfnInput, 2 * dim, dim},
                         Bad{"input of", 0, kFfnOutput, dim, dim},
                         Bad{"hidden state", 0, kFfnInput, dim + 1, dim}}) {
    std::vector<float> x(bad.hidden);
    const std::vector<float> input(bad.input);
    const absl::Status status = model->ResumeLayer(bad.layer, bad.stage, input,
                                                   nullptr, absl::MakeSpan(x));
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(bad.message));
  }
}

TEST(ForwardLayerTest, RefusesWhatCannotBe) {
  const auto model = Load(Golden("llama_mha"), {.max_tokens = 20});
  LayerRunner good(model.get(), kSequences);
  ASSERT_TRUE(good.Embed().ok());
  for (const int64_t index : {-1, 2, 1 << 20}) {
    const absl::Status status = good.Layer(index);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("layers below"));
  }
  struct Bad {
    const char* message;
    std::function<void(LayerRunner*)> spoil;
    bool embeds;  // whether Embed would see it
  };
  for (const Bad& bad :
       {Bad{"hidden state", [](auto* r) { r->x().pop_back(); }, true},
        Bad{"hidden state", [](auto* r) { r->x().push_back(0); }, true},
        Bad{"token ids", [](auto* r) { r->batch().token_ids[3] = 48; }, true},
        Bad{"token ids", [](auto* r) { r->batch().token_ids[3] = -1; }, true},
        Bad{"positions", [](auto* r) { r->batch().context_len[0] = 300; },
            true},
        Bad{"logits", [](auto* r) { r->batch().logit_rows = {1}; }, false},
        Bad{"page_table", [](auto* r) { r->batch().page_table.pop_back(); },
            false}}) {
    LayerRunner runner(model.get(), kSequences);
    bad.spoil(&runner);
    const absl::Status status = runner.Layer(0);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(bad.message));
    EXPECT_EQ(runner.Embed().ok(), !bad.embeds) << bad.message;
  }
  auto more = kSequences;
  more.push_back({1, 2});
  LayerRunner large(model.get(), more);
  EXPECT_THAT(std::string(large.Layer(0).message()),
              HasSubstr("tokens, at most"));
}

// One token rounded by the definitions of simulated_activations.h; quotients
// in f32, as those have it.
std::vector<double> RoundByHand(ActivationFormat format,
                                const std::vector<float>& x) {
  std::vector<double> y;
  float low = 0, high = 0;
  for (const float value : x) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  const float largest = std::max(-low, high);
  for (const float value : x) {
    if (format == ActivationFormat::kBf16) {
      // To nearest even among multiples of the last of 8 bits.
      const double unit = std::exp2(std::ilogb(value) - 7);
      y.push_back(value == 0 ? 0 : std::nearbyint(value / unit) * unit);
    } else if (format == ActivationFormat::kInt8) {
      const float scale = (high - low) / 255;
      const double zero = std::nearbyint(-low / scale);
      const double code = std::nearbyint(value / scale) + zero;
      y.push_back(scale * (std::clamp(code, 0.0, 255.0) - zero));
    } else {
      const bool e4m3 = format == ActivationFormat::kE4m3;
      const float scale = largest / (e4m3 ? 448.0f : 57344.0f);
      y.push_back(scale * testing::RoundTo(e4m3 ? testing::E4m3Magnitudes()
                                                : testing::E5m2Magnitudes(),
                                           value / scale));
    }
  }
  return y;
}

// x W^T + bias in f64.
std::vector<double> Product(const LinearWeight& linear,
                            const std::vector<double>& x) {
  const std::vector<float> w = testing::FloatsOf(linear);
  std::vector<double> y;
  for (size_t i = 0; i < w.size() / x.size(); ++i) {
    y.push_back(linear.bias.empty() ? 0 : linear.bias[i]);
    for (size_t j = 0; j < x.size(); ++j) y[i] += x[j] * w[i * x.size() + j];
  }
  return y;
}

// Sums of at most 64 products of numbers of this size, through two linears and
// a gate: 8 x 64 u.
void ExpectNear(const std::vector<double>& wanted, const float* found,
                const std::string& what) {
  double largest = 0;
  for (const double value : wanted) largest = std::max(largest, fabs(value));
  for (size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_NEAR(found[i], wanted[i], std::ldexp(512 * (largest + 1), -24))
        << what << " " << i;
  }
}

// A single token attends to itself alone: what o reads is v. So every linear
// but q and k, which share v's input, shows in what the next stage reads.
void CheckSimulatedLayer(Model& model, ActivationFormat format, int32_t id,
                         const std::string& what) {
  const Config& config = model.config();
  const LayerWeights& layer = model.mutable_weights().layers[0];
  LayerRunner runner(&model, {{id}});
  ASSERT_TRUE(runner.Embed().ok());
  const std::vector<float> before = runner.x();
  Recorder recorder;
  ASSERT_TRUE(runner.Layer(0, &recorder).ok());
  ASSERT_EQ(recorder.seen.size(), 4u);
  const auto rounded = [&](size_t stage) {
    return RoundByHand(format, recorder.seen[stage].x);
  };
  const std::vector<double> v = Product(layer.v, rounded(0));
  std::vector<double> mixed;
  const int64_t share = config.num_heads / config.num_kv_heads;
  for (int64_t i = 0; i < config.num_heads * config.head_dim; ++i) {
    const int64_t head = i / config.head_dim;
    mixed.push_back(v[head / share * config.head_dim + i % config.head_dim]);
  }
  ExpectNear(mixed, recorder.seen[1].x.data(), what + " v");
  std::vector<double> x = Product(layer.o, rounded(1));
  double squares = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] += before[i];
    squares += x[i] * x[i];
  }
  const double root =
      std::sqrt(squares / static_cast<double>(x.size()) + config.norm_epsilon);
  std::vector<double> normed;
  for (size_t i = 0; i < x.size(); ++i) {
    normed.push_back(x[i] / root * layer.ffn_norm.weight[i]);
  }
  ExpectNear(normed, recorder.seen[2].x.data(), what + " o");
  std::vector<double> act = Product(layer.gate, rounded(2));
  const std::vector<double> up = Product(layer.up, rounded(2));
  for (size_t i = 0; i < act.size(); ++i) {
    act[i] = act[i] / (1 + std::exp(-act[i])) * up[i];
  }
  ExpectNear(act, recorder.seen[3].x.data(), what + " gate and up");
  const std::vector<double> down = Product(layer.down, rounded(3));
  const std::vector<float>& exact = recorder.seen[3].x;
  const std::vector<double> unrounded =
      Product(layer.down, {exact.begin(), exact.end()});
  double difference = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] += down[i];
    difference = std::max(difference, std::fabs(down[i] - unrounded[i]));
  }
  ExpectNear(x, runner.x().data(), what + " down");
  EXPECT_GT(difference, 1e-4) << "rounding must show";
}

TEST(SimulatedActivationsOfAModel, RoundTheInputsOfEveryLinear) {
  for (const std::string variant :
       {"llama_f32", "llama_mqa_bias", "llama_wide_head", "qwen2", "qwen3"}) {
    for (const ActivationFormat format :
         {ActivationFormat::kE4m3, ActivationFormat::kE5m2,
          ActivationFormat::kInt8, ActivationFormat::kBf16}) {
      const auto model =
          Load(Golden(variant), {.simulated_activations = format});
      ASSERT_NE(model, nullptr);
      for (const int32_t id : {0, 17, 47}) {
        CheckSimulatedLayer(*model, format, id,
                            variant + " " + std::string(ToString(format)));
      }
    }
  }
}

// Linears that run e4m3 have their inputs rounded once, by their own op.
TEST(SimulatedActivationsOfAModel, LeaveQuantizedLinearsAlone) {
  const ScratchDirectory scratch;
  EditableCheckpoint::Quantized("llama_mha", ScaleConstraint::kM2,
                                HeadFormat::kE4m3)
      .Write(scratch);
  const auto plain = Load(scratch.path());
  const auto simulated =
      Load(scratch.path(), {.simulated_activations = ActivationFormat::kInt8});
  const Batch batch = testing::WholeSequences(kSequences, 4);
  EXPECT_EQ(Forward(*plain, batch, {0, 18}),
            Forward(*simulated, batch, {0, 18}));
}

}  // namespace
}  // namespace zqfp
