// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_TRANSFORMER_H_
#define ZQFP_MODELS_TRANSFORMER_H_

// The forward pass: what a layer does, in order.

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/core/buffer.h"
#include "models/config.h"
#include "models/kv_cache.h"
#include "models/step_inputs.h"
#include "models/weights.h"

namespace zqfp {

// Buffers of one step, sized for max_tokens rows. A page of them is touched
// when a step is long enough to need it.
class Activations {
 public:
  // In the memory of `device`, or the host's where it is null. `simulated`
  // other than kNone: the transformer rounds the inputs of the decoder linears
  // that run in f32 to that format.
  static absl::StatusOr<std::unique_ptr<Activations>> Create(
      const Config& config, int64_t max_tokens, ActivationFormat simulated,
      kernels::Device* device);
  // Bytes of one row.
  static int64_t RowBytes(const Config& config);
  int64_t num_bytes() const { return num_bytes_; }

  float* x = nullptr;            // [num_tokens, model_dim], the residual stream
  float* normed = nullptr;       // [num_tokens, model_dim]
  float* code_scales = nullptr;  // [num_tokens]
  uint8_t* codes = nullptr;      // [num_tokens, widest linear input]
  ActivationFormat simulated = ActivationFormat::kNone;
  std::vector<float> rounded;  // [num_tokens, widest linear input] or empty
  // Attention and feed-forward follow one another in the same memory.
  float* q = nullptr;      // [num_tokens, num_heads, head_dim]
  float* k = nullptr;      // [num_tokens, num_kv_heads, head_dim]
  float* v = nullptr;      // [num_tokens, num_kv_heads, head_dim]
  float* mixed = nullptr;  // [num_tokens, num_heads, head_dim]
  float* gate = nullptr;   // [num_tokens, ffn_dim]
  float* up = nullptr;     // [num_tokens, ffn_dim]

 private:
  kernels::Buffer memory_, code_memory_;
  int64_t num_bytes_ = 0;
};

// The linears of a layer that read one input together.
enum class LayerStage : uint8_t {
  kAttentionInput,   // q, k, v
  kAttentionOutput,  // o
  kFfnInput,         // gate, up
  kFfnOutput,        // down
};
inline constexpr LayerStage kLayerStages[] = {
    LayerStage::kAttentionInput, LayerStage::kAttentionOutput,
    LayerStage::kFfnInput, LayerStage::kFfnOutput};

// Sees what linear layers read, before they run.
class LinearObserver {
 public:
  virtual ~LinearObserver() = default;
  // x [num_rows, k of the readers] is f32 and not yet quantized. The readers
  // come in the order of LayerStage. Returns kStop to leave the rest of the
  // layer undone, until it is resumed with this x.
  enum class Next : uint8_t { kGoOn, kStop };
  virtual Next Observe(absl::Span<const LinearWeight* const> readers,
                       const float* x, int64_t num_rows) = 0;
};

// One step over the tokens of a ragged batch.
class Transformer {
 public:
  // All outlive the transformer.
  Transformer(const Config* config, const Weights* weights,
              const kernels::Backend* backend, Activations* buffers,
              kernels::Exec exec);

  // Writes logits [num_logit_rows, vocab_size]. The arguments are valid (Model
  // checks them). False, and it ends there, where `goes_on` is asked in front
  // of a layer and says no.
  bool Run(const StepInputs& inputs, KvCache& cache, float* logits,
           const std::function<bool()>& goes_on = {});

  // The parts of Run, for work that goes layer by layer over many batches.
  // x [num_tokens, model_dim] = the embeddings of the ids and positions.
  void Embed(const StepInputs& inputs, float* x);
  // Runs one layer over buffers' x; `pages` are that layer's. `observer` may
  // be null.
  void RunLayer(int64_t layer_index, const StepInputs& inputs,
                const kernels::KvPagesView& pages, LinearObserver* observer);
  // Goes on with a layer of num_tokens rows where an observer stopped it: after
  // attention, so that neither inputs nor pages are asked for. Buffers' x and
  // InputOf(stage) are as they were then.
  void ResumeLayer(int64_t layer_index, LayerStage stage, int64_t num_tokens,
                   LinearObserver* observer);
  // What the linears of a stage read: the buffer, and the width of its rows.
  struct StageInput {
    float* x;
    int64_t dim;
  };
  StageInput InputOf(LayerStage stage) const;

