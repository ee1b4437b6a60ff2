// SPDX-License-Identifier: Apache-2.0
#include "models/transformer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/core/check.h"
#include "kernels/core/float_formats.h"
#include "kernels/core/status_macros.h"
#include "models/simulated_activations.h"

namespace zqfp {

namespace {

// Elements of one row of each buffer.
struct RowSizes {
  explicit RowSizes(const Config& config)
      : model(config.model_dim),
        query(config.num_heads * config.head_dim),
        kv(config.num_kv_heads * config.head_dim),
        ffn(config.ffn_dim) {}

  int64_t floats() const { return 2 * model + 1 + shared(); }
  int64_t shared() const { return std::max(2 * query + 2 * kv, 2 * ffn); }
  int64_t codes() const { return std::max({model, query, ffn}); }

  int64_t model, query, kv, ffn;
};

// The nearest value of a storage format, as a model that computes in it has.
float RoundTo(kernels::ValueFormat format, float value) {
  switch (format) {
    case kernels::ValueFormat::kBf16:
      return kernels::Bf16ToFloat(kernels::FloatToBf16(value));
    case kernels::ValueFormat::kF16:
      return kernels::F16ToFloat(kernels::FloatToF16(value));
    default:
      return value;
  }
}

bool AllRunA8(std::initializer_list<const LinearWeight*> linears) {
  return std::all_of(
      linears.begin(), linears.end(),
      [](const LinearWeight* linear) { return linear->runs_a8(); });
}

float ScoreScale(const Config& config) {
  const double squared = config.query_scalar > 0
                             ? config.query_scalar
                             : static_cast<double>(config.head_dim);
  return 1.0f / std::sqrt(static_cast<float>(squared));
}

}  // namespace

int64_t Activations::RowBytes(const Config& config) {
  const RowSizes row(config);
  return row.floats() * 4 + row.codes();
}

absl::StatusOr<std::unique_ptr<Activations>> Activations::Create(
    const Config& config, int64_t max_tokens, ActivationFormat simulated,
    kernels::Device* device) {
  const RowSizes row(config);
  auto buffers = std::make_unique<Activations>();
  Activations& a = *buffers;
  a.simulated = simulated;
  a.num_bytes_ = max_tokens * RowBytes(config);
  if (simulated != ActivationFormat::kNone || config.foreign) {
    a.rounded.resize(static_cast<size_t>(max_tokens * row.codes()));
    a.num_bytes_ += static_cast<int64_t>(a.rounded.size()) * 4;
  }
  ZQFP_ASSIGN_OR_RETURN(
      a.memory_, kernels::Buffer::Allocate(
                     device, max_tokens * row.floats() * 4, "activations"));
  ZQFP_ASSIGN_OR_RETURN(a.code_memory_,
                        kernels::Buffer::Allocate(
                            device, max_tokens * row.codes(), "activations"));
  a.codes = static_cast<uint8_t*>(a.code_memory_.data());
  float* next = static_cast<float*>(a.memory_.data());
  const auto take = [&](int64_t row_size) {
    float* buffer = next;
    next += max_tokens * row_size;
    return buffer;
  };
  a.x = take(row.model);
  a.normed = take(row.model);
  float* const shared = next;
  a.q = take(row.query);
  a.k = take(row.kv);
  a.v = take(row.kv);
  a.mixed = take(row.query);
  next = shared;
  a.gate = take(row.ffn);
  a.up = take(row.ffn);
  a.code_scales = shared + max_tokens * row.shared();
  return buffers;
}

Transformer::Transformer(const Config* config, const Weights* weights,
                         const kernels::Backend* backend, Activations* buffers,
                         kernels::Exec exec)
    : config_(*config),
      weights_(*weights),
      ops_(backend->ops),
      buffers_(*buffers),
      exec_(exec) {}

bool Transformer::Run(const StepInputs& inputs, KvCache& cache, float* logits,
                      const std::function<bool()>& goes_on) {
  Embed(inputs, buffers_.x);
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    if (goes_on && !goes_on()) return false;
    RunLayer(i, inputs, cache.Layer(i), nullptr);
  }
  Head(logits);
  return true;
}

