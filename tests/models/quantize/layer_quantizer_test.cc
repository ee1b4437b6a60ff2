// SPDX-License-Identifier: Apache-2.0
// Layer by layer on tiny models: what each linear was rounded for is known by
// the error it reports, and that is worked out anew, in f64, from what the
// linear reads in the quantized model.
#include "models/quantize/layer_quantizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "tests/models/editable_checkpoint.h"
#include "tests/models/layer_runner.h"
#include "tests/models/quantize/exact_linear.h"

namespace zqfp {
namespace {

using testing::EditableCheckpoint;
using ::testing::ElementsAre;
using testing::ExactOutputError;
using testing::ExactWeights;
using ::testing::HasSubstr;
using testing::LayerRunner;
using testing::Recorder;
using testing::ScratchDirectory;
using testing::Seen;
using testing::SourcePath;

constexpr int64_t kGroup = 32;

std::string Golden(const std::string& variant) {
  return SourcePath("tests/golden/models/" + variant);
}

// Four sequences of different lengths, of the 48 tokens that models have.
std::vector<std::vector<int32_t>> Sequences() {
  std::mt19937 random(12);
  std::vector<std::vector<int32_t>> sequences;
  for (const size_t size : {40, 1, 33, 50}) {
    std::vector<int32_t> ids(size);
    for (int32_t& id : ids) id = static_cast<int32_t>(random() % 48);
    sequences.push_back(ids);
  }
  return sequences;
}

LinearScheme Scheme(QuantizeMethod method = QuantizeMethod::kGptq) {
  LinearScheme scheme;
  scheme.method = method;
  scheme.grid.scales = {kGroup, ScaleConstraint::kM2, ScaleRounding::kSearch};
  scheme.lorc = {.rank = 2, .weighting = LorcWeighting::kWeighted};
  return scheme;
}

using Layers = std::map<int64_t, std::vector<QuantizedLinear>>;

// Options whose layers go to `stored`.
LayerQuantizerOptions Options(const std::string& input, Layers* stored,
                              const LinearScheme& scheme = Scheme()) {
  LayerQuantizerOptions options;
  options.input = input;
  options.scheme = scheme;
  options.calibration = Sequences();
  options.num_threads = 2;
  options.store = [stored](int64_t layer,
                           const std::vector<QuantizedLinear>& linears) {
    EXPECT_TRUE(stored->emplace(layer, linears).second) << "twice " << layer;
    return absl::OkStatus();
  };
  return options;
}

std::string Message(const LayerQuantizerOptions& options) {
  const absl::Status status = QuantizeByLayer(options);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  return std::string(status.message());
}

void ExpectSame(const std::vector<QuantizedLinear>& a,
                const std::vector<QuantizedLinear>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].name, b[i].name);
    EXPECT_EQ(a[i].output_error, b[i].output_error) << a[i].name;
    ASSERT_EQ(a[i].pieces.size(), b[i].pieces.size());
    for (size_t p = 0; p < a[i].pieces.size(); ++p) {
      EXPECT_EQ(a[i].pieces[p].bytes, b[i].pieces[p].bytes) << a[i].name;
    }
  }
}

TEST(LayerQuantizerTest, EveryVariantGivesItsLinearsInOrder) {
  for (const std::string variant :
       {"llama_mha", "llama_f32", "llama_f16", "llama_gqa_tied",
        "llama_mqa_bias", "llama_wide_head", "llama_dynamic", "mistral_window",
        "qwen2", "qwen3"}) {
    for (const StageOrder stages :
         {StageOrder::kTrueSequential, StageOrder::kWholeLayer}) {
      Layers layers;
      LayerQuantizerOptions options = Options(Golden(variant), &layers);
      options.stages = stages;
      ASSERT_TRUE(QuantizeByLayer(options).ok()) << variant;
      ASSERT_EQ(layers.size(), 2u) << variant;
      for (const auto& [index, linears] : layers) {
        std::vector<std::string> names;
        for (const QuantizedLinear& linear : linears) {
          names.push_back(linear.name);
          EXPECT_GE(linear.output_error, 0);
          EXPECT_LT(linear.output_error, 0.05) << linear.name;
        }
        const std::string base = "model.layers." + std::to_string(index);
        EXPECT_THAT(
            names,
            ElementsAre(base + ".self_attn.q_proj", base + ".self_attn.k_proj",
                        base + ".self_attn.v_proj", base + ".self_attn.o_proj",
                        base + ".mlp.gate_proj", base + ".mlp.up_proj",
                        base + ".mlp.down_proj"));
      }
    }
  }
}

