// SPDX-License-Identifier: Apache-2.0
#include "models/model.h"

#include <fmt/format.h>
#include <string.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "kernels/backend.h"
#include "kernels/core/buffer.h"
#include "kernels/core/status_macros.h"
#include "kernels/core/validate.h"
#include "kernels/op_profile.h"
#include "models/architectures.h"
#include "models/place_weights.h"
#include "models/recorded_steps.h"
#include "models/step_inputs.h"
#include "models/transformer.h"
#include "models/weights.h"

namespace zqfp {
namespace {

// Rows of a step where the options leave them open: enough that a prompt is
// bound by arithmetic, not by reading the weights, and few enough that the
// buffers stay small beside any model.
constexpr int64_t kMostRows = 256;
constexpr int64_t kLeastRows = 32;
constexpr int64_t kMaxBufferBytes = 40'000'000;
// On a device, where arithmetic is faster still beside the memory.
constexpr int64_t kMostDeviceRows = 2048;
constexpr int64_t kMaxDeviceBufferBytes = 1'000'000'000;

absl::Status BadBatch(const char* field, int64_t want, int64_t found) {
  return absl::InvalidArgumentError(
      fmt::format("batch: {}: want {}, found {}", field, want, found));
}

absl::Status CheckIds(absl::Span<const int32_t> ids, int64_t vocab_size) {
  for (const int32_t id : ids) {
    if (id < 0 || id >= vocab_size) {
      return BadBatch("token ids below", vocab_size, id);
    }
  }
  return absl::OkStatus();
}

// Of an e2m1 weight: the config's word, or, where another container brought it
// (MXFP4), what its powers of two came to.
std::string_view Constraint(const LinearWeight& linear, const Config& config) {
  if (config.quantization) return ToString(config.quantization->constraint);
  return ToString(linear.view.format == kernels::WeightFormat::kE2m1Free
                      ? ScaleConstraint::kFree
                      : ScaleConstraint::kM1);
}

std::string DescribeFormat(const LinearWeight& linear, const Config& config) {
  using kernels::WeightFormat;
  if (!linear.origin.empty()) return linear.origin;
  switch (linear.view.format) {
    case WeightFormat::kF32:
      return "f32";
    case WeightFormat::kBf16:
      return "bf16";
    case WeightFormat::kF16:
      return "f16";
    case WeightFormat::kE4m3:
      return "e4m3 per row";
    case WeightFormat::kE4m3Groups:
    case WeightFormat::kE2m1E4m3:
      return linear.origin;
    case WeightFormat::kE2m1Free:
    case WeightFormat::kE2m1Shift:
      return fmt::format("e2m1 {} group {}", Constraint(linear, config),
                         linear.view.group_size);
  }
  return "";
}

std::string DescribeWeights(const LinearWeight& linear, const Config& config) {
  const kernels::LorcView& lorc = linear.view.lorc;
  std::string text = DescribeFormat(linear, config);
  if (lorc.rank == 0) return text;
  const bool e4m3 = lorc.format == kernels::ValueFormat::kE4m3;
  return fmt::format("{}, low rank {} {}", text, lorc.rank,
                     e4m3 ? "e4m3" : "bf16");
}

std::string DescribeInputs(const LinearWeight& linear, const Config& config) {
  const bool dropped =
      config.foreign && config.foreign->weight_only && linear.quantized();
  switch (linear.activations) {
    case ActivationFormat::kE4m3:
      return "e4m3 per token";
    case ActivationFormat::kE4m3Static:
      return fmt::format("e4m3 static {}", linear.input_scale);
    case ActivationFormat::kE4m3Groups:
      return fmt::format("e4m3 per token and {}", linear.input_group);
    default:
      return dropped ? "f32 (weight only)" : "f32";
  }
}

// Drops what the file says about inputs and the cache; an error where that
// changes the model and only the model as it is will do.
absl::Status UseWeightsOnly(const ModelOptions& options, Config& config) {
  bool changes = false;
  if (config.quantization) {
    changes = config.quantization->activations != ActivationFormat::kNone;
    config.quantization->activations = ActivationFormat::kNone;
  }
  if (config.foreign) {
    changes = !config.foreign->refused_cache.empty();
    for (const ForeignGroup& group : config.foreign->groups) {
      changes = changes || !group.scheme.refused.empty() ||
                group.scheme.activations != ActivationFormat::kNone;
    }
    config.foreign->weight_only = true;
  }
  if (!changes || !options.strict) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "strict: weight_only: want the model as its file has it, with quantized "
      "inputs or cache, found f32 inputs asked for");
}

// An op that only the reference serves is one that nobody made fast for this
// backend: it is exact, and it is a fallback.
absl::Status CheckNoFallback(const kernels::Backend& backend) {
  for (const kernels::OpSource& source : backend.sources) {
    if (source.table == "reference" && backend.name != "reference") {
      return absl::FailedPreconditionError(
          fmt::format("strict: {}: want a kernel of backend {}, found only "
                      "the reference (zqfp-inspect --ops shows them all)",
                      source.op, backend.name));
    }
  }
  return absl::OkStatus();
}

}  // namespace

