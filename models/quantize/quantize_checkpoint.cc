// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/quantize_checkpoint.h"

#include <fmt/format.h>
#include <string.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "kernels/core/float_formats.h"
#include "kernels/core/parallel.h"
#include "kernels/core/status_macros.h"
#include "models/finite_scan.h"
#include "models/mapped_file.h"
#include "models/quantize/quantize_plan.h"
#include "models/safetensors_writer.h"

namespace zqfp {
namespace {

using nlohmann::ordered_json;

constexpr int64_t kBlockWeights = int64_t{1} << 21;  // 8 MB of f32
constexpr int64_t kMaxConfigBytes = 4 << 20;

// Rows [first, first + count) of a tensor, seen as a tensor of their own. A
// vector is one row.
Tensor Rows(const Tensor& tensor, int64_t first, int64_t count) {
  Tensor rows = tensor;
  const int64_t row_bytes = tensor.num_bytes / tensor.shape[0];
  rows.data += first * row_bytes;
  rows.num_bytes = count * row_bytes;
  rows.shape[0] = count;
  return rows;
}

float ReadFloat(const Tensor& tensor, int64_t index) {
  if (tensor.dtype == DType::kF32) {
    float value;
    memcpy(&value, tensor.data + index * 4, 4);
    return value;
  }
  uint16_t code;
  memcpy(&code, tensor.data + index * 2, 2);
  return tensor.dtype == DType::kBf16 ? kernels::Bf16ToFloat(code)
                                      : kernels::F16ToFloat(code);
}

template <typename T>
absl::Span<const uint8_t> Bytes(const std::vector<T>& values) {
  return {reinterpret_cast<const uint8_t*>(values.data()),
          values.size() * sizeof(T)};
}

// Executes the jobs of one output file after another.
class JobRunner {
 public:
  JobRunner(const QuantizeOptions& options, int64_t total_bytes)
      : options_(options),
        pool_(options.num_threads > 0 ? options.num_threads
                                      : kernels::PhysicalCores()) {
    exec_.parallel = pool_.parallel();
    progress_.total_bytes = total_bytes;
  }

  absl::Status Run(const QuantizeJob& job, SafetensorsWriter& writer,
                   QuantizeReport& report);

 private:
  // What remains to be written when all rows of a tensor are through.
  struct Scales {
    std::vector<float> f32;      // group or row scales
    std::vector<uint8_t> shift;  // m1, m2
  };

  absl::Status Encode(const QuantizeJob& job, const Tensor& rows,
                      SafetensorsWriter& writer, RoundingReport& rounding,
                      Scales& scales);
  absl::Status EncodeBf16(const Tensor& rows, SafetensorsWriter& writer);
  void LoadFloats(const Tensor& rows);
  absl::Status Report(const std::string& name, int64_t done_bytes);

