// SPDX-License-Identifier: Apache-2.0
#include "models/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "kernels/core/status_macros.h"
#include "kernels/core/views.h"
#include "models/gguf.h"
#include "models/gguf_config.h"
#include "models/json_reader.h"
#include "models/mapped_file.h"
#include "models/quantization_config.h"
#include "models/rope_config.h"

namespace zqfp {
namespace {

using nlohmann::json;

constexpr int64_t kMaxConfigBytes = 4 << 20;

// Limits that no real model reaches; beyond them a number is a mistake.
constexpr IntRange kModelDim = {1, 1 << 20};
constexpr IntRange kFfnDim = {1, 1 << 22};
constexpr IntRange kNumLayers = {1, 4096};
constexpr IntRange kNumHeads = {1, 1 << 14};
constexpr IntRange kHeadDim = {2, kernels::kMaxHeadDim};
constexpr IntRange kVocabSize = {1, 1 << 24};
constexpr IntRange kPositions = {1, kMaxPositions};
constexpr RealRange kEpsilon = {1e-30, 1.0};

constexpr int64_t kAsQueryHeads = 0;  // num_key_value_heads
constexpr int64_t kFromModelDim = 0;  // head_dim: hidden_size / heads
constexpr int64_t kNoWindow = 0;      // sliding_window
constexpr int32_t kNoId = -1;

// What the Hugging Face configuration classes take for a key that is absent.
// hidden_size, intermediate_size, num_hidden_layers, num_attention_heads and
// vocab_size have defaults there too, but a file without them is broken, so
// they are required here. Common to all: rms_norm_eps 1e-6, rope_theta 10000,
// tie_word_embeddings false, hidden_act silu, attention_bias and mlp_bias
// false, use_sliding_window false.
struct Defaults {
  Architecture architecture;
  const char* class_name;  // in "architectures"
  const char* model_type;
  int64_t num_kv_heads;
  int64_t head_dim;
  int64_t max_positions;
  int64_t sliding_window;
  int32_t bos_id;
  int32_t eos_id;
};

constexpr Defaults kDefaults[] = {
    {Architecture::kLlama, "LlamaForCausalLM", "llama", kAsQueryHeads,
     kFromModelDim, 2048, kNoWindow, 1, 2},
    {Architecture::kMistral, "MistralForCausalLM", "mistral", 8, kFromModelDim,
     131072, 4096, 1, 2},
    {Architecture::kQwen2, "Qwen2ForCausalLM", "qwen2", 32, kFromModelDim,
     32768, 4096, kNoId, kNoId},
    {Architecture::kQwen3, "Qwen3ForCausalLM", "qwen3", 32, 128, 32768, 4096,
     kNoId, kNoId},
};

// Names what was found and everything that would have worked.
absl::Status Unsupported(const std::string& where, const char* key,
                         const std::string& found) {
  std::string supported;
  for (const Defaults& row : kDefaults) {
    supported +=
        fmt::format("{}{}", supported.empty() ? "" : ", ", row.class_name);
  }
  return absl::UnimplementedError(
      fmt::format("{}: {}: {} is not supported; supported are {}", where, key,
                  found, supported));
}

// The row that "architectures" and "model_type" agree on.
absl::StatusOr<const Defaults*> FindArchitecture(const JsonReader& reader) {
  std::string model_type;
  ZQFP_RETURN_IF_ERROR(reader.Read("model_type", &model_type));
  const json* list = reader.Find("architectures");
  const std::string* class_name = nullptr;
  if (list != nullptr) {
    if (list->is_array() && list->size() == 1) {
      class_name = (*list)[0].get_ptr<const std::string*>();
    }
    if (class_name == nullptr) {
      return reader.Wrong("architectures", "a list of one class name");
    }
  }
  // The class name decides; model_type stands in where there is none.
  for (const Defaults& row : kDefaults) {
    const bool is_class =
        class_name != nullptr && *class_name == row.class_name;
    if (class_name != nullptr ? !is_class : model_type != row.model_type) {
      continue;
    }
    if (!model_type.empty() && model_type != row.model_type) {
      return reader.Wrong(
          "model_type",
          fmt::format("\"{}\", as {} has it", row.model_type, row.class_name));
    }
    return &row;
  }
  if (class_name != nullptr) {
    return Unsupported(reader.where(), "architectures", Excerpt(*list));
  }
  if (model_type.empty()) {
    return reader.Wrong("architectures", "a list of one class name");
  }
  return Unsupported(reader.where(), "model_type", model_type);
}

// Query heads, key/value heads and the size of one.
absl::Status ReadHeads(const JsonReader& reader, const Defaults& defaults,
                       Config& config) {
  // null means one per query head, an absent key the class's default.
  config.num_kv_heads = reader.IsNull("num_key_value_heads")
                            ? kAsQueryHeads
                            : defaults.num_kv_heads;
  ZQFP_RETURN_IF_ERROR(
      reader.Read("num_key_value_heads", kNumHeads, &config.num_kv_heads));
  if (config.num_kv_heads == kAsQueryHeads) {
    config.num_kv_heads = config.num_heads;
  }
  if (config.num_heads % config.num_kv_heads != 0) {
    return reader.Wrong("num_attention_heads",
                        fmt::format("a multiple of the {} key/value heads",
                                    config.num_kv_heads));
  }
  config.head_dim =
      reader.IsNull("head_dim") ? kFromModelDim : defaults.head_dim;
  ZQFP_RETURN_IF_ERROR(reader.Read("head_dim", kHeadDim, &config.head_dim));
  if (config.head_dim == kFromModelDim) {
    if (config.model_dim % config.num_heads != 0) {
      return reader.Wrong(
          "hidden_size",
          fmt::format("a multiple of the {} attention heads, or a head_dim",
                      config.num_heads));
    }
    config.head_dim = config.model_dim / config.num_heads;
  }
  if (config.head_dim % 2 != 0 || config.head_dim < kHeadDim.min ||
      config.head_dim > kHeadDim.max) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: head_dim: want an even number in {}..{}, found {}", reader.where(),
        kHeadDim.min, kHeadDim.max, config.head_dim));
  }
  return absl::OkStatus();
}

