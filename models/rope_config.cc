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
    "alpha",         "short_mscale",   "long_mscale",
    "mrope_section", "full_attention", "sliding_attention"};
// Keys of longrope, which is Phi-3's.
constexpr const char* kLongropeKeys[] = {"short_factor", "long_factor"};
constexpr char kSupportedKinds[] =
    "are default, linear, dynamic, yarn, llama3 and factors";

absl::Status NotSupported(const JsonReader& reader, const char* key,
                          const std::string& found,
                          const std::string& supported) {
  return absl::UnimplementedError(
      fmt::format("{}: {}: {} is not supported; supported {}", reader.where(),
                  key, found, supported));
}

// "rope_type", or "type" as older files have it.
absl::StatusOr<RopeScaling> ReadKind(const JsonReader& rope,
                                     Architecture architecture) {
  std::string kind = "default";
  ZQFP_RETURN_IF_ERROR(rope.Read("type", &kind));
  ZQFP_RETURN_IF_ERROR(rope.Read("rope_type", &kind));
  if (architecture == Architecture::kPhi3) {
    // Its first files call longrope so.
    const bool is_long = kind == "longrope" || kind == "su" || kind == "yarn";
    if (is_long) return RopeScaling::kLongrope;
    if (kind == "default") return RopeScaling::kNone;
    return NotSupported(rope, "rope_type", kind, "are default and longrope");
  }
  for (const RopeScaling scaling :
       {RopeScaling::kNone, RopeScaling::kLinear, RopeScaling::kDynamic,
        RopeScaling::kYarn, RopeScaling::kLlama3, RopeScaling::kFactors}) {
    if (kind == ToString(scaling)) return scaling;
  }
  return NotSupported(rope, "rope_type", kind, kSupportedKinds);
}

// Only Phi-3 rotates less than whole heads.
absl::Status ReadRotaryDim(const JsonReader& reader, Config& config) {
  const char* key = "partial_rotary_factor";
  double share = 1.0;
  if (!reader.Has(key)) return absl::OkStatus();
  ZQFP_RETURN_IF_ERROR(reader.Read(key, {0, 1}, &share));
  if (config.architecture != Architecture::kPhi3) {
    if (share == 1.0) return absl::OkStatus();
    return NotSupported(reader, key, fmt::format("{:g}", share), "is 1");
  }
  config.rope.rotary_dim =
      static_cast<int64_t>(static_cast<double>(config.head_dim) * share);
  if (config.rope.rotary_dim >= 2 && config.rope.rotary_dim % 2 == 0) {
    return absl::OkStatus();
  }
  return reader.Wrong(key,
                      fmt::format("an even part of the {} elements of a head",
                                  config.head_dim));
}

// A list of one positive number for each pair: longrope has two; "factors" is
// the general form of what llama3 does, as GGUF files have it.
absl::Status ReadFactors(const JsonReader& rope, const char* key, int64_t size,
                         std::vector<double>* out) {
  const json* list = rope.Find(key);
  const std::string wanted = fmt::format("a list of {} numbers above 0", size);
  if (list == nullptr || !list->is_array() ||
      static_cast<int64_t>(list->size()) != size) {
    return rope.Wrong(key, wanted);
  }
  out->clear();
  for (const json& item : *list) {
    const double value = item.is_number() ? item.get<double>() : 0.0;
    if (!(value >= kPositive.min && value <= kPositive.max)) {
      return absl::InvalidArgumentError(fmt::format(
          "{}: {}: want numbers in {:g}..{:g}, found {}", rope.where(), key,
          kPositive.min, kPositive.max, Excerpt(item)));
    }
    out->push_back(value);
  }
  return absl::OkStatus();
}

