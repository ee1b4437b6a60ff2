// SPDX-License-Identifier: Apache-2.0
#include "tools/quantize_command.h"

#include <fmt/format.h>
#include <signal.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/flags/declare.h"
#include "absl/flags/flag.h"
#include "kernels/core/status_macros.h"
#include "models/quantize/quantize_checkpoint.h"
#include "tools/command_line.h"
#include "tools/model_flags.h"
#include "tools/progress_bar.h"

ABSL_FLAG(std::string, input, "",
          "directory of the Hugging Face model to quantize (safetensors)");
ABSL_FLAG(std::string, output, "", "directory to create");
ABSL_FLAG(bool, overwrite, false, "replace --output where it exists");
ABSL_FLAG(int32_t, group_size, 128,
          "weights that share a scale: 32, 64, 128 or 256");
ABSL_FLAG(std::string, scales, "m2",
          "constraint on the scales: free, m1 (powers of two) or m2 (powers of "
          "two within a row)");
ABSL_FLAG(std::string, scale_rounding, "search",
          "how scales are found: search (least squared error), nearest or "
          "paper");
ABSL_FLAG(std::string, lm_head, "e4m3",
          "format of the output projection: bf16, e4m3 or e2m1");
ABSL_DECLARE_FLAG(int32_t, threads);
ABSL_FLAG(bool, json, false,
          "print the report as one JSON object, with every tensor");