// What every tensor's shape follows from.
absl::Status ReadShape(const JsonReader& reader, const Defaults& defaults,
                       Config& config) {
  ZQFP_RETURN_IF_ERROR(
      reader.Require("hidden_size", kModelDim, &config.model_dim));
  ZQFP_RETURN_IF_ERROR(
      reader.Require("intermediate_size", kFfnDim, &config.ffn_dim));
  ZQFP_RETURN_IF_ERROR(
      reader.Require("num_hidden_layers", kNumLayers, &config.num_layers));
  ZQFP_RETURN_IF_ERROR(
      reader.Require("num_attention_heads", kNumHeads, &config.num_heads));
  ZQFP_RETURN_IF_ERROR(
      reader.Require("vocab_size", kVocabSize, &config.vocab_size));
  ZQFP_RETURN_IF_ERROR(ReadHeads(reader, defaults, config));
  config.max_positions = defaults.max_positions;
  ZQFP_RETURN_IF_ERROR(reader.Read("max_position_embeddings", kPositions,
                                   &config.max_positions));
  config.norm_epsilon = 1e-6;
  return reader.Read("rms_norm_eps", kEpsilon, &config.norm_epsilon);
}

// Biases, norms, ties and the activation.
absl::Status ReadVariant(const JsonReader& reader, Config& config) {
  const Architecture architecture = config.architecture;
  ZQFP_RETURN_IF_ERROR(
      reader.Read("tie_word_embeddings", &config.tie_embeddings));
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
  std::string activation = "silu";
  ZQFP_RETURN_IF_ERROR(reader.Read("hidden_act", &activation));
  if (activation != "silu" && activation != "swish") {
    return absl::UnimplementedError(
        fmt::format("{}: hidden_act: {} is not supported; supported is silu",
                    reader.where(), activation));
  }
  return absl::OkStatus();
}

// layer_types of newer transformers: full attention up to first_window_layer,
// windows from there on; no other order has a place in Config.
absl::Status ReadLayerTypes(const JsonReader& reader, Config& config) {
  const json* types = reader.Find("layer_types");
  if (types == nullptr) return absl::OkStatus();
  if (!types->is_array() ||
      static_cast<int64_t>(types->size()) != config.num_layers) {
    return reader.Wrong("layer_types",
                        fmt::format("a list of {}", config.num_layers));
  }
  int64_t num_full = 0;
  int64_t num_sliding = 0;
  bool is_ordered = true;
  for (const json& type : *types) {
    if (type == "full_attention") {
      is_ordered = is_ordered && num_sliding == 0;
      ++num_full;
    } else if (type == "sliding_attention") {
      ++num_sliding;
    } else {
      return absl::UnimplementedError(
          fmt::format("{}: layer_types: {} is not supported; supported are "
                      "full_attention and sliding_attention",
                      reader.where(), Excerpt(type)));
    }
  }
  if (!is_ordered) {
    return absl::UnimplementedError(
        fmt::format("{}: layer_types: a full_attention layer above a "
                    "sliding_attention layer is not supported",
                    reader.where()));
  }
  if (num_sliding > 0 && config.sliding_window == kNoWindow) {
    return reader.Wrong("layer_types",
                        "full_attention only, as there is no sliding window");
  }
  const bool is_qwen = config.architecture == Architecture::kQwen2 ||
                       config.architecture == Architecture::kQwen3;
  const bool has_window = config.sliding_window != kNoWindow;
  if (!is_qwen && has_window && num_full > 0) {
    return reader.Wrong("layer_types",
                        "sliding_attention only, as this "
                        "architecture has one sliding window");
  }
  config.first_window_layer = num_sliding == 0 ? 0 : num_full;
  if (num_sliding == 0) config.sliding_window = kNoWindow;
  return absl::OkStatus();
}