void Transformer::Embed(const StepInputs& inputs, float* x) {
  const int64_t num_tokens = inputs.batch.num_tokens;
  const float scale = std::sqrt(static_cast<float>(config_.model_dim));
  ops_.embed({.num_tokens = num_tokens,
              .vocab_size = config_.vocab_size,
              .model_dim = config_.model_dim,
              .scale = config_.scale_embedding
                           ? RoundTo(weights_.embedding_format, scale)
                           : 1.0f,
              .id = inputs.ids,
              .table_format = weights_.embedding_format,
              .table = weights_.embedding,
              .y = x},
             exec_);
  if (config_.positions != PositionKind::kLearned) return;
  ops_.add_positions(
      {.num_tokens = num_tokens,
       .num_positions = config_.position_offset + config_.max_positions,
       .model_dim = config_.model_dim,
       .position = inputs.positions,
       .table_format = weights_.positions_format,
       .table = weights_.positions,
       .x = x},
      exec_);
}

void Transformer::RunLayer(int64_t layer_index, const StepInputs& inputs,
                           const kernels::KvPagesView& pages,
                           LinearObserver* observer) {
  inputs_ = inputs;
  num_tokens_ = inputs.batch.num_tokens;
  layer_index_ = layer_index;
  observer_ = observer;
  next_ = LinearObserver::Next::kGoOn;
  Layer(weights_.layers[static_cast<size_t>(layer_index)],
        LayerStage::kAttentionInput, pages);
}

void Transformer::ResumeLayer(int64_t layer_index, LayerStage stage,
                              int64_t num_tokens, LinearObserver* observer) {
  ZQFP_CHECK(stage != LayerStage::kAttentionInput);
  num_tokens_ = num_tokens;
  layer_index_ = layer_index;
  observer_ = observer;
  next_ = LinearObserver::Next::kGoOn;
  Layer(weights_.layers[static_cast<size_t>(layer_index)], stage, {});
}

// x += Post(Attention(Norm(x)));  x += Post(FeedForward(Norm(x))), where Post
// is a norm or nothing. Between two stages there is x and the later one's
// input.
void Transformer::Layer(const LayerWeights& layer, LayerStage first,
                        const kernels::KvPagesView& pages) {
  switch (first) {
    case LayerStage::kAttentionInput:
      NormFor({&layer.q, &layer.k, &layer.v}, layer.attention_norm);
      Attend(layer, pages);
      if (Stopped()) return;
      [[fallthrough]];
    case LayerStage::kAttentionOutput:
      Join(LayerStage::kAttentionOutput, layer.o, layer.attention_post_norm);
      if (Stopped()) return;
      if (config_.gated_ffn) {
        NormFor({&layer.gate, &layer.up}, layer.ffn_norm);
      } else {
        NormFor({&layer.up}, layer.ffn_norm);
      }
      [[fallthrough]];
    case LayerStage::kFfnInput:
      ActivateFfn(layer);
      if (Stopped()) return;
      [[fallthrough]];
    case LayerStage::kFfnOutput:
      Join(LayerStage::kFfnOutput, layer.down, layer.ffn_post_norm);
  }
}

Transformer::StageInput Transformer::InputOf(LayerStage stage) const {
  switch (stage) {
    case LayerStage::kAttentionOutput:
      return {buffers_.mixed, config_.num_heads * config_.head_dim};
    case LayerStage::kFfnOutput:
      return {buffers_.gate, config_.ffn_dim};
    default:
      return {buffers_.normed, config_.model_dim};
  }
}