namespace zqfp::tools {
namespace {

ToolInfo Info() {
  return {.name = "zqfp-quantize",
          .summary =
              "turns a full-precision model into a W4A8 one (e2m1 weights, "
              "e4m3 activations) by rounding to nearest",
          .synopsis =
              "zqfp-quantize --input DIR --output DIR [--group_size N] "
              "[--scales free|m1|m2]",
          .groups = {{"files", {"input", "output", "overwrite"}},
                     {"method",
                      {"group_size", "scales", "scale_rounding", "lm_head"}},
                     {"running", {"threads", "json"}}},
          .examples =
              "  zqfp-quantize --input TinyLlama-1.1B --output tiny-w4a8\n"
              "  zqfp-quantize --input llama --output llama-w4a8 "
              "--group_size 32 --scales free\n"};
}

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

// Usage errors are found before any file is opened.
absl::StatusOr<QuantizeOptions> OptionsFromFlags() {
  QuantizeOptions options;
  options.input = absl::GetFlag(FLAGS_input);
  options.output = absl::GetFlag(FLAGS_output);
  if (options.input.empty()) return UsageError("--input is missing");
  if (options.output.empty()) return UsageError("--output is missing");
  options.scales.group_size = absl::GetFlag(FLAGS_group_size);
  const int64_t group = options.scales.group_size;
  if (group != 32 && group != 64 && group != 128 && group != 256) {
    return UsageError(
        fmt::format("--group_size: want 32, 64, 128 or 256, found {}", group));
  }
  ZQFP_ASSIGN_OR_RETURN(
      options.scales.constraint,
      Choice<ScaleConstraint>("scales", absl::GetFlag(FLAGS_scales),
                              {ScaleConstraint::kFree, ScaleConstraint::kM1,
                               ScaleConstraint::kM2}));
  ZQFP_ASSIGN_OR_RETURN(
      options.scales.rounding,
      Choice<ScaleRounding>("scale_rounding",
                            absl::GetFlag(FLAGS_scale_rounding),
                            {ScaleRounding::kSearch, ScaleRounding::kNearest,
                             ScaleRounding::kPaper}));
  ZQFP_ASSIGN_OR_RETURN(
      options.lm_head,
      Choice<HeadFormat>(
          "lm_head", absl::GetFlag(FLAGS_lm_head),
          {HeadFormat::kBf16, HeadFormat::kE4m3, HeadFormat::kE2m1}));
  if (absl::GetFlag(FLAGS_overwrite)) options.if_exists = IfExists::kReplace;
  ZQFP_ASSIGN_OR_RETURN(const ModelOptions machine, ModelOptionsFromFlags(1));
  options.num_threads = machine.num_threads;
  return options;
}

// Sums over all tensors, and the one that lost most.
struct Summary {
  RoundingReport total;
  const TensorReport* worst = nullptr;
};

Summary Summarize(const QuantizeReport& report) {
  Summary summary;
  for (const TensorReport& tensor : report.tensors) {
    if (tensor.format != "e2m1") continue;
    summary.total.Add(tensor.rounding);
    if (summary.worst == nullptr ||
        tensor.rounding.relative_error() >
            summary.worst->rounding.relative_error()) {
      summary.worst = &tensor;
    }
  }
  return summary;
}

// A few lines for people, on stdout.
void PrintText(const QuantizeOptions& options, const QuantizeReport& report,
               double seconds) {
  const Summary summary = Summarize(report);
  fmt::print("{}: e2m1, {} scales, groups of {}, {}; lm_head {}\n",
             options.output, std::string(ToString(options.scales.constraint)),
             options.scales.group_size,
             std::string(ToString(options.scales.rounding)),
             std::string(ToString(options.lm_head)));
  fmt::print("  {:.1f} MB -> {:.1f} MB in {:.1f} s ({} tensors quantized)\n",
             static_cast<double>(report.bytes_before) / 1e6,
             static_cast<double>(report.bytes_after) / 1e6, seconds,
             report.tensors.size());
  if (summary.worst == nullptr) return;
  fmt::print("  relative squared error {:.5f}; worst {:.5f} in {}\n",
             summary.total.relative_error(),
             summary.worst->rounding.relative_error(), summary.worst->name);
  if (options.scales.constraint == ScaleConstraint::kFree) return;
  fmt::print("  shifts 0..{} of 14", summary.total.max_shift);
  if (summary.total.clamped_rows > 0) {
    fmt::print(
        "; {} groups in {} rows were too small for that window and got "
        "a larger step",
        summary.total.clamped_groups, summary.total.clamped_rows);
  }
  fmt::print("\n");
}

// Every tensor, for scripts.
void PrintJson(const QuantizeReport& report, double seconds) {
  nlohmann::ordered_json json = {{"bytes_before", report.bytes_before},
                                 {"bytes_after", report.bytes_after},
                                 {"files", report.num_files},
                                 {"seconds", seconds},
                                 {"tensors", nlohmann::ordered_json::array()}};
  for (const TensorReport& tensor : report.tensors) {
    json["tensors"].push_back(
        {{"name", tensor.name},
         {"format", tensor.format},
         {"relative_squared_error", tensor.rounding.relative_error()},
         {"max_shift", tensor.rounding.max_shift},
         {"clamped_rows", tensor.rounding.clamped_rows},
         {"clamped_groups", tensor.rounding.clamped_groups}});
  }
  fmt::print("{}\n",
             json.dump(2, ' ', false,
                       nlohmann::ordered_json::error_handler_t::replace));
}

absl::Status Quantize() {
  ZQFP_ASSIGN_OR_RETURN(QuantizeOptions options, OptionsFromFlags());
  // A file-size limit is then a write error like a full disk, not a signal.
  signal(SIGXFSZ, SIG_IGN);
  CatchInterrupt();
  const auto start = std::chrono::steady_clock::now();
  absl::StatusOr<QuantizeReport> report;
  {
    ProgressBar bar;
    options.progress = [&](const QuantizeProgress& progress) {
      bar.Update(progress.done_bytes, progress.total_bytes, progress.tensor);
      return Interrupted() ? absl::CancelledError("interrupted")
                           : absl::OkStatus();
    };
    report = QuantizeCheckpoint(options);
  }
  ZQFP_RETURN_IF_ERROR(report.status());
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
          .count();
  if (absl::GetFlag(FLAGS_json)) {
    PrintJson(*report, seconds);
  } else {
    PrintText(options, *report, seconds);
  }
  return absl::OkStatus();
}

}  // namespace

int RunQuantize(int argc, char** argv) {
  return RunTool(argc, argv, Info(), Quantize);
}

}  // namespace zqfp::tools