// Sliding window attention, before layer_types has its say.
absl::Status ReadWindow(const JsonReader& reader, const Defaults& defaults,
                        Config& config) {
  // Llama has no window whatever the file says, as in Hugging Face's class.
  if (config.architecture != Architecture::kLlama) {
    const bool is_mistral = config.architecture == Architecture::kMistral;
    bool is_used = is_mistral;
    int64_t window =
        reader.IsNull("sliding_window") ? kNoWindow : defaults.sliding_window;
    ZQFP_RETURN_IF_ERROR(reader.Read("sliding_window", kPositions, &window));
    if (!is_mistral) {
      int64_t first = 28;  // max_window_layers: layers below are full
      ZQFP_RETURN_IF_ERROR(reader.Read("use_sliding_window", &is_used));
      ZQFP_RETURN_IF_ERROR(
          reader.Read("max_window_layers", {0, kNumLayers.max}, &first));
      config.first_window_layer = std::min(first, config.num_layers);
    }
    config.sliding_window = is_used ? window : kNoWindow;
    // Every layer is below the first one with a window.
    if (config.first_window_layer == config.num_layers &&
        !reader.Has("layer_types")) {
      config.sliding_window = kNoWindow;
    }
    if (config.sliding_window == kNoWindow) config.first_window_layer = 0;
  }
  return ReadLayerTypes(reader, config);
}