struct Case {
  const char* variant;
  StageOrder stages;
  QuantizeMethod method = QuantizeMethod::kGptq;
  GridFormat format = GridFormat::kE2m1;
  ActivationFormat activations = ActivationFormat::kE4m3;
};

// Goes through the layers again as they are quantized: the inputs of a layer
// come from the quantized layers before it; within one, from its quantized
// linears (true sequential) or from those it had.
class Replay {
 public:
  Replay(const Case& c, const LinearScheme& scheme, const Layers& layers)
      : case_(c), scheme_(scheme), layers_(layers) {}

  void Check() {
    auto model = Model::Load(
        Golden(case_.variant),
        {.num_threads = 2,
         .simulated_activations =
             scheme_.is_dense() ? scheme_.activations : ActivationFormat::kNone,
         .reserved_lorc_rank = scheme_.lorc.rank});
    ASSERT_TRUE(model.ok()) << model.status();
    std::vector<LayerRunner> runners;
    for (const auto& ids : Sequences()) {
      runners.emplace_back(model->get(),
                           std::vector<std::vector<int32_t>>(1, ids));
      ASSERT_TRUE(runners.back().Embed().ok());
    }
    for (int64_t i = 0; i < (*model)->config().num_layers; ++i) {
      CheckLayer(i, **model, runners);
    }
  }

 private:
  void CheckLayer(int64_t index, Model& model,
                  std::vector<LayerRunner>& runners) {
    const std::vector<LinearWeight*> targets = testing::LinearsOf(
        model.mutable_weights().layers[static_cast<size_t>(index)]);
    const std::vector<QuantizedLinear>& linears = layers_.at(index);
    ASSERT_EQ(linears.size(), targets.size());
    std::vector<std::vector<float>> weights;
    for (const auto* target : targets) {
      weights.push_back(testing::FloatsOf(*target));
    }
    const auto attach = [&] {
      for (size_t i = 0; i < targets.size(); ++i) {
        Attach(linears[i], scheme_, targets[i]);
      }
    };
    if (case_.stages == StageOrder::kTrueSequential) attach();
    std::vector<std::vector<double>> inputs(4);
    for (LayerRunner& runner : runners) {
      const std::vector<float> before = runner.x();
      Recorder recorder;
      ASSERT_TRUE(runner.Layer(index, &recorder).ok());
      ASSERT_EQ(recorder.seen.size(), 4u);
      for (size_t s = 0; s < 4; ++s) Keep(recorder.seen[s], inputs[s]);
      if (case_.stages == StageOrder::kWholeLayer) runner.x() = before;
    }
    if (case_.stages == StageOrder::kWholeLayer) {
      attach();
      for (LayerRunner& runner : runners) {
        ASSERT_TRUE(runner.Layer(index).ok());
      }
    }
    constexpr size_t kStageOf[] = {0, 0, 0, 1, 2, 2, 3};
    for (size_t i = 0; i < linears.size(); ++i) {
      const double wanted = ExactOutputError(
          inputs[kStageOf[i]], weights[i], ExactWeights(linears[i], kGroup),
          linears[i].n, linears[i].k, scheme_.damping);
      // As in quantize_linear_test.cc: sums and a root in f32.
      EXPECT_NEAR(linears[i].output_error, wanted, 2e-3 * wanted)
          << case_.variant << " " << linears[i].name;
    }
  }