// The lengths are whole: max_position_embeddings is the stretched one.
absl::Status ReadLongrope(const JsonReader& reader, const JsonReader& rope,
                          Config& config) {
  RopeConfig& out = config.rope;
  out.original_max_positions = 4096;
  constexpr IntRange kOriginal = {2, kMaxPositions};
  const char* original_key = "original_max_position_embeddings";
  ZQFP_RETURN_IF_ERROR(
      rope.Read(original_key, kOriginal, &out.original_max_positions));
  ZQFP_RETURN_IF_ERROR(
      reader.Read(original_key, kOriginal, &out.original_max_positions));
  out.factor =
      std::max(1.0, static_cast<double>(config.max_positions) /
                        static_cast<double>(out.original_max_positions));
  ZQFP_RETURN_IF_ERROR(rope.Read("factor", kFactor, &out.factor));
  ZQFP_RETURN_IF_ERROR(
      rope.Read("attention_factor", kPositive, &out.attention_factor));
  const int64_t pairs = config.rotary_dim() / 2;
  ZQFP_RETURN_IF_ERROR(
      ReadFactors(rope, "short_factor", pairs, &out.short_factor));
  return ReadFactors(rope, "long_factor", pairs, &out.long_factor);
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
  // Gemma 3 states the length after stretching.
  if (config.architecture == Architecture::kGemma3) return absl::OkStatus();
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
  if (out.scaling == RopeScaling::kLongrope) {
    return ReadLongrope(reader, rope, config);
  }
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

// One object of rotary settings.
absl::Status ReadMembers(const JsonReader& reader, const JsonReader& rope,
                         Config& config) {
  for (const char* variant : kUnknownVariants) {
    if (rope.Has(variant)) {
      return NotSupported(rope, variant, "this key", kSupportedKinds);
    }
  }
  ZQFP_RETURN_IF_ERROR(ReadRotaryDim(rope, config));
  ZQFP_RETURN_IF_ERROR(rope.Read("rope_theta", kTheta, &config.rope.theta));
  ZQFP_ASSIGN_OR_RETURN(config.rope.scaling,
                        ReadKind(rope, config.architecture));
  for (const char* key : kLongropeKeys) {
    if (rope.Has(key) && config.rope.scaling != RopeScaling::kLongrope) {
      return NotSupported(rope, key, "this key", kSupportedKinds);
    }
  }
  if (config.rope.scaling == RopeScaling::kNone) return absl::OkStatus();
  if (config.rope.scaling == RopeScaling::kFactors) {
    return ReadFactors(rope, "factors", config.rotary_dim() / 2,
                       &config.rope.factors);
  }
  return ReadScaling(reader, rope, config);
}

// Gemma 3: rope_theta and rope_scaling are of the full layers, those with a
// window have rope_local_base_freq; or rope_parameters has an object for each
// kind of layer.
absl::Status ReadBothRopes(const JsonReader& reader, Config& config) {
  Config local = config;
  config.rope.theta = 1e6;
  ZQFP_RETURN_IF_ERROR(reader.Read("rope_theta", kTheta, &config.rope.theta));
  ZQFP_RETURN_IF_ERROR(
      reader.Read("rope_local_base_freq", kTheta, &local.rope.theta));
  const json* scaling = reader.Find("rope_scaling");
  if (scaling != nullptr && !scaling->empty()) {
    ZQFP_ASSIGN_OR_RETURN(const JsonReader rope, reader.Object("rope_scaling"));
    ZQFP_RETURN_IF_ERROR(ReadMembers(reader, rope, config));
  } else if (reader.Has("rope_parameters")) {
    ZQFP_ASSIGN_OR_RETURN(const JsonReader ropes,
                          reader.Object("rope_parameters"));
    if (ropes.Has("full_attention")) {
      ZQFP_ASSIGN_OR_RETURN(const JsonReader rope,
                            ropes.Object("full_attention"));
      ZQFP_RETURN_IF_ERROR(ReadMembers(reader, rope, config));
    }
    if (ropes.Has("sliding_attention")) {
      ZQFP_ASSIGN_OR_RETURN(const JsonReader rope,
                            ropes.Object("sliding_attention"));
      ZQFP_RETURN_IF_ERROR(ReadMembers(reader, rope, local));
    }
    if (ropes.Has("rope_type") || ropes.Has("rope_theta")) {
      return ropes.Wrong("full_attention", "an object for each kind of layer");
    }
  }
  config.local_rope = local.rope;
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadRope(const JsonReader& reader, Config& config) {
  ZQFP_RETURN_IF_ERROR(ReadRotaryDim(reader, config));
  if (config.architecture == Architecture::kGemma3) {
    return ReadBothRopes(reader, config);
  }
  ZQFP_RETURN_IF_ERROR(reader.Read("rope_theta", kTheta, &config.rope.theta));
  // As in transformers 5: rope_scaling, where it says anything, is the one.
  const json* scaling = reader.Find("rope_scaling");
  const bool is_old = scaling != nullptr && !scaling->empty();
  const char* key = is_old ? "rope_scaling" : "rope_parameters";
  if (!reader.Has(key)) return absl::OkStatus();
  ZQFP_ASSIGN_OR_RETURN(const JsonReader rope, reader.Object(key));
  return ReadMembers(reader, rope, config);
}

}  // namespace zqfp
