// SPDX-License-Identifier: Apache-2.0
#include "tools/scheme_flags.h"

#include <fmt/format.h>

#include <memory>
#include <utility>

#include "absl/flags/flag.h"
#include "kernels/core/status_macros.h"
#include "tokenizer/regex.h"
#include "tools/flag_choice.h"

ABSL_FLAG(int32_t, group_size, 128,
          "weights that share a scale: 32, 64, 128 or 256");
ABSL_FLAG(std::string, scale_rounding, "search",
          "how scales are found: search (least squared error), nearest or "
          "paper");
ABSL_FLAG(std::string, keep, "",
          "regular expression: linears whose name it matches stay as they are");
ABSL_FLAG(std::string, lorc, "plain",
          "what it compensates: plain (the weights) or weighted (what they "
          "do to the calibration)");
ABSL_FLAG(std::string, lorc_format, "e4m3", "its factors: e4m3 or bf16");
ABSL_FLAG(double, damping, 0.01,
          "gptq: share of the Hessian's mean diagonal that is added to it");
ABSL_FLAG(bool, act_order, true,
          "gptq: columns with the largest activations first");
ABSL_FLAG(bool, true_sequential, true,
          "gptq: each part of a layer after the parts before it");

namespace zqfp::tools {
namespace {

absl::Status ReadScales(ScaleOptions* scales) {
  const int64_t group = absl::GetFlag(FLAGS_group_size);
  if (group != 32 && group != 64 && group != 128 && group != 256) {
    return UsageError(
        fmt::format("--group_size: want 32, 64, 128 or 256, found {}", group));
  }
  scales->group_size = group;
  ZQFP_ASSIGN_OR_RETURN(
      scales->rounding,
      Choice<ScaleRounding>("scale_rounding",
                            absl::GetFlag(FLAGS_scale_rounding),
                            {ScaleRounding::kSearch, ScaleRounding::kNearest,
                             ScaleRounding::kPaper}));
  return absl::OkStatus();
}

absl::Status ReadLorc(int64_t rank, LorcOptions* lorc) {
  lorc->rank = rank;
  if (lorc->rank < 0 || lorc->rank > kernels::kMaxLorcRank) {
    return UsageError(fmt::format("--lorc_rank: want 0..{}, found {}",
                                  kernels::kMaxLorcRank, lorc->rank));
  }
  ZQFP_ASSIGN_OR_RETURN(
      lorc->weighting,
      Choice<LorcWeighting>("lorc", absl::GetFlag(FLAGS_lorc),
                            {LorcWeighting::kPlain, LorcWeighting::kWeighted}));
  const std::string format = absl::GetFlag(FLAGS_lorc_format);
  if (format != "e4m3" && format != "bf16") {
    return UsageError(fmt::format(
        "--lorc_format: want one of e4m3, bf16, found '{}'", format));
  }
  lorc->format = format == "e4m3" ? kernels::ValueFormat::kE4m3
                                  : kernels::ValueFormat::kBf16;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::function<bool(const std::string& name)>> NameMatcher(
    const char* flag, const std::string& pattern) {
  absl::StatusOr<Regex> regex = Regex::Compile(pattern);
  if (!regex.ok()) {
    return UsageError(
        fmt::format("--{}: {}", flag, std::string(regex.status().message())));
  }
  auto shared = std::make_shared<Regex>(std::move(*regex));
  // Names are short: where a match takes too many steps there is none.
  return [shared](const std::string& name) {
    const auto matches = shared->FindAll(name);
    return matches.ok() && !matches->empty();
  };
}

absl::Status ReadSchemeFlags(int64_t lorc_rank, QuantizeOptions* options) {
  LinearScheme& scheme = options->linears;
  ZQFP_RETURN_IF_ERROR(ReadScales(&scheme.grid.scales));
  ZQFP_RETURN_IF_ERROR(ReadLorc(lorc_rank, &scheme.lorc));
  scheme.damping = absl::GetFlag(FLAGS_damping);
  if (!(scheme.damping > 0 && scheme.damping <= 1)) {
    return UsageError(fmt::format(
        "--damping: want more than 0, at most 1, found {}", scheme.damping));
  }
  scheme.column_order = absl::GetFlag(FLAGS_act_order)
                            ? ColumnOrder::kByActivation
                            : ColumnOrder::kAsStored;
  options->stages = absl::GetFlag(FLAGS_true_sequential)
                        ? StageOrder::kTrueSequential
                        : StageOrder::kWholeLayer;
  const std::string pattern = absl::GetFlag(FLAGS_keep);
  if (pattern.empty()) return absl::OkStatus();
  ZQFP_ASSIGN_OR_RETURN(options->keep, NameMatcher("keep", pattern));
  return absl::OkStatus();
}

}  // namespace zqfp::tools
