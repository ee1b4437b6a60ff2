// SPDX-License-Identifier: Apache-2.0
#include "tools/quantize_flags.h"

#include <fmt/format.h>

#include <memory>
#include <string>

#include "absl/flags/declare.h"
#include "absl/flags/flag.h"
#include "kernels/core/status_macros.h"
#include "tokenizer/regex.h"
#include "tools/calibration.h"
#include "tools/model_flags.h"

ABSL_FLAG(std::string, input, "",
          "Hugging Face model to quantize, a directory (safetensors) or a GGUF "
          "file");
ABSL_FLAG(std::string, output, "", "directory to create");
ABSL_FLAG(bool, overwrite, false,
          "replace --output where it exists, begin an interrupted job anew");
ABSL_FLAG(bool, resume, false,
          "go on with a calibrated job that was interrupted");
ABSL_FLAG(std::string, method, "rtn",
          "rtn (round to nearest) or gptq (needs --calibration)");
ABSL_FLAG(std::string, weights, "e2m1",
          "format of the linears: e2m1 or e4m3; int4 or int8 write what such "
          "weights would be in f32, for comparison");
ABSL_FLAG(std::string, activations, "e4m3",
          "what linears read: e4m3 (one scale per token) or none (f32)");
ABSL_FLAG(int32_t, group_size, 128,
          "weights that share a scale: 32, 64, 128 or 256");
ABSL_FLAG(std::string, scales, "m2",
          "constraint on the scales: free, m1 (powers of two) or m2 (powers of "
          "two within a row)");
ABSL_FLAG(std::string, scale_rounding, "search",
          "how scales are found: search (least squared error), nearest or "
          "paper");
ABSL_FLAG(std::string, lm_head, "",
          "format of the output projection: bf16, e4m3 or e2m1 (e4m3; bf16 "
          "with int4 and int8)");
ABSL_FLAG(std::string, keep, "",
          "regular expression: linears whose name it matches stay as they are");
ABSL_FLAG(int32_t, lorc_rank, 0, "rank of the low-rank compensation (none)");
ABSL_FLAG(std::string, lorc, "plain",
          "what it compensates: plain (the weights) or weighted (what they "
          "do to the calibration)");
ABSL_FLAG(std::string, lorc_format, "e4m3", "its factors: e4m3 or bf16");
ABSL_FLAG(std::string, calibration, "",
          "text to calibrate on: a file, or .jsonl documents");
ABSL_FLAG(std::string, calibration_split, "",
          "text between its documents, with C escapes");
ABSL_FLAG(int32_t, calibration_samples, 128, "sequences to take of it");
ABSL_FLAG(int32_t, calibration_length, 2048,
          "tokens of each (at most the model's context)");
ABSL_FLAG(double, damping, 0.01,
          "gptq: share of the Hessian's mean diagonal that is added to it");
ABSL_FLAG(bool, act_order, true,
          "gptq: columns with the largest activations first");
ABSL_FLAG(bool, true_sequential, true,
          "gptq: each part of a layer after the parts before it");
ABSL_DECLARE_FLAG(int32_t, threads);

