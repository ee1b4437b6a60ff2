// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_TRANSFORMER_H_
#define ZQFP_MODELS_TRANSFORMER_H_

// The forward pass: what a layer does, in order.

#include <vector>

#include "absl/types/span.h"
#include "kernels/backend.h"
#include "models/config.h"
#include "models/kv_cache.h"
#include "models/weights.h"

namespace zqfp {

// Buffers of one step, sized for max_tokens rows. All f32 but `codes`.
struct Activations {
  explicit Activations(const Config& config, int64_t max_tokens);
  int64_t num_bytes() const;

  std::vector<float> x;         // [num_tokens, model_dim], the residual stream
  std::vector<float> normed;    // [num_tokens, model_dim]
  std::vector<float> q;         // [num_tokens, num_heads, head_dim]
  std::vector<float> k, v;      // [num_tokens, num_kv_heads, head_dim]
  std::vector<float> mixed;     // [num_tokens, num_heads, head_dim]
  std::vector<float> gate;      // [num_tokens, ffn_dim]
  std::vector<float> up;        // [num_tokens, ffn_dim]
  std::vector<float> cos, sin;  // [num_tokens, head_dim / 2]
  std::vector<uint8_t> codes;   // [num_tokens, widest linear input]
  std::vector<float> code_scales;  // [num_tokens]
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
