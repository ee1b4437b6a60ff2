// SPDX-License-Identifier: Apache-2.0
#include "models/foreign_config.h"

#include <fmt/format.h>

#include "kernels/core/status_macros.h"

namespace zqfp {
namespace {

using nlohmann::json;

constexpr int64_t kMaxBlockRows = 1 << 20;

// transformers never quantizes the head of these; the files may not say so.
constexpr const char* kHead = "lm_head";

bool IsGroupSize(int64_t columns) {
  return columns == 32 || columns == 64 || columns == 128 || columns == 256;
}

// A list of transformers: absent, null or strings, under either name.
absl::Status ReadSkipped(const JsonReader& own, ForeignQuantization& out) {
  out.ignore = ModulePatterns(PatternStyle::kModules);
  ZQFP_RETURN_IF_ERROR(out.ignore.Add(kHead, own.where()));
  ZQFP_RETURN_IF_ERROR(
      ReadPatterns(own, "modules_to_not_convert", &out.ignore));
  return ReadPatterns(own, "ignored_layers", &out.ignore);
}

absl::Status AddEveryLinear(const std::string& name, ForeignScheme scheme,
                            ForeignQuantization& out) {
  ForeignGroup group = {name, ModulePatterns(PatternStyle::kTargets),
                        std::move(scheme)};
  ZQFP_RETURN_IF_ERROR(group.targets.Add("Linear", name));
  out.groups.push_back(std::move(group));
  return absl::OkStatus();
}

// weight_block_size: [rows, columns], or one scale per tensor.
absl::Status ReadBlock(const JsonReader& own, ForeignScheme& scheme) {
  scheme.weights = ForeignWeights::kE4m3Tensor;
  const json* block = own.Find("weight_block_size");
  if (block == nullptr) return absl::OkStatus();
  const std::string where = own.where() + ": weight_block_size";
  if (!block->is_array() || block->size() != 2) {
    return own.Wrong("weight_block_size", "a list of two integers");
  }
  scheme.weights = ForeignWeights::kE4m3Block;
  ZQFP_ASSIGN_OR_RETURN(scheme.block_rows,
                        ToInt((*block)[0], {1, kMaxBlockRows}, where));
  ZQFP_ASSIGN_OR_RETURN(scheme.group_size, ToInt((*block)[1], {1, 256}, where));
  if (IsGroupSize(scheme.group_size)) return absl::OkStatus();
  return absl::UnimplementedError(
      fmt::format("{}: blocks of {} columns are not supported; supported are "
                  "32, 64, 128 and 256",
                  where, scheme.group_size));
}

absl::Status ReadActivationScheme(const JsonReader& own,
                                  ForeignScheme& scheme) {
  std::string activations = "dynamic";
  ZQFP_RETURN_IF_ERROR(own.Read("activation_scheme", &activations));
  std::string scale_format = "float";
  ZQFP_RETURN_IF_ERROR(own.Read("scale_fmt", &scale_format));
  if (scale_format != "float" && scale_format != "ue8m0") {
    return own.Wrong("scale_fmt", "\"float\" or \"ue8m0\"");
  }
  const bool has_blocks = scheme.weights == ForeignWeights::kE4m3Block;
  if (activations == "static") {
    scheme.activations = ActivationFormat::kE4m3Static;
    if (has_blocks) {
      scheme.refused = "activation_scheme: static with weight_block_size";
    }
  } else if (activations == "dynamic") {
    scheme.activations =
        has_blocks ? ActivationFormat::kE4m3Groups : ActivationFormat::kE4m3;
    scheme.activation_group = scheme.group_size;
  } else {
    return own.Wrong("activation_scheme", "\"dynamic\" or \"static\"");
  }
  if (scale_format == "ue8m0") {
    scheme.refused = "scale_fmt: ue8m0 (inputs with power of two scales)";
  }
  return absl::OkStatus();
}

// How ModelOpt calls what it does to a linear.
absl::StatusOr<ForeignScheme> ModelOptScheme(const std::string& algorithm,
                                             int64_t group_size,
                                             const std::string& where) {
  const ForeignScheme nvfp4 = {.weights = ForeignWeights::kNvfp4,
                               .group_size = group_size == 0 ? 16 : group_size};
  const ForeignScheme mxfp4 = {.weights = ForeignWeights::kMxfp4,
                               .group_size = group_size == 0 ? 32 : group_size};
  const auto with = [&](ForeignScheme scheme, ActivationFormat activations,
                        const char* refused) {
    scheme.activations = activations;
    if (*refused != '\0') {
      scheme.refused = fmt::format("quant_algo: {} ({})", algorithm, refused);
    }
    return scheme;
  };
  if (algorithm == "FP8") {
    return ForeignScheme{.weights = ForeignWeights::kE4m3Tensor,
                         .activations = ActivationFormat::kE4m3Static};
  }
  if (algorithm == "FP8_PER_CHANNEL_PER_TOKEN") {
    return ForeignScheme{.weights = ForeignWeights::kE4m3Channel,
                         .activations = ActivationFormat::kE4m3};
  }
  if (algorithm == "FP8_PB_WO" || algorithm == "fp8_pb_wo") {
    return ForeignScheme{.weights = ForeignWeights::kE4m3Block,
                         .group_size = group_size == 0 ? 128 : group_size,
                         .block_rows = group_size == 0 ? 128 : group_size};
  }
  if (algorithm == "W4A16_NVFP4") return nvfp4;
  if (algorithm == "W4A8_NVFP4_FP8") {
    return with(nvfp4, ActivationFormat::kE4m3Static, "");
  }
  if (algorithm == "NVFP4") {
    return with(nvfp4, ActivationFormat::kNone, "4-bit inputs");
  }
  if (algorithm == "W4A8_MXFP4_FP8") {
    return with(mxfp4, ActivationFormat::kNone,
                "e4m3 inputs of one dynamic scale for all tokens");
  }
  if (algorithm == "MXFP4" || algorithm == "mxfp4") {
    return with(mxfp4, ActivationFormat::kNone,
                "it does not say whether inputs have 4 bits");
  }
  return absl::UnimplementedError(
      fmt::format("{}: quant_algo: {} is not supported; supported are FP8, "
                  "FP8_PER_CHANNEL_PER_TOKEN, FP8_PB_WO, NVFP4, W4A16_NVFP4, "
                  "W4A8_NVFP4_FP8, MXFP4, W4A8_MXFP4_FP8 and MIXED_PRECISION",
                  where, algorithm));
}

absl::Status CheckModelOptGroups(const ForeignScheme& scheme,
                                 const JsonReader& reader) {
  const int64_t columns = scheme.group_size;
  const bool is_nvfp4 = scheme.weights == ForeignWeights::kNvfp4;
  const bool is_mxfp4 = scheme.weights == ForeignWeights::kMxfp4;
  if (is_mxfp4 ? columns == 32
               : columns == 0 || IsGroupSize(columns) ||
                     (is_nvfp4 && columns == 16)) {
    return absl::OkStatus();
  }
  return reader.Wrong("group_size", is_mxfp4   ? "32"
                                    : is_nvfp4 ? "16, 32, 64, 128 or 256"
                                               : "32, 64, 128 or 256");
}

// One object with "quant_algo": all layers', or one layer's of a mixed model.
absl::StatusOr<ForeignScheme> ReadAlgorithm(const JsonReader& reader,
                                            int64_t default_group_size) {
  std::string algorithm;
  ZQFP_RETURN_IF_ERROR(reader.Require("quant_algo", &algorithm));
  int64_t group_size = default_group_size;
  ZQFP_RETURN_IF_ERROR(reader.Read("group_size", {0, 1 << 20}, &group_size));
  for (const char* key : {"pre_quant_scale", "has_zero_point"}) {
    bool is_set = false;
    ZQFP_RETURN_IF_ERROR(reader.Read(key, &is_set));
    if (is_set) {
      return absl::UnimplementedError(
          fmt::format("{}: {}: true is not supported", reader.where(), key));
    }
  }
  ZQFP_ASSIGN_OR_RETURN(ForeignScheme scheme,
                        ModelOptScheme(algorithm, group_size, reader.where()));
  ZQFP_RETURN_IF_ERROR(CheckModelOptGroups(scheme, reader));
  return scheme;
}

// "quantized_layers": {"model.layers.0.mlp.up_proj": {"quant_algo": ...}}
absl::Status ReadLayers(const JsonReader& reader, ForeignQuantization& out) {
  ZQFP_ASSIGN_OR_RETURN(const JsonReader layers,
                        reader.Object("quantized_layers"));
  for (const auto& [name, value] : layers.object().items()) {
    ZQFP_ASSIGN_OR_RETURN(const JsonReader layer, layers.Object(name.c_str()));
    ZQFP_RETURN_IF_ERROR(
        layer.RefuseUnknownKeys({"quant_algo", "group_size", "has_zero_point",
                                 "pre_quant_scale", "awq_block_size"}));
    ZQFP_ASSIGN_OR_RETURN(ForeignScheme scheme, ReadAlgorithm(layer, 0));
    ForeignGroup group = {name, ModulePatterns(PatternStyle::kGlob),
                          std::move(scheme)};
    ZQFP_RETURN_IF_ERROR(group.targets.Add(name, layers.where()));
    out.groups.push_back(std::move(group));
  }
  return absl::OkStatus();
}

// What both of ModelOpt's files have, under different names.
absl::Status ReadModelOptParts(const JsonReader& reader, const char* ignore,
                               const char* cache, ForeignQuantization& out) {
  out.method = ForeignMethod::kModelOpt;
  out.ignore = ModulePatterns(PatternStyle::kGlob);
  ZQFP_RETURN_IF_ERROR(ReadPatterns(reader, ignore, &out.ignore));
  if (reader.Has(cache)) {
    out.refused_cache = fmt::format("{}: {}: {}", reader.where(), cache,
                                    Excerpt(*reader.Find(cache)));
  }
  std::string algorithm;
  ZQFP_RETURN_IF_ERROR(reader.Require("quant_algo", &algorithm));
  if (algorithm == "MIXED_PRECISION") return ReadLayers(reader, out);
  ZQFP_ASSIGN_OR_RETURN(ForeignScheme scheme, ReadAlgorithm(reader, 0));
  return AddEveryLinear(algorithm, std::move(scheme), out);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ReadStrings(const JsonReader& reader,
                                                     const char* key) {
  std::vector<std::string> strings;
  const json* list = reader.Find(key);
  if (list == nullptr) return strings;
  if (!list->is_array()) return reader.Wrong(key, "a list of strings");
  for (const json& item : *list) {
    if (!item.is_string()) return reader.Wrong(key, "a list of strings");
    strings.push_back(item.get<std::string>());
  }
  return strings;
}

absl::Status ReadPatterns(const JsonReader& reader, const char* key,
                          ModulePatterns* patterns) {
  ZQFP_ASSIGN_OR_RETURN(const std::vector<std::string> list,
                        ReadStrings(reader, key));
  for (const std::string& pattern : list) {
    ZQFP_RETURN_IF_ERROR(
        patterns->Add(pattern, fmt::format("{}: {}", reader.where(), key)));
  }
  return absl::OkStatus();
}

absl::StatusOr<ForeignQuantization> ReadFp8(const JsonReader& own) {
  ForeignQuantization out;
  out.method = ForeignMethod::kFp8;
  ZQFP_RETURN_IF_ERROR(own.RefuseUnknownKeys(
      {"quant_method", "fmt", "activation_scheme", "weight_block_size",
       "modules_to_not_convert", "ignored_layers", "scale_fmt", "dequantize"}));
  std::string format = "e4m3";
  ZQFP_RETURN_IF_ERROR(own.Read("fmt", &format));
  if (format != "e4m3") return own.Wrong("fmt", "\"e4m3\"");
  ForeignScheme scheme;
  ZQFP_RETURN_IF_ERROR(ReadBlock(own, scheme));
  ZQFP_RETURN_IF_ERROR(ReadActivationScheme(own, scheme));
  ZQFP_RETURN_IF_ERROR(ReadSkipped(own, out));
  ZQFP_RETURN_IF_ERROR(AddEveryLinear("fp8", std::move(scheme), out));
  return out;
}

absl::StatusOr<ForeignQuantization> ReadMxfp4(const JsonReader& own) {
  ForeignQuantization out;
  out.method = ForeignMethod::kMxfp4;
  ZQFP_RETURN_IF_ERROR(own.RefuseUnknownKeys(
      {"quant_method", "modules_to_not_convert", "dequantize"}));
  ZQFP_RETURN_IF_ERROR(ReadSkipped(own, out));
  ZQFP_RETURN_IF_ERROR(AddEveryLinear(
      "mxfp4", {.weights = ForeignWeights::kMxfp4, .group_size = 32}, out));
  return out;
}

absl::StatusOr<ForeignQuantization> ReadModelOpt(const JsonReader& own) {
  ForeignQuantization out;
  // "config_groups" repeats what "quant_algo" says, where it says anything.
  ZQFP_RETURN_IF_ERROR(own.RefuseUnknownKeys(
      {"quant_method", "quant_algo", "config_groups", "ignore", "producer",
       "kv_cache_scheme", "quantized_layers", "group_size", "has_zero_point",
       "pre_quant_scale"}));
  ZQFP_RETURN_IF_ERROR(
      ReadModelOptParts(own, "ignore", "kv_cache_scheme", out));
  return out;
}

absl::StatusOr<ForeignQuantization> ReadModelOptFile(const JsonReader& root) {
  ForeignQuantization out;
  ZQFP_RETURN_IF_ERROR(root.RefuseUnknownKeys({"producer", "quantization"}));
  ZQFP_ASSIGN_OR_RETURN(const JsonReader own, root.Object("quantization"));
  ZQFP_RETURN_IF_ERROR(own.RefuseUnknownKeys(
      {"quant_algo", "kv_cache_quant_algo", "group_size", "exclude_modules",
       "quantized_layers", "has_zero_point", "pre_quant_scale"}));
  ZQFP_RETURN_IF_ERROR(
      ReadModelOptParts(own, "exclude_modules", "kv_cache_quant_algo", out));
  return out;
}

absl::StatusOr<std::optional<ForeignQuantization>> ReadForeignQuantization(
    const JsonReader& root) {
  // The older spelling of compressed-tensors.
  const bool is_old = root.Has("compression_config");
  const char* key = is_old ? "compression_config" : "quantization_config";
  if (!root.Has(key)) return std::nullopt;
  if (is_old && root.Has("quantization_config")) {
    return root.Wrong(key, "none beside a quantization_config");
  }
  ZQFP_ASSIGN_OR_RETURN(const JsonReader own, root.Object(key));
  std::string method = is_old ? "compressed-tensors" : "";
  ZQFP_RETURN_IF_ERROR(own.Read("quant_method", &method));
  std::optional<ForeignQuantization> out;
  if (method == "compressed-tensors") {
    ZQFP_ASSIGN_OR_RETURN(out, ReadCompressedTensors(own));
  } else if (is_old) {
    return own.Wrong("quant_method", "\"compressed-tensors\"");
  } else if (method == "modelopt") {
    ZQFP_ASSIGN_OR_RETURN(out, ReadModelOpt(own));
  } else if (method == "fp8") {
    ZQFP_ASSIGN_OR_RETURN(out, ReadFp8(own));
  } else if (method == "mxfp4") {
    ZQFP_ASSIGN_OR_RETURN(out, ReadMxfp4(own));
  }
  return out;
}

}  // namespace zqfp