namespace zqfp::tools {
namespace {

// The enum value that a flag names.
template <typename Enum>
absl::StatusOr<Enum> Choice(const char* flag, const std::string& found,
                            const std::vector<Enum>& values) {
  std::string wanted;
  for (const Enum value : values) {
    if (found == std::string(ToString(value))) return value;
    wanted += fmt::format("{}{}", wanted.empty() ? "" : ", ",
                          std::string(ToString(value)));
  }
  return UsageError(
      fmt::format("--{}: want one of {}, found '{}'", flag, wanted, found));
}

absl::Status ReadGrid(GridOptions* grid) {
  const int64_t group = absl::GetFlag(FLAGS_group_size);
  if (group != 32 && group != 64 && group != 128 && group != 256) {
    return UsageError(
        fmt::format("--group_size: want 32, 64, 128 or 256, found {}", group));
  }
  grid->scales.group_size = group;
  ZQFP_ASSIGN_OR_RETURN(
      grid->format, Choice<GridFormat>("weights", absl::GetFlag(FLAGS_weights),
                                       {GridFormat::kE2m1, GridFormat::kE4m3,
                                        GridFormat::kInt4, GridFormat::kInt8}));
  ZQFP_ASSIGN_OR_RETURN(
      grid->scales.constraint,
      Choice<ScaleConstraint>("scales", absl::GetFlag(FLAGS_scales),
                              {ScaleConstraint::kFree, ScaleConstraint::kM1,
                               ScaleConstraint::kM2}));
  ZQFP_ASSIGN_OR_RETURN(
      grid->scales.rounding,
      Choice<ScaleRounding>("scale_rounding",
                            absl::GetFlag(FLAGS_scale_rounding),
                            {ScaleRounding::kSearch, ScaleRounding::kNearest,
                             ScaleRounding::kPaper}));
  return absl::OkStatus();
}

absl::Status ReadLorc(LorcOptions* lorc) {
  lorc->rank = absl::GetFlag(FLAGS_lorc_rank);
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

absl::Status ReadScheme(LinearScheme* scheme) {
  ZQFP_RETURN_IF_ERROR(ReadGrid(&scheme->grid));
  ZQFP_RETURN_IF_ERROR(ReadLorc(&scheme->lorc));
  ZQFP_ASSIGN_OR_RETURN(
      scheme->method,
      Choice<QuantizeMethod>("method", absl::GetFlag(FLAGS_method),
                             {QuantizeMethod::kRtn, QuantizeMethod::kGptq}));
  std::vector<ActivationFormat> activations = {ActivationFormat::kE4m3,
                                               ActivationFormat::kNone};
  if (scheme->is_dense()) {
    activations.push_back(ActivationFormat::kInt8);
    activations.push_back(ActivationFormat::kE5m2);
  }
  ZQFP_ASSIGN_OR_RETURN(
      scheme->activations,
      Choice<ActivationFormat>("activations", absl::GetFlag(FLAGS_activations),
                               activations));
  scheme->damping = absl::GetFlag(FLAGS_damping);
  if (!(scheme->damping > 0 && scheme->damping <= 1)) {
    return UsageError(fmt::format(
        "--damping: want more than 0, at most 1, found {}", scheme->damping));
  }
  scheme->column_order = absl::GetFlag(FLAGS_act_order)
                             ? ColumnOrder::kByActivation
                             : ColumnOrder::kAsStored;
  return absl::OkStatus();
}

absl::Status ReadHead(const LinearScheme& scheme, HeadFormat* head) {
  std::string name = absl::GetFlag(FLAGS_lm_head);
  if (name.empty()) name = scheme.is_dense() ? "bf16" : "e4m3";
  ZQFP_ASSIGN_OR_RETURN(
      *head, Choice<HeadFormat>(
                 "lm_head", name,
                 {HeadFormat::kBf16, HeadFormat::kE4m3, HeadFormat::kE2m1}));
  return absl::OkStatus();
}

absl::Status ReadKeep(QuantizeOptions* options) {
  const std::string pattern = absl::GetFlag(FLAGS_keep);
  if (pattern.empty()) return absl::OkStatus();
  absl::StatusOr<Regex> regex = Regex::Compile(pattern);
  if (!regex.ok()) {
    return UsageError("--keep: " + std::string(regex.status().message()));
  }
  auto shared = std::make_shared<Regex>(std::move(*regex));
  // Names are short: where a match takes too many steps there is none.
  options->keep = [shared](const std::string& name) {
    const auto matches = shared->FindAll(name);
    return matches.ok() && !matches->empty();
  };
  return absl::OkStatus();
}

absl::Status ReadCalibrationFlags(QuantizeOptions* options) {
  const CalibrationOptions wanted = {
      .text = absl::GetFlag(FLAGS_calibration),
      .split = absl::GetFlag(FLAGS_calibration_split),
      .num_samples = absl::GetFlag(FLAGS_calibration_samples),
      .length = absl::GetFlag(FLAGS_calibration_length)};
  if (!options->linears.needs_calibration()) {
    if (wanted.text.empty()) return absl::OkStatus();
    return UsageError(
        "--calibration: want it with --method gptq or --lorc weighted, which "
        "read it, found neither");
  }
  if (wanted.text.empty()) {
    return UsageError(
        "--calibration: want a text for gptq and weighted compensation, found "
        "none");
  }
  if (wanted.num_samples < 1 || wanted.length < 2) {
    return UsageError(fmt::format(
        "--calibration_samples, --calibration_length: want at least 1 and 2, "
        "found {} and {}",
        wanted.num_samples, wanted.length));
  }
  ZQFP_ASSIGN_OR_RETURN(Calibration calibration,
                        ReadCalibration(options->input, wanted));
  options->calibration = std::move(calibration.sequences);
  options->calibration_source = std::move(calibration.source);
  return absl::OkStatus();
}

}  // namespace

std::vector<FlagGroup> QuantizeFlagGroups() {
  return {{"files", {"input", "output", "overwrite", "resume"}},
          {"formats",
           {"weights", "activations", "group_size", "scales", "scale_rounding",
            "lm_head", "keep"}},
          {"method",
           {"method", "calibration", "calibration_split", "calibration_samples",
            "calibration_length", "damping", "act_order", "true_sequential"}},
          {"low-rank compensation", {"lorc_rank", "lorc", "lorc_format"}},
          {"running", {"threads", "json"}}};
}

absl::StatusOr<QuantizeOptions> QuantizeOptionsFromFlags() {
  QuantizeOptions options;
  options.input = absl::GetFlag(FLAGS_input);
  options.output = absl::GetFlag(FLAGS_output);
  if (options.input.empty()) return UsageError("--input is missing");
  if (options.output.empty()) return UsageError("--output is missing");
  ZQFP_RETURN_IF_ERROR(ReadScheme(&options.linears));
  ZQFP_RETURN_IF_ERROR(ReadHead(options.linears, &options.lm_head));
  ZQFP_RETURN_IF_ERROR(ReadKeep(&options));
  options.stages = absl::GetFlag(FLAGS_true_sequential)
                       ? StageOrder::kTrueSequential
                       : StageOrder::kWholeLayer;
  const bool overwrite = absl::GetFlag(FLAGS_overwrite);
  const bool resume = absl::GetFlag(FLAGS_resume);
  if (overwrite && resume) {
    return UsageError("--resume, --overwrite: want one of them, found both");
  }
  if (resume && !options.linears.needs_calibration()) {
    return UsageError(
        "--resume: want it with a calibrated job (--method gptq or --lorc "
        "weighted), which can be interrupted");
  }
  if (overwrite) options.if_exists = IfExists::kReplace;
  if (overwrite) options.if_interrupted = IfInterrupted::kStartOver;
  if (resume) options.if_interrupted = IfInterrupted::kResume;
  ZQFP_ASSIGN_OR_RETURN(const ModelOptions machine, ModelOptionsFromFlags(1));
  options.num_threads = machine.num_threads;
  ZQFP_RETURN_IF_ERROR(ReadCalibrationFlags(&options));
  return options;
}

}  // namespace zqfp::tools