// mixed = softmax(q(x) k(x)^T) v(x)                         [arXiv:1706.03762]
void Transformer::Attend(const LayerWeights& layer,
                         const kernels::KvPagesView& pages) {
  const Input in =
      Prepare(LayerStage::kAttentionInput, {&layer.q, &layer.k, &layer.v});
  if (Stopped()) return;
  Multiply(
      {{&layer.q, buffers_.q}, {&layer.k, buffers_.k}, {&layer.v, buffers_.v}},
      in, num_tokens_);
  const bool is_windowed = config_.IsWindowed(layer_index_);
  StoreAndAttend(layer,
                 {.batch = inputs_.batch,
                  .num_heads = config_.num_heads,
                  .scale = ScoreScale(config_),
                  .softcap = static_cast<float>(config_.attention_softcap),
                  .window = is_windowed ? config_.sliding_window : 0,
                  .q = buffers_.q,
                  .pages = pages,
                  .y = buffers_.mixed});
}

// gate = f(gate(x)) * up(x)  or  f(up(x)): what down reads  [arXiv:2002.05202]
void Transformer::ActivateFfn(const LayerWeights& layer) {
  const bool gated = config_.gated_ffn;
  const Input in =
      gated ? Prepare(LayerStage::kFfnInput, {&layer.gate, &layer.up})
            : Prepare(LayerStage::kFfnInput, {&layer.up});
  if (Stopped()) return;
  if (gated) {
    Multiply({{&layer.gate, buffers_.gate}, {&layer.up, buffers_.up}}, in,
             num_tokens_);
  } else {
    Multiply({{&layer.up, buffers_.up}}, in, num_tokens_);
  }
  const kernels::ActivateArgs args = {.num_tokens = num_tokens_,
                                      .dim = config_.ffn_dim,
                                      .activation = config_.activation,
                                      .x = gated ? buffers_.gate : buffers_.up,
                                      .up = gated ? buffers_.up : nullptr,
                                      .y = buffers_.gate};
  if (ops_.fused.activate_quantize != nullptr && WantOnlyCodes({&layer.down})) {
    ops_.fused.activate_quantize(
        args, QuantizeArgs(nullptr, config_.ffn_dim, num_tokens_), exec_);
    prepared_ = Input{.codes = {buffers_.codes, buffers_.code_scales}};
  } else {
    ops_.activate(args, exec_);
  }
}

void Transformer::Join(LayerStage stage, const LinearWeight& linear,
                       const NormWeight& post) {
  const Input input = Prepare(stage, {&linear});
  if (Stopped()) return;
  if (post.weight.empty()) {
    return Multiply({{&linear, buffers_.x}}, input, num_tokens_, buffers_.x);
  }
  Multiply({{&linear, buffers_.normed}}, input, num_tokens_);
  Norm(buffers_.normed, post, num_tokens_, buffers_.x, buffers_.x);
}

// Only the rows whose logits are wanted go through the norm and the head.
void Transformer::Head(float* logits) {
  const int64_t rows = inputs_.num_logit_rows;
  if (rows == 0) return;
  const int64_t dim = config_.model_dim;
  ops_.gather_rows({.num_rows = rows,
                    .num_x_rows = num_tokens_,
                    .dim = dim,
                    .row = inputs_.logit_rows,
                    .x = buffers_.x,
                    .y = buffers_.normed},
                   exec_);
  Input in = {.x = buffers_.normed};
  if (NormsInCodes({&weights_.lm_head})) {
    in.norm = &weights_.final_norm;
  } else {
    Norm(buffers_.normed, weights_.final_norm, rows, buffers_.normed);
  }
  Multiply({{&weights_.lm_head, logits}}, in, rows);
  if (config_.logit_softcap == 0) return;
  ops_.softcap({.num_rows = rows,
                .dim = config_.vocab_size,
                .cap = static_cast<float>(config_.logit_softcap),
                .x = logits},
               exec_);
}

