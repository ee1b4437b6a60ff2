// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/quantize_checkpoint.h"

#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "kernels/core/status_macros.h"
#include "models/architectures.h"
#include "models/gguf.h"
#include "models/quantize/quantize_plan.h"
#include "models/quantize/quantized_config.h"
#include "models/quantize/tensor_jobs.h"
#include "models/safetensors_writer.h"

namespace zqfp {
namespace {

// As Hugging Face names them.
std::string ShardName(size_t index, size_t count) {
  if (count == 1) return "model.safetensors";
  return fmt::format("model-{:05}-of-{:05}.safetensors", index + 1, count);
}

// Where each tensor lies, for models of more than one file.
std::string MakeIndexText(const std::vector<std::vector<QuantizeJob>>& shards,
                          int64_t total_bytes) {
  nlohmann::json weight_map = nlohmann::json::object();
  for (size_t i = 0; i < shards.size(); ++i) {
    for (const QuantizeJob& job : shards[i]) {
      for (const TensorPlan& plan : job.outputs) {
        weight_map[plan.name] = ShardName(i, shards.size());
      }
    }
  }
  nlohmann::json index = {{"metadata", {{"total_size", total_bytes}}},
                          {"weight_map", std::move(weight_map)}};
  return index.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
         "\n";
}

absl::Status WriteShards(const std::vector<std::vector<QuantizeJob>>& shards,
                         const OutputDirectory& output, TensorJobs& runner,
                         QuantizeReport& report) {
  for (size_t i = 0; i < shards.size(); ++i) {
    std::vector<TensorPlan> plan;
    for (const QuantizeJob& job : shards[i]) {
      plan.insert(plan.end(), job.outputs.begin(), job.outputs.end());
    }
    ZQFP_ASSIGN_OR_RETURN(
        SafetensorsWriter writer,
        SafetensorsWriter::Create(output.PathOf(ShardName(i, shards.size())),
                                  std::move(plan)));
    for (const QuantizeJob& job : shards[i]) {
      ZQFP_RETURN_IF_ERROR(runner.Run(job, writer, report));
    }
    ZQFP_RETURN_IF_ERROR(writer.Finish());
  }
  return absl::OkStatus();
}

// What stands beside a GGUF file is not known to belong to it.
absl::Status WriteCompanions(const QuantizeOptions& options,
                             OutputDirectory& output) {
  ZQFP_ASSIGN_OR_RETURN(const std::string gguf, FindGguf(options.input));
  if (gguf.empty()) return output.CopyCompanions(options.input);
  for (const auto& [name, text] : options.companions) {
    ZQFP_RETURN_IF_ERROR(output.WriteText(name, text));
  }
  return absl::OkStatus();
}

absl::Status CheckOptions(const QuantizeOptions& options) {
  const LinearScheme& scheme = options.linears;
  const int64_t group = scheme.grid.scales.group_size;
  if (group != 32 && group != 64 && group != 128 && group != 256) {
    return absl::InvalidArgumentError(
        fmt::format("group size: want 32, 64, 128 or 256, found {}", group));
  }
  if (scheme.lorc.rank < 0 || scheme.lorc.rank > kernels::kMaxLorcRank) {
    return absl::InvalidArgumentError(
        fmt::format("low-rank compensation: want a rank of 0 .. {}, found {}",
                    kernels::kMaxLorcRank, scheme.lorc.rank));
  }
  if (!(scheme.damping > 0 && scheme.damping <= 1)) {
    return absl::InvalidArgumentError(fmt::format(
        "damping: want more than 0, at most 1, found {}", scheme.damping));
  }
  if (options.lm_head == HeadFormat::kE2m1 &&
      scheme.grid.format != GridFormat::kE2m1) {
    return absl::InvalidArgumentError(
        "lm_head: want bf16 or e4m3 where the linears are not e2m1, found "
        "e2m1");
  }
  const bool simulated = scheme.is_dense();
  if (!simulated && scheme.activations != ActivationFormat::kNone &&
      scheme.activations != ActivationFormat::kE4m3) {
    return absl::InvalidArgumentError(
        fmt::format("activations: want none or e4m3 with {} weights, found {}",
                    std::string(ToString(scheme.grid.format)),
                    std::string(ToString(scheme.activations))));
  }
  if (simulated && options.lm_head != HeadFormat::kBf16) {
    return absl::InvalidArgumentError(
        fmt::format("lm_head: want bf16 in a simulation of {} weights, found "
                    "{}",
                    std::string(ToString(scheme.grid.format)),
                    std::string(ToString(options.lm_head))));
  }
  return absl::OkStatus();
}

std::vector<std::string> KeptLinears(const QuantizeOptions& options,
                                     const Config& config) {
  std::vector<std::string> kept;
  if (!options.keep) return kept;
  const TensorTable& table = TensorsOf(config.architecture);
  for (int64_t i = 0; i < config.num_layers; ++i) {
    for (const LinearRule& rule : table.linears) {
      const std::string name = LayerTensorName(table, i, rule.name);
      if (options.keep(name)) kept.push_back(name);
    }
  }
  return kept;
}

std::vector<TensorReport> ReportsOf(const std::vector<QuantizedLinear>& linears,
                                    const LinearScheme& scheme) {
  std::vector<TensorReport> reports;
  for (const QuantizedLinear& linear : linears) {
    reports.push_back({linear.name, std::string(ToString(scheme.grid.format)),
                       linear.rounding, linear.output_error});
  }
  return reports;
}

// Shapes of the layer's linears that are not kept.
std::vector<LayerStore::Shape> ShapesOfLayer(const QuantizeOptions& options,
                                             const Config& config,
                                             int64_t layer_index) {
  const TensorTable& table = TensorsOf(config.architecture);
  std::vector<LayerStore::Shape> shapes;
  for (const LinearRule& rule : table.linears) {
    const std::string name = LayerTensorName(table, layer_index, rule.name);
    if (options.keep && options.keep(name)) continue;
    shapes.push_back({name, SizeOf(rule.n, config), SizeOf(rule.k, config)});
  }
  return shapes;
}

// Quantizes all layers into the store, those apart that it has.
absl::Status FillStore(const QuantizeOptions& options, const Config& config,
                       const LayerStore& store) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point begin = Clock::now();
  LayerQuantizerOptions layers = {.input = options.input,
                                  .scheme = options.linears,
                                  .stages = options.stages,
                                  .calibration = options.calibration,
                                  .num_threads = options.num_threads,
                                  .keep = options.keep};
  const auto report = [&](int64_t index, double seconds,
                          const std::vector<QuantizedLinear>& linears) {
    if (!options.on_layer) return;
    options.on_layer({index, config.num_layers, seconds,
                      ReportsOf(linears, options.linears)});
  };
  layers.load =
      [&](int64_t index) -> absl::StatusOr<std::vector<QuantizedLinear>> {
    ZQFP_ASSIGN_OR_RETURN(
        std::vector<QuantizedLinear> linears,
        store.Read(index, ShapesOfLayer(options, config, index),
                   options.linears));
    if (!linears.empty()) report(index, 0, linears);
    return linears;
  };
  layers.store = [&](int64_t index,
                     const std::vector<QuantizedLinear>& linears) {
    const std::chrono::duration<double> seconds = Clock::now() - begin;
    begin = Clock::now();
    absl::Status status = store.Write(index, linears);
    if (status.ok()) report(index, seconds.count(), linears);
    return status;
  };
  layers.progress = [&](int64_t index, double part) {
    if (!options.progress) return absl::OkStatus();
    return options.progress(
        {.share = (static_cast<double>(index) + part) /
                  static_cast<double>(config.num_layers),
         .note = fmt::format("layer {} of {}", index + 1, config.num_layers)});
  };
  return QuantizeByLayer(layers);
}

// Everything from the jobs on, into a directory that appears when it is whole.
absl::Status WriteModel(const QuantizeOptions& options,
                        std::vector<QuantizeJob> jobs,
                        TensorJobs::Options running, OutputDirectory& output,
                        const std::vector<std::string>& kept,
                        QuantizeReport& report) {
  for (const QuantizeJob& job : jobs) {
    report.bytes_after += job.output_bytes;
    running.total_bytes += job.source->num_bytes;
    report.num_expanded += job.source->dtype == DType::kQ8Blocks ? 1 : 0;
  }
  ZQFP_RETURN_IF_ERROR(output.CheckSpace(report.bytes_after));
  const std::vector<std::vector<QuantizeJob>> shards =
      SplitInShards(std::move(jobs), options.max_shard_bytes);
  report.num_files = static_cast<int64_t>(shards.size());
  ZQFP_ASSIGN_OR_RETURN(TensorJobs runner,
                        TensorJobs::Create(std::move(running)));
  ZQFP_RETURN_IF_ERROR(WriteShards(shards, output, runner, report));
  if (shards.size() > 1) {
    ZQFP_RETURN_IF_ERROR(
        output.WriteText("model.safetensors.index.json",
                         MakeIndexText(shards, report.bytes_after)));
  }
  ZQFP_RETURN_IF_ERROR(WriteCompanions(options, output));
  ZQFP_ASSIGN_OR_RETURN(const std::string text, MakeConfigText(options, kept));
  ZQFP_RETURN_IF_ERROR(output.WriteText("config.json", text));
  if (options.certify) {
    ZQFP_ASSIGN_OR_RETURN(const Certificate certificate,
                          options.certify(output.path()));
    ZQFP_RETURN_IF_ERROR(
        output.WriteText(kCertificateName, ToText(certificate)));
  }
  return output.Commit();
}

}  // namespace

