// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/layer_quantizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <memory>
#include <numeric>
#include <optional>

#include "kernels/core/status_macros.h"
#include "models/architectures.h"
#include "models/mapped_file.h"
#include "models/model.h"
#include "models/quantize/float_rows.h"
#include "models/simulated_activations.h"
#include "models/transformer.h"

namespace zqfp {
namespace {

// Linears that read the same input.
struct Stage {
  std::vector<const LinearWeight*> readers;
  std::optional<Hessian> hessian;
};

// Adds up the Hessians of a layer's stages.
class StageObserver : public LinearObserver {
 public:
  StageObserver(Model* model, ActivationFormat activations)
      : model_(*model), activations_(activations) {}

  // The one stage to sum up from now on, where every run ends; nullopt: all of
  // them, and runs go through.
  void Expect(std::optional<LayerStage> stage) { expected_ = stage; }
  // Of a run that begins at stage `first`. `input` becomes what the stage reads
  // where the run ends.
  void BeginSequence(LayerStage first, std::vector<float>* input) {
    next_ = static_cast<size_t>(first);
    input_ = input;
  }
  bool runs_through() const { return !expected_; }
  Stage& stage(LayerStage stage) { return stages_[static_cast<size_t>(stage)]; }

  Next Observe(absl::Span<const LinearWeight* const> readers, const float* x,
               int64_t num_rows) override {
    const auto shown = static_cast<LayerStage>(next_++);
    if (expected_.value_or(shown) != shown) return Next::kGoOn;
    Stage& stage = this->stage(shown);
    if (!stage.hessian) {
      stage.readers.assign(readers.begin(), readers.end());
      stage.hessian.emplace(readers.front()->view.k);
    }
    const int64_t dim = stage.hessian->k();
    rounded_.resize(static_cast<size_t>(num_rows * dim));
    RoundTokens(activations_, {num_rows, dim, x, rounded_.data()},
                model_.exec());
    stage.hessian->Add(rounded_.data(), num_rows, model_.backend().ops,
                       model_.exec());
    if (runs_through()) return Next::kGoOn;
    input_->assign(x, x + num_rows * dim);
    return Next::kStop;
  }

 private:
  Model& model_;
  ActivationFormat activations_;
  std::array<Stage, std::size(kLayerStages)> stages_;
  std::vector<float> rounded_;
  std::optional<LayerStage> expected_;
  size_t next_ = 0;
  std::vector<float>* input_ = nullptr;
};

DType DTypeOf(kernels::WeightFormat format) {
  if (format == kernels::WeightFormat::kBf16) return DType::kBf16;
  if (format == kernels::WeightFormat::kF16) return DType::kF16;
  return DType::kF32;
}

// One sequence, alone in a cache of one layer.
Batch MakeBatch(const std::vector<int32_t>& ids, int64_t num_pages) {
  const int32_t size = static_cast<int32_t>(ids.size());
  Batch batch = {.token_ids = ids,
                 .token_begin = {0, size},
                 .context_len = {size},
                 .page_table = {},
                 .page_table_stride = num_pages,
                 .rope_length = {size},
                 .logit_rows = {}};
  batch.page_table.resize(static_cast<size_t>(num_pages));
  std::iota(batch.page_table.begin(), batch.page_table.end(), 0);
  return batch;
}

class LayerQuantizer {
 public:
  explicit LayerQuantizer(const LayerQuantizerOptions& options)
      : options_(options) {}

  absl::Status Run();

 private:
  absl::Status Load();
  absl::Status CheckCalibration() const;
  void DropLayerPages();
  absl::Status QuantizeLayer(int64_t layer);
  absl::StatusOr<HessianFactors> Factor(const Stage& stage);
  absl::Status QuantizeStage(Stage& stage);
  // Rounds the present layer, and brings the hidden states through it.
  absl::Status QuantizeStages();
  // Runs every sequence through the layer, from a stage on where the run before
  // ended. Hidden states become those where it ends; they stay where an
  // observer sees all of it, since its linears are not done then.
  absl::Status RunFrom(LayerStage first, StageObserver* observer);
  absl::Status RunThrough() {
    return RunFrom(LayerStage::kAttentionInput, nullptr);
  }
  absl::Status AttachAll(int64_t layer, std::vector<QuantizedLinear> linears);
  LinearWeight* Find(const LinearWeight* linear);
  bool Keeps(const LinearWeight& linear) const;
  absl::Status Progress(double part) const {
    return options_.progress ? options_.progress(layer_, part)
                             : absl::OkStatus();
  }

