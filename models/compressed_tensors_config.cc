// SPDX-License-Identifier: Apache-2.0
// "quant_method": "compressed-tensors", which llm-compressor writes.
#include <fmt/format.h>

#include "kernels/core/status_macros.h"
#include "models/foreign_config.h"

namespace zqfp {
namespace {

using nlohmann::json;

constexpr int64_t kMaxBlock = 1 << 20;

// The arguments that weights and inputs have in common.
struct Arguments {
  std::string where;
  std::string type;
  std::string strategy;
  int64_t num_bits = 0;
  int64_t group_size = 0;  // 0: none
  std::string dynamic;     // "false", "true", "local"
  std::string scale_dtype;
  int64_t block_rows = 0, block_columns = 0;

  std::string Describe() const {
    return fmt::format(
        "{}-bit {} per {}{}, dynamic {}", num_bits, type, strategy,
        group_size > 0 ? fmt::format(" {}", group_size) : "", dynamic);
  }
};

// A key that must be absent or "nothing": null, false, an empty object.
absl::Status ExpectNothing(const JsonReader& reader, const char* key) {
  const json* value = reader.Find(key);
  if (value == nullptr || *value == false ||
      (value->is_structured() && value->empty())) {
    return absl::OkStatus();
  }
  return absl::UnimplementedError(fmt::format(
      "{}: {}: {} is not supported", reader.where(), key, Excerpt(*value)));
}

// A permutation of columns is none that a matmul here undoes.
absl::Status CheckOrder(const JsonReader& reader) {
  const json* order = reader.Find("actorder");
  if (order == nullptr || *order == false || *order == "weight" ||
      *order == "static") {
    return absl::OkStatus();
  }
  return ExpectNothing(reader, "actorder");
}

absl::Status ReadBlockStructure(const JsonReader& reader, Arguments& out) {
  const json* block = reader.Find("block_structure");
  if (block == nullptr) return absl::OkStatus();
  const std::string where = reader.where() + ": block_structure";
  if (!block->is_array() || block->size() != 2) {
    return reader.Wrong("block_structure", "a list of two integers");
  }
  ZQFP_ASSIGN_OR_RETURN(out.block_rows,
                        ToInt((*block)[0], {1, kMaxBlock}, where));
  ZQFP_ASSIGN_OR_RETURN(out.block_columns,
                        ToInt((*block)[1], {1, kMaxBlock}, where));
  return absl::OkStatus();
}

absl::Status ReadDynamic(const JsonReader& reader, Arguments& out) {
  const json* value = reader.Find("dynamic");
  out.dynamic = "false";
  if (value == nullptr) return absl::OkStatus();
  if (*value == "local") {
    out.dynamic = "local";
  } else if (value->is_boolean()) {
    out.dynamic = *value == true ? "true" : "false";
  } else {
    return reader.Wrong("dynamic", "true, false or \"local\"");
  }
  return absl::OkStatus();
}

absl::StatusOr<Arguments> ReadArguments(const JsonReader& reader) {
  ZQFP_RETURN_IF_ERROR(reader.RefuseUnknownKeys(
      {"num_bits", "type", "symmetric", "group_size", "strategy",
       "block_structure", "dynamic", "actorder", "scale_dtype", "zp_dtype",
       "observer", "observer_kwargs"}));
  Arguments out;
  out.where = reader.where();
  ZQFP_RETURN_IF_ERROR(reader.Require("num_bits", {1, 32}, &out.num_bits));
  ZQFP_RETURN_IF_ERROR(reader.Require("type", &out.type));
  if (out.type != "float" && out.type != "int") {
    return reader.Wrong("type", "\"float\" or \"int\"");
  }
  bool is_symmetric = true;
  ZQFP_RETURN_IF_ERROR(reader.Read("symmetric", &is_symmetric));
  if (!is_symmetric) {
    return absl::UnimplementedError(
        fmt::format("{}: symmetric: false is not supported", reader.where()));
  }
  ZQFP_RETURN_IF_ERROR(CheckOrder(reader));
  ZQFP_RETURN_IF_ERROR(ReadDynamic(reader, out));
  int64_t group_size = 0;
  ZQFP_RETURN_IF_ERROR(reader.Read("group_size", {-1, kMaxBlock}, &group_size));
  out.group_size = group_size > 0 ? group_size : 0;
  // An older file leaves the strategy to the group size.
  out.strategy = group_size > 0   ? "group"
                 : group_size < 0 ? "channel"
                                  : "tensor";
  ZQFP_RETURN_IF_ERROR(reader.Read("strategy", &out.strategy));
  ZQFP_RETURN_IF_ERROR(reader.Read("scale_dtype", &out.scale_dtype));
  ZQFP_RETURN_IF_ERROR(ReadBlockStructure(reader, out));
  return out;
}

absl::Status Unsupported(const Arguments& found, const char* supported) {
  return absl::UnimplementedError(
      fmt::format("{}: {} is not supported; supported are {}", found.where,
                  found.Describe(), supported));
}

// Weights of 4 bits: MXFP4 or NVFP4, as the file's format says.
absl::Status SetFp4(const Arguments& weights, const std::string& format,
                    ForeignScheme& scheme) {
  const int64_t g = weights.group_size;
  scheme.group_size = g;
  if (format == "mxfp4-pack-quantized" && weights.strategy == "group" &&
      g == 32 &&
      (weights.scale_dtype.empty() || weights.scale_dtype == "torch.uint8")) {
    scheme.weights = ForeignWeights::kMxfp4;
    return absl::OkStatus();
  }
  if (format == "nvfp4-pack-quantized" && weights.strategy == "tensor_group" &&
      g == 16 &&
      (weights.scale_dtype.empty() ||
       weights.scale_dtype == "torch.float8_e4m3fn")) {
    scheme.weights = ForeignWeights::kNvfp4;
    return absl::OkStatus();
  }
  return Unsupported(weights,
                     "group 32 with uint8 scales as mxfp4-pack-quantized and "
                     "tensor_group 16 with float8_e4m3fn scales as "
                     "nvfp4-pack-quantized");
}

absl::Status SetFp8(const Arguments& weights, const std::string& format,
                    ForeignScheme& scheme) {
  const int64_t columns = weights.block_columns;
  const bool is_block =
      columns == 32 || columns == 64 || columns == 128 || columns == 256;
  const bool is_stored =
      (format == "float-quantized" || format == "naive-quantized") &&
      weights.scale_dtype.empty();
  if (is_stored && weights.strategy == "tensor") {
    scheme.weights = ForeignWeights::kE4m3Tensor;
  } else if (is_stored && weights.strategy == "channel") {
    scheme.weights = ForeignWeights::kE4m3Channel;
  } else if (is_stored && weights.strategy == "block" && is_block) {
    scheme.weights = ForeignWeights::kE4m3Block;
    scheme.group_size = columns;
    scheme.block_rows = weights.block_rows;
  } else {
    return Unsupported(weights,
                       "tensor, channel and blocks of 32, 64, 128 or 256 "
                       "columns as float-quantized");
  }
  return absl::OkStatus();
}

absl::Status SetWeights(const JsonReader& group, const std::string& format,
                        ForeignScheme& scheme) {
  ZQFP_ASSIGN_OR_RETURN(const JsonReader reader, group.Object("weights"));
  ZQFP_ASSIGN_OR_RETURN(const Arguments weights, ReadArguments(reader));
  if (weights.dynamic != "false") return reader.Wrong("dynamic", "false");
  if (weights.type == "float" && weights.num_bits == 4) {
    return SetFp4(weights, format, scheme);
  }
  if (weights.type == "float" && weights.num_bits == 8) {
    return SetFp8(weights, format, scheme);
  }
  return Unsupported(weights, "4-bit and 8-bit float");
}

absl::Status SetInputs(const JsonReader& group, ForeignScheme& scheme) {
  if (!group.Has("input_activations")) return absl::OkStatus();
  ZQFP_ASSIGN_OR_RETURN(const JsonReader reader,
                        group.Object("input_activations"));
  ZQFP_ASSIGN_OR_RETURN(const Arguments inputs, ReadArguments(reader));
  const bool is_e4m3 = inputs.type == "float" && inputs.num_bits == 8 &&
                       inputs.scale_dtype.empty();
  if (is_e4m3 && inputs.strategy == "token" && inputs.dynamic == "true") {
    scheme.activations = ActivationFormat::kE4m3;
  } else if (is_e4m3 && inputs.strategy == "group" &&
             inputs.dynamic == "true" && inputs.group_size > 0) {
    scheme.activations = ActivationFormat::kE4m3Groups;
    scheme.activation_group = inputs.group_size;
  } else if (is_e4m3 && inputs.strategy == "tensor" &&
             inputs.dynamic == "false") {
    scheme.activations = ActivationFormat::kE4m3Static;
  } else {
    scheme.refused = fmt::format("{}: {}", inputs.where, inputs.Describe());
  }
  return absl::OkStatus();
}

absl::StatusOr<ForeignGroup> ReadGroup(const JsonReader& groups,
                                       const std::string& name,
                                       std::string format) {
  ZQFP_ASSIGN_OR_RETURN(const JsonReader reader, groups.Object(name.c_str()));
  ZQFP_RETURN_IF_ERROR(
      reader.RefuseUnknownKeys({"weights", "input_activations", "targets",
                                "output_activations", "format"}));
  ZQFP_RETURN_IF_ERROR(ExpectNothing(reader, "output_activations"));
  ZQFP_RETURN_IF_ERROR(reader.Read("format", &format));
  ForeignGroup group = {name, ModulePatterns(PatternStyle::kTargets), {}};
  if (!reader.Has("targets")) return reader.Wrong("targets", "a list");
  ZQFP_RETURN_IF_ERROR(ReadPatterns(reader, "targets", &group.targets));
  ZQFP_RETURN_IF_ERROR(SetWeights(reader, format, group.scheme));
  ZQFP_RETURN_IF_ERROR(SetInputs(reader, group.scheme));
  return group;
}

// What stands beside the groups and must not change what weights mean.
absl::Status CheckRest(const JsonReader& own) {
  ZQFP_RETURN_IF_ERROR(own.RefuseUnknownKeys(
      {"quant_method", "config_groups", "format", "ignore", "kv_cache_scheme",
       "quantization_status", "global_compression_ratio", "version",
       "sparsity_config", "transform_config", "moe_sparsity_config",
       "run_compressed"}));
  ZQFP_RETURN_IF_ERROR(ExpectNothing(own, "transform_config"));
  ZQFP_RETURN_IF_ERROR(ExpectNothing(own, "moe_sparsity_config"));
  std::string status = "compressed";
  ZQFP_RETURN_IF_ERROR(own.Read("quantization_status", &status));
  if (status != "compressed") {
    return own.Wrong("quantization_status", "\"compressed\"");
  }
  if (!own.Has("sparsity_config")) return absl::OkStatus();
  ZQFP_ASSIGN_OR_RETURN(const JsonReader sparsity,
                        own.Object("sparsity_config"));
  const json* format = sparsity.Find("format");
  if (format != nullptr && *format == "dense") return absl::OkStatus();
  return ExpectNothing(own, "sparsity_config");
}

}  // namespace

absl::StatusOr<ForeignQuantization> ReadCompressedTensors(
    const JsonReader& own) {
  ForeignQuantization out;
  out.method = ForeignMethod::kCompressedTensors;
  ZQFP_RETURN_IF_ERROR(CheckRest(own));
  std::string format;
  ZQFP_RETURN_IF_ERROR(own.Require("format", &format));
  ZQFP_RETURN_IF_ERROR(ReadPatterns(own, "ignore", &out.ignore));
  if (own.Has("kv_cache_scheme")) {
    out.refused_cache = fmt::format("{}: kv_cache_scheme: {}", own.where(),
                                    Excerpt(*own.Find("kv_cache_scheme")));
  }
  ZQFP_ASSIGN_OR_RETURN(const JsonReader groups, own.Object("config_groups"));
  for (const auto& item : groups.object().items()) {
    ZQFP_ASSIGN_OR_RETURN(ForeignGroup group,
                          ReadGroup(groups, item.key(), format));
    out.groups.push_back(std::move(group));
  }
  return out;
}

}  // namespace zqfp
