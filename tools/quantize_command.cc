// SPDX-License-Identifier: Apache-2.0
#include "tools/quantize_command.h"

#include <fmt/format.h>
#include <signal.h>
#include <stdio.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "engine/model_tokenizer.h"
#include "kernels/core/status_macros.h"
#include "models/quantize/quantize_checkpoint.h"
#include "tools/certification.h"
#include "tools/certification_flags.h"
#include "tools/command_line.h"
#include "tools/print.h"
#include "tools/progress_bar.h"
#include "tools/quantize_flags.h"

ABSL_FLAG(bool, json, false,
          "print the report as one JSON object, with every tensor");

namespace zqfp::tools {
namespace {

ToolInfo Info() {
  return {.name = "zqfp-quantize",
          .summary =
              "turns a full-precision model into a W4A8 one (e2m1 weights, "
              "e4m3 activations), by rounding to nearest or with a "
              "calibration text by GPTQ, with low-rank compensation",
          .synopsis =
              "zqfp-quantize --input DIR --output DIR [--method gptq "
              "--calibration FILE]",
          .groups = QuantizeFlagGroups(),
          .examples =
              "  zqfp-quantize --input TinyLlama-1.1B --output tiny-w4a8\n"
              "  zqfp-quantize --input TinyLlama-1.1B --output tiny-w4a8 "
              "--method gptq \\\n"
              "      --calibration c4.jsonl --lorc_rank 8 --lorc weighted\n"};
}

// Sums over all tensors, and the one that lost most.
struct Summary {
  RoundingReport total;
  const TensorReport* worst = nullptr;
};

Summary Summarize(const QuantizeReport& report) {
  Summary summary;
  for (const TensorReport& tensor : report.tensors) {
    if (tensor.name == "lm_head") continue;
    summary.total.Add(tensor.rounding);
    if (summary.worst == nullptr ||
        tensor.rounding.relative_error() >
            summary.worst->rounding.relative_error()) {
      summary.worst = &tensor;
    }
  }
  return summary;
}

std::string DescribeScheme(const QuantizeOptions& options) {
  const LinearScheme& scheme = options.linears;
  const auto name = [](auto value) { return std::string(ToString(value)); };
  std::string text = name(scheme.grid.format);
  if (scheme.grid.format == GridFormat::kE2m1) {
    text += fmt::format(
        ", {} scales, groups of {}, {}", name(scheme.grid.scales.constraint),
        scheme.grid.scales.group_size, name(scheme.grid.scales.rounding));
  } else if (IsInteger(scheme.grid.format)) {
    text += fmt::format(" in groups of {}, simulated in f32",
                        scheme.grid.scales.group_size);
  }
  text += fmt::format(", activations {}, {}", name(scheme.activations),
                      name(scheme.method));
  if (scheme.lorc.rank > 0) {
    text += fmt::format(", low rank {} {}", scheme.lorc.rank,
                        name(scheme.lorc.weighting));
  }
  return text + "; lm_head " + name(options.lm_head);
}

// A few lines for people, on stdout.
void PrintText(const QuantizeOptions& options, const QuantizeReport& report,
               double seconds) {
  const Summary summary = Summarize(report);
  Print("{}: {}\n", options.output, DescribeScheme(options));
  Print("  {:.1f} MB -> {:.1f} MB in {:.1f} s ({} tensors quantized)\n",
        static_cast<double>(report.bytes_before) / 1e6,
        static_cast<double>(report.bytes_after) / 1e6, seconds,
        report.tensors.size());
  if (report.num_expanded > 0) {
    Print("  {} tensors were 8-bit already (Q8_0) and expanded first\n",
          report.num_expanded);
  }
  if (summary.worst == nullptr) return;
  Print("  relative squared error {:.5f}; worst {:.5f} in {}\n",
        summary.total.relative_error(),
        summary.worst->rounding.relative_error(), summary.worst->name);
  if (options.linears.grid.format != GridFormat::kE2m1 ||
      options.linears.grid.scales.constraint == ScaleConstraint::kFree) {
    return;
  }
  Print("  shifts 0..{} of 14", summary.total.max_shift);
  if (summary.total.clamped_rows > 0) {
    Print(
        "; {} groups in {} rows were too small for that window and got "
        "a larger step",
        summary.total.clamped_groups, summary.total.clamped_rows);
  }
  Print("\n");
}

struct Outcome {
  QuantizeReport report;
  nlohmann::ordered_json measurement;  // null without a certificate
  double seconds = 0;
};

// Every tensor, for scripts.
void PrintJson(const Outcome& result) {
  const QuantizeReport& report = result.report;
  nlohmann::ordered_json json = {{"bytes_before", report.bytes_before},
                                 {"bytes_after", report.bytes_after},
                                 {"files", report.num_files},
                                 {"seconds", result.seconds},
                                 {"tensors_expanded", report.num_expanded},
                                 {"tensors", nlohmann::ordered_json::array()}};
  for (const TensorReport& tensor : report.tensors) {
    json["tensors"].push_back(
        {{"name", tensor.name},
         {"format", tensor.format},
         {"relative_squared_error", tensor.rounding.relative_error()},
         {"relative_output_error",
          tensor.output_error < 0
              ? nlohmann::ordered_json()
              : nlohmann::ordered_json(tensor.output_error)},
         {"max_shift", tensor.rounding.max_shift},
         {"clamped_rows", tensor.rounding.clamped_rows},
         {"clamped_groups", tensor.rounding.clamped_groups}});
  }
  if (!result.measurement.is_null()) {
    json["certified"] = result.measurement;
  }
  Print("{}\n", json.dump(2, ' ', false,
                          nlohmann::ordered_json::error_handler_t::replace));
}

// One line on stderr for each layer of a calibrated job.
void PrintLayer(const LayerReport& layer, double seconds_so_far) {
  RoundingReport rounding;
  double output_error = 0;
  for (const TensorReport& tensor : layer.tensors) {
    rounding.Add(tensor.rounding);
    output_error +=
        tensor.output_error / static_cast<double>(layer.tensors.size());
  }
  const int64_t done = layer.layer_index + 1;
  const std::string time =
      layer.seconds > 0
          ? fmt::format("{:.1f} s, {} left", layer.seconds,
                        TimeText(seconds_so_far / static_cast<double>(done) *
                                 static_cast<double>(layer.num_layers - done)))
          : "from the interrupted job";
  Print(stderr,
        "layer {}/{}: relative squared error of weights {:.5f}, of "
        "outputs {:.5f}; shifts 0..{}, {} rows clamped; {}\n",
        done, layer.num_layers, rounding.relative_error(), output_error,
        rounding.max_shift, rounding.clamped_rows, time);
}

// The work itself, with a bar and a line for each layer.
absl::StatusOr<Outcome> Work(
    QuantizeOptions options,
    const std::optional<Certification>& certification) {
  const auto start = std::chrono::steady_clock::now();
  const auto seconds_so_far = [&start] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() -
                                         start)
        .count();
  };
  Outcome result;
  ProgressBar bar;
  options.progress = [&](const QuantizeProgress& progress) {
    bar.Update(static_cast<int64_t>(progress.share * 1e6), 1'000'000,
               progress.note);
    return Interrupted() ? absl::CancelledError("interrupted")
                         : absl::OkStatus();
  };
  options.on_layer = [&](const LayerReport& layer) {
    bar.Clear();
    PrintLayer(layer, seconds_so_far());
  };
  const auto compared = [&](int64_t done, int64_t total) {
    bar.Update(done, total, "tokens compared with the original");
    return !Interrupted();
  };
  if (certification) {
    options.certify =
        [&](const std::string& directory) -> absl::StatusOr<Certificate> {
      ZQFP_ASSIGN_OR_RETURN(Certificate made,
                            certification->Measure(directory, compared));
      result.measurement = made.measurement;
      return made;
    };
  }
  ZQFP_ASSIGN_OR_RETURN(result.report, QuantizeCheckpoint(options));
  result.seconds = seconds_so_far();
  return result;
}