// The best logits of `rows` rows as they lie on a device, in numbers of 4
// bytes: all ids, all logits, all masses.
class TopLogitsBlock {
 public:
  explicit TopLogitsBlock(int64_t rows) : rows_(rows) {}
  int64_t logits() const { return rows_ * kernels::kTopLogits; }
  int64_t masses() const { return 2 * logits(); }
  int64_t num_bytes() const { return (masses() + rows_) * 4; }

  void Split(const std::vector<float>& block, absl::Span<TopLogits> top) const {
    const float* id = block.data();
    const float* mass = id + masses();
    for (TopLogits& best : top) {
      memcpy(best.id.data(), id, sizeof(best.id));
      memcpy(best.logit.data(), id + logits(), sizeof(best.logit));
      best.mass = *mass++;
      id += kernels::kTopLogits;
    }
  }

 private:
  int64_t rows_;
};

struct Model::State {
  Config config;
  ModelOptions options;
  std::unique_ptr<kernels::ThreadPool> pool;
  kernels::Backend backend;
  Weights weights;
  std::unique_ptr<Activations> activations;
  kernels::Buffer workspace;
  std::unique_ptr<StepInputsBlock> inputs;
  std::unique_ptr<Transformer> transformer;
  // As many rows as a step wanted so far: logits, and the best of them.
  kernels::Buffer device_logits, device_top;
  int64_t top_rows = 0;  // of the last step, if it was a ForwardTop
  std::unique_ptr<RecordedSteps> recorded;  // null: none is

  absl::Status Start(const ModelOptions& wanted);
  absl::Status RefuseHostOptions() const;
  absl::Status RefuseDeviceOptions() const;
  absl::Status CheckDevice() const;
  absl::Status Plan();
  kernels::Exec exec() const;
  absl::Status Check(const Batch& batch, const KvCache& cache) const;
  absl::Status CheckRows(const Batch& batch) const;
  absl::Status RefuseDevice() const;
  absl::Status RunOnDevice(const StepInputs& in, KvCache& cache,
                           absl::Span<float> logits, absl::Span<TopLogits> top,
                           const Meanwhile& meanwhile);
  absl::Status RunAndSettle(const StepInputs& in, KvCache& cache,
                            absl::Span<float> logits, absl::Span<TopLogits> top,
                            const Meanwhile& meanwhile);
};

// What only the host's memory allows.
absl::Status Model::State::RefuseHostOptions() const {
  if (options.simulated_activations == ActivationFormat::kNone) {
    return absl::OkStatus();
  }
  return absl::UnimplementedError(fmt::format(
      "model options: want device cpu for simulated activations, found {}",
      backend.name));
}

// What only a device does.
absl::Status Model::State::RefuseDeviceOptions() const {
  const char* asked = options.fp8_fast_accum
                          ? "fp8_fast_accum"
                          : (options.resident_fp8 ? "resident_fp8" : nullptr);
  if (asked == nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{}: want a CUDA device, found the CPU", asked));
}

// Whether what a backend's name or the environment chose is what `device` says.
absl::Status Model::State::CheckDevice() const {
  const std::string found = backend.device != nullptr ? backend.name : "cpu";
  if (options.device == "auto" || options.device == found) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("model options: want device {}, found the backend {} by name "
                  "or in ZQFP_BACKEND, which runs on {}",
                  options.device, backend.name, found));
}

