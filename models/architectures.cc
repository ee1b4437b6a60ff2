// SPDX-License-Identifier: Apache-2.0
#include "models/architectures.h"

#include <fmt/format.h>

namespace zqfp {

int64_t SizeOf(Dim dim, const Config& config) {
  switch (dim) {
    case Dim::kModel:
      return config.model_dim;
    case Dim::kFfn:
      return config.ffn_dim;
    case Dim::kQuery:
      return config.num_heads * config.head_dim;
    case Dim::kKeyValue:
      return config.num_kv_heads * config.head_dim;
    case Dim::kHead:
      return config.head_dim;
    case Dim::kVocab:
      return config.vocab_size;
  }
  return 0;
}

const TensorTable& TensorsOf(Architecture architecture) {
  // Llama, Mistral, Qwen2 and Qwen3 share the names; what differs is which
  // biases and norms the config turns on.
  static const TensorTable& llama = *new TensorTable{
      .layer_prefix = "model.layers.",
      .linears =
          {
              {"self_attn.q_proj", &LayerWeights::q, Dim::kQuery, Dim::kModel,
               &Config::qkv_bias},
              {"self_attn.k_proj", &LayerWeights::k, Dim::kKeyValue,
               Dim::kModel, &Config::qkv_bias},
              {"self_attn.v_proj", &LayerWeights::v, Dim::kKeyValue,
               Dim::kModel, &Config::qkv_bias},
              {"self_attn.o_proj", &LayerWeights::o, Dim::kModel, Dim::kQuery,
               &Config::attention_output_bias},
              {"mlp.gate_proj", &LayerWeights::gate, Dim::kFfn, Dim::kModel,
               &Config::ffn_bias},
              {"mlp.up_proj", &LayerWeights::up, Dim::kFfn, Dim::kModel,
               &Config::ffn_bias},
              {"mlp.down_proj", &LayerWeights::down, Dim::kModel, Dim::kFfn,
               &Config::ffn_bias},
          },
      .norms =
          {
              {"input_layernorm", &LayerWeights::attention_norm, Dim::kModel,
               nullptr},
              {"post_attention_layernorm", &LayerWeights::ffn_norm, Dim::kModel,
               nullptr},
              {"self_attn.q_norm", &LayerWeights::q_norm, Dim::kHead,
               &Config::qk_norm},
              {"self_attn.k_norm", &LayerWeights::k_norm, Dim::kHead,
               &Config::qk_norm},
          },
      .embedding = "model.embed_tokens",
      .final_norm = "model.norm",
      .lm_head = "lm_head",
      .ignored_endings = {".rotary_emb.inv_freq"},
  };
  switch (architecture) {
    case Architecture::kLlama:
    case Architecture::kMistral:
    case Architecture::kQwen2:
    case Architecture::kQwen3:
      return llama;
  }
  return llama;
}

std::string LayerTensorName(const TensorTable& table, int64_t layer_index,
                            const char* name) {
  return fmt::format("{}{}.{}", table.layer_prefix, layer_index, name);
}

}  // namespace zqfp