  // The tokens as the linear's matmul will see them.
  void Keep(const Seen& seen, std::vector<double>& all) const {
    for (int64_t t = 0; t < seen.num_rows; ++t) {
      const float* row = seen.x.data() + t * seen.k;
      if (case_.activations == ActivationFormat::kNone) {
        all.insert(all.end(), row, row + seen.k);
        continue;
      }
      const auto rounded = testing::RoundTokenToE4m3(row, seen.k);
      all.insert(all.end(), rounded.begin(), rounded.end());
    }
  }

  const Case& case_;
  const LinearScheme& scheme_;
  const Layers& layers_;
};

TEST(LayerQuantizerTest, LinearsAreRoundedForWhatTheyWillRead) {
  using enum StageOrder;
  using enum QuantizeMethod;
  for (const Case& c :
       {Case{"llama_mha", kTrueSequential}, Case{"llama_mha", kWholeLayer},
        Case{"llama_f32", kTrueSequential, kRtn},
        Case{"llama_f16", kWholeLayer, kRtn},
        Case{"llama_mqa_bias", kTrueSequential},
        Case{"llama_dynamic", kTrueSequential},
        Case{"mistral_window", kTrueSequential}, Case{"qwen2", kTrueSequential},
        Case{"qwen3", kTrueSequential}, Case{"qwen3", kWholeLayer},
        Case{"llama_mha", kTrueSequential, kGptq, GridFormat::kE4m3},
        Case{"llama_mha", kTrueSequential, kGptq, GridFormat::kE2m1,
             ActivationFormat::kNone},
        Case{"llama_mha", kWholeLayer, kGptq, GridFormat::kInt4,
             ActivationFormat::kE4m3},
        Case{"qwen2", kTrueSequential, kGptq, GridFormat::kInt8,
             ActivationFormat::kE4m3}}) {
    LinearScheme scheme = Scheme(c.method);
    scheme.grid.format = c.format;
    scheme.activations = c.activations;
    Layers layers;
    LayerQuantizerOptions options = Options(Golden(c.variant), &layers, scheme);
    options.stages = c.stages;
    ASSERT_TRUE(QuantizeByLayer(options).ok());
    Replay(c, scheme, layers).Check();
  }
}

// Only q/k/v of the first layer read the same in both orders.
TEST(LayerQuantizerTest, TheOrderOfStagesMatters) {
  Layers sequential, whole;
  LayerQuantizerOptions options = Options(Golden("llama_mha"), &sequential);
  ASSERT_TRUE(QuantizeByLayer(options).ok());
  options = Options(Golden("llama_mha"), &whole);
  options.stages = StageOrder::kWholeLayer;
  ASSERT_TRUE(QuantizeByLayer(options).ok());
  for (size_t i = 0; i < 7; ++i) {
    EXPECT_EQ(sequential[0][i].output_error == whole[0][i].output_error, i < 3)
        << sequential[0][i].name;
  }
}

void ExpectLoadedLayersGoOn(const std::string& variant, StageOrder stages,
                            GridFormat format) {
  LinearScheme scheme = Scheme();
  scheme.grid.format = format;
  Layers whole;
  LayerQuantizerOptions options = Options(Golden(variant), &whole, scheme);
  options.stages = stages;
  ASSERT_TRUE(QuantizeByLayer(options).ok()) << variant;
  for (const int64_t known : {0, 1}) {
    Layers rest;
    LayerQuantizerOptions resumed = Options(Golden(variant), &rest, scheme);
    resumed.stages = stages;
    std::vector<int64_t> asked;
    resumed.load =
        [&](int64_t layer) -> absl::StatusOr<std::vector<QuantizedLinear>> {
      asked.push_back(layer);
      if (layer != known) return std::vector<QuantizedLinear>();
      return whole.at(layer);
    };
    ASSERT_TRUE(QuantizeByLayer(resumed).ok()) << variant;
    EXPECT_THAT(asked, ElementsAre(0, 1));
    ASSERT_EQ(rest.size(), 1u);
    ExpectSame(rest.at(1 - known), whole.at(1 - known));
  }
}

