// SPDX-License-Identifier: Apache-2.0
#include "models/variant_config.h"

#include <fmt/format.h>

#include <string>

#include "kernels/core/status_macros.h"

namespace zqfp {
namespace {

using kernels::Activation;

constexpr RealRange kSoftcap = {1e-3, 1e6};
constexpr RealRange kScalar = {1e-3, 1e6};

absl::Status NotSupported(const JsonReader& reader, const char* key,
                          const std::string& found,
                          const std::string& supported) {
  return absl::UnimplementedError(
      fmt::format("{}: {}: {} is not supported; supported is {}",
                  reader.where(), key, found, supported));
}

// One name of an activation under `key`, and what else it is called.
absl::Status CheckActivation(const JsonReader& reader, const char* key,
                             const char* name, const char* other_name) {
  std::string found = name;
  ZQFP_RETURN_IF_ERROR(reader.Read(key, &found));
  if (found == name || found == other_name) return absl::OkStatus();
  return NotSupported(reader, key, found, name);
}

// A switch that must stand as every supported model has it.
enum class Wanted : uint8_t { kFalse, kTrue };
absl::Status CheckSwitch(const JsonReader& reader, const char* key,
                         Wanted wanted) {
  const bool is_on = wanted == Wanted::kTrue;
  bool found = is_on;
  ZQFP_RETURN_IF_ERROR(reader.Read(key, &found));
  if (found == is_on) return absl::OkStatus();
  return NotSupported(reader, key, found ? "true" : "false",
                      is_on ? "true" : "false");
}

absl::Status ReadLlama(const JsonReader& reader, Config& config) {
  const Architecture architecture = config.architecture;
  if (architecture == Architecture::kLlama ||
      architecture == Architecture::kQwen3) {
    ZQFP_RETURN_IF_ERROR(reader.Read("attention_bias", &config.qkv_bias));
    config.attention_output_bias = config.qkv_bias;
  }
  if (architecture == Architecture::kLlama) {
    ZQFP_RETURN_IF_ERROR(reader.Read("mlp_bias", &config.ffn_bias));
  }
  if (architecture == Architecture::kQwen2) config.qkv_bias = true;
  config.qk_norm = architecture == Architecture::kQwen3;
  return CheckActivation(reader, "hidden_act", "silu", "swish");
}

absl::Status ReadOpt(const JsonReader& reader, Config& config) {
  config.norm = NormKind::kLayer;
  config.positions = PositionKind::kLearned;
  config.position_offset = 2;
  config.activation = Activation::kRelu;
  config.gated_ffn = false;
  bool bias = true;
  ZQFP_RETURN_IF_ERROR(reader.Read("enable_bias", &bias));
  config.qkv_bias = config.attention_output_bias = config.ffn_bias = bias;
  ZQFP_RETURN_IF_ERROR(
      CheckSwitch(reader, "do_layer_norm_before", Wanted::kTrue));
  ZQFP_RETURN_IF_ERROR(
      CheckSwitch(reader, "layer_norm_elementwise_affine", Wanted::kTrue));
  ZQFP_RETURN_IF_ERROR(
      CheckSwitch(reader, "_remove_final_layer_norm", Wanted::kFalse));
  return CheckActivation(reader, "activation_function", "relu", "relu");
}

absl::Status ReadGemma(const JsonReader& reader, Config& config) {
  const bool is_gemma2 = config.architecture == Architecture::kGemma2;
  config.norm = NormKind::kRmsPlusOne;
  config.activation = Activation::kGeluTanh;
  config.scale_embedding = true;
  config.qk_norm = !is_gemma2;
  ZQFP_RETURN_IF_ERROR(reader.Read("attention_bias", &config.qkv_bias));
  config.attention_output_bias = config.qkv_bias;
  config.query_scalar = 256;
  ZQFP_RETURN_IF_ERROR(
      reader.Read("query_pre_attn_scalar", kScalar, &config.query_scalar));
  const auto default_cap = [&](const char* key, double cap) {
    return is_gemma2 && !reader.IsNull(key) ? cap : 0.0;
  };
  config.logit_softcap = default_cap("final_logit_softcapping", 30);
  ZQFP_RETURN_IF_ERROR(
      reader.Read("final_logit_softcapping", kSoftcap, &config.logit_softcap));
  const char* attention_key = "attn_logit_softcapping";
  config.attention_softcap = default_cap(attention_key, 50);
  ZQFP_RETURN_IF_ERROR(
      reader.Read(attention_key, kSoftcap, &config.attention_softcap));
  if (!is_gemma2 && config.attention_softcap > 0) {
    // transformers ignores it, the file's author may not have.
    return NotSupported(reader, attention_key,
                        fmt::format("{:g}", config.attention_softcap), "null");
  }
  ZQFP_RETURN_IF_ERROR(
      CheckSwitch(reader, "use_bidirectional_attention", Wanted::kFalse));
  return CheckActivation(reader, "hidden_activation", "gelu_pytorch_tanh",
                         "gelu_pytorch_tanh");
}

absl::Status ReadGpt2(const JsonReader& reader, Config& config) {
  config.norm = NormKind::kLayer;
  config.positions = PositionKind::kLearned;
  config.activation = Activation::kGeluTanh;
  config.gated_ffn = false;
  config.qkv_bias = config.attention_output_bias = config.ffn_bias = true;
  ZQFP_RETURN_IF_ERROR(
      CheckSwitch(reader, "scale_attn_weights", Wanted::kTrue));
  ZQFP_RETURN_IF_ERROR(
      CheckSwitch(reader, "scale_attn_by_inverse_layer_idx", Wanted::kFalse));
  ZQFP_RETURN_IF_ERROR(
      CheckSwitch(reader, "add_cross_attention", Wanted::kFalse));
  return CheckActivation(reader, "activation_function", "gelu_new",
                         "gelu_pytorch_tanh");
}

}  // namespace

absl::Status ReadVariant(const JsonReader& reader, Config& config) {
  // The classes' defaults differ here, too.
  switch (config.architecture) {
    case Architecture::kOpt:
    case Architecture::kGemma2:
    case Architecture::kGemma3:
    case Architecture::kGpt2:
      config.tie_embeddings = true;
      break;
    default:
      break;
  }
  ZQFP_RETURN_IF_ERROR(
      reader.Read("tie_word_embeddings", &config.tie_embeddings));
  switch (config.architecture) {
    case Architecture::kLlama:
    case Architecture::kMistral:
    case Architecture::kQwen2:
    case Architecture::kQwen3:
      return ReadLlama(reader, config);
    case Architecture::kOpt:
      return ReadOpt(reader, config);
    case Architecture::kGemma2:
    case Architecture::kGemma3:
      return ReadGemma(reader, config);
    case Architecture::kPhi3:
      return CheckActivation(reader, "hidden_act", "silu", "swish");
    case Architecture::kGpt2:
      return ReadGpt2(reader, config);
  }
  return absl::OkStatus();
}

absl::Status CheckVariant(const JsonReader& reader, const Config& config) {
  if (config.architecture != Architecture::kOpt) return absl::OkStatus();
  // opt-350m embeds in fewer dimensions and projects.
  int64_t embedding_dim = config.model_dim;
  ZQFP_RETURN_IF_ERROR(
      reader.Read("word_embed_proj_dim", {1, 1 << 20}, &embedding_dim));
  if (embedding_dim == config.model_dim) return absl::OkStatus();
  return NotSupported(reader, "word_embed_proj_dim",
                      fmt::format("{}", embedding_dim),
                      fmt::format("{}, the hidden_size", config.model_dim));
}

}  // namespace zqfp
