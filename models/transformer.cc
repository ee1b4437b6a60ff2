// SPDX-License-Identifier: Apache-2.0
#include "models/transformer.h"

#include <algorithm>
#include <cmath>

namespace zqfp {

Activations::Activations(const Config& config, int64_t max_tokens) {
  const auto rows = [&](int64_t dim) {
    return static_cast<size_t>(max_tokens * dim);
  };
  const int64_t query_dim = config.num_heads * config.head_dim;
  const int64_t kv_dim = config.num_kv_heads * config.head_dim;
  x.resize(rows(config.model_dim));
  normed.resize(rows(config.model_dim));
  q.resize(rows(query_dim));
  k.resize(rows(kv_dim));
  v.resize(rows(kv_dim));
  mixed.resize(rows(query_dim));
  gate.resize(rows(config.ffn_dim));
  up.resize(rows(config.ffn_dim));
  cos.resize(rows(config.head_dim / 2));
  sin.resize(rows(config.head_dim / 2));
  codes.resize(rows(std::max({config.model_dim, query_dim, config.ffn_dim})));
  code_scales.resize(rows(1));
}

int64_t Activations::num_bytes() const {
  int64_t floats = 0;
  for (const std::vector<float>* buffer :
       {&x, &normed, &q, &k, &v, &mixed, &gate, &up, &cos, &sin,
        &code_scales}) {
    floats += static_cast<int64_t>(buffer->size());
  }
  return floats * 4 + static_cast<int64_t>(codes.size());
}

Transformer::Transformer(const Config* config, const Weights* weights,
                         const kernels::Backend* backend, Activations* buffers,
                         kernels::Exec exec)
    : config_(*config),
      weights_(*weights),
      ops_(backend->ops),
      a_(*buffers),
      exec_(exec) {}

void Transformer::Run(absl::Span<const int32_t> ids,
                      const kernels::RaggedBatchView& batch,
                      absl::Span<const int32_t> logit_rows, KvCache& cache,
                      float* logits) {
  batch_ = batch;
  num_tokens_ = static_cast<int64_t>(ids.size());
  ops_.embed({.num_tokens = num_tokens_,
              .vocab_size = config_.vocab_size,
              .model_dim = config_.model_dim,
              .id = ids.data(),
              .table_format = weights_.embedding_format,
              .table = weights_.embedding,
              .y = a_.x.data()},
             exec_);
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    layer_index_ = i;
    Layer(weights_.layers[static_cast<size_t>(i)], cache.Layer(i));
  }
  Head(logit_rows, logits);
}

// x += Attention(Norm(x));  x += FeedForward(Norm(x))
void Transformer::Layer(const LayerWeights& layer,
                        const kernels::KvPagesView& pages) {
  Norm(a_.x.data(), layer.attention_norm, num_tokens_, a_.normed.data());
  Attend(layer, pages);
  Norm(a_.x.data(), layer.ffn_norm, num_tokens_, a_.normed.data());
  FeedForward(layer);
}

void Transformer::Attend(const LayerWeights& layer,
                         const kernels::KvPagesView& pages) {
  const int64_t heads = config_.num_heads, kv_heads = config_.num_kv_heads;
  const int64_t head_dim = config_.head_dim;
  const Input in = Prepare(a_.normed.data(), config_.model_dim, num_tokens_,
                           {&layer.q, &layer.k, &layer.v});
  Linear(layer.q, in, num_tokens_, nullptr, a_.q.data());
  Linear(layer.k, in, num_tokens_, nullptr, a_.k.data());
  Linear(layer.v, in, num_tokens_, nullptr, a_.v.data());
  if (config_.qk_norm) {
    Norm(a_.q.data(), layer.q_norm, num_tokens_ * heads, a_.q.data());
    Norm(a_.k.data(), layer.k_norm, num_tokens_ * kv_heads, a_.k.data());
  }
  Rotate(heads, a_.q.data());
  Rotate(kv_heads, a_.k.data());
  ops_.store_kv({batch_, a_.k.data(), a_.v.data(), pages}, exec_);
  const bool windowed = layer_index_ >= config_.first_window_layer;
  ops_.attention({.batch = batch_,
                  .num_heads = heads,
                  .scale = 1.0f / std::sqrt(static_cast<float>(head_dim)),
                  .window = windowed ? config_.sliding_window : 0,
                  .q = a_.q.data(),
                  .pages = pages,
                  .y = a_.mixed.data()},
                 exec_);
  const Input out =
      Prepare(a_.mixed.data(), heads * head_dim, num_tokens_, {&layer.o});
  Linear(layer.o, out, num_tokens_, a_.x.data(), a_.x.data());
}