// Threads and kernels, before any weight is read.
absl::Status Model::State::Start(const ModelOptions& wanted) {
  options = wanted;
  if (options.num_threads == 0) options.num_threads = kernels::PhysicalCores();
  if (options.max_tokens < 0) {
    return absl::InvalidArgumentError(
        fmt::format("model options: want 0 or more tokens a step, found {}",
                    options.max_tokens));
  }
  ZQFP_ASSIGN_OR_RETURN(backend, options.backend.empty()
                                     ? kernels::SelectBackend(options.device)
                                     : kernels::MakeBackend(options.backend));
  ZQFP_RETURN_IF_ERROR(CheckDevice());
  options.backend = backend.name;
  ZQFP_RETURN_IF_ERROR(backend.device != nullptr ? RefuseHostOptions()
                                                 : RefuseDeviceOptions());
  if (options.strict) ZQFP_RETURN_IF_ERROR(CheckNoFallback(backend));
  if (options.profile != nullptr) {
    // Ops of a recording are not noted.
    options.record_steps = false;
    backend.ops = options.profile->Wrap(backend.ops, backend.lab);
  }
  ZQFP_ASSIGN_OR_RETURN(pool, kernels::ThreadPool::Create(options.num_threads));
  return absl::OkStatus();
}

// Buffers, once the weights are there.
absl::Status Model::State::Plan() {
  if (options.max_tokens == 0) {
    const bool on_host = backend.device == nullptr;
    const int64_t bytes = on_host ? kMaxBufferBytes : kMaxDeviceBufferBytes;
    options.max_tokens =
        std::clamp<int64_t>(bytes / Activations::RowBytes(config), kLeastRows,
                            on_host ? kMostRows : kMostDeviceRows);
  }
  const int64_t widest = std::max(
      {config.model_dim, config.ffn_dim, config.num_heads * config.head_dim});
  const int64_t own_rank =
      config.quantization ? config.quantization->lorc.rank : 0;
  const int64_t workspace_bytes = backend.WorkspaceBytes(
      {.num_tokens = options.max_tokens,
       .k = widest,
       .n = std::max(widest, config.vocab_size),
       .lorc_rank = std::max(options.reserved_lorc_rank, own_rank),
       .num_heads = config.num_heads,
       .head_dim = config.head_dim,
       .num_threads = options.num_threads});
  kernels::Device* const device = backend.device;
  if (device != nullptr) {
    const Placement placement = {
        .other_bytes = workspace_bytes +
                       options.max_tokens * Activations::RowBytes(config),
        .fp8_sums = options.fp8_fast_accum ? kernels::Fp8Sums::kFast
                                           : kernels::Fp8Sums::kPromoted,
        .keep_fp8_rows = options.resident_fp8};
    ZQFP_RETURN_IF_ERROR(PlaceWeights(config, placement, *device, weights));
  }
  ZQFP_ASSIGN_OR_RETURN(workspace, kernels::Buffer::Allocate(
                                       device, workspace_bytes, "workspace"));
  ZQFP_ASSIGN_OR_RETURN(
      activations, Activations::Create(config, options.max_tokens,
                                       options.simulated_activations, device));
  inputs = std::make_unique<StepInputsBlock>(&config, device);
  if (device != nullptr && options.record_steps) {
    recorded = std::make_unique<RecordedSteps>(device);
  }
  transformer = std::make_unique<Transformer>(&config, &weights, &backend,
                                              activations.get(), exec());
  return absl::OkStatus();
}

kernels::Exec Model::State::exec() const {
  return {
      .parallel = pool->parallel(),
      .workspace = workspace.data(),
      .stream = backend.device != nullptr ? backend.device->stream() : nullptr};
}

