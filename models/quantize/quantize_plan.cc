// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/quantize_plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>
#include <utility>

#include "kernels/core/status_macros.h"
#include "kernels/core/views.h"
#include "models/architectures.h"

namespace zqfp {
namespace {

int64_t PlanBytes(const TensorPlan& plan) {
  int64_t bytes = ByteSize(plan.dtype);
  for (const int64_t dim : plan.shape) bytes *= dim;
  return bytes;
}

// Walks the architecture's table, as loading does.
class Planner {
 public:
  Planner(const Checkpoint& checkpoint, const Config& config,
          const ScaleOptions& scales)
      : checkpoint_(checkpoint), config_(config), scales_(scales) {}

  absl::StatusOr<std::vector<QuantizeJob>> Plan(HeadFormat lm_head);

 private:
  absl::Status Add(const std::string& name, const std::string& source_name,
                   std::vector<int64_t> shape, Treatment treatment);
  absl::Status AddVector(const std::string& name, int64_t size) {
    return Add(name, name, {size}, Treatment::kCopy);
  }
  absl::Status AddLayer(int64_t index);
  absl::Status AddHead(HeadFormat format);
  absl::Status CheckNothingLeft() const;
  std::string EmbeddingSource() const;
  std::vector<TensorPlan> Outputs(const std::string& name, const Tensor& source,
                                  Treatment treatment) const;

  const Checkpoint& checkpoint_;
  const Config& config_;
  const ScaleOptions& scales_;
  std::vector<QuantizeJob> jobs_;
  std::set<std::string> taken_;
};

// The tensors of numerics.md, section 8.
std::vector<TensorPlan> Planner::Outputs(const std::string& name,
                                         const Tensor& source,
                                         Treatment treatment) const {
  if (treatment == Treatment::kCopy) {
    return {{name, source.dtype, source.shape}};
  }
  if (treatment == Treatment::kToBf16) {
    return {{name, DType::kBf16, source.shape}};
  }
  const std::string base = name.substr(0, name.size() - 7);  // ".weight"
  const int64_t n = source.shape[0], k = source.shape[1];
  if (treatment == Treatment::kToE4m3) {
    return {{name, DType::kE4m3, {n, k}},
            {base + ".weight_row_scale", DType::kF32, {n}}};
  }
  const int64_t groups = kernels::NumGroups(k, scales_.group_size);
  const TensorPlan packed = {
      base + ".weight_packed", DType::kU8, {n, (k + 1) / 2}};
  if (scales_.constraint == ScaleConstraint::kFree) {
    return {packed, {base + ".weight_scale", DType::kF32, {n, groups}}};
  }
  return {packed,
          {base + ".weight_row_scale", DType::kF32, {n}},
          {base + ".weight_shift", DType::kU8, {n, groups}}};
}

// `source_name` differs from `name` for a head made of a tied embedding.
absl::Status Planner::Add(const std::string& name,
                          const std::string& source_name,
                          std::vector<int64_t> shape, Treatment treatment) {
  ZQFP_ASSIGN_OR_RETURN(const Tensor* source, checkpoint_.Get(source_name));
  const bool is_float = source->dtype == DType::kF32 ||
                        source->dtype == DType::kBf16 ||
                        source->dtype == DType::kF16;
  if (!is_float || source->shape != shape) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: {}: want F32 or BF16 or F16 [{}], file has {}", source->file,
        source_name, fmt::join(shape, ", "), Describe(*source)));
  }
  // 16 bits stay what they are: f16 has mantissa bits that bf16 lacks.
  if (treatment == Treatment::kToBf16 && source->dtype != DType::kF32) {
    treatment = Treatment::kCopy;
  }
  QuantizeJob job = {.name = name.substr(0, name.rfind('.')),
                     .source = source,
                     .treatment = treatment,
                     .outputs = Outputs(name, *source, treatment)};
  for (const TensorPlan& plan : job.outputs) {
    job.output_bytes += PlanBytes(plan);
  }
  jobs_.push_back(std::move(job));
  taken_.insert(source_name);
  return absl::OkStatus();
}