 private:
  // What linear layers read: x [rows, k], of which those in e4m3 take the codes
  // where there are any; else Multiply makes them, of the norm of x where one
  // is given.
  struct Input {
    const float* x = nullptr;
    kernels::QuantizedTokensView codes;
    const NormWeight* norm = nullptr;
  };
  // A linear layer and where its output goes.
  struct LinearOutput {
    const LinearWeight* linear;
    float* y;
  };

  void Layer(const LayerWeights& layer, LayerStage first,
             const kernels::KvPagesView& pages);
  void Attend(const LayerWeights& layer, const kernels::KvPagesView& pages);
  void ActivateFfn(const LayerWeights& layer);
  void Head(float* logits);

  // y = the model's kind of norm of x, plus residual (not of a LayerNorm) where
  // it is not null.
  void Norm(const float* x, const NormWeight& norm, int64_t num_rows, float* y,
            const float* residual = nullptr);
  // normed = norm of x, unless Multiply does it with the codes.
  void NormFor(std::initializer_list<const LinearWeight*> readers,
               const NormWeight& norm);
  bool Stopped() const { return next_ == LinearObserver::Next::kStop; }
  // What the linears of a stage get of its input: it is shown to the observer,
  // then rounded where that is simulated.
  Input Prepare(LayerStage stage,
                std::initializer_list<const LinearWeight*> readers);
  kernels::QuantizeTokensArgs QuantizeArgs(const float* x, int64_t dim,
                                           int64_t num_rows) const;
  // Whether nobody but linears in e4m3 sees what these read.
  bool WantOnlyCodes(std::initializer_list<const LinearWeight*> readers) const;
  // Whether a norm in front of these is done with its codes: they want nothing
  // else, and the backend has both in one launch.
  bool NormsInCodes(std::initializer_list<const LinearWeight*> readers) const;
  // y = linear(input) + residual of each, in as few launches as the backend
  // has; residual may be null.
  void Multiply(std::initializer_list<LinearOutput> outputs, const Input& input,
                int64_t num_rows, const float* residual = nullptr);
  // Of those in e4m3: with what makes the codes, and after it.
  void QuantizeAndMultiply(const kernels::RmsNormArgs& norm,
                           absl::Span<kernels::MatmulA8Args> group);
  void MultiplyCodes(absl::Span<const kernels::MatmulA8Args> group);
  void MultiplyFloats(const LinearWeight& linear, const float* x,
                      int64_t num_rows, const float* residual, float* y);
  // The residual stream += linear(input of the stage), by way of `post` where
  // there is one.
  void Join(LayerStage stage, const LinearWeight& linear,
            const NormWeight& post);
  kernels::RopeArgs Rotation(int64_t num_heads, float* x) const;
  // Norms q and k where the model does, rotates them where positions are
  // rotary; k and v go to their pages; attention.
  void StoreAndAttend(const LayerWeights& layer,
                      const kernels::AttentionArgs& attention);

  const Config& config_;
  const Weights& weights_;
  const kernels::OpTable& ops_;
  Activations& buffers_;
  kernels::Exec exec_;
  StepInputs inputs_;
  int64_t num_tokens_ = 0;
  int64_t layer_index_ = 0;
  // What the next Prepare gives, where it is no floats in the stage's buffer.
  std::optional<Input> prepared_;
  LinearObserver* observer_ = nullptr;
  LinearObserver::Next next_ = LinearObserver::Next::kGoOn;
};

}  // namespace zqfp

#endif  // ZQFP_MODELS_TRANSFORMER_H_