// Ids, sequences and lengths, which have no need of a cache.
absl::Status Model::State::CheckRows(const Batch& batch) const {
  const int64_t num_tokens = static_cast<int64_t>(batch.token_ids.size());
  const int64_t sequences = static_cast<int64_t>(batch.context_len.size());
  if (num_tokens > options.max_tokens) {
    return BadBatch("tokens, at most", options.max_tokens, num_tokens);
  }
  if (static_cast<int64_t>(batch.token_begin.size()) != sequences + 1 ||
      batch.token_begin.back() != num_tokens) {
    return BadBatch("last token_begin", num_tokens,
                    batch.token_begin.empty() ? -1 : batch.token_begin.back());
  }
  if (static_cast<int64_t>(batch.rope_length.size()) != sequences) {
    return BadBatch("rope_length entries", sequences,
                    static_cast<int64_t>(batch.rope_length.size()));
  }
  ZQFP_RETURN_IF_ERROR(CheckIds(batch.token_ids, config.vocab_size));
  for (const int32_t length : batch.context_len) {
    if (length > config.max_positions) {
      return BadBatch("positions, at most", config.max_positions, length);
    }
  }
  return absl::OkStatus();
}

absl::Status Model::State::Check(const Batch& batch,
                                 const KvCache& cache) const {
  ZQFP_RETURN_IF_ERROR(CheckRows(batch));
  const int64_t num_tokens = static_cast<int64_t>(batch.token_ids.size());
  const int64_t sequences = static_cast<int64_t>(batch.context_len.size());
  const int64_t entries = static_cast<int64_t>(batch.page_table.size());
  int64_t wanted_entries = 0;
  if (__builtin_mul_overflow(sequences, batch.page_table_stride,
                             &wanted_entries) ||
      entries != wanted_entries) {
    return absl::InvalidArgumentError(
        fmt::format("batch: page_table: want {} rows of {}, found {} entries",
                    sequences, batch.page_table_stride, entries));
  }
  int64_t last = -1;
  for (const int32_t row : batch.logit_rows) {
    if (row <= last || row >= num_tokens) {
      return BadBatch("ascending logit_rows below", num_tokens, row);
    }
    last = row;
  }
  if (!batch.temperature.empty() &&
      batch.temperature.size() != batch.logit_rows.size()) {
    return BadBatch("temperatures", std::ssize(batch.logit_rows),
                    std::ssize(batch.temperature));
  }
  return kernels::Validate(ViewOf(batch), cache.Layer(0));
}

// Layer by layer only where the host can see what passes.
absl::Status Model::State::RefuseDevice() const {
  if (backend.device == nullptr) return absl::OkStatus();
  return absl::UnimplementedError(fmt::format(
      "model: want device cpu to run layer by layer, found {}", backend.name));
}

// Enqueues a step, then runs `meanwhile`, then fetches all logits, or the best
// of every row where `top` is not empty.
absl::Status Model::State::RunOnDevice(const StepInputs& in, KvCache& cache,
                                       absl::Span<float> logits,
                                       absl::Span<TopLogits> top,
                                       const Meanwhile& meanwhile) {
  kernels::Device* const device = backend.device;
  const int64_t rows = in.num_logit_rows;
  const auto reserve = [&](kernels::Buffer& buffer, int64_t num_bytes) {
    if (buffer.num_bytes() >= num_bytes) return absl::OkStatus();
    ZQFP_ASSIGN_OR_RETURN(
        buffer, kernels::Buffer::Allocate(device, num_bytes, "logits"));
    return absl::OkStatus();
  };
  const int64_t logit_bytes = rows * config.vocab_size * 4;
  const TopLogitsBlock block(std::ssize(top));
  ZQFP_RETURN_IF_ERROR(reserve(device_logits, logit_bytes));
  ZQFP_RETURN_IF_ERROR(reserve(device_top, block.num_bytes()));
  auto* const y = static_cast<float*>(device_logits.data());
  auto* const best = static_cast<float*>(device_top.data());
  const auto enqueue = [&] {
    transformer->Run(in, cache, y);
    if (top.empty()) return;
    backend.ops.top_logits({.num_rows = rows,
                            .dim = config.vocab_size,
                            .x = y,
                            .temperature = in.temperature,
                            .id = reinterpret_cast<int32_t*>(best),
                            .logit = best + block.logits(),
                            .mass = best + block.masses()},
                           exec());
  };
  if (recorded != nullptr) {
    ZQFP_RETURN_IF_ERROR(
        recorded->Run(RecordedSteps::KeyOf(in, cache, config.num_layers,
                                           {y, top.empty() ? nullptr : best}),
                      enqueue));
  } else {
    enqueue();
  }
  top_rows = std::ssize(top);
  if (meanwhile) meanwhile();
  if (rows == 0) return device->Synchronize();
  if (top.empty()) return device->Download(y, logit_bytes, logits.data());
  std::vector<float> found(static_cast<size_t>(block.num_bytes()) / 4);
  ZQFP_RETURN_IF_ERROR(device->Download(best, block.num_bytes(), found.data()));
  block.Split(found, top);
  return absl::OkStatus();
}

