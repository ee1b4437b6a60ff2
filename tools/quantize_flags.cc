// SPDX-License-Identifier: Apache-2.0
#include "tools/quantize_flags.h"

#include <fmt/format.h>

#include <string>

#include "absl/flags/declare.h"
#include "absl/flags/flag.h"
#include "kernels/core/status_macros.h"
#include "tools/calibration.h"
#include "tools/calibration_flags.h"
#include "tools/flag_choice.h"
#include "tools/model_flags.h"
#include "tools/scheme_flags.h"

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
ABSL_FLAG(std::string, scales, "m2",
          "constraint on the scales: free, m1 (powers of two) or m2 (powers of "
          "two within a row)");
ABSL_FLAG(std::string, lm_head, "",
          "format of the output projection: bf16, e4m3 or e2m1 (e4m3; bf16 "
          "with int4 and int8)");
ABSL_FLAG(int32_t, lorc_rank, 0, "rank of the low-rank compensation (none)");
ABSL_DECLARE_FLAG(int32_t, threads);

namespace zqfp::tools {
namespace {

absl::Status ReadGrid(GridOptions* grid) {
  ZQFP_ASSIGN_OR_RETURN(
      grid->format, Choice<GridFormat>("weights", absl::GetFlag(FLAGS_weights),
                                       {GridFormat::kE2m1, GridFormat::kE4m3,
                                        GridFormat::kInt4, GridFormat::kInt8}));
  ZQFP_ASSIGN_OR_RETURN(
      grid->scales.constraint,
      Choice<ScaleConstraint>("scales", absl::GetFlag(FLAGS_scales),
                              {ScaleConstraint::kFree, ScaleConstraint::kM1,
                               ScaleConstraint::kM2}));
  return absl::OkStatus();
}

absl::Status ReadScheme(LinearScheme* scheme) {
  ZQFP_RETURN_IF_ERROR(ReadGrid(&scheme->grid));
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

absl::Status ReadCalibrationFlags(QuantizeOptions* options) {
  ZQFP_ASSIGN_OR_RETURN(const CalibrationOptions wanted,
                        CalibrationOptionsFromFlags());
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
          {"quality certificate",
           {"certify", "certify_split", "certify_window", "certify_tokens"}},
          {"running", {"threads", "json"}}};
}

absl::StatusOr<QuantizeOptions> QuantizeOptionsFromFlags() {
  QuantizeOptions options;
  options.input = absl::GetFlag(FLAGS_input);
  options.output = absl::GetFlag(FLAGS_output);
  if (options.input.empty()) return UsageError("--input is missing");
  if (options.output.empty()) return UsageError("--output is missing");
  ZQFP_RETURN_IF_ERROR(
      ReadSchemeFlags(absl::GetFlag(FLAGS_lorc_rank), &options));
  ZQFP_RETURN_IF_ERROR(ReadScheme(&options.linears));
  ZQFP_RETURN_IF_ERROR(ReadHead(options.linears, &options.lm_head));
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
  ZQFP_ASSIGN_OR_RETURN(const ModelOptions machine, ModelOptionsFromFlags());
  options.num_threads = machine.num_threads;
  ZQFP_RETURN_IF_ERROR(ReadCalibrationFlags(&options));
  return options;
}

}  // namespace zqfp::tools
