// SPDX-License-Identifier: Apache-2.0
#include "models/architectures.h"

#include <fmt/format.h>
#include <string.h>

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
    case Dim::kPositions:
      return config.position_offset + config.max_positions;
  }
  return 0;
}

namespace {

// Names that most families share; what differs is which biases and norms the
// config turns on.
std::vector<LinearRule> LlamaLinears() {
  using L = LayerWeights;
  using C = Config;
  constexpr Dim kModel = Dim::kModel, kFfn = Dim::kFfn;
  return {
      {"self_attn.q_proj", &L::q, Dim::kQuery, kModel, &C::qkv_bias},
      {"self_attn.k_proj", &L::k, Dim::kKeyValue, kModel, &C::qkv_bias},
      {"self_attn.v_proj", &L::v, Dim::kKeyValue, kModel, &C::qkv_bias},
      {"self_attn.o_proj", &L::o, kModel, Dim::kQuery,
       &C::attention_output_bias},
      {"mlp.gate_proj", &L::gate, kFfn, kModel, &C::ffn_bias},
      {"mlp.up_proj", &L::up, kFfn, kModel, &C::ffn_bias},
      {"mlp.down_proj", &L::down, kModel, kFfn, &C::ffn_bias},
  };
}

TensorTable LlamaTable() {
  return {
      .layer_prefix = "model.layers.",
      .linears = LlamaLinears(),
      .norms =
          {
              {"input_layernorm", &LayerWeights::attention_norm, Dim::kModel},
              {"post_attention_layernorm", &LayerWeights::ffn_norm,
               Dim::kModel},
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
}

// Llama's names, but post_attention_layernorm comes before the sum.
TensorTable GemmaTable() {
  TensorTable table = LlamaTable();
  table.norms = {
      {"input_layernorm", &LayerWeights::attention_norm, Dim::kModel},
      {"self_attn.q_norm", &LayerWeights::q_norm, Dim::kHead, &Config::qk_norm},
      {"self_attn.k_norm", &LayerWeights::k_norm, Dim::kHead, &Config::qk_norm},
      {"post_attention_layernorm", &LayerWeights::attention_post_norm,
       Dim::kModel},
      {"pre_feedforward_layernorm", &LayerWeights::ffn_norm, Dim::kModel},
      {"post_feedforward_layernorm", &LayerWeights::ffn_post_norm, Dim::kModel},
  };
  return table;
}

// Llama with q, k, v in one tensor, and gate and up in another.
TensorTable Phi3Table() {
  TensorTable table = LlamaTable();
  for (LinearRule& rule : table.linears) {
    const Dim n = rule.n;
    rule.bias = nullptr;
    if (n == Dim::kQuery || n == Dim::kKeyValue) {
      rule.stored = "self_attn.qkv_proj";
    }
    if (n == Dim::kFfn) rule.stored = "mlp.gate_up_proj";
  }
  return table;
}

TensorTable OptTable() {
  using L = LayerWeights;
  using C = Config;
  constexpr Dim kModel = Dim::kModel, kFfn = Dim::kFfn;
  return {
      .layer_prefix = "model.decoder.layers.",
      .linears =
          {
              {"self_attn.q_proj", &L::q, Dim::kQuery, kModel, &C::qkv_bias},
              {"self_attn.k_proj", &L::k, Dim::kKeyValue, kModel, &C::qkv_bias},
              {"self_attn.v_proj", &L::v, Dim::kKeyValue, kModel, &C::qkv_bias},
              {"self_attn.out_proj", &L::o, kModel, Dim::kQuery,
               &C::attention_output_bias},
              {"fc1", &L::up, kFfn, kModel, &C::ffn_bias},
              {"fc2", &L::down, kModel, kFfn, &C::ffn_bias},
          },
      .norms =
          {
              {"self_attn_layer_norm", &L::attention_norm, kModel},
              {"final_layer_norm", &L::ffn_norm, kModel},
          },
      .embedding = "model.decoder.embed_tokens",
      .final_norm = "model.decoder.final_layer_norm",
      .lm_head = "lm_head",
      .positions = "model.decoder.embed_positions",
      .base_prefix = "model.",
      .ignored_endings = {},
  };
}

TensorTable Gpt2Table() {
  using L = LayerWeights;
  using C = Config;
  constexpr Dim kModel = Dim::kModel, kFfn = Dim::kFfn;
  constexpr TensorOrder kInputs = TensorOrder::kInputMajor;
  static constexpr char kFused[] = "attn.c_attn";
  return {
      .layer_prefix = "transformer.h.",
      .linears =
          {
              {"attn.q_proj", &L::q, Dim::kQuery, kModel, &C::qkv_bias, kFused,
               kInputs},
              {"attn.k_proj", &L::k, Dim::kKeyValue, kModel, &C::qkv_bias,
               kFused, kInputs},
              {"attn.v_proj", &L::v, Dim::kKeyValue, kModel, &C::qkv_bias,
               kFused, kInputs},
              {"attn.c_proj", &L::o, kModel, Dim::kQuery,
               &C::attention_output_bias, "attn.c_proj", kInputs},
              {"mlp.c_fc", &L::up, kFfn, kModel, &C::ffn_bias, "mlp.c_fc",
               kInputs},
              {"mlp.c_proj", &L::down, kModel, kFfn, &C::ffn_bias, "mlp.c_proj",
               kInputs},
          },
      .norms = {{"ln_1", &L::attention_norm, kModel},
                {"ln_2", &L::ffn_norm, kModel}},
      .embedding = "transformer.wte",
      .final_norm = "transformer.ln_f",
      .lm_head = "lm_head",
      .positions = "transformer.wpe",
      .base_prefix = "transformer.",
      // The causal mask, which older files store.
      .ignored_endings = {".attn.bias", ".attn.masked_bias"},
  };
}

}  // namespace

const TensorTable& TensorsOf(Architecture architecture) {
  static const TensorTable& llama = *new TensorTable(LlamaTable());
  static const TensorTable& opt = *new TensorTable(OptTable());
  static const TensorTable& gemma = *new TensorTable(GemmaTable());
  static const TensorTable& phi3 = *new TensorTable(Phi3Table());
  static const TensorTable& gpt2 = *new TensorTable(Gpt2Table());
  switch (architecture) {
    case Architecture::kLlama:
    case Architecture::kMistral:
    case Architecture::kQwen2:
    case Architecture::kQwen3:
      return llama;
    case Architecture::kOpt:
      return opt;
    case Architecture::kGemma2:
    case Architecture::kGemma3:
      return gemma;
    case Architecture::kPhi3:
      return phi3;
    case Architecture::kGpt2:
      return gpt2;
  }
  return llama;
}

StoredSlice SliceOf(const TensorTable& table, const LinearRule& rule,
                    const Config& config) {
  StoredSlice slice = {.name = rule.stored};
  for (const LinearRule& other : table.linears) {
    if (other.stored == nullptr || other.stored != slice.name) continue;
    if (other.field == rule.field) slice.first = slice.num_outputs;
    slice.num_outputs += SizeOf(other.n, config);
  }
  return slice;
}

std::string StoredName(const TensorTable& table, const Checkpoint& checkpoint,
                       const std::string& name) {
  if (table.base_prefix == nullptr || checkpoint.Find(name) != nullptr ||
      !name.starts_with(table.base_prefix)) {
    return name;
  }
  std::string bare = name.substr(std::string(table.base_prefix).size());
  return checkpoint.Find(bare) != nullptr ? bare : name;
}

absl::Status CheckTiedHead(const Checkpoint& checkpoint,
                           const std::string& embedding,
                           const std::string& head) {
  const Tensor* kept = checkpoint.Find(embedding);
  const Tensor* copy = checkpoint.Find(head);
  if (kept == nullptr || copy == nullptr || kept == copy) {
    return absl::OkStatus();
  }
  std::string found;
  if (copy->dtype != kept->dtype || copy->shape != kept->shape) {
    found = Describe(*copy);
  } else if (memcmp(copy->data, kept->data,
                    static_cast<size_t>(kept->num_bytes)) != 0) {
    found = "other values";
  }
  DropPages(copy->data, copy->num_bytes);  // nothing reads it again
  if (found.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "{}: {}: want a copy of {}, {}, to which the config ties it, found {}",
      copy->file, head, embedding, Describe(*kept), found));
}

std::string LayerTensorName(const TensorTable& table, int64_t layer_index,
                            const char* name) {
  return fmt::format("{}{}.{}", table.layer_prefix, layer_index, name);
}

}  // namespace zqfp
