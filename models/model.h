// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_MODEL_H_
#define ZQFP_MODELS_MODEL_H_

// A loaded model: from a directory of files to logits.

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/cpu/thread_pool.h"
#include "models/config.h"
#include "models/kv_cache.h"

namespace zqfp {

class LinearObserver;             // models/transformer.h
enum class LayerStage : uint8_t;  // models/transformer.h
struct Weights;                   // models/weights.h
namespace kernels {
class OpProfile;  // kernels/op_profile.h
}

struct ModelOptions {
  int num_threads = 0;  // 0: physical cores
  std::string backend;  // "": ZQFP_BACKEND, or the best of `device`
  // "cpu", "cuda", or "auto": kernels::SelectBackend.
  std::string device = "auto";
  // Most rows of one step; sizes the buffers. 0: 256, or what 40 MB hold; on a
  // device 2048, or what 1 GB holds.
  int64_t max_tokens = 0;
  // FailedPrecondition where an op falls back, or where weight_only changes
  // what the file asks for.
  bool strict = false;
  // A quantized model runs with f32 inputs and our own KV cache, whatever its
  // file asks for.
  bool weight_only = false;
  // On a device, of prompts that its library multiplies in FP8: sums of the
  // tensor cores' 14 bits that are not promoted to f32 on the way, faster and
  // less exact the larger k is.
  bool fp8_fast_accum = false;
  // There, too: beside each packed weight an e4m3 copy of it, n * k bytes more,
  // so that prompts need not unpack it.
  bool resident_fp8 = false;
  // For comparison only: the inputs of the decoder linears that run in f32 are
  // rounded to this format first, one scale per token.
  ActivationFormat simulated_activations = ActivationFormat::kNone;
  // Room for low-rank branches that are attached after loading.
  int64_t reserved_lorc_rank = 0;
  // On a device: a step of few tokens that comes again is enqueued as one.
  bool record_steps = true;
  // Where set, notes every op of this model, and outlives it.
  kernels::OpProfile* profile = nullptr;
};

// The best of one row of logits: kernels::TopLogitsArgs.
struct TopLogits {
  std::array<int32_t, kernels::kTopLogits> id;
  std::array<float, kernels::kTopLogits> logit;
  float mass = 0;
};

// The tokens of one step (kernels::RaggedBatchView has the meaning).
struct Batch {
  std::vector<int32_t> token_ids;    // [num_tokens]
  std::vector<int32_t> token_begin;  // [num_sequences + 1]
  std::vector<int32_t> context_len;  // [num_sequences]
  std::vector<int32_t> page_table;   // [num_sequences, page_table_stride]
  int64_t page_table_stride = 0;
  // [num_sequences]: length that dynamic RoPE scaling sees: max(prompt length,
  // context_len), so that a chunked prompt equals a whole one.
  std::vector<int32_t> rope_length;
  std::vector<int32_t> logit_rows;  // rows whose logits are wanted, ascending
  // [logit_rows]: of TopLogits::mass; 0 where it is not wanted. Or empty: all.
  std::vector<float> temperature;
};

// What --explain and the memory plan show of one linear layer.
struct LinearInfo {
  std::string name;         // "model.layers.0.self_attn.q_proj"
  std::string weights;      // "e2m1 m2 group 128, low rank 8 e4m3"
  std::string note;         // of a foreign model: why they are held so
  std::string activations;  // "e4m3 per token" | "f32" | "e4m3 static .01"
  std::string op;           // "matmul_a8"
  std::string kernel;       // "avx512bf16"; on a device which kernels, and how
                            // they sum
  int64_t n = 0, k = 0;
  int64_t num_bytes = 0;  // weight and scales, as in memory
  // What the file calls it, and its bytes there, where that is not
  // safetensors: "GGUF Q8_0".
  std::string source;
  int64_t source_bytes = 0;
  bool exact = false;  // every product exact on FP8 hardware (shift window)
};

class Model {
 public:
  // Opens, binds and checks every tensor of the directory, quantized or not.
  // Errors name file, tensor, wanted and found.
  static absl::StatusOr<std::unique_ptr<Model>> Load(
      const std::string& directory, const ModelOptions& options);
  // Random weights of the given shape, quantized as config.quantization says,
  // for benchmarks: no files.
  static absl::StatusOr<std::unique_ptr<Model>> Random(
      const Config& config, uint64_t seed, const ModelOptions& options);
  ~Model();