void Transformer::Norm(const float* x, const NormWeight& norm, int64_t num_rows,
                       float* y, const float* residual) {
  const auto dim = static_cast<int64_t>(norm.weight.size());
  const auto epsilon = static_cast<float>(config_.norm_epsilon);
  if (config_.norm == NormKind::kLayer) {
    ops_.layer_norm({.num_rows = num_rows,
                     .dim = dim,
                     .epsilon = epsilon,
                     .x = x,
                     .weight = norm.weight_data(),
                     .bias = norm.bias_data(),
                     .y = y},
                    exec_);
  } else {
    ops_.rms_norm({.num_rows = num_rows,
                   .dim = dim,
                   .epsilon = epsilon,
                   .x = x,
                   .weight = norm.weight_data(),
                   .residual = residual,
                   .y = y},
                  exec_);
  }
}

bool Transformer::NormsInCodes(
    std::initializer_list<const LinearWeight*> readers) const {
  return ops_.fused.rms_norm_quantize != nullptr &&
         config_.norm != NormKind::kLayer && WantOnlyCodes(readers);
}

bool Transformer::WantOnlyCodes(
    std::initializer_list<const LinearWeight*> readers) const {
  return observer_ == nullptr && AllRunA8(readers);
}

void Transformer::NormFor(std::initializer_list<const LinearWeight*> readers,
                          const NormWeight& norm) {
  if (NormsInCodes(readers)) {
    prepared_ = Input{.x = buffers_.x, .norm = &norm};
  } else {
    Norm(buffers_.x, norm, num_tokens_, buffers_.normed);
  }
}

Transformer::Input Transformer::Prepare(
    LayerStage stage, std::initializer_list<const LinearWeight*> readers) {
  if (prepared_) return *std::exchange(prepared_, std::nullopt);
  const auto [x, dim] = InputOf(stage);
  if (observer_ != nullptr) {
    next_ =
        observer_->Observe({readers.begin(), readers.size()}, x, num_tokens_);
    if (Stopped()) return {.x = x};
  }
  const bool any_a8 =
      std::any_of(readers.begin(), readers.end(),
                  [](const LinearWeight* reader) { return reader->runs_a8(); });
  // Multiply makes the codes.
  if (any_a8 || buffers_.simulated == ActivationFormat::kNone) return {.x = x};
  RoundTokens(buffers_.simulated,
              {num_tokens_, dim, x, buffers_.rounded.data()}, exec_);
  return {.x = buffers_.rounded.data()};
}

kernels::QuantizeTokensArgs Transformer::QuantizeArgs(const float* x,
                                                      int64_t dim,
                                                      int64_t num_rows) const {
  return {.num_tokens = num_rows,
          .dim = dim,
          .x = x,
          .q = buffers_.codes,
          .scale = buffers_.code_scales};
}

void Transformer::Multiply(std::initializer_list<LinearOutput> outputs,
                           const Input& input, int64_t num_rows,
                           const float* residual) {
  kernels::MatmulA8Args group[kernels::kMostGroupedMatmuls];
  size_t size = 0;
  for (const auto& [linear, y] : outputs) {
    if (linear->runs_a8()) {
      group[size++] = {num_rows,     input.codes,
                       linear->view, linear->bias_data(),
                       residual,     y};
    } else {
      MultiplyFloats(*linear, input.x, num_rows, residual, y);
    }
  }
  if (size == 0) return;
  if (input.codes.data != nullptr) return MultiplyCodes({group, size});
  const kernels::RmsNormArgs norm = {
      .num_rows = num_rows,
      .dim = group[0].weight.k,
      .epsilon = static_cast<float>(config_.norm_epsilon),
      .x = input.x,
      .weight = input.norm != nullptr ? input.norm->weight_data() : nullptr};
  QuantizeAndMultiply(norm, {group, size});
}

