// SPDX-License-Identifier: Apache-2.0
#include "models/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "kernels/core/status_macros.h"
#include "kernels/core/views.h"
#include "models/foreign_config.h"
#include "models/gguf.h"
#include "models/gguf_config.h"
#include "models/json_reader.h"
#include "models/mapped_file.h"
#include "models/quantization_config.h"
#include "models/rope_config.h"
#include "models/variant_config.h"
#include "models/window_config.h"

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
constexpr int32_t kNoId = -1;
constexpr size_t kMaxIds = 1024;  // of one key

// What the families call the parts of a model's shape.
struct ShapeKeys {
  const char* model_dim;
  const char* ffn_dim;
  const char* num_layers;
  const char* num_heads;
  const char* max_positions;
  const char* norm_epsilon;  // null: not in the file
};
constexpr ShapeKeys kLlamaKeys = {
    "hidden_size",         "intermediate_size",       "num_hidden_layers",
    "num_attention_heads", "max_position_embeddings", "rms_norm_eps"};
constexpr ShapeKeys kOptKeys = {"hidden_size",
                                "ffn_dim",
                                "num_hidden_layers",
                                "num_attention_heads",
                                "max_position_embeddings",
                                nullptr};
constexpr ShapeKeys kGpt2Keys = {"n_embd", "n_inner",     "n_layer",
                                 "n_head", "n_positions", "layer_norm_epsilon"};

// What the Hugging Face configuration classes take for a key that is absent.
// hidden_size, intermediate_size, num_hidden_layers, num_attention_heads and
// vocab_size have defaults there too, but a file without them is broken, so
// they are required here (but for GPT-2's n_inner). The defaults of what is
// read elsewhere stand there.
struct Defaults {
  Architecture architecture;
  const char* class_name;  // in "architectures"
  const char* model_type;
  const ShapeKeys* keys;
  int64_t num_kv_heads;
  int64_t head_dim;
  int64_t max_positions;
  double norm_epsilon;
  int32_t bos_id;
  int32_t eos_id;
};

