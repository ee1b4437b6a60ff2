// SPDX-License-Identifier: Apache-2.0
// zqfp-bench: prompt and generation speed of a model or a shape.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include "absl/flags/declare.h"
#include "absl/flags/flag.h"
#include "engine/engine.h"
#include "kernels/backend.h"
#include "kernels/core/status_macros.h"
#include "nlohmann/json.hpp"
#include "tools/command_line.h"
#include "tools/flag_choice.h"
#include "tools/gpu_ceilings.h"
#include "tools/gpu_tables_command.h"
#include "tools/kv_flag.h"
#include "tools/machine.h"
#include "tools/model_flags.h"
#include "tools/print.h"
#include "tools/profile_report.h"
#include "tools/shapes.h"
#include "tools/workload.h"

ABSL_FLAG(std::string, shape, "",
          "random weights of a published shape instead of a model: llama-110m, "
          "llama-1b, llama-3b, llama2-7b, llama2-13b, llama2-70b, llama3-8b, "
          "opt-125m, gemma-2-2b");
ABSL_FLAG(std::optional<int64_t>, group_size, std::nullopt,
          "--shape: group size of the scales (128)");
ABSL_FLAG(std::optional<std::string>, scales, std::nullopt,
          "--shape: free, m1 or m2 (m2)");
ABSL_DECLARE_FLAG(std::string, model);
ABSL_FLAG(int64_t, prompt, 512, "prompt tokens per sequence");
ABSL_FLAG(int64_t, generate, 128, "generated tokens per sequence");
ABSL_FLAG(int64_t, batch, 1, "sequences at once");
ABSL_FLAG(int64_t, repeat, 3, "how often each figure is measured");
ABSL_FLAG(std::string, kv, "auto",
          "storage of keys and values: auto, f32, bf16 or e4m3");
ABSL_FLAG(bool, profile, false,
          "also what every op takes of a step, of the fastest repeat");
ABSL_FLAG(bool, json, false, "print one JSON object");

namespace zqfp::tools {
namespace {

using Clock = std::chrono::steady_clock;

const ToolInfo& Info() {
  static const ToolInfo& info = *new ToolInfo{
      "zqfp-bench",
      "Prompt and generation speed, against what the machine can read and "
      "multiply.",
      "zqfp-bench [--model DIR | --shape NAME] [--prompt N] [--generate N] | "
      "--gpu-tables[=LIST]",
      {{"what is measured",
        {"shape", "group_size", "scales", "prompt", "generate", "batch",
         "repeat", "kv"}},
       ModelFlagGroup(),
       GpuTablesFlagGroup(),
       {"output", {"profile", "json"}}},
      "  zqfp-bench --shape llama-1b --threads 2\n"
      "  zqfp-bench --model my-model --prompt 128 --generate 64 --json\n"
      "  zqfp-bench --shape llama-110m --profile\n"
      "  zqfp-bench --gpu-tables --tables-json tables.json\n",
      /*repeatable=*/{},
      /*standalone=*/{kGpuTablesFlag}};
  return info;
}

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Tokens per second of every repeat.
struct Figure {
  std::vector<double> values;

  double At(double share) const {
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    if (sorted.empty()) return 0;
    return sorted[static_cast<size_t>(
        share * static_cast<double>(sorted.size() - 1) + 0.5)];
  }
  nlohmann::ordered_json ToJson() const {
    return {{"median", At(0.5)}, {"min", At(0)}, {"max", At(1)}};
  }
};

// The prompt, or the generation.
struct Phase {
  Figure speed;
  PhaseProfile profile;  // of the fastest repeat, with --profile
};

struct BenchResult {
  std::string what, backend, cpu;
  std::string device = "cpu";
  int num_threads = 0;
  int64_t prompt = 0, generate = 0, batch = 0;
  Phase prompt_phase, generate_phase;
  int64_t weight_bytes = 0;
  double load_s = 0;
  int64_t peak_rss_bytes = 0;
  Ceilings ceilings;