// RunOnDevice, and what the profile has noted of it.
absl::Status Model::State::RunAndSettle(const StepInputs& in, KvCache& cache,
                                        absl::Span<float> logits,
                                        absl::Span<TopLogits> top,
                                        const Meanwhile& meanwhile) {
  ZQFP_RETURN_IF_ERROR(RunOnDevice(in, cache, logits, top, meanwhile));
  return options.profile != nullptr ? options.profile->Settle()
                                    : absl::OkStatus();
}

Model::Model() : state_(std::make_unique<State>()) {}
Model::~Model() = default;

absl::StatusOr<std::unique_ptr<Model>> Model::Load(
    const std::string& directory, const ModelOptions& options) {
  std::unique_ptr<Model> model(new Model());
  State& state = *model->state_;
  ZQFP_RETURN_IF_ERROR(state.Start(options));
  ZQFP_ASSIGN_OR_RETURN(state.config, LoadConfig(directory));
  if (options.weight_only) {
    ZQFP_RETURN_IF_ERROR(UseWeightsOnly(options, state.config));
  }
  ZQFP_ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::Open(directory));
  ZQFP_ASSIGN_OR_RETURN(state.weights, BindWeights(std::move(checkpoint),
                                                   state.config, *state.pool));
  ZQFP_RETURN_IF_ERROR(state.Plan());
  return model;
}

absl::StatusOr<std::unique_ptr<Model>> Model::Random(
    const Config& config, uint64_t seed, const ModelOptions& options) {
  std::unique_ptr<Model> model(new Model());
  State& state = *model->state_;
  ZQFP_RETURN_IF_ERROR(state.Start(options));
  state.config = config;
  ZQFP_ASSIGN_OR_RETURN(state.weights, RandomWeights(config, seed, *state.pool,
                                                     state.backend.lab));
  ZQFP_RETURN_IF_ERROR(state.Plan());
  return model;
}

absl::Status Model::Forward(const Batch& batch, KvCache& cache,
                            absl::Span<float> logits,
                            const Meanwhile& meanwhile,
                            const std::function<bool()>& goes_on) {
  State& state = *state_;
  ZQFP_RETURN_IF_ERROR(state.Check(batch, cache));
  const size_t wanted =
      batch.logit_rows.size() * static_cast<size_t>(state.config.vocab_size);
  if (logits.size() != wanted) {
    return BadBatch("logits", static_cast<int64_t>(wanted),
                    static_cast<int64_t>(logits.size()));
  }
  if (batch.token_ids.empty()) return absl::OkStatus();
  ZQFP_ASSIGN_OR_RETURN(const StepInputs in, state.inputs->Fill(batch));
  if (device() != nullptr) {
    return state.RunAndSettle(in, cache, logits, {}, meanwhile);
  }
  if (meanwhile) meanwhile();
  return state.transformer->Run(in, cache, logits.data(), goes_on)
             ? absl::OkStatus()
             : absl::CancelledError("step: cancelled between two layers");
}

int64_t Model::MostTopRows() const {
  const bool has = state_->backend.ops.top_logits != nullptr;
  return has ? kernels::kMostTopLogitRows : 0;
}