constexpr Defaults kDefaults[] = {
    {Architecture::kLlama, "LlamaForCausalLM", "llama", &kLlamaKeys,
     kAsQueryHeads, kFromModelDim, 2048, 1e-6, 1, 2},
    {Architecture::kMistral, "MistralForCausalLM", "mistral", &kLlamaKeys, 8,
     kFromModelDim, 131072, 1e-6, 1, 2},
    {Architecture::kQwen2, "Qwen2ForCausalLM", "qwen2", &kLlamaKeys, 32,
     kFromModelDim, 32768, 1e-6, kNoId, kNoId},
    {Architecture::kQwen3, "Qwen3ForCausalLM", "qwen3", &kLlamaKeys, 32, 128,
     32768, 1e-6, kNoId, kNoId},
    {Architecture::kOpt, "OPTForCausalLM", "opt", &kOptKeys, kAsQueryHeads,
     kFromModelDim, 2048, 1e-5, 2, 2},
    {Architecture::kGemma2, "Gemma2ForCausalLM", "gemma2", &kLlamaKeys, 4, 256,
     8192, 1e-6, 2, 1},
    {Architecture::kGemma3, "Gemma3ForCausalLM", "gemma3_text", &kLlamaKeys, 4,
     256, 131072, 1e-6, 2, 1},
    {Architecture::kPhi3, "Phi3ForCausalLM", "phi3", &kLlamaKeys, kAsQueryHeads,
     kFromModelDim, 4096, 1e-5, 1, 32000},
    {Architecture::kGpt2, "GPT2LMHeadModel", "gpt2", &kGpt2Keys, kAsQueryHeads,
     kFromModelDim, 1024, 1e-5, 50256, 50256},
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
  // null means one per query head, an absent key the class's default. The
  // classes of learned positions know neither key.
  const bool has_keys = config.positions == PositionKind::kRotary;
  config.num_kv_heads = reader.IsNull("num_key_value_heads")
                            ? kAsQueryHeads
                            : defaults.num_kv_heads;
  if (has_keys) {
    ZQFP_RETURN_IF_ERROR(
        reader.Read("num_key_value_heads", kNumHeads, &config.num_kv_heads));
  }
  if (config.num_kv_heads == kAsQueryHeads) {
    config.num_kv_heads = config.num_heads;
  }
  if (config.num_heads % config.num_kv_heads != 0) {
    return reader.Wrong(defaults.keys->num_heads,
                        fmt::format("a multiple of the {} key/value heads",
                                    config.num_kv_heads));
  }
  config.head_dim =
      reader.IsNull("head_dim") ? kFromModelDim : defaults.head_dim;
  if (has_keys) {
    ZQFP_RETURN_IF_ERROR(reader.Read("head_dim", kHeadDim, &config.head_dim));
  }
  if (config.head_dim == kFromModelDim) {
    if (config.model_dim % config.num_heads != 0) {
      return reader.Wrong(
          defaults.keys->model_dim,
          fmt::format("a multiple of the {} attention heads{}",
                      config.num_heads, has_keys ? ", or a head_dim" : ""));
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
  const ShapeKeys& keys = *defaults.keys;
  ZQFP_RETURN_IF_ERROR(
      reader.Require(keys.model_dim, kModelDim, &config.model_dim));
  if (config.architecture == Architecture::kGpt2) {
    config.ffn_dim = 4 * config.model_dim;  // n_inner is null in most files
    ZQFP_RETURN_IF_ERROR(reader.Read(keys.ffn_dim, kFfnDim, &config.ffn_dim));
  } else {
    ZQFP_RETURN_IF_ERROR(
        reader.Require(keys.ffn_dim, kFfnDim, &config.ffn_dim));
  }
  ZQFP_RETURN_IF_ERROR(
      reader.Require(keys.num_layers, kNumLayers, &config.num_layers));
  ZQFP_RETURN_IF_ERROR(
      reader.Require(keys.num_heads, kNumHeads, &config.num_heads));
  ZQFP_RETURN_IF_ERROR(
      reader.Require("vocab_size", kVocabSize, &config.vocab_size));
  ZQFP_RETURN_IF_ERROR(ReadHeads(reader, defaults, config));
  config.max_positions = defaults.max_positions;
  ZQFP_RETURN_IF_ERROR(
      reader.Read(keys.max_positions, kPositions, &config.max_positions));
  config.norm_epsilon = defaults.norm_epsilon;
  if (keys.norm_epsilon == nullptr) return absl::OkStatus();
  return reader.Read(keys.norm_epsilon, kEpsilon, &config.norm_epsilon);
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
  if (value->size() > kMaxIds) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: want at most {} ids, found {}", what, kMaxIds, value->size()));
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

// ModelOpt's own file says more than the copy of it in config.json.
absl::Status AddModelOpt(const std::string& path, Config& config) {
  const bool is_expected =
      config.foreign ? config.foreign->method == ForeignMethod::kModelOpt
                     : !config.quantization.has_value();
  if (!is_expected) {
    return absl::InvalidArgumentError(
        "hf_quant_config.json: want none beside a config.json of another "
        "quant_method, found one");
  }
  ZQFP_ASSIGN_OR_RETURN(const std::string text,
                        ReadSmallFile(path, kMaxConfigBytes));
  const std::string name = "hf_quant_config.json";
  ZQFP_ASSIGN_OR_RETURN(const json root, ParseObject(text, name));
  ZQFP_ASSIGN_OR_RETURN(config.foreign,
                        ReadModelOptFile(JsonReader(root, name)));
  return absl::OkStatus();
}

}  // namespace

bool Config::IsWindowed(int64_t layer_index) const {
  if (sliding_window == 0) return false;
  return layer_spans.empty() ||
         layer_spans[static_cast<size_t>(layer_index)] == LayerSpan::kWindow;
}

std::string_view ToString(Architecture architecture) {
  return kDefaults[static_cast<size_t>(architecture)].class_name;
}

std::string_view ToString(RopeScaling scaling) {
  constexpr const char* kNames[] = {"default", "linear",   "dynamic", "yarn",
                                    "llama3",  "longrope", "factors"};
  return kNames[static_cast<size_t>(scaling)];
}

std::string_view ToString(PositionKind positions) {
  constexpr const char* kNames[] = {"rotary", "learned"};
  return kNames[static_cast<size_t>(positions)];
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
  constexpr const char* kNames[] = {"none", "e4m3",        "e5m2",       "int8",
                                    "bf16", "e4m3 static", "e4m3 groups"};
  return kNames[static_cast<size_t>(format)];
}

absl::StatusOr<Config> ParseConfig(const std::string& json_text,
                                   const std::string& name) {
  ZQFP_ASSIGN_OR_RETURN(const json root, ParseObject(json_text, name));
  const JsonReader reader(root, name);
  ZQFP_ASSIGN_OR_RETURN(const Defaults* defaults, FindArchitecture(reader));
  Config config;
  config.architecture = defaults->architecture;
  ZQFP_RETURN_IF_ERROR(ReadVariant(reader, config));
  ZQFP_RETURN_IF_ERROR(ReadShape(reader, *defaults, config));
  ZQFP_RETURN_IF_ERROR(CheckVariant(reader, config));
  ZQFP_RETURN_IF_ERROR(ReadWindow(reader, config));
  if (config.positions == PositionKind::kRotary) {
    ZQFP_RETURN_IF_ERROR(ReadRope(reader, config));
  }
  ZQFP_RETURN_IF_ERROR(ReadTokenIds(reader, *defaults, config));
  ZQFP_ASSIGN_OR_RETURN(config.foreign, ReadForeignQuantization(reader));
  if (!config.foreign) {
    ZQFP_ASSIGN_OR_RETURN(config.quantization, ReadQuantization(reader));
  }
  config.separate_linears =
      config.quantization.has_value() || reader.Has("zqfp_simulation");
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
  const fs::path base(directory);
  const fs::path generation = base / "generation_config.json";
  std::error_code error;
  if (fs::exists(generation, error)) {
    ZQFP_RETURN_IF_ERROR(AddGenerationIds(generation.string(), config));
  }
  const fs::path modelopt = base / "hf_quant_config.json";
  if (fs::exists(modelopt, error)) {
    ZQFP_RETURN_IF_ERROR(AddModelOpt(modelopt.string(), config));
  }
  return config;
}

}  // namespace zqfp