  bool is_on_host() const { return device == "cpu"; }
  // Bytes of weights that the generation streams per second.
  double streamed() const {
    return generate_phase.speed.At(0.5) / static_cast<double>(batch) *
           static_cast<double>(weight_bytes);
  }
};

absl::StatusOr<QuantizationConfig> ShapeQuantization() {
  QuantizationConfig quantization;
  quantization.group_size = absl::GetFlag(FLAGS_group_size).value_or(128);
  const int64_t g = quantization.group_size;
  if (g != 32 && g != 64 && g != 128 && g != 256) {
    return UsageError(
        fmt::format("--group_size: want 32, 64, 128 or 256, found {}", g));
  }
  ZQFP_ASSIGN_OR_RETURN(
      quantization.constraint,
      Choice<ScaleConstraint>("scales",
                              absl::GetFlag(FLAGS_scales).value_or("m2"),
                              {ScaleConstraint::kFree, ScaleConstraint::kM1,
                               ScaleConstraint::kM2}));
  return quantization;
}

// What was given although it has no effect with what else was.
absl::Status CheckFlags() {
  const bool has_shape = !absl::GetFlag(FLAGS_shape).empty();
  if (has_shape && !absl::GetFlag(FLAGS_model).empty()) {
    return UsageError("want --shape or --model, found both");
  }
  const std::pair<const char*, bool> of_shapes[] = {
      {"group_size", absl::GetFlag(FLAGS_group_size).has_value()},
      {"scales", absl::GetFlag(FLAGS_scales).has_value()}};
  for (const auto& [name, given] : of_shapes) {
    if (!given || has_shape) continue;
    return UsageError(
        fmt::format("--{}: want it with --shape, found it without", name));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Model>> LoadWhat(kernels::OpProfile* profile,
                                                std::string* what) {
  ZQFP_ASSIGN_OR_RETURN(ModelOptions options, ModelOptionsFromFlags());
  options.profile = profile;
  const std::string shape = absl::GetFlag(FLAGS_shape);
  if (shape.empty()) {
    ZQFP_ASSIGN_OR_RETURN(*what, ModelDirectory());
    return Model::Load(*what, options);
  }
  ZQFP_ASSIGN_OR_RETURN(const QuantizationConfig quantization,
                        ShapeQuantization());
  const absl::StatusOr<Config> config = ShapeConfig(shape, quantization);
  if (!config.ok()) return UsageError(std::string(config.status().message()));
  *what = fmt::format("{} {} group {}", shape,
                      std::string(ToString(quantization.constraint)),
                      quantization.group_size);
  return Model::Random(*config, 1, options);
}

absl::Status CheckCounts() {
  const auto within = [](const char* name, int64_t value, int64_t low) {
    if (value >= low && value <= 1'000'000) return absl::OkStatus();
    return UsageError(
        fmt::format("--{}: want {}..1000000, found {}", name, low, value));
  };
  ZQFP_RETURN_IF_ERROR(within("prompt", absl::GetFlag(FLAGS_prompt), 1));
  ZQFP_RETURN_IF_ERROR(within("generate", absl::GetFlag(FLAGS_generate), 0));
  ZQFP_RETURN_IF_ERROR(within("batch", absl::GetFlag(FLAGS_batch), 1));
  ZQFP_RETURN_IF_ERROR(within("repeat", absl::GetFlag(FLAGS_repeat), 1));
  return absl::OkStatus();
}

// Extends the sequences `calls` times by `count` tokens, and notes how fast.
absl::Status MeasurePhase(int64_t calls, int64_t count, int64_t batch,
                          Workload& workload, kernels::OpProfile* profile,
                          Phase* phase) {
  if (profile != nullptr) profile->Clear();
  const int64_t steps_before = workload.num_steps();
  const Clock::time_point start = Clock::now();
  for (int64_t i = 0; i < calls; ++i) {
    if (Interrupted()) return absl::CancelledError("interrupted");
    ZQFP_RETURN_IF_ERROR(workload.Extend(count));
  }
  const double seconds = SecondsSince(start);
  phase->speed.values.push_back(static_cast<double>(calls * count * batch) /
                                seconds);
  if (profile == nullptr ||
      (phase->profile.steps > 0 && seconds > phase->profile.seconds)) {
    return absl::OkStatus();
  }
  double noted = 0;
  for (const kernels::OpCalls& op : profile->rows()) {
    noted += static_cast<double>(op.calls);
  }
  phase->profile = {.steps = workload.num_steps() - steps_before,
                    .seconds = seconds,
                    .noting_seconds = noted * profile->SecondsPerCall(),
                    .ops = profile->rows()};
  return absl::OkStatus();
}

absl::Status Measure(Model& model, KvFormat kv, kernels::OpProfile* profile,
                     BenchResult* result) {
  ZQFP_ASSIGN_OR_RETURN(
      Workload workload,
      Workload::Create(&model, ToValueFormat(kv), result->batch,
                       result->prompt + result->generate));
  ZQFP_RETURN_IF_ERROR(workload.Extend(std::min<int64_t>(8, result->prompt)));
  for (int64_t i = 0; i < absl::GetFlag(FLAGS_repeat); ++i) {
    workload.Rewind(0);
    ZQFP_RETURN_IF_ERROR(MeasurePhase(1, result->prompt, result->batch,
                                      workload, profile,
                                      &result->prompt_phase));
    if (result->generate == 0) continue;
    ZQFP_RETURN_IF_ERROR(MeasurePhase(result->generate, 1, result->batch,
                                      workload, profile,
                                      &result->generate_phase));
  }
  return absl::OkStatus();
}

void PrintText(const BenchResult& r) {
  const std::string threads = fmt::format("{} threads", r.num_threads);
  Print("{}: backend {}, {}, {}\n", r.what, r.backend,
        r.is_on_host() ? threads : r.device, r.cpu);
  const auto line = [](const std::string& name, const Figure& figure) {
    Print("{:<24} {:>9.1f} tokens/s   (min {:.1f}, max {:.1f})\n", name,
          figure.At(0.5), figure.At(0), figure.At(1));
  };
  const std::string times =
      r.batch > 1 ? fmt::format(" x {}", r.batch) : std::string();
  line(fmt::format("prompt {}{}", r.prompt, times), r.prompt_phase.speed);
  if (r.generate > 0) {
    line(fmt::format("generate {}{}", r.generate, times),
         r.generate_phase.speed);
    const double limit = r.ceilings.read_bytes_per_s;
    Print("weights streamed         {:>9.1f} GB/s", r.streamed() / 1e9);
    if (limit > 0) {
      Print(", {:.0f} % of the {:.1f} GB/s that {} read",
            100 * r.streamed() / limit, limit / 1e9,
            r.is_on_host() ? threads : "its kernels");
    }
    Print("\n");
  }
  if (r.ceilings.multiply_flop_per_s > 0) {
    Print("multiplication's peak    {:>9.1f} GFLOP/s, of {} threads with {}\n",
          r.ceilings.multiply_flop_per_s / 1e9, r.num_threads, r.backend);
  }
  Print(
      "weights per token        {:>9.1f} MB;  loaded in {:.3f} s;  peak "
      "memory {:.1f} MB\n",
      static_cast<double>(r.weight_bytes) / 1e6, r.load_s,
      static_cast<double>(r.peak_rss_bytes) / 1e6);
  if (r.prompt_phase.profile.steps > 0) {
    Print("{}", ProfileText("prompt", r.prompt_phase.profile, r.ceilings));
  }
  if (r.generate_phase.profile.steps > 0) {
    Print("{}", ProfileText("generate", r.generate_phase.profile, r.ceilings));
  }
}

void PrintJson(const BenchResult& r) {
  nlohmann::ordered_json json = {
      {"what", r.what},
      {"backend", r.backend},
      {"device", r.device},
      {"cpu", r.cpu},
      {"threads", r.num_threads},
      {"prompt", r.prompt},
      {"generate", r.generate},
      {"batch", r.batch},
      {"prompt_tokens_per_s", r.prompt_phase.speed.ToJson()},
      {"generate_tokens_per_s", r.generate_phase.speed.ToJson()},
      {"weight_bytes", r.weight_bytes},
      {"streamed_gb_per_s", r.streamed() / 1e9},
      {"read_gb_per_s", r.ceilings.read_bytes_per_s / 1e9},
      {"multiply_gflop_per_s", r.ceilings.multiply_flop_per_s / 1e9},
      {"load_s", r.load_s},
      {"peak_rss_bytes", r.peak_rss_bytes}};
  if (r.prompt_phase.profile.steps > 0) {
    json["profile"]["prompt"] = ProfileJson(r.prompt_phase.profile, r.ceilings);
  }
  if (r.generate_phase.profile.steps > 0) {
    json["profile"]["generate"] =
        ProfileJson(r.generate_phase.profile, r.ceilings);
  }
  Print("{}\n", json.dump());
}

// What the threads or the device can do at most, in this run.
absl::Status MeasureMachine(BenchResult* result) {
  ZQFP_ASSIGN_OR_RETURN(const kernels::Backend backend,
                        kernels::MakeBackend(result->backend));
  Ceilings& ceilings = result->ceilings;
  if (!result->is_on_host()) {
    // 0 where the model leaves no memory to read.
    ceilings.read_bytes_per_s = MeasureGpuRead(backend).value_or(0);
    return absl::OkStatus();
  }
  kernels::ThreadPool pool(result->num_threads);
  ceilings.read_bytes_per_s = MeasureReadBandwidth(pool);
  ceilings.multiply_flop_per_s =
      MeasureMultiplication(pool, backend.ops.multiply);
  return absl::OkStatus();
}

absl::Status Run() {
  if (WantsGpuTables()) {
    return RunGpuTables(absl::GetFlag(FLAGS_json) ? GpuTablesOutput::kJson
                                                  : GpuTablesOutput::kText);
  }
  ZQFP_RETURN_IF_ERROR(CheckFlags());
  ZQFP_RETURN_IF_ERROR(CheckCounts());
  ZQFP_ASSIGN_OR_RETURN(const KvFormat kv,
                        ParseKvFormat(absl::GetFlag(FLAGS_kv)));
  CatchInterrupt();
  BenchResult result;
  std::optional<kernels::OpProfile> ops;
  if (absl::GetFlag(FLAGS_profile)) ops.emplace();
  kernels::OpProfile* const profile = ops.has_value() ? &*ops : nullptr;
  const Clock::time_point start = Clock::now();
  ZQFP_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model,
                        LoadWhat(profile, &result.what));
  if (profile != nullptr) NameParts(*model, profile);
  result.load_s = SecondsSince(start);
  result.backend = model->options().backend;
  result.num_threads = model->options().num_threads;
  if (model->device() != nullptr) result.device = model->device()->Describe();
  result.cpu = CpuName();
  result.prompt = absl::GetFlag(FLAGS_prompt);
  result.generate = absl::GetFlag(FLAGS_generate);
  result.batch = absl::GetFlag(FLAGS_batch);
  result.weight_bytes = model->weight_bytes();
  if (result.batch > model->options().max_tokens) {
    return UsageError(fmt::format("--batch: want at most {}, found {}",
                                  model->options().max_tokens, result.batch));
  }
  const int64_t context = model->config().max_positions;
  if (result.prompt + result.generate > context) {
    return UsageError(fmt::format(
        "want --prompt and --generate within the {} tokens of the model's "
        "context, found {} and {}",
        context, result.prompt, result.generate));
  }
  ZQFP_RETURN_IF_ERROR(
      Measure(*model, ResolveKvFormat(kv, *model), profile, &result));
  // Before the bandwidth's own buffer counts.
  result.peak_rss_bytes = PeakRssBytes();
  ZQFP_RETURN_IF_ERROR(MeasureMachine(&result));
  if (absl::GetFlag(FLAGS_json)) {
    PrintJson(result);
  } else {
    PrintText(result);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace zqfp::tools

int main(int argc, char** argv) {
  return zqfp::tools::RunTool(argc, argv, zqfp::tools::Info(),
                              zqfp::tools::Run);
}