absl::Status Quantize() {
  ZQFP_ASSIGN_OR_RETURN(QuantizeOptions options, QuantizeOptionsFromFlags());
  ZQFP_ASSIGN_OR_RETURN(const std::optional<Certification> certification,
                        CertificationFromFlags(options));
  ZQFP_ASSIGN_OR_RETURN(options.companions,
                        TokenizerFilesOfGguf(options.input));
  // A file-size limit is then a write error like a full disk, not a signal.
  signal(SIGXFSZ, SIG_IGN);
  CatchInterrupt();
  const absl::StatusOr<Outcome> result = Work(options, certification);
  if (absl::IsCancelled(result.status()) &&
      options.linears.needs_calibration()) {
    Print(stderr,
          "finished layers stay in {}.layers; --resume goes on with "
          "them\n",
          options.output);
  }
  ZQFP_RETURN_IF_ERROR(result.status());
  if (absl::GetFlag(FLAGS_json)) {
    PrintJson(*result);
  } else {
    PrintText(options, result->report, result->seconds);
    Print("{}", MeasurementText(result->measurement));
  }
  return absl::OkStatus();
}

}  // namespace

int RunQuantize(int argc, char** argv) {
  return RunTool(argc, argv, Info(), Quantize);
}

}  // namespace zqfp::tools