absl::Status Model::ForwardTop(const Batch& batch, KvCache& cache,
                               absl::Span<TopLogits> top,
                               const Meanwhile& meanwhile) {
  State& state = *state_;
  ZQFP_RETURN_IF_ERROR(state.Check(batch, cache));
  const auto rows = static_cast<int64_t>(batch.logit_rows.size());
  if (MostTopRows() == 0) {
    return absl::UnimplementedError(
        fmt::format("model: want a device for the best logits, found {}",
                    state.backend.name));
  }
  if (rows > MostTopRows()) {
    return BadBatch("rows of best logits, at most", MostTopRows(), rows);
  }
  if (top.size() != batch.logit_rows.size()) {
    return BadBatch("best logits", rows, static_cast<int64_t>(top.size()));
  }
  if (batch.token_ids.empty()) return absl::OkStatus();
  ZQFP_ASSIGN_OR_RETURN(const StepInputs in, state.inputs->Fill(batch));
  return state.RunAndSettle(in, cache, {}, top, meanwhile);
}

absl::Status Model::FetchLogits(int64_t row, absl::Span<float> logits) {
  State& state = *state_;
  if (row < 0 || row >= state.top_rows) {
    return BadBatch("a row below those of the last best logits", state.top_rows,
                    row);
  }
  const int64_t vocab_size = state.config.vocab_size;
  if (std::ssize(logits) != vocab_size) {
    return BadBatch("logits", vocab_size, std::ssize(logits));
  }
  const auto* const y = static_cast<const float*>(state.device_logits.data());
  return device()->Download(y + row * vocab_size, vocab_size * 4,
                            logits.data());
}

absl::Status Model::Embed(const Batch& batch, absl::Span<float> x) {
  ZQFP_RETURN_IF_ERROR(state_->RefuseDevice());
  const auto size = static_cast<int64_t>(batch.token_ids.size());
  if (static_cast<int64_t>(x.size()) != size * state_->config.model_dim) {
    return BadBatch("hidden state", size * state_->config.model_dim,
                    static_cast<int64_t>(x.size()));
  }
  ZQFP_RETURN_IF_ERROR(state_->CheckRows(batch));
  ZQFP_ASSIGN_OR_RETURN(const StepInputs in, state_->inputs->Fill(batch));
  state_->transformer->Embed(in, x.data());
  return absl::OkStatus();
}

absl::Status Model::ForwardLayer(int64_t layer_index, const Batch& batch,
                                 KvCache& cache, LinearObserver* observer,
                                 absl::Span<float> x) {
  ZQFP_RETURN_IF_ERROR(state_->RefuseDevice());
  ZQFP_RETURN_IF_ERROR(state_->Check(batch, cache));
  if (!batch.logit_rows.empty()) {
    return BadBatch("logits of a layer", 0,
                    static_cast<int64_t>(batch.logit_rows.size()));
  }
  const int64_t size =
      static_cast<int64_t>(batch.token_ids.size()) * state_->config.model_dim;
  if (layer_index < 0 || layer_index >= state_->config.num_layers) {
    return BadBatch("layers below", state_->config.num_layers, layer_index);
  }
  if (static_cast<int64_t>(x.size()) != size) {
    return BadBatch("hidden state", size, static_cast<int64_t>(x.size()));
  }
  ZQFP_ASSIGN_OR_RETURN(const StepInputs in, state_->inputs->Fill(batch));
  std::copy(x.begin(), x.end(), state_->activations->x);
  state_->transformer->RunLayer(layer_index, in, cache.Layer(0), observer);
  std::copy_n(state_->activations->x, x.size(), x.begin());
  return absl::OkStatus();
}

