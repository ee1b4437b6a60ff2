// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_TRANSFORMER_H_
#define ZQFP_MODELS_TRANSFORMER_H_

// The forward pass: what a layer does, in order.

#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "kernels/backend.h"
#include "models/config.h"
#include "models/kv_cache.h"
#include "models/weights.h"

namespace zqfp {

// Buffers of one step, sized for max_tokens rows. A page of them is touched
// when a step is long enough to need it.
class Activations {
 public:
  Activations(const Config& config, int64_t max_tokens);
  // Bytes of one row.
  static int64_t RowBytes(const Config& config);
  int64_t num_bytes() const { return num_bytes_; }

  float* x = nullptr;       // [num_tokens, model_dim], the residual stream
  float* normed = nullptr;  // [num_tokens, model_dim]
  float* cos = nullptr;     // [num_tokens, head_dim / 2]
  float* sin = nullptr;
  float* code_scales = nullptr;  // [num_tokens]
  uint8_t* codes = nullptr;      // [num_tokens, widest linear input]
  // Attention and feed-forward follow one another in the same memory.
  float* q = nullptr;      // [num_tokens, num_heads, head_dim]
  float* k = nullptr;      // [num_tokens, num_kv_heads, head_dim]
  float* v = nullptr;      // [num_tokens, num_kv_heads, head_dim]
  float* mixed = nullptr;  // [num_tokens, num_heads, head_dim]
  float* gate = nullptr;   // [num_tokens, ffn_dim]
  float* up = nullptr;     // [num_tokens, ffn_dim]

 private:
  std::unique_ptr<float[]> memory_;
  std::unique_ptr<uint8_t[]> code_memory_;
  int64_t num_bytes_ = 0;
};

// One step over the tokens of a ragged batch.
class Transformer {
 public:
  // All outlive the transformer.
  Transformer(const Config* config, const Weights* weights,
              const kernels::Backend* backend, Activations* buffers,
              kernels::Exec exec);

  // ids [num_tokens]; buffers' cos and sin hold the rows' angles. Writes
  // logits [logit_rows.size(), vocab_size]. The arguments are valid (Model
  // checks them).
  void Run(absl::Span<const int32_t> ids, const kernels::RaggedBatchView& batch,
           absl::Span<const int32_t> logit_rows, KvCache& cache, float* logits);

 private:
  // A linear layer's input: f32, and once quantized also e4m3.
  struct Input {
    const float* x;
    kernels::QuantizedTokensView codes;
  };

  void Layer(const LayerWeights& layer, const kernels::KvPagesView& pages);
  void Attend(const LayerWeights& layer, const kernels::KvPagesView& pages);
  void FeedForward(const LayerWeights& layer);
  void Head(absl::Span<const int32_t> logit_rows, float* logits);

  void Norm(const float* x, const std::vector<float>& weight, int64_t num_rows,
            float* y);
  // Quantizes x where one of the layers that read it wants e4m3.
  Input Prepare(const float* x, int64_t dim, int64_t num_rows,
                std::initializer_list<const LinearWeight*> readers);
  void Linear(const LinearWeight& linear, const Input& input, int64_t num_rows,
              const float* residual, float* y);
  void Rotate(int64_t num_heads, float* x);

  const Config& config_;
  const Weights& weights_;
  const kernels::OpTable& ops_;
  Activations& a_;
  kernels::Exec exec_;
  kernels::RaggedBatchView batch_;
  int64_t num_tokens_ = 0;
  int64_t layer_index_ = 0;
};

}  // namespace zqfp

#endif  // ZQFP_MODELS_TRANSFORMER_H_