absl::StatusOr<Config> LoadFullPrecisionConfig(const std::string& input) {
  ZQFP_ASSIGN_OR_RETURN(Config config, LoadConfig(input));
  if (config.quantization.has_value()) {
    return absl::FailedPreconditionError(fmt::format(
        "{}: want a model in full precision, found one that is "
        "quantized already ({})",
        input, std::string(ToString(config.quantization->weights))));
  }
  if (config.foreign.has_value()) {
    return absl::FailedPreconditionError(fmt::format(
        "{}: want a model in full precision, found one that is quantized "
        "already ({}); it runs as it is",
        input, ToString(config.foreign->method)));
  }
  return config;
}

absl::StatusOr<QuantizeReport> QuantizeCheckpoint(
    const QuantizeOptions& options) {
  ZQFP_RETURN_IF_ERROR(CheckOptions(options));
  ZQFP_ASSIGN_OR_RETURN(const Config config,
                        LoadFullPrecisionConfig(options.input));
  ZQFP_ASSIGN_OR_RETURN(const Checkpoint checkpoint,
                        Checkpoint::Open(options.input));
  // Everything that can be refused is refused before the first byte is written.
  ZQFP_ASSIGN_OR_RETURN(
      std::vector<QuantizeJob> jobs,
      PlanQuantization(checkpoint, config,
                       {options.linears, options.lm_head, options.keep}));
  const std::vector<std::string> kept = KeptLinears(options, config);
  QuantizeReport report = {.bytes_before = checkpoint.total_bytes()};
  ZQFP_ASSIGN_OR_RETURN(OutputDirectory output,
                        OutputDirectory::Create(options.output, options.input,
                                                options.if_exists));
  TensorJobs::Options running = {.num_threads = options.num_threads,
                                 .progress = options.progress};
  std::optional<LayerStore> store;
  if (options.linears.needs_calibration()) {
    ZQFP_ASSIGN_OR_RETURN(const std::string job, DescribeJob(options, kept));
    ZQFP_ASSIGN_OR_RETURN(
        store, LayerStore::Open(options.output, job, options.if_interrupted));
    ZQFP_RETURN_IF_ERROR(FillStore(options, config, *store));
    running.layer =
        [&](int64_t index) -> absl::StatusOr<TensorJobs::CalibratedLayer> {
      ZQFP_ASSIGN_OR_RETURN(
          std::vector<QuantizedLinear> linears,
          store->Read(index, ShapesOfLayer(options, config, index),
                      options.linears));
      TensorJobs::CalibratedLayer layer;
      for (QuantizedLinear& linear : linears) {
        layer.emplace(linear.name, std::move(linear));
      }
      return layer;
    };
  }
  ZQFP_RETURN_IF_ERROR(WriteModel(options, std::move(jobs), std::move(running),
                                  output, kept, report));
  if (store) store->Remove();
  return report;
}

}  // namespace zqfp