// A loaded layer runs at once, a calibrated one in pieces: the same numbers.
TEST(LayerQuantizerTest, LoadedLayersGoOnToTheSameBytes) {
  for (const StageOrder stages :
       {StageOrder::kTrueSequential, StageOrder::kWholeLayer}) {
    for (const GridFormat format : {GridFormat::kE2m1, GridFormat::kInt4}) {
      ExpectLoadedLayersGoOn("qwen3", stages, format);
    }
  }
  for (const std::string variant : {"gemma2", "opt", "phi3", "gpt2"}) {
    ExpectLoadedLayersGoOn(variant, StageOrder::kTrueSequential,
                           GridFormat::kE2m1);
  }
}

TEST(LayerQuantizerTest, KeptLinearsStay) {
  Layers layers;
  LayerQuantizerOptions options = Options(Golden("llama_mha"), &layers);
  options.keep = [](const std::string& name) {
    return name.starts_with("model.layers.0") || name.ends_with("k_proj") ||
           name.ends_with("o_proj");
  };
  ASSERT_TRUE(QuantizeByLayer(options).ok());
  EXPECT_TRUE(layers.at(0).empty());
  std::vector<std::string> names;
  for (const QuantizedLinear& linear : layers.at(1)) {
    names.push_back(linear.name.substr(linear.name.rfind('.') + 1));
  }
  EXPECT_THAT(names, ElementsAre("q_proj", "v_proj", "gate_proj", "up_proj",
                                 "down_proj"));
}

// Layer by layer from 0 to 1, in both orders, also where layers are loaded.
TEST(LayerQuantizerTest, ProgressGrowsToTheWholeOfEachLayer) {
  for (const StageOrder stages :
       {StageOrder::kTrueSequential, StageOrder::kWholeLayer}) {
    Layers layers;
    LayerQuantizerOptions options = Options(Golden("llama_f32"), &layers);
    options.stages = stages;
    std::vector<std::pair<int64_t, double>> calls;
    options.progress = [&](int64_t layer, double part) {
      calls.emplace_back(layer, part);
      return absl::OkStatus();
    };
    ASSERT_TRUE(QuantizeByLayer(options).ok());
    options.load =
        [&](int64_t layer) -> absl::StatusOr<std::vector<QuantizedLinear>> {
      return layers.at(layer);
    };
    std::vector<std::vector<std::pair<int64_t, double>>> runs = {calls};
    calls.clear();
    ASSERT_TRUE(QuantizeByLayer(options).ok());
    runs.push_back(calls);
    for (const auto& run : runs) {
      ASSERT_GE(run.size(), 8u);
      EXPECT_TRUE(std::is_sorted(run.begin(), run.end()));
      EXPECT_EQ(run.front().first, 0);
      EXPECT_GE(run.front().second, 0);
      EXPECT_LT(run.front().second, 0.5);
      for (size_t i = 0; i < run.size(); ++i) {
        if (i + 1 < run.size() && run[i + 1].first == run[i].first) continue;
        EXPECT_NEAR(run[i].second, 1, 1e-9) << "layer " << run[i].first;
      }
      EXPECT_EQ(run.back().first, 1);
    }
  }
}

TEST(LayerQuantizerTest, CanBeCancelledAtAnyTime) {
  for (const int last : {1, 3, 7, 20, 26, 27, 28, 40}) {
    Layers layers;
    LayerQuantizerOptions options = Options(Golden("llama_f32"), &layers);
    int calls = 0;
    options.progress = [&](int64_t, double) {
      return ++calls == last ? absl::CancelledError("enough")
                             : absl::OkStatus();
    };
    const absl::Status status = QuantizeByLayer(options);
    EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
    EXPECT_EQ(status.message(), "enough");
    EXPECT_EQ(calls, last) << "went on";
    // A layer that is stored is whole: 7 linears and 5 runs of 4 sequences.
    EXPECT_LE(layers.size(), static_cast<size_t>(last / 27));
  }
}