// Norms and biases are copied, the linears quantized.
absl::Status Planner::AddLayer(int64_t index) {
  const TensorTable& table = TensorsOf(config_.architecture);
  for (const NormRule& rule : table.norms) {
    if (rule.present != nullptr && !(config_.*rule.present)) continue;
    ZQFP_RETURN_IF_ERROR(
        AddVector(LayerTensorName(table, index, rule.name) + ".weight",
                  SizeOf(rule.dim, config_)));
  }
  for (const LinearRule& rule : table.linears) {
    const std::string name = LayerTensorName(table, index, rule.name);
    const int64_t n = SizeOf(rule.n, config_);
    ZQFP_RETURN_IF_ERROR(Add(name + ".weight", name + ".weight",
                             {n, SizeOf(rule.k, config_)}, Treatment::kToE2m1));
    if (rule.bias != nullptr && config_.*rule.bias) {
      ZQFP_RETURN_IF_ERROR(AddVector(name + ".bias", n));
    }
  }
  return absl::OkStatus();
}

// Of two tied tensors some exporters keep the head instead of the embedding.
std::string Planner::EmbeddingSource() const {
  const TensorTable& table = TensorsOf(config_.architecture);
  const std::string embedding = std::string(table.embedding) + ".weight";
  const std::string head = std::string(table.lm_head) + ".weight";
  const bool is_head = config_.tie_embeddings &&
                       checkpoint_.Find(embedding) == nullptr &&
                       checkpoint_.Find(head) != nullptr;
  return is_head ? head : embedding;
}

absl::Status Planner::AddHead(HeadFormat format) {
  const TensorTable& table = TensorsOf(config_.architecture);
  const std::string name = std::string(table.lm_head) + ".weight";
  // A tied model's head, where an exporter wrote it, is the embedding again.
  if (config_.tie_embeddings) taken_.insert(name);
  if (config_.tie_embeddings && format == HeadFormat::kBf16) {
    return absl::OkStatus();
  }
  const std::string source = config_.tie_embeddings ? EmbeddingSource() : name;
  const Treatment treatment = format == HeadFormat::kBf16 ? Treatment::kToBf16
                              : format == HeadFormat::kE4m3
                                  ? Treatment::kToE4m3
                                  : Treatment::kToE2m1;
  return Add(name, source, {config_.vocab_size, config_.model_dim}, treatment);
}

// A tensor that nothing would read means that the config is not the model's.
absl::Status Planner::CheckNothingLeft() const {
  const TensorTable& table = TensorsOf(config_.architecture);
  for (const auto& [name, tensor] : checkpoint_.tensors()) {
    bool known = taken_.count(name) > 0;
    for (const std::string& ending : table.ignored_endings) {
      known = known || name.ends_with(ending);
    }
    if (known) continue;
    return absl::InvalidArgumentError(fmt::format(
        "{}: {}: want only tensors that {} with this config has, found this "
        "one besides ({})",
        tensor.file, name, ToString(config_.architecture), Describe(tensor)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<QuantizeJob>> Planner::Plan(HeadFormat lm_head) {
  const TensorTable& table = TensorsOf(config_.architecture);
  const std::string embedding = std::string(table.embedding) + ".weight";
  ZQFP_RETURN_IF_ERROR(Add(embedding, EmbeddingSource(),
                           {config_.vocab_size, config_.model_dim},
                           Treatment::kToBf16));
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    ZQFP_RETURN_IF_ERROR(AddLayer(i));
  }
  ZQFP_RETURN_IF_ERROR(
      AddVector(std::string(table.final_norm) + ".weight", config_.model_dim));
  ZQFP_RETURN_IF_ERROR(AddHead(lm_head));
  ZQFP_RETURN_IF_ERROR(CheckNothingLeft());
  return std::move(jobs_);
}

}  // namespace

absl::StatusOr<std::vector<QuantizeJob>> PlanQuantization(
    const Checkpoint& checkpoint, const Config& config,
    const ScaleOptions& scales, HeadFormat lm_head) {
  return Planner(checkpoint, config, scales).Plan(lm_head);
}

std::vector<std::vector<QuantizeJob>> SplitInShards(
    std::vector<QuantizeJob> jobs, int64_t max_bytes) {
  std::vector<std::vector<QuantizeJob>> shards;
  int64_t shard_bytes = 0;
  for (QuantizeJob& job : jobs) {
    if (shards.empty() || shard_bytes > max_bytes - job.output_bytes) {
      shards.emplace_back();
      shard_bytes = 0;
    }
    shard_bytes += job.output_bytes;
    shards.back().push_back(std::move(job));
  }
  return shards;
}

}  // namespace zqfp
