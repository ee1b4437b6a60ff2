// SPDX-License-Identifier: Apache-2.0
#include "models/rope_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/core/status_macros.h"

namespace zqfp {
namespace {

using nlohmann::json;

constexpr IntRange kPositions = {1, kMaxPositions};
constexpr RealRange kTheta = {1.001, 1e15};
constexpr RealRange kFactor = {1.0, 1e6};
constexpr RealRange kPositive = {1e-6, 1e6};

// Keys that would change the angles in ways we do not know.
constexpr const char* kUnknownVariants[] = {
    "alpha",       "short_factor",  "long_factor",    "short_mscale",
    "long_mscale", "mrope_section", "full_attention", "sliding_attention"};

absl::Status NotSupported(const JsonReader& reader, const char* key,
                          const std::string& found,
                          const std::string& supported) {
  return absl::UnimplementedError(
      fmt::format("{}: {}: {} is not supported; supported {}", reader.where(),
                  key, found, supported));
}

// "rope_type", or "type" as older files have it.
absl::StatusOr<RopeScaling> ReadKind(const JsonReader& rope) {
  std::string kind = "default";
  ZQFP_RETURN_IF_ERROR(rope.Read("type", &kind));
  ZQFP_RETURN_IF_ERROR(rope.Read("rope_type", &kind));
  for (const RopeScaling scaling :
       {RopeScaling::kNone, RopeScaling::kLinear, RopeScaling::kDynamic,
        RopeScaling::kYarn, RopeScaling::kLlama3, RopeScaling::kFactors}) {
    if (kind == ToString(scaling)) return scaling;
  }
  return NotSupported(rope, "rope_type", kind,
                      "are default, linear, dynamic, yarn, llama3 and factors");
}

// "factors", one for each pair: the general form of what llama3 does, as GGUF
// files have it.
absl::Status ReadFactors(const JsonReader& rope, Config& config) {
  const json* factors = rope.Find("factors");
  const auto size = static_cast<size_t>(config.head_dim / 2);
  if (factors == nullptr || !factors->is_array() || factors->size() != size) {
    return rope.Wrong("factors", fmt::format("a list of {} numbers", size));
  }
  for (const json& factor : *factors) {
    const double value = factor.is_number() ? factor.get<double>() : 0.0;
    if (!(value > 0) || value > 3.5e38) {
      return rope.Wrong("factors", "finite numbers above 0");
    }
    config.rope.factors.push_back(value);
  }
  return absl::OkStatus();
}

// Only whole heads are rotated by the four architectures.
absl::Status CheckWholeRotation(const JsonReader& reader) {
  double share = 1.0;
  ZQFP_RETURN_IF_ERROR(reader.Read("partial_rotary_factor", {0, 1}, &share));
  if (share == 1.0) return absl::OkStatus();
  return NotSupported(reader, "partial_rotary_factor",
                      fmt::format("{:g}", share), "is 1");
}

// attention_factor stays 0 where the file leaves it to the factor.
absl::Status ReadYarn(const JsonReader& rope, RopeConfig& out) {
  ZQFP_RETURN_IF_ERROR(
      rope.Read("attention_factor", kPositive, &out.attention_factor));
  ZQFP_RETURN_IF_ERROR(rope.Read("beta_fast", kPositive, &out.beta_fast));
  ZQFP_RETURN_IF_ERROR(rope.Read("beta_slow", kPositive, &out.beta_slow));
  ZQFP_RETURN_IF_ERROR(rope.Read("mscale", {0, 1e6}, &out.mscale));
  ZQFP_RETURN_IF_ERROR(
      rope.Read("mscale_all_dim", {0, 1e6}, &out.mscale_all_dim));
  ZQFP_RETURN_IF_ERROR(rope.Read("truncate", &out.truncate));
  if (out.beta_fast < out.beta_slow) {
    return rope.Wrong("beta_fast",
                      fmt::format("at least beta_slow = {:g}", out.beta_slow));
  }
  return absl::OkStatus();
}

// Both factors are required, as in transformers, and span a band.
absl::Status ReadLlama3(const JsonReader& rope, RopeConfig& out) {
  for (const char* key : {"low_freq_factor", "high_freq_factor"}) {
    if (!rope.Has(key)) return rope.Wrong(key, "a number");
  }
  ZQFP_RETURN_IF_ERROR(
      rope.Read("low_freq_factor", kPositive, &out.low_freq_factor));
  ZQFP_RETURN_IF_ERROR(
      rope.Read("high_freq_factor", kPositive, &out.high_freq_factor));
  if (out.high_freq_factor > out.low_freq_factor) return absl::OkStatus();
  return rope.Wrong(
      "high_freq_factor",
      fmt::format("more than low_freq_factor = {:g}", out.low_freq_factor));
}

// Grows the context to what the scaling is there for.
absl::Status Stretch(const JsonReader& rope, Config& config) {
  const RopeConfig& out = config.rope;
  int64_t base = config.max_positions;
  if (out.scaling == RopeScaling::kLlama3) return absl::OkStatus();
  if (out.scaling == RopeScaling::kYarn) base = out.original_max_positions;
  const double stretched = static_cast<double>(base) * out.factor;
  if (stretched > static_cast<double>(kMaxPositions)) {
    return rope.Wrong(
        "factor", fmt::format("a context of at most {} tokens", kMaxPositions));
  }
  config.max_positions =
      std::max(config.max_positions, static_cast<int64_t>(stretched));
  return absl::OkStatus();
}

// The members of rope_scaling or rope_parameters, for every kind but default.
absl::Status ReadScaling(const JsonReader& reader, const JsonReader& rope,
                         Config& config) {
  RopeConfig& out = config.rope;
  if (!rope.Has("factor")) return rope.Wrong("factor", "a number");
  ZQFP_RETURN_IF_ERROR(rope.Read("factor", kFactor, &out.factor));
  out.original_max_positions = config.max_positions;
  if (out.scaling == RopeScaling::kYarn ||
      out.scaling == RopeScaling::kLlama3) {
    // The key outside goes first, as in transformers (some models have both).
    ZQFP_RETURN_IF_ERROR(rope.Read("original_max_position_embeddings",
                                   kPositions, &out.original_max_positions));
    ZQFP_RETURN_IF_ERROR(reader.Read("original_max_position_embeddings",
                                     kPositions, &out.original_max_positions));
  }
  if (out.scaling == RopeScaling::kYarn) {
    ZQFP_RETURN_IF_ERROR(ReadYarn(rope, out));
  }
  if (out.scaling == RopeScaling::kLlama3) {
    ZQFP_RETURN_IF_ERROR(ReadLlama3(rope, out));
  }
  if (out.scaling == RopeScaling::kDynamic && config.head_dim <= 2) {
    return NotSupported(reader, "head_dim", "2 with dynamic scaling",
                        "are 4 and more");
  }
  return Stretch(rope, config);
}

}  // namespace

absl::Status ReadRope(const JsonReader& reader, Config& config) {
  ZQFP_RETURN_IF_ERROR(CheckWholeRotation(reader));
  ZQFP_RETURN_IF_ERROR(reader.Read("rope_theta", kTheta, &config.rope.theta));
  // As in transformers 5: rope_scaling, where it says anything, is the one.
  const json* scaling = reader.Find("rope_scaling");
  const bool is_old = scaling != nullptr && !scaling->empty();
  const char* key = is_old ? "rope_scaling" : "rope_parameters";
  if (!reader.Has(key)) return absl::OkStatus();
  ZQFP_ASSIGN_OR_RETURN(const JsonReader rope, reader.Object(key));
  for (const char* variant : kUnknownVariants) {
    if (rope.Has(variant)) {
      return NotSupported(rope, variant, "this key",
                          "are default, linear, dynamic, yarn and llama3");
    }
  }
  ZQFP_RETURN_IF_ERROR(CheckWholeRotation(rope));
  ZQFP_RETURN_IF_ERROR(rope.Read("rope_theta", kTheta, &config.rope.theta));
  ZQFP_ASSIGN_OR_RETURN(config.rope.scaling, ReadKind(rope));
  if (config.rope.scaling == RopeScaling::kNone) return absl::OkStatus();
  if (config.rope.scaling == RopeScaling::kFactors) {
    return ReadFactors(rope, config);
  }
  return ReadScaling(reader, rope, config);
}

}  // namespace zqfp