TEST(LayerQuantizerTest, ErrorsOfTheCallbacksEndTheWork) {
  Layers layers;
  LayerQuantizerOptions options = Options(Golden("llama_f32"), &layers);
  int stores = 0;
  options.store = [&](int64_t, const std::vector<QuantizedLinear>&) {
    ++stores;
    return absl::ResourceExhaustedError("disk full");
  };
  EXPECT_EQ(QuantizeByLayer(options).message(), "disk full");
  EXPECT_EQ(stores, 1);
  options.load = [](int64_t) -> absl::StatusOr<std::vector<QuantizedLinear>> {
    return absl::DataLossError("damaged");
  };
  EXPECT_EQ(QuantizeByLayer(options).message(), "damaged");
  EXPECT_EQ(stores, 1);
  // None of them is needed.
  options.load = nullptr;
  options.store = nullptr;
  EXPECT_TRUE(QuantizeByLayer(options).ok());
}

TEST(LayerQuantizerTest, CalibrationsThatCannotBe) {
  using Ids = std::vector<int32_t>;
  struct Bad {
    std::vector<Ids> calibration;
    const char* message;
  };
  const Ids too_long(257, 1), longest(256, 1);  // the context is 256
  for (const Bad& bad :
       {Bad{{}, "want at least one sequence"},
        Bad{{too_long}, "want sequences of 1 .. 256 tokens"},
        Bad{{too_long, too_long, too_long}, "found one of 257"},
        Bad{{{1, 2}, {}}, "found one of 0"},
        Bad{{{1, 2}, {1, 48}}, "want 48, found 48"},
        Bad{{{-1}}, "want 48, found -1"}}) {
    Layers layers;
    LayerQuantizerOptions options = Options(Golden("llama_f32"), &layers);
    options.calibration = bad.calibration;
    EXPECT_THAT(Message(options), HasSubstr(bad.message));
    EXPECT_TRUE(layers.empty());
  }
  Layers layers;
  LayerQuantizerOptions options = Options(Golden("llama_f32"), &layers);
  options.calibration = {longest};
  EXPECT_TRUE(QuantizeByLayer(options).ok());
  options.input = Golden("no_such_model");
  EXPECT_FALSE(QuantizeByLayer(options).ok());
}

// Weights that are finite but whose activations are not: the linear that reads
// them is named, and nothing of its layer is stored.
TEST(LayerQuantizerTest, ActivationsThatAreNotFiniteAreRefused) {
  struct Bad {
    const char* tensor;
    const char* linear;
  };
  for (const StageOrder stages :
       {StageOrder::kTrueSequential, StageOrder::kWholeLayer}) {
    for (const Bad& bad :
         {Bad{"input_layernorm.weight", "self_attn.q_proj"},
          Bad{"post_attention_layernorm.weight", "mlp.gate_proj"}}) {
      EditableCheckpoint checkpoint = EditableCheckpoint::Golden("llama_f32");
      auto& tensor =
          checkpoint.tensors.at(std::string("model.layers.1.") + bad.tensor);
      for (size_t i = 0; i < 32; ++i) tensor.Set(i, 3e38f);
      const ScratchDirectory scratch;
      checkpoint.Write(scratch);
      Layers layers;
      LayerQuantizerOptions options = Options(scratch.path(), &layers);
      options.stages = stages;
      const std::string message = Message(options);
      EXPECT_THAT(message, HasSubstr("want inputs that are finite"));
      EXPECT_THAT(message, HasSubstr(std::string("layers.1.") + bad.linear));
      EXPECT_EQ(layers.size(), 1u);
    }
  }
}

}  // namespace
}  // namespace zqfp