absl::Status Model::ResumeLayer(int64_t layer_index, LayerStage stage,
                                absl::Span<const float> input,
                                LinearObserver* observer, absl::Span<float> x) {
  ZQFP_RETURN_IF_ERROR(state_->RefuseDevice());
  const Config& config = state_->config;
  if (layer_index < 0 || layer_index >= config.num_layers) {
    return BadBatch("layers below", config.num_layers, layer_index);
  }
  if (stage == LayerStage::kAttentionInput) {
    return absl::InvalidArgumentError(
        "batch: want a stage after attention, found the one before");
  }
  const auto size = static_cast<int64_t>(x.size());
  const int64_t num_tokens = size / config.model_dim;
  if (num_tokens > state_->options.max_tokens) {
    return BadBatch("tokens, at most", state_->options.max_tokens, num_tokens);
  }
  if (size != num_tokens * config.model_dim) {
    return BadBatch("hidden state", num_tokens * config.model_dim, size);
  }
  const auto [buffer, dim] = state_->transformer->InputOf(stage);
  if (static_cast<int64_t>(input.size()) != num_tokens * dim) {
    return BadBatch("input of the stage", num_tokens * dim,
                    static_cast<int64_t>(input.size()));
  }
  std::copy(x.begin(), x.end(), state_->activations->x);
  std::copy(input.begin(), input.end(), buffer);
  state_->transformer->ResumeLayer(layer_index, stage, num_tokens, observer);
  std::copy_n(state_->activations->x, x.size(), x.begin());
  return absl::OkStatus();
}

Weights& Model::mutable_weights() { return state_->weights; }
kernels::ThreadPool& Model::pool() { return *state_->pool; }
const kernels::Backend& Model::backend() const { return state_->backend; }
kernels::Exec Model::exec() const { return state_->exec(); }
kernels::Device* Model::device() const { return state_->backend.device; }

const Config& Model::config() const { return state_->config; }
const ModelOptions& Model::options() const { return state_->options; }

int64_t Model::weight_bytes() const { return state_->weights.StreamedBytes(); }

int64_t Model::converted_bytes() const {
  return state_->weights.ConvertedBytes();
}

int64_t Model::buffer_bytes() const {
  return state_->activations->num_bytes() + state_->workspace.num_bytes();
}

int64_t Model::resident_bytes() const { return state_->weights.fp8_row_bytes; }

bool Model::full_precision() const {
  return state_->weights.lm_head.view.format == kernels::WeightFormat::kF32;
}

bool Model::rounds_inputs() const {
  const Weights& weights = state_->weights;
  const auto rounds = [](const LinearWeight& linear) {
    return linear.activations != ActivationFormat::kNone;
  };
  for (const LayerWeights& layer : weights.layers) {
    for (const LinearRule& rule :
         TensorsOf(state_->config.architecture).linears) {
      if (rounds(layer.*rule.field)) return true;
    }
  }
  return rounds(weights.lm_head);
}

std::vector<LinearInfo> Model::Explain() const {
  const State& s = *state_;
  const auto kernel_of = [&](const std::string& op) {
    for (const kernels::OpSource& source : s.backend.sources) {
      if (source.op == op) return source.table;
    }
    return std::string("none");
  };
  std::vector<LinearInfo> list;
  const auto add = [&](const LinearWeight& linear) {
    const std::string op = linear.runs_a8() ? "matmul_a8" : "matmul";
    list.push_back(
        {.name = linear.name,
         .weights = DescribeWeights(linear, s.config),
         .note = linear.note,
         .activations = DescribeInputs(linear, s.config),
         .op = op,
         .kernel = s.backend.device != nullptr
                       ? s.backend.device->DescribeMatmul(linear.view,
                                                          linear.runs_a8())
                       : kernel_of(op),
         .n = linear.view.n,
         .k = linear.view.k,
         .num_bytes = linear.num_bytes(),
         .source = linear.source,
         .source_bytes = linear.source_bytes,
         .exact = linear.view.format == kernels::WeightFormat::kE2m1Shift ||
                  linear.view.format == kernels::WeightFormat::kE4m3Groups ||
                  linear.view.format == kernels::WeightFormat::kE4m3});
  };
  for (const LayerWeights& layer : s.weights.layers) {
    for (const LinearRule& rule : TensorsOf(s.config.architecture).linears) {
      add(layer.*rule.field);
    }
  }
  add(s.weights.lm_head);
  return list;
}

}  // namespace zqfp