// down(silu(gate(x)) * up(x))                               [arXiv:2002.05202]
void Transformer::FeedForward(const LayerWeights& layer) {
  const Input in = Prepare(a_.normed.data(), config_.model_dim, num_tokens_,
                           {&layer.gate, &layer.up});
  Linear(layer.gate, in, num_tokens_, nullptr, a_.gate.data());
  Linear(layer.up, in, num_tokens_, nullptr, a_.up.data());
  ops_.swiglu({.num_tokens = num_tokens_,
               .dim = config_.ffn_dim,
               .gate = a_.gate.data(),
               .up = a_.up.data(),
               .y = a_.gate.data()},
              exec_);
  const Input out =
      Prepare(a_.gate.data(), config_.ffn_dim, num_tokens_, {&layer.down});
  Linear(layer.down, out, num_tokens_, a_.x.data(), a_.x.data());
}

// Only the rows whose logits are wanted go through the norm and the head.
void Transformer::Head(absl::Span<const int32_t> logit_rows, float* logits) {
  const int64_t rows = static_cast<int64_t>(logit_rows.size());
  if (rows == 0) return;
  const int64_t dim = config_.model_dim;
  for (int64_t i = 0; i < rows; ++i) {
    std::copy_n(a_.x.data() + logit_rows[static_cast<size_t>(i)] * dim, dim,
                a_.normed.data() + i * dim);
  }
  Norm(a_.normed.data(), weights_.final_norm, rows, a_.normed.data());
  const Input in = Prepare(a_.normed.data(), dim, rows, {&weights_.lm_head});
  Linear(weights_.lm_head, in, rows, nullptr, logits);
}

void Transformer::Norm(const float* x, const std::vector<float>& weight,
                       int64_t num_rows, float* y) {
  ops_.rms_norm({.num_rows = num_rows,
                 .dim = static_cast<int64_t>(weight.size()),
                 .epsilon = static_cast<float>(config_.norm_epsilon),
                 .x = x,
                 .weight = weight.data(),
                 .y = y},
                exec_);
}

Transformer::Input Transformer::Prepare(
    const float* x, int64_t dim, int64_t num_rows,
    std::initializer_list<const LinearWeight*> readers) {
  const bool quantize = std::any_of(
      readers.begin(), readers.end(),
      [](const LinearWeight* reader) { return reader->quantized(); });
  if (!quantize) return {x, {}};
  ops_.quantize_tokens({.num_tokens = num_rows,
                        .dim = dim,
                        .x = x,
                        .q = a_.codes.data(),
                        .scale = a_.code_scales.data()},
                       exec_);
  return {x, {a_.codes.data(), a_.code_scales.data()}};
}

void Transformer::Linear(const LinearWeight& linear, const Input& input,
                         int64_t num_rows, const float* residual, float* y) {
  const float* bias = linear.bias.empty() ? nullptr : linear.bias.data();
  if (linear.quantized()) {
    ops_.matmul_a8({num_rows, input.codes, linear.view, bias, residual, y},
                   exec_);
  } else {
    ops_.matmul({num_rows, input.x, linear.view, bias, residual, y}, exec_);
  }
}

void Transformer::Rotate(int64_t num_heads, float* x) {
  ops_.rope({.num_tokens = num_tokens_,
             .num_heads = num_heads,
             .head_dim = config_.head_dim,
             .rotary_dim = config_.head_dim,
             .cos = a_.cos.data(),
             .sin = a_.sin.data(),
             .x = x},
            exec_);
}

}  // namespace zqfp