  const LayerQuantizerOptions& options_;
  std::unique_ptr<Model> model_;
  std::optional<KvCache> cache_;
  std::vector<std::vector<float>> hidden_;  // of each sequence
  std::vector<std::vector<float>> inputs_;  // of the stage where runs ended
  std::vector<float> scratch_;
  int64_t layer_ = 0;
  double part_ = 0, part_per_sequence_ = 0;
  // Of the present layer, by the place of the weight: views point into them.
  std::map<const LinearWeight*, QuantizedLinear> done_;
};

absl::Status LayerQuantizer::CheckCalibration() const {
  const Config& config = model_->config();
  if (options_.calibration.empty()) {
    return absl::InvalidArgumentError(
        "calibration: want at least one sequence of tokens, found none");
  }
  for (const auto& ids : options_.calibration) {
    const auto size = static_cast<int64_t>(ids.size());
    if (size < 1 || size > config.max_positions) {
      return absl::InvalidArgumentError(fmt::format(
          "calibration: want sequences of 1 .. {} tokens (the model's "
          "context), found one of {}",
          config.max_positions, size));
    }
  }
  return absl::OkStatus();
}

// Loading has checked every weight: without this the whole file would stay
// resident until its last layer is done.
void LayerQuantizer::DropLayerPages() {
  for (const LayerWeights& layer : model_->mutable_weights().layers) {
    for (const LinearRule& rule :
         TensorsOf(model_->config().architecture).linears) {
      const LinearWeight& linear = layer.*rule.field;
      const kernels::WeightView& view = linear.view;
      // Memory of our own would be lost.
      if (linear.memory != nullptr || !linear.transposed.empty()) continue;
      DropPages(view.data, view.n * view.k * ByteSize(DTypeOf(view.format)));
    }
  }
}

absl::Status LayerQuantizer::Load() {
  size_t longest = 1;
  for (const auto& ids : options_.calibration) {
    longest = std::max(longest, ids.size());
  }
  ModelOptions model_options = {
      .num_threads = options_.num_threads,
      .device = "cpu",
      .max_tokens = static_cast<int64_t>(longest),
      .reserved_lorc_rank = options_.scheme.lorc.rank};
  // Activations that no kernel quantizes are rounded on the way.
  if (options_.scheme.is_dense()) {
    model_options.simulated_activations = options_.scheme.activations;
  }
  ZQFP_ASSIGN_OR_RETURN(model_, Model::Load(options_.input, model_options));
  ZQFP_RETURN_IF_ERROR(CheckCalibration());
  DropLayerPages();
  Config one_layer = model_->config();
  one_layer.num_layers = 1;
  KvCacheOptions cache_options = {.format = kernels::ValueFormat::kF32};
  cache_options.num_pages =
      (static_cast<int64_t>(longest) + cache_options.page_size - 1) /
      cache_options.page_size;
  ZQFP_ASSIGN_OR_RETURN(KvCache cache,
                        KvCache::Create(one_layer, cache_options));
  cache_.emplace(std::move(cache));
  inputs_.resize(options_.calibration.size());
  for (const auto& ids : options_.calibration) {
    hidden_.emplace_back(ids.size() *
                         static_cast<size_t>(model_->config().model_dim));
    ZQFP_RETURN_IF_ERROR(
        model_->Embed(MakeBatch(ids, cache_->options().num_pages),
                      absl::MakeSpan(hidden_.back())));
  }
  return absl::OkStatus();
}

absl::Status LayerQuantizer::RunFrom(LayerStage first,
                                     StageObserver* observer) {
  for (size_t i = 0; i < hidden_.size(); ++i) {
    std::vector<float>* x = &hidden_[i];
    if (observer != nullptr) {
      observer->BeginSequence(first, &inputs_[i]);
      if (observer->runs_through()) {
        scratch_ = *x;
        x = &scratch_;
      }
    }
    if (first == LayerStage::kAttentionInput) {
      const Batch batch =
          MakeBatch(options_.calibration[i], cache_->options().num_pages);
      ZQFP_RETURN_IF_ERROR(model_->ForwardLayer(layer_, batch, *cache_,
                                                observer, absl::MakeSpan(*x)));
    } else {
      ZQFP_RETURN_IF_ERROR(model_->ResumeLayer(layer_, first, inputs_[i],
                                               observer, absl::MakeSpan(*x)));
    }
    part_ += part_per_sequence_;
    ZQFP_RETURN_IF_ERROR(Progress(std::min(part_, 1.0)));
  }
  return absl::OkStatus();
}

// The same weight where it may be changed.
LinearWeight* LayerQuantizer::Find(const LinearWeight* linear) {
  LayerWeights& layer =
      model_->mutable_weights().layers[static_cast<size_t>(layer_)];
  for (const LinearRule& rule :
       TensorsOf(model_->config().architecture).linears) {
    if (&(layer.*rule.field) == linear) return &(layer.*rule.field);
  }
  return nullptr;
}

bool LayerQuantizer::Keeps(const LinearWeight& linear) const {
  return options_.keep && options_.keep(linear.name);
}

absl::StatusOr<HessianFactors> LayerQuantizer::Factor(const Stage& stage) {
  absl::StatusOr<HessianFactors> factors = stage.hessian->Factor(
      options_.scheme.column_order, options_.scheme.damping, model_->exec());
  if (factors.ok()) return factors;
  return absl::Status(factors.status().code(),
                      fmt::format("{}: {}", stage.readers.front()->name,
                                  std::string(factors.status().message())));
}

// One factorization serves all that read the stage's input.
absl::Status LayerQuantizer::QuantizeStage(Stage& stage) {
  if (std::all_of(
          stage.readers.begin(), stage.readers.end(),
          [this](const LinearWeight* reader) { return Keeps(*reader); })) {
    stage.hessian.reset();
    return absl::OkStatus();
  }
  ZQFP_ASSIGN_OR_RETURN(const HessianFactors factors, Factor(stage));
  stage.hessian.reset();
  const QuantizeMachine machine = {&model_->pool(), &model_->backend().ops,
                                   model_->exec()};
  for (const LinearWeight* reader : stage.readers) {
    LinearWeight* linear = Find(reader);
    if (linear == nullptr || Keeps(*linear)) continue;
    const kernels::WeightView view = linear->view;
    const DType dtype = DTypeOf(view.format);
    const auto* data = static_cast<const uint8_t*>(view.data);
    std::vector<float> weights;
    LoadFloats(dtype, data, view.n * view.k, machine.exec, &weights);
    QuantizedLinear quantized = QuantizeLinear(options_.scheme,
                                               {.name = linear->name,
                                                .weights = weights,
                                                .k = view.k,
                                                .factors = &factors},
                                               machine);
    DropPages(data, view.n * view.k * ByteSize(dtype));
    const auto [place, inserted] =
        done_.insert_or_assign(linear, std::move(quantized));
    Attach(place->second, options_.scheme, linear);
    ZQFP_RETURN_IF_ERROR(Progress(std::min(part_, 1.0)));
  }
  return absl::OkStatus();
}

// One run over all linears in pieces: each ends at what the next stage reads,
// and the next goes on from there.
absl::Status LayerQuantizer::QuantizeStages() {
  StageObserver observer(model_.get(), options_.scheme.activations);
  if (options_.stages == StageOrder::kWholeLayer) {
    ZQFP_RETURN_IF_ERROR(RunFrom(LayerStage::kAttentionInput, &observer));
    for (const LayerStage stage : kLayerStages) {
      ZQFP_RETURN_IF_ERROR(QuantizeStage(observer.stage(stage)));
    }
    return RunThrough();
  }
  LayerStage reached = LayerStage::kAttentionInput;
  for (const LayerStage stage : kLayerStages) {
    observer.Expect(stage);
    ZQFP_RETURN_IF_ERROR(RunFrom(reached, &observer));
    ZQFP_RETURN_IF_ERROR(QuantizeStage(observer.stage(stage)));
    reached = stage;
  }
  return RunFrom(reached, nullptr);
}

absl::Status LayerQuantizer::AttachAll(int64_t layer,
                                       std::vector<QuantizedLinear> linears) {
  LayerWeights& weights =
      model_->mutable_weights().layers[static_cast<size_t>(layer)];
  for (const LinearRule& rule :
       TensorsOf(model_->config().architecture).linears) {
    LinearWeight& linear = weights.*rule.field;
    for (QuantizedLinear& quantized : linears) {
      if (quantized.name != linear.name) continue;
      const auto [place, inserted] =
          done_.insert_or_assign(&linear, std::move(quantized));
      Attach(place->second, options_.scheme, &linear);
      break;
    }
  }
  return absl::OkStatus();
}

absl::Status LayerQuantizer::QuantizeLayer(int64_t layer) {
  layer_ = layer;
  part_ = 0;
  done_.clear();
  std::vector<QuantizedLinear> loaded;
  if (options_.load) {
    ZQFP_ASSIGN_OR_RETURN(loaded, options_.load(layer));
  }
  if (!loaded.empty()) {
    part_per_sequence_ = 1.0 / static_cast<double>(hidden_.size());
    ZQFP_RETURN_IF_ERROR(AttachAll(layer, std::move(loaded)));
    return RunThrough();
  }
  // The runs for the Hessians, one or one of each stage, and that through.
  const double num_runs = options_.stages == StageOrder::kWholeLayer ? 2 : 5;
  part_per_sequence_ = 1.0 / (num_runs * static_cast<double>(hidden_.size()));
  ZQFP_RETURN_IF_ERROR(QuantizeStages());
  std::vector<QuantizedLinear> linears;
  const LayerWeights& weights =
      model_->mutable_weights().layers[static_cast<size_t>(layer)];
  for (const LinearRule& rule :
       TensorsOf(model_->config().architecture).linears) {
    const auto found = done_.find(&(weights.*rule.field));
    if (found != done_.end()) linears.push_back(found->second);
  }
  return options_.store ? options_.store(layer, linears) : absl::OkStatus();
}

absl::Status LayerQuantizer::Run() {
  ZQFP_RETURN_IF_ERROR(Load());
  for (int64_t i = 0; i < model_->config().num_layers; ++i) {
    ZQFP_RETURN_IF_ERROR(QuantizeLayer(i));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status QuantizeByLayer(const LayerQuantizerOptions& options) {
  return LayerQuantizer(options).Run();
}

}  // namespace zqfp