  // One step: runs the tokens, extends the cache, writes
  // logits [logit_rows.size(), vocab_size]. A batch that breaks a limit
  // (ids, positions, pages) is an InvalidArgument and leaves the cache alone.
  // `meanwhile`, where there is one, is called once the step is valid: on a
  // device while that computes. `goes_on` is asked in front of every layer, but
  // not on a device, where a step is short: Cancelled where it says no, and the
  // step's tokens are not in the cache.
  using Meanwhile = std::function<void()>;
  absl::Status Forward(const Batch& batch, KvCache& cache,
                       absl::Span<float> logits,
                       const Meanwhile& meanwhile = {},
                       const std::function<bool()>& goes_on = {});

  // The same step, but of every logit row only the best come from the device:
  // `top` [logit_rows.size()]. Where MostTopRows allows as many rows.
  absl::Status ForwardTop(const Batch& batch, KvCache& cache,
                          absl::Span<TopLogits> top,
                          const Meanwhile& meanwhile = {});
  // Most logit rows of a ForwardTop; 0 where the logits are at hand anyway.
  int64_t MostTopRows() const;
  // All logits [vocab_size] of one of the logit rows of the last ForwardTop.
  absl::Status FetchLogits(int64_t row, absl::Span<float> logits);

  // Layer by layer, for work that changes weights on the way: Forward is Embed,
  // then every layer, then the head. Unimplemented on a device.
  // x [num_tokens, model_dim] = the embeddings of the batch's ids.
  absl::Status Embed(const Batch& batch, absl::Span<float> x);
  // One layer on x, in place. `cache` is that layer's alone (of a config with
  // one layer); `observer` may be null. Where it stops, x is the residual
  // stream so far.
  absl::Status ForwardLayer(int64_t layer_index, const Batch& batch,
                            KvCache& cache, LinearObserver* observer,
                            absl::Span<float> x);
  // Goes on with that x from a stage after attention where an observer stopped;
  // `input` is what it was shown there. It begins by showing it again.
  absl::Status ResumeLayer(int64_t layer_index, LayerStage stage,
                           absl::Span<const float> input,
                           LinearObserver* observer, absl::Span<float> x);
  // The caller keeps them consistent with config().
  Weights& mutable_weights();
  // Its threads and workspace, between two steps.
  kernels::ThreadPool& pool();
  const kernels::Backend& backend() const;
  kernels::Exec exec() const;
  // Where its memory is, for KvCacheOptions; null: the host's.
  kernels::Device* device() const;

  const Config& config() const;
  const ModelOptions& options() const;  // as resolved: threads, backend
  // Bytes of weights that one generated token streams.
  int64_t weight_bytes() const;
  // Memory of weights that could not be read where the file has them (blocks of
  // GGUF files that were expanded or re-laid).
  int64_t converted_bytes() const;
  int64_t buffer_bytes() const;  // activations and workspace
  // Memory of the device that ModelOptions::resident_fp8 takes.
  int64_t resident_bytes() const;
  // Whether the weights are stored in full precision f32 (KV default: f32).
  bool full_precision() const;
  // Whether any linear rounds its input, to e4m3 or as another tool does.
  bool rounds_inputs() const;
  std::vector<LinearInfo> Explain() const;

 private:
  Model();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace zqfp

#endif  // ZQFP_MODELS_MODEL_H_
