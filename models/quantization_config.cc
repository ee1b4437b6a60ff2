// SPDX-License-Identifier: Apache-2.0
#include "models/quantization_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/core/status_macros.h"

namespace zqfp {
namespace {

constexpr int64_t kVersion = 1;

// The value of `key`, which must be one of the enum's names.
template <typename Enum>
absl::Status ReadName(const JsonReader& reader, const char* key,
                      const std::vector<Enum>& values, Enum* out) {
  std::string name;
  std::string wanted;
  ZQFP_RETURN_IF_ERROR(reader.Require(key, &name));
  for (const Enum value : values) {
    if (name == ToString(value)) {
      *out = value;
      return absl::OkStatus();
    }
    wanted +=
        fmt::format("{}\"{}\"", wanted.empty() ? "" : " or ", ToString(value));
  }
  return reader.Wrong(key, wanted);
}

absl::Status ExpectName(const JsonReader& reader, const char* key,
                        const char* wanted) {
  std::string found;
  ZQFP_RETURN_IF_ERROR(reader.Require(key, &found));
  if (found == wanted) return absl::OkStatus();
  return reader.Wrong(key, fmt::format("\"{}\"", wanted));
}

// Whose file it is, and whether this program is new enough for it.
absl::Status CheckMethod(const JsonReader& reader) {
  std::string method;
  ZQFP_RETURN_IF_ERROR(reader.Require("quant_method", &method));
  if (method != "zqfp") {
    return absl::UnimplementedError(
        fmt::format("{}: quant_method: {} is not supported; supported are "
                    "zqfp, compressed-tensors, modelopt, fp8, mxfp4 and models "
                    "that are not quantized",
                    reader.where(), method));
  }
  int64_t version = 0;
  ZQFP_RETURN_IF_ERROR(reader.Require("version", {1, 1 << 30}, &version));
  if (version != kVersion) {
    return absl::UnimplementedError(fmt::format(
        "{}: version: {} is not supported; this program reads version {}",
        reader.where(), version, kVersion));
  }
  return absl::OkStatus();
}

absl::Status ReadWeights(const JsonReader& reader, QuantizationConfig& out) {
  ZQFP_RETURN_IF_ERROR(ReadName<LinearFormat>(
      reader, "format", {LinearFormat::kE2m1, LinearFormat::kE4m3},
      &out.weights));
  if (out.weights == LinearFormat::kE4m3) {
    return reader.RefuseUnknownKeys({"format"});
  }
  ZQFP_RETURN_IF_ERROR(
      reader.Require("group_size", {32, 256}, &out.group_size));
  if ((out.group_size & (out.group_size - 1)) != 0) {
    return reader.Wrong("group_size", "32, 64, 128 or 256");
  }
  ZQFP_RETURN_IF_ERROR(ReadName<ScaleConstraint>(
      reader, "scale_constraint",
      {ScaleConstraint::kFree, ScaleConstraint::kM1, ScaleConstraint::kM2},
      &out.constraint));
  // How the scales were found; of interest to people only.
  std::string rounding;
  ZQFP_RETURN_IF_ERROR(reader.Read("scale_rounding", &rounding));
  return reader.RefuseUnknownKeys(
      {"format", "group_size", "scale_constraint", "scale_rounding"});
}

// Absent or null: the input stays f32.
absl::Status ReadActivations(const JsonReader& own, QuantizationConfig& out) {
  out.activations = ActivationFormat::kNone;
  if (!own.Has("activations")) return absl::OkStatus();
  ZQFP_ASSIGN_OR_RETURN(const JsonReader reader, own.Object("activations"));
  bool is_dynamic = false;
  ZQFP_RETURN_IF_ERROR(ExpectName(reader, "format", "e4m3"));
  ZQFP_RETURN_IF_ERROR(ExpectName(reader, "granularity", "token"));
  ZQFP_RETURN_IF_ERROR(reader.Read("dynamic", &is_dynamic));
  if (!is_dynamic) return reader.Wrong("dynamic", "true");
  out.activations = ActivationFormat::kE4m3;
  return reader.RefuseUnknownKeys({"format", "granularity", "dynamic"});
}

absl::Status ReadLorc(const JsonReader& own, LorcConfig& out) {
  if (!own.Has("lorc")) return absl::OkStatus();
  ZQFP_ASSIGN_OR_RETURN(const JsonReader reader, own.Object("lorc"));
  ZQFP_RETURN_IF_ERROR(
      reader.Require("rank", {1, kernels::kMaxLorcRank}, &out.rank));
  std::string format;
  ZQFP_RETURN_IF_ERROR(reader.Require("format", &format));
  if (format != "e4m3" && format != "bf16") {
    return reader.Wrong("format", "\"e4m3\" or \"bf16\"");
  }
  out.format = format == "e4m3" ? kernels::ValueFormat::kE4m3
                                : kernels::ValueFormat::kBf16;
  // How the factors were found; of interest to people only.
  std::string weighting;
  ZQFP_RETURN_IF_ERROR(reader.Read("weighting", &weighting));
  return reader.RefuseUnknownKeys({"rank", "format", "weighting"});
}

absl::Status ReadKeep(const JsonReader& own, std::vector<std::string>& out) {
  const nlohmann::json* list = own.Find("keep");
  if (list == nullptr) return absl::OkStatus();
  if (!list->is_array()) return own.Wrong("keep", "a list of names");
  for (const nlohmann::json& name : *list) {
    if (!name.is_string()) return own.Wrong("keep", "a list of names");
    out.push_back(name.get<std::string>());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::optional<QuantizationConfig>> ReadQuantization(
    const JsonReader& reader) {
  if (!reader.Has("quantization_config")) return std::nullopt;
  QuantizationConfig out;
  ZQFP_ASSIGN_OR_RETURN(const JsonReader own,
                        reader.Object("quantization_config"));
  ZQFP_RETURN_IF_ERROR(CheckMethod(own));
  ZQFP_ASSIGN_OR_RETURN(const JsonReader weights, own.Object("weights"));
  ZQFP_RETURN_IF_ERROR(ReadWeights(weights, out));
  ZQFP_RETURN_IF_ERROR(ReadActivations(own, out));
  ZQFP_RETURN_IF_ERROR(ReadName<HeadFormat>(
      own, "lm_head", {HeadFormat::kBf16, HeadFormat::kE4m3, HeadFormat::kE2m1},
      &out.lm_head));
  if (out.lm_head == HeadFormat::kE2m1 && out.weights != LinearFormat::kE2m1) {
    return own.Wrong("lm_head", "\"bf16\" or \"e4m3\" with e4m3 weights");
  }
  ZQFP_RETURN_IF_ERROR(ReadLorc(own, out.lorc));
  ZQFP_RETURN_IF_ERROR(ReadKeep(own, out.keep));
  // "calibration" says how the weights were found; for people only.
  ZQFP_RETURN_IF_ERROR(own.RefuseUnknownKeys(
      {"quant_method", "version", "weights", "activations", "lm_head", "lorc",
       "keep", "calibration"}));
  return out;
}

bool QuantizationConfig::Keeps(const std::string& linear) const {
  return std::find(keep.begin(), keep.end(), linear) != keep.end();
}

}  // namespace zqfp