void Transformer::QuantizeAndMultiply(const kernels::RmsNormArgs& norm,
                                      absl::Span<kernels::MatmulA8Args> group) {
  const kernels::FusedOps& fused = ops_.fused;
  const int size = static_cast<int>(group.size());
  if (fused.quantize_matmul_a8 != nullptr &&
      fused.takes_quantize_matmul_a8(norm, group.data(), size)) {
    return fused.quantize_matmul_a8(norm, group.data(), size, exec_);
  }
  const kernels::QuantizeTokensArgs quantize =
      QuantizeArgs(norm.x, norm.dim, norm.num_rows);
  if (norm.weight != nullptr) {
    fused.rms_norm_quantize(norm, quantize, exec_);
  } else {
    ops_.quantize_tokens(quantize, exec_);
  }
  for (kernels::MatmulA8Args& args : group) {
    args.x = {buffers_.codes, buffers_.code_scales};
  }
  MultiplyCodes(group);
}

void Transformer::MultiplyCodes(absl::Span<const kernels::MatmulA8Args> group) {
  if (group.size() > 1 && ops_.fused.matmul_a8_group != nullptr) {
    return ops_.fused.matmul_a8_group(group.data(),
                                      static_cast<int>(group.size()), exec_);
  }
  for (const kernels::MatmulA8Args& args : group) ops_.matmul_a8(args, exec_);
}

void Transformer::MultiplyFloats(const LinearWeight& linear, const float* x,
                                 int64_t num_rows, const float* residual,
                                 float* y) {
  if (linear.rounds_input()) {
    RoundTokens(linear.activations,
                {.num_tokens = num_rows,
                 .dim = linear.view.k,
                 .x = x,
                 .y = buffers_.rounded.data(),
                 .scale = linear.input_scale,
                 .group_size = linear.input_group},
                exec_);
    x = buffers_.rounded.data();
  }
  ops_.matmul({num_rows, x, linear.view, linear.bias_data(), residual, y},
              exec_);
}

kernels::RopeArgs Transformer::Rotation(int64_t num_heads, float* x) const {
  const bool is_local =
      config_.local_rope.has_value() && config_.IsWindowed(layer_index_);
  return {.num_tokens = num_tokens_,
          .num_heads = num_heads,
          .head_dim = config_.head_dim,
          .rotary_dim = config_.rotary_dim(),
          .cos = is_local ? inputs_.local_cos : inputs_.cos,
          .sin = is_local ? inputs_.local_sin : inputs_.sin,
          .x = x};
}

void Transformer::StoreAndAttend(const LayerWeights& layer,
                                 const kernels::AttentionArgs& attention) {
  const kernels::FusedOps& fused = ops_.fused;
  const kernels::StoreKvArgs store = {inputs_.batch, buffers_.k, buffers_.v,
                                      attention.pages};
  const bool rotates = config_.positions == PositionKind::kRotary;
  const kernels::RopeArgs queries = Rotation(config_.num_heads, buffers_.q);
  const kernels::RopeArgs keys = Rotation(config_.num_kv_heads, buffers_.k);
  kernels::HeadNorms norms = {.epsilon =
                                  static_cast<float>(config_.norm_epsilon)};
  if (config_.qk_norm) {
    norms.q_weight = layer.q_norm.weight_data();
    norms.k_weight = layer.k_norm.weight_data();
  }
  const bool is_one_launch =
      rotates && fused.rope_store_attention != nullptr &&
      fused.takes_rope_store_attention(norms, queries, keys, store, attention);
  if (is_one_launch) {
    return fused.rope_store_attention(norms, queries, keys, store, attention,
                                      exec_);
  }
  if (config_.qk_norm) {
    Norm(buffers_.q, layer.q_norm, num_tokens_ * config_.num_heads, buffers_.q);
    Norm(buffers_.k, layer.k_norm, num_tokens_ * config_.num_kv_heads,
         buffers_.k);
  }
  if (!rotates) {
    ops_.store_kv(store, exec_);
  } else if (fused.rope_store_kv != nullptr) {
    fused.rope_store_kv(queries, keys, store, exec_);
  } else {
    ops_.rope(queries, exec_);
    ops_.rope(keys, exec_);
    ops_.store_kv(store, exec_);
  }
  ops_.attention(attention, exec_);
}

}  // namespace zqfp
