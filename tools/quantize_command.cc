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
  fmt::print("{}: {}\n", options.output, DescribeScheme(options));
  fmt::print("  {:.1f} MB -> {:.1f} MB in {:.1f} s ({} tensors quantized)\n",
             static_cast<double>(report.bytes_before) / 1e6,
             static_cast<double>(report.bytes_after) / 1e6, seconds,
             report.tensors.size());
  if (report.num_expanded > 0) {
    fmt::print("  {} tensors were 8-bit already (Q8_0) and expanded first\n",
               report.num_expanded);
  }
  if (summary.worst == nullptr) return;
  fmt::print("  relative squared error {:.5f}; worst {:.5f} in {}\n",
             summary.total.relative_error(),
             summary.worst->rounding.relative_error(), summary.worst->name);
  if (options.linears.grid.format != GridFormat::kE2m1 ||
      options.linears.grid.scales.constraint == ScaleConstraint::kFree) {
    return;
  }
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
void PrintJson(const QuantizeReport& report,
               const nlohmann::ordered_json& measurement, double seconds) {
  nlohmann::ordered_json json = {{"bytes_before", report.bytes_before},
                                 {"bytes_after", report.bytes_after},
                                 {"files", report.num_files},
                                 {"seconds", seconds},
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
  if (!measurement.is_null()) json["certified"] = measurement;
  fmt::print("{}\n",
             json.dump(2, ' ', false,
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
  fmt::print(stderr,
             "layer {}/{}: relative squared error of weights {:.5f}, of "
             "outputs {:.5f}; shifts 0..{}, {} rows clamped; {}\n",
             done, layer.num_layers, rounding.relative_error(), output_error,
             rounding.max_shift, rounding.clamped_rows, time);
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
  const auto start = std::chrono::steady_clock::now();
  absl::StatusOr<QuantizeReport> report;
  nlohmann::ordered_json measurement;  // null without a certificate
  const auto seconds_so_far = [&start] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() -
                                         start)
        .count();
  };
  {
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
    if (certification) {
      options.certify =
          [&](const std::string& directory) -> absl::StatusOr<Certificate> {
        ZQFP_ASSIGN_OR_RETURN(
            const Certificate made,
            certification->Measure(directory, [&](int64_t done, int64_t total) {
              bar.Update(done, total, "tokens compared with the original");
              return !Interrupted();
            }));
        measurement = made.measurement;
        return made;
      };
    }
    report = QuantizeCheckpoint(options);
  }
  if (absl::IsCancelled(report.status()) &&
      options.linears.needs_calibration()) {
    fmt::print(stderr,
               "finished layers stay in {}.layers; --resume goes on with "
               "them\n",
               options.output);
  }
  ZQFP_RETURN_IF_ERROR(report.status());
  const double seconds = seconds_so_far();
  if (absl::GetFlag(FLAGS_json)) {
    PrintJson(*report, measurement, seconds);
  } else {
    PrintText(options, *report, seconds);
    fmt::print("{}", MeasurementText(measurement));
  }
  return absl::OkStatus();
}

}  // namespace

int RunQuantize(int argc, char** argv) {
  return RunTool(argc, argv, Info(), Quantize);
}

}  // namespace zqfp::tools