// An id, a list of ids or null.
absl::StatusOr<std::vector<int32_t>> ReadIds(const JsonReader& reader,
                                             const char* key,
                                             int64_t vocab_size) {
  std::vector<int32_t> ids;
  const json* value = reader.Find(key);
  if (value == nullptr) return ids;
  const std::string what = fmt::format("{}: {}", reader.where(), key);
  const IntRange range = {0, vocab_size - 1};
  if (!value->is_array()) {
    ZQFP_ASSIGN_OR_RETURN(const int64_t id, ToInt(*value, range, what));
    ids.push_back(static_cast<int32_t>(id));
    return ids;
  }
  for (const json& item : *value) {
    ZQFP_ASSIGN_OR_RETURN(const int64_t id, ToInt(item, range, what));
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

void AddIds(const std::vector<int32_t>& ids, std::vector<int32_t>& all) {
  for (const int32_t id : ids) {
    if (std::find(all.begin(), all.end(), id) == all.end()) all.push_back(id);
  }
}

// Where a generation begins and ends, as far as config.json knows.
absl::Status ReadTokenIds(const JsonReader& reader, const Defaults& defaults,
                          Config& config) {
  const bool fits = config.vocab_size > defaults.eos_id;
  const auto is_absent = [&](const char* key) {
    return !reader.Has(key) && !reader.IsNull(key);
  };
  ZQFP_ASSIGN_OR_RETURN(const std::vector<int32_t> bos,
                        ReadIds(reader, "bos_token_id", config.vocab_size));
  ZQFP_ASSIGN_OR_RETURN(const std::vector<int32_t> eos,
                        ReadIds(reader, "eos_token_id", config.vocab_size));
  if (!bos.empty()) config.bos_id = bos[0];
  if (is_absent("bos_token_id") && fits) config.bos_id = defaults.bos_id;
  AddIds(eos, config.eos_ids);
  if (is_absent("eos_token_id") && fits && defaults.eos_id != kNoId) {
    config.eos_ids.push_back(defaults.eos_id);
  }
  return absl::OkStatus();
}

absl::StatusOr<json> ParseObject(const std::string& text,
                                 const std::string& name) {
  ZQFP_ASSIGN_OR_RETURN(
      json root, ParseJson(text.data(), text.data() + text.size(), name));
  if (root.is_object()) return root;
  return absl::InvalidArgumentError(
      fmt::format("{}: want an object, found {}", name, Excerpt(root)));
}

// The ids with which generation ends; bos where config.json has none.
absl::Status AddGenerationIds(const std::string& path, Config& config) {
  ZQFP_ASSIGN_OR_RETURN(const std::string text,
                        ReadSmallFile(path, kMaxConfigBytes));
  const std::string name = "generation_config.json";
  ZQFP_ASSIGN_OR_RETURN(const json root, ParseObject(text, name));
  const JsonReader reader(root, name);
  ZQFP_ASSIGN_OR_RETURN(const std::vector<int32_t> bos,
                        ReadIds(reader, "bos_token_id", config.vocab_size));
  ZQFP_ASSIGN_OR_RETURN(const std::vector<int32_t> eos,
                        ReadIds(reader, "eos_token_id", config.vocab_size));
  if (config.bos_id == kNoId && !bos.empty()) config.bos_id = bos[0];
  AddIds(eos, config.eos_ids);
  return absl::OkStatus();
}

}  // namespace

std::string_view ToString(Architecture architecture) {
  return kDefaults[static_cast<size_t>(architecture)].class_name;
}

std::string_view ToString(RopeScaling scaling) {
  constexpr const char* kNames[] = {"default", "linear", "dynamic",
                                    "yarn",    "llama3", "factors"};
  return kNames[static_cast<size_t>(scaling)];
}

std::string_view ToString(ScaleConstraint constraint) {
  constexpr const char* kNames[] = {"free", "m1", "m2"};
  return kNames[static_cast<size_t>(constraint)];
}

std::string_view ToString(HeadFormat format) {
  constexpr const char* kNames[] = {"bf16", "e4m3", "e2m1"};
  return kNames[static_cast<size_t>(format)];
}

std::string_view ToString(LinearFormat format) {
  constexpr const char* kNames[] = {"e2m1", "e4m3"};
  return kNames[static_cast<size_t>(format)];
}

std::string_view ToString(ActivationFormat format) {
  constexpr const char* kNames[] = {"none", "e4m3", "e5m2", "int8", "bf16"};
  return kNames[static_cast<size_t>(format)];
}

absl::StatusOr<Config> ParseConfig(const std::string& json_text,
                                   const std::string& name) {
  ZQFP_ASSIGN_OR_RETURN(const json root, ParseObject(json_text, name));
  const JsonReader reader(root, name);
  ZQFP_ASSIGN_OR_RETURN(const Defaults* defaults, FindArchitecture(reader));
  Config config;
  config.architecture = defaults->architecture;
  ZQFP_RETURN_IF_ERROR(ReadShape(reader, *defaults, config));
  ZQFP_RETURN_IF_ERROR(ReadVariant(reader, config));
  ZQFP_RETURN_IF_ERROR(ReadWindow(reader, *defaults, config));
  ZQFP_RETURN_IF_ERROR(ReadRope(reader, config));
  ZQFP_RETURN_IF_ERROR(ReadTokenIds(reader, *defaults, config));
  ZQFP_ASSIGN_OR_RETURN(config.quantization, ReadQuantization(reader));
  return config;
}

absl::StatusOr<std::string> ReadConfigText(const std::string& directory) {
  ZQFP_ASSIGN_OR_RETURN(const std::string gguf, FindGguf(directory));
  if (gguf.empty()) {
    const std::filesystem::path base(directory);
    return ReadSmallFile((base / "config.json").string(), kMaxConfigBytes);
  }
  ZQFP_ASSIGN_OR_RETURN(const auto file, OpenGguf(gguf));
  return GgufConfigText(file->content);
}

absl::StatusOr<Config> LoadConfig(const std::string& directory) {
  namespace fs = std::filesystem;
  ZQFP_ASSIGN_OR_RETURN(const std::string text, ReadConfigText(directory));
  ZQFP_ASSIGN_OR_RETURN(const std::string gguf, FindGguf(directory));
  const std::string name =
      gguf.empty() ? "config.json" : fs::path(gguf).filename().string();
  ZQFP_ASSIGN_OR_RETURN(Config config, ParseConfig(text, name));
  const fs::path generation = fs::path(directory) / "generation_config.json";
  std::error_code error;
  if (fs::exists(generation, error)) {
    ZQFP_RETURN_IF_ERROR(AddGenerationIds(generation.string(), config));
  }
  return config;
}

}  // namespace zqfp
