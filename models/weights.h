// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_WEIGHTS_H_
#define ZQFP_MODELS_WEIGHTS_H_

// The weights of a model, bound to the files they lie in and checked.

#include <stdint.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/core/device.h"
#include "kernels/core/views.h"
#include "kernels/cpu/thread_pool.h"
#include "models/config.h"
#include "models/mapped_file.h"
#include "models/safetensors.h"

namespace zqfp {

namespace kernels {
class DeviceLab;  // kernels/core/device_lab.h
}

// y = x W^T + bias.
struct LinearWeight {
  std::string name;  // "model.layers.0.self_attn.q_proj"
  kernels::WeightView view;
  std::vector<float> bias;             // [n] or empty
  const float* placed_bias = nullptr;  // as NormWeight's
  // What x becomes: kE4m3 runs as matmul_a8, the others as matmul, of x or of
  // x rounded to the format.
  ActivationFormat activations = ActivationFormat::kNone;
  float input_scale = 0;    // kE4m3Static
  int64_t input_group = 0;  // columns of a scale, kE4m3Groups
  // How another tool's tensors are held and why so, "" where they are ours.
  std::string origin;  // "e2m1 mxfp4 free group 32"
  std::string note;    // "row 3 spans 2^50, shifts reach 2^14"
  // What the view points at, where the file has not what kernels want.
  std::vector<float> scales;
  std::vector<uint8_t> shifts;
  std::vector<uint8_t> lorc_u;  // what view.lorc.u points at
  // What view.data points at where the file has the weight as [k, n].
  std::vector<uint8_t> transposed;
  // What another container holds, Tensor::source, and its bytes there; "" and 0
  // in safetensors. `memory` is what it became where that is not in the file.
  std::string source;
  int64_t source_bytes = 0;
  std::shared_ptr<const MappedFile> memory;

  bool quantized() const;  // e2m1 or e4m3
  bool runs_a8() const { return activations == ActivationFormat::kE4m3; }
  bool rounds_input() const {
    return activations != ActivationFormat::kNone && !runs_a8();
  }
  // Null without one.
  const float* bias_data() const {
    if (placed_bias != nullptr) return placed_bias;
    return bias.empty() ? nullptr : bias.data();
  }
  int64_t num_bytes() const;  // weight, scales and low-rank factors
};

// Element `index` of an F32, BF16 or F16 tensor.
float ReadFloat(const Tensor& tensor, int64_t index);

// Gives view.lorc, whose format and rank are set, the factor u [n, rank] of the
// file in the order that kernels read, [rank, n].
void SetLorcU(const uint8_t* u, LinearWeight* linear);

struct NormWeight {
  std::vector<float> weight;  // [dim], or empty where a model has no such norm
  std::vector<float> bias;    // [dim] of a LayerNorm, else empty
  // Where PlaceWeights put them, else null.
  const float* placed_weight = nullptr;
  const float* placed_bias = nullptr;

  const float* weight_data() const {
    return placed_weight != nullptr ? placed_weight : weight.data();
  }
  const float* bias_data() const {
    return placed_bias != nullptr ? placed_bias : bias.data();
  }
};

struct LayerWeights {
  NormWeight attention_norm;       // [model_dim]
  LinearWeight q;                  // [num_heads * head_dim, model_dim]
  LinearWeight k, v;               // [num_kv_heads * head_dim, model_dim]
  NormWeight q_norm, k_norm;       // [head_dim] (Qwen 3 and Gemma 3)
  LinearWeight o;                  // [model_dim, num_heads * head_dim]
  NormWeight attention_post_norm;  // [model_dim] (Gemma)
  NormWeight ffn_norm;             // [model_dim]
  LinearWeight gate;               // [ffn_dim, model_dim], where gated_ffn
  LinearWeight up;                 // [ffn_dim, model_dim]
  LinearWeight down;               // [model_dim, ffn_dim]
  NormWeight ffn_post_norm;        // [model_dim] (Gemma)
};

struct Weights {
  kernels::ValueFormat embedding_format = kernels::ValueFormat::kF32;
  const void* embedding = nullptr;  // [vocab_size, model_dim]
  std::shared_ptr<const MappedFile> embedding_memory;  // as LinearWeight's
  // Learned positions: [position_offset + max_positions, model_dim] or null.
  kernels::ValueFormat positions_format = kernels::ValueFormat::kF32;
  const void* positions = nullptr;
  std::vector<LayerWeights> layers;
  NormWeight final_norm;  // [model_dim]
  LinearWeight lm_head;   // [vocab_size, model_dim]

  // What the views point into: mapped files, memory of random weights, or a
  // device's.
  std::optional<Checkpoint> checkpoint;
  std::shared_ptr<void> memory;
  std::vector<kernels::DeviceMemory> placed;
  bool made_on_device = false;  // matrices are there already, RandomWeights
  int64_t fp8_row_bytes = 0;    // of `placed`: all WeightView::fp8_rows

  // Memory of weights that are not read where the file has them.
  int64_t ConvertedBytes() const;
  // Bytes that one generated token streams.
  int64_t StreamedBytes() const;
};

// Binds every tensor the architecture's table wants. Errors name file, tensor,
// wanted and found; a tensor that nothing would read is an error too. Proves
// the exactness window of every shift row, and that no scale, norm, bias or
// unquantized weight holds a NaN or an infinity. Blocks of GGUF files become
// what the kernels read, without loss: Q8_0 f32, MXFP4 e2m1 in groups of 32.
// Unimplemented for a foreign model that no kernel runs as its config says.
absl::StatusOr<Weights> BindWeights(Checkpoint checkpoint, const Config& config,
                                    kernels::ThreadPool& pool);

// Random weights of the shape, quantized as config.quantization says (bf16
// without one). With a lab the matrices are made on its device, the same ones,
// and never were on the host: PlaceWeights has the rest to do.
absl::StatusOr<Weights> RandomWeights(const Config& config, uint64_t seed,
                                      kernels::ThreadPool& pool,
                                      kernels::DeviceLab* lab = nullptr);

}  // namespace zqfp

#endif  // ZQFP_MODELS_WEIGHTS_H_
