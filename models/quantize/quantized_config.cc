// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/quantized_config.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <nlohmann/json.hpp>

#include "kernels/core/status_macros.h"
#include "models/certificate.h"
#include "models/safetensors.h"

namespace zqfp {
namespace {

using nlohmann::ordered_json;

template <typename Enum>
std::string Name(Enum value) {
  return std::string(ToString(value));
}

ordered_json Weights(const GridOptions& grid) {
  ordered_json json = ordered_json::object();
  json["format"] = Name(grid.format);
  if (grid.format == GridFormat::kE4m3) return json;
  json["group_size"] = grid.scales.group_size;
  if (IsInteger(grid.format)) return json;
  json["scale_constraint"] = Name(grid.scales.constraint);
  json["scale_rounding"] = Name(grid.scales.rounding);
  return json;
}

ordered_json Activations(ActivationFormat format) {
  if (format == ActivationFormat::kNone) return nullptr;
  return {
      {"format", Name(format)}, {"granularity", "token"}, {"dynamic", true}};
}

std::string HashOfIds(const std::vector<std::vector<int32_t>>& sequences) {
  XXH64_state_t* state = XXH64_createState();
  XXH64_reset(state, 0);
  for (const auto& ids : sequences) {
    const uint64_t size = ids.size();
    XXH64_update(state, &size, sizeof(size));
    XXH64_update(state, ids.data(), ids.size() * sizeof(ids[0]));
  }
  const uint64_t hash = XXH64_digest(state);
  XXH64_freeState(state);
  return fmt::format("{:016x}", hash);
}

// How the weights were found.
ordered_json Calibration(const QuantizeOptions& options) {
  const LinearScheme& scheme = options.linears;
  int64_t tokens = 0;
  for (const auto& ids : options.calibration) {
    tokens += static_cast<int64_t>(ids.size());
  }
  ordered_json json = ordered_json::object();
  json["method"] = Name(scheme.method);
  json["damping"] = scheme.damping;
  json["act_order"] = scheme.column_order == ColumnOrder::kByActivation;
  json["true_sequential"] = options.stages == StageOrder::kTrueSequential;
  json["text"] = options.calibration_source.text;
  json["text_hash"] = options.calibration_source.text_hash;
  json["sequences"] = options.calibration.size();
  json["tokens"] = tokens;
  json["ids_hash"] = HashOfIds(options.calibration);
  return json;
}

ordered_json Lorc(const LorcOptions& lorc) {
  return {
      {"rank", lorc.rank},
      {"format", lorc.format == kernels::ValueFormat::kE4m3 ? "e4m3" : "bf16"},
      {"weighting", Name(lorc.weighting)}};
}

// What the linears of the decoder layers have become.
ordered_json DescribeLinears(const QuantizeOptions& options,
                             const std::vector<std::string>& kept) {
  ordered_json json = ordered_json::object();
  json["weights"] = Weights(options.linears.grid);
  json["activations"] = Activations(options.linears.activations);
  json["lm_head"] = Name(options.lm_head);
  if (options.linears.lorc.rank > 0) json["lorc"] = Lorc(options.linears.lorc);
  if (!kept.empty()) json["keep"] = kept;
  if (options.linears.needs_calibration()) {
    json["calibration"] = Calibration(options);
  }
  return json;
}

// Hashes of the config's text and of every tensor.
absl::StatusOr<ordered_json> DescribeInput(const std::string& input) {
  ZQFP_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(input));
  ZQFP_ASSIGN_OR_RETURN(const std::string config, ReadConfigText(input));
  ordered_json description = ordered_json::object();
  description["config"] =
      fmt::format("{:016x}", XXH3_64bits(config.data(), config.size()));
  description["tensors"] = HashTensors(checkpoint);
  return description;
}

}  // namespace

absl::StatusOr<std::string> MakeConfigText(
    const QuantizeOptions& options, const std::vector<std::string>& kept) {
  ZQFP_ASSIGN_OR_RETURN(const std::string text, ReadConfigText(options.input));
  ordered_json config = ordered_json::parse(text, nullptr, false);
  if (!config.is_object()) {
    return absl::InvalidArgumentError(
        fmt::format("{}: want a JSON object as config, found something else",
                    options.input));
  }
  ordered_json linears = DescribeLinears(options, kept);
  if (options.linears.is_dense()) {
    config["zqfp_simulation"] = std::move(linears);
  } else {
    ordered_json own = {{"quant_method", "zqfp"}, {"version", 1}};
    own.update(linears);
    config["quantization_config"] = std::move(own);
  }
  return config.dump(2, ' ', false, ordered_json::error_handler_t::replace) +
         "\n";
}

absl::StatusOr<std::string> DescribeJob(const QuantizeOptions& options,
                                        const std::vector<std::string>& kept) {
  ZQFP_ASSIGN_OR_RETURN(ordered_json input, DescribeInput(options.input));
  ordered_json job = DescribeLinears(options, kept);
  job["threads"] = options.num_threads;
  job.update(input);
  return job.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

absl::StatusOr<std::string> HashOfModel(const std::string& input) {
  ZQFP_ASSIGN_OR_RETURN(const ordered_json description, DescribeInput(input));
  const std::string text =
      description.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  return fmt::format("{:016x}", XXH64(text.data(), text.size(), 0));
}

}  // namespace zqfp