  const QuantizeOptions& options_;
  kernels::ThreadPool pool_;
  kernels::Exec exec_;
  QuantizeProgress progress_;
  std::vector<float> floats_;
  std::vector<uint16_t> halves_;
  E2m1Rows e2m1_;
  E4m3Rows e4m3_;
};

absl::Status JobRunner::Report(const std::string& name, int64_t done_bytes) {
  progress_.done_bytes += done_bytes;
  progress_.tensor = name;
  if (!options_.progress) return absl::OkStatus();
  return options_.progress(progress_);
}

void JobRunner::LoadFloats(const Tensor& rows) {
  const int64_t count = rows.num_bytes / ByteSize(rows.dtype);
  floats_.resize(static_cast<size_t>(count));
  kernels::ParallelFor(exec_, count, 4096,
                       [&](int64_t begin, int64_t end, int) {
                         for (int64_t i = begin; i < end; ++i) {
                           floats_[static_cast<size_t>(i)] = ReadFloat(rows, i);
                         }
                       });
}

// Only f32 comes here; a weight beyond bf16's range would become an infinity.
absl::Status JobRunner::EncodeBf16(const Tensor& rows,
                                   SafetensorsWriter& writer) {
  LoadFloats(rows);
  halves_.resize(floats_.size());
  std::atomic<bool> overflows = false;
  kernels::ParallelFor(exec_, static_cast<int64_t>(floats_.size()), 4096,
                       [&](int64_t begin, int64_t end, int) {
                         for (int64_t i = begin; i < end; ++i) {
                           const auto at = static_cast<size_t>(i);
                           halves_[at] = kernels::FloatToBf16(floats_[at]);
                           if ((halves_[at] & 0x7f80) == 0x7f80)
                             overflows = true;
                         }
                       });
  if (overflows) {
    return absl::DataLossError(
        fmt::format("{}: {}: want weights within the range of bf16, found a "
                    "larger one",
                    rows.file, rows.name));
  }
  return writer.Append(Bytes(halves_));
}

// Writes the codes of some rows and keeps their scales.
absl::Status JobRunner::Encode(const QuantizeJob& job, const Tensor& rows,
                               SafetensorsWriter& writer,
                               RoundingReport& rounding, Scales& scales) {
  if (job.treatment == Treatment::kCopy) {
    return writer.Append(
        absl::MakeSpan(rows.data, static_cast<size_t>(rows.num_bytes)));
  }
  if (job.treatment == Treatment::kToBf16) return EncodeBf16(rows, writer);
  LoadFloats(rows);
  const int64_t k = rows.shape[1];
  const auto keep = [](const auto& from, auto& to) {
    to.insert(to.end(), from.begin(), from.end());
  };
  if (job.treatment == Treatment::kToE4m3) {
    rounding.Add(QuantizeToE4m3(floats_, k, pool_, &e4m3_));
    keep(e4m3_.row_scale, scales.f32);
    return writer.Append(Bytes(e4m3_.codes));
  }
  rounding.Add(QuantizeToE2m1(floats_, k, options_.scales, pool_, &e2m1_));
  keep(e2m1_.group_scale, scales.f32);
  keep(e2m1_.row_scale, scales.f32);
  keep(e2m1_.shift, scales.shift);
  return writer.Append(Bytes(e2m1_.packed));
}

// Block by block, then the scales, in the order of the job's outputs.
absl::Status JobRunner::Run(const QuantizeJob& job, SafetensorsWriter& writer,
                            QuantizeReport& report) {
  const Tensor& source = *job.source;
  const int64_t n = source.shape[0];
  const int64_t row_weights = source.shape.size() > 1 ? source.shape[1] : 1;
  const int64_t block = std::max<int64_t>(1, kBlockWeights / row_weights);
  RoundingReport rounding;
  Scales scales;
  for (int64_t row = 0; row < n; row += block) {
    const Tensor rows = Rows(source, row, std::min(block, n - row));
    if (!CheckFinite(rows, pool_).ok()) {
      // Once more over the whole tensor, which counts elements from its start.
      return CheckFinite(source, pool_);
    }
    ZQFP_RETURN_IF_ERROR(Encode(job, rows, writer, rounding, scales));
    // Resident memory stays at some blocks, whatever the model's size.
    DropPages(rows.data, rows.num_bytes);
    ZQFP_RETURN_IF_ERROR(Report(job.name, rows.num_bytes));
  }
  ZQFP_RETURN_IF_ERROR(writer.Append(Bytes(scales.f32)));
  ZQFP_RETURN_IF_ERROR(writer.Append(Bytes(scales.shift)));
  if (rounding.num_weights > 0) {
    const bool is_e4m3 = job.treatment == Treatment::kToE4m3;
    report.tensors.push_back({job.name, is_e4m3 ? "e4m3" : "e2m1", rounding});
  }
  return absl::OkStatus();
}

// As Hugging Face names them.
std::string ShardName(size_t index, size_t count) {
  if (count == 1) return "model.safetensors";
  return fmt::format("model-{:05}-of-{:05}.safetensors", index + 1, count);
}

// The input's config.json, in its order, with ours added.
absl::StatusOr<std::string> MakeConfigText(const QuantizeOptions& options) {
  const std::string path =
      (std::filesystem::path(options.input) / "config.json").string();
  ZQFP_ASSIGN_OR_RETURN(const std::string text,
                        ReadSmallFile(path, kMaxConfigBytes));
  ordered_json config = ordered_json::parse(text, nullptr, false);
  if (!config.is_object()) {
    return absl::InvalidArgumentError(
        fmt::format("{}: want a JSON object, found something else", path));
  }
  const auto name = [](auto value) { return std::string(ToString(value)); };
  ordered_json weights = ordered_json::object();
  weights["format"] = "e2m1";
  weights["group_size"] = options.scales.group_size;
  weights["scale_constraint"] = name(options.scales.constraint);
  weights["scale_rounding"] = name(options.scales.rounding);
  ordered_json activations = ordered_json::object();
  activations["format"] = "e4m3";
  activations["granularity"] = "token";
  activations["dynamic"] = true;
  ordered_json own = ordered_json::object();
  own["quant_method"] = "zqfp";
  own["version"] = 1;
  own["weights"] = std::move(weights);
  own["activations"] = std::move(activations);
  own["lm_head"] = name(options.lm_head);
  config["quantization_config"] = std::move(own);
  return config.dump(2, ' ', false, ordered_json::error_handler_t::replace) +
         "\n";
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
                         const OutputDirectory& output, JobRunner& runner,
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

absl::Status CheckOptions(const QuantizeOptions& options) {
  const int64_t group = options.scales.group_size;
  if (group != 32 && group != 64 && group != 128 && group != 256) {
    return absl::InvalidArgumentError(
        fmt::format("group size: want 32, 64, 128 or 256, found {}", group));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<QuantizeReport> QuantizeCheckpoint(
    const QuantizeOptions& options) {
  ZQFP_RETURN_IF_ERROR(CheckOptions(options));
  ZQFP_ASSIGN_OR_RETURN(const Config config, LoadConfig(options.input));
  if (config.quantization.has_value()) {
    return absl::FailedPreconditionError(fmt::format(
        "{}: want a model in full precision, found one that is quantized "
        "already (e2m1, group {})",
        options.input, config.quantization->group_size));
  }
  ZQFP_ASSIGN_OR_RETURN(const Checkpoint checkpoint,
                        Checkpoint::Open(options.input));
  // Everything that can be refused is refused before the first byte is written.
  ZQFP_ASSIGN_OR_RETURN(
      std::vector<QuantizeJob> jobs,
      PlanQuantization(checkpoint, config, options.scales, options.lm_head));
  QuantizeReport report;
  int64_t work_bytes = 0;
  for (const QuantizeJob& job : jobs) {
    report.bytes_after += job.output_bytes;
    work_bytes += job.source->num_bytes;
  }
  report.bytes_before = checkpoint.total_bytes();
  ZQFP_ASSIGN_OR_RETURN(OutputDirectory output,
                        OutputDirectory::Create(options.output, options.input,
                                                options.if_exists));
  ZQFP_RETURN_IF_ERROR(output.CheckSpace(report.bytes_after));
  const std::vector<std::vector<QuantizeJob>> shards =
      SplitInShards(std::move(jobs), options.max_shard_bytes);
  report.num_files = static_cast<int64_t>(shards.size());
  JobRunner runner(options, work_bytes);
  ZQFP_RETURN_IF_ERROR(WriteShards(shards, output, runner, report));
  if (shards.size() > 1) {
    ZQFP_RETURN_IF_ERROR(
        output.WriteText("model.safetensors.index.json",
                         MakeIndexText(shards, report.bytes_after)));
  }
  ZQFP_RETURN_IF_ERROR(output.CopyCompanions(options.input));
  ZQFP_ASSIGN_OR_RETURN(const std::string text, MakeConfigText(options));
  ZQFP_RETURN_IF_ERROR(output.WriteText("config.json", text));
  ZQFP_RETURN_IF_ERROR(output.Commit());
  return report;
}

}  // namespace zqfp
