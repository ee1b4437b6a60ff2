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
          const QuantizePlanOptions& options)
      : checkpoint_(checkpoint), config_(config), options_(options) {}

  absl::StatusOr<std::vector<QuantizeJob>> Plan();

 private:
  // One tensor of the output, and which of the input it comes from: another
  // one for a head made of a tied embedding.
  struct Item {
    std::string name;  // with its ending
    std::string source_name;
    std::vector<int64_t> shape;
    Treatment treatment = Treatment::kCopy;
    LinearScheme scheme = {};
    int64_t calibrated_layer = -1;
  };
  absl::Status Add(const Item& item);
  absl::Status AddVector(const std::string& name, int64_t size) {
    return Add({.name = name, .source_name = name, .shape = {size}});
  }
  absl::Status AddNorm(const std::string& name, int64_t size);
  absl::Status AddPart(int64_t index, const LinearRule& rule);
  absl::StatusOr<const Tensor*> Take(const std::string& name,
                                     const std::vector<int64_t>& shape);
  void AddJob(QuantizeJob job, const std::string& output);
  Item LinearItem(const std::string& name, std::vector<int64_t> shape,
                  int64_t layer_index) const;
  absl::Status AddLayer(int64_t index);
  absl::Status AddHead(HeadFormat format);
  absl::Status CheckNothingLeft() const;
  std::string EmbeddingSource() const;

  const Checkpoint& checkpoint_;
  const Config& config_;
  const QuantizePlanOptions& options_;
  std::vector<QuantizeJob> jobs_;
  std::set<std::string> taken_;
};

// `tensor` is the name in the output, with its ending.
std::vector<TensorPlan> Outputs(const QuantizeJob& job,
                                const std::string& tensor) {
  const Tensor& source = *job.source;
  if (job.treatment == Treatment::kQuantize) {
    return TensorsOfLinear(job.name, source.shape[0], source.shape[1],
                           job.scheme);
  }
  const bool is_bf16 = job.treatment == Treatment::kToBf16;
  return {{tensor, is_bf16 ? DType::kBf16 : source.dtype, source.shape}};
}

absl::StatusOr<const Tensor*> Planner::Take(const std::string& name,
                                            const std::vector<int64_t>& shape) {
  const std::string stored =
      StoredName(TensorsOf(config_.architecture), checkpoint_, name);
  ZQFP_ASSIGN_OR_RETURN(const Tensor* source, checkpoint_.Get(stored));
  const bool is_float =
      source->dtype == DType::kF32 || source->dtype == DType::kBf16 ||
      source->dtype == DType::kF16 || source->dtype == DType::kQ8Blocks;
  if (!is_float || source->shape != shape) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: {}: want F32 or BF16 or F16 [{}], file has {}", source->file,
        stored, fmt::join(shape, ", "), Describe(*source)));
  }
  taken_.insert(stored);
  return source;
}

// `output` is the tensor's name in the output, with its ending.
void Planner::AddJob(QuantizeJob job, const std::string& output) {
  job.name = output.substr(0, output.rfind('.'));
  // 16 bits stay what they are: f16 has mantissa bits that bf16 lacks.
  if (job.treatment == Treatment::kToBf16 && job.source->dtype != DType::kF32 &&
      job.source->dtype != DType::kQ8Blocks) {
    job.treatment = Treatment::kCopy;
  }
  job.outputs = Outputs(job, output);
  for (const TensorPlan& plan : job.outputs) {
    job.output_bytes += PlanBytes(plan);
  }
  jobs_.push_back(std::move(job));
}

absl::Status Planner::Add(const Item& item) {
  ZQFP_ASSIGN_OR_RETURN(const Tensor* source,
                        Take(item.source_name, item.shape));
  if (item.treatment == Treatment::kCopy && source->dtype == DType::kQ8Blocks) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: {}: want F32 or BF16 or F16 of what stays as it is, file has {}",
        source->file, item.source_name, Describe(*source)));
  }
  AddJob({.source = source,
          .treatment = item.treatment,
          .scheme = item.scheme,
          .calibrated_layer = item.calibrated_layer},
         item.name);
  return absl::OkStatus();
}

// The tensors of a decoder linear: as the scheme says, unless it is kept.
Planner::Item Planner::LinearItem(const std::string& name,
                                  std::vector<int64_t> shape,
                                  int64_t layer_index) const {
  Item item = {.name = name + ".weight",
               .source_name = name + ".weight",
               .shape = std::move(shape)};
  if (!options_.keep || !options_.keep(name)) {
    item.treatment = Treatment::kQuantize;
    item.scheme = options_.linears;
    if (item.scheme.needs_calibration()) item.calibrated_layer = layer_index;
  }
  return item;
}

absl::Status Planner::AddNorm(const std::string& name, int64_t size) {
  ZQFP_RETURN_IF_ERROR(AddVector(name + ".weight", size));
  if (config_.norm != NormKind::kLayer) return absl::OkStatus();
  return AddVector(name + ".bias", size);
}

// A linear that the checkpoint stores together with others, or transposed,
// becomes one of its own.
absl::Status Planner::AddPart(int64_t index, const LinearRule& rule) {
  const TensorTable& table = TensorsOf(config_.architecture);
  const StoredSlice slice = SliceOf(table, rule, config_);
  const std::string stored = LayerTensorName(table, index, slice.name.c_str());
  const std::string name = LayerTensorName(table, index, rule.name);
  const int64_t n = SizeOf(rule.n, config_), k = SizeOf(rule.k, config_);
  const auto add = [&](const Tensor* whole, const Item& item) {
    const TensorPart part = {whole, slice.first, n, rule.order};
    auto owned = std::make_shared<const QuantizeJob::Part>(
        QuantizeJob::Part{part, part.ToTensor()});
    const Tensor* source = &owned->tensor;
    AddJob({.source = source,
            .part = std::move(owned),
            .treatment = item.treatment,
            .scheme = item.scheme,
            .calibrated_layer = item.calibrated_layer},
           item.name);
  };
  std::vector<int64_t> shape = {slice.num_outputs, k};
  if (rule.order == TensorOrder::kInputMajor) std::swap(shape[0], shape[1]);
  ZQFP_ASSIGN_OR_RETURN(const Tensor* weight, Take(stored + ".weight", shape));
  add(weight, LinearItem(name, {n, k}, index));
  if (rule.bias == nullptr || !(config_.*rule.bias)) return absl::OkStatus();
  ZQFP_ASSIGN_OR_RETURN(const Tensor* bias,
                        Take(stored + ".bias", {slice.num_outputs}));
  add(bias, {.name = name + ".bias"});
  return absl::OkStatus();
}

// Norms and biases are copied, the linears quantized.
absl::Status Planner::AddLayer(int64_t index) {
  const TensorTable& table = TensorsOf(config_.architecture);
  for (const NormRule& rule : table.norms) {
    if (rule.present != nullptr && !(config_.*rule.present)) continue;
    ZQFP_RETURN_IF_ERROR(AddNorm(LayerTensorName(table, index, rule.name),
                                 SizeOf(rule.dim, config_)));
  }
  for (const LinearRule& rule : table.linears) {
    if (rule.stored != nullptr && !config_.separate_linears) {
      ZQFP_RETURN_IF_ERROR(AddPart(index, rule));
      continue;
    }
    const std::string name = LayerTensorName(table, index, rule.name);
    const int64_t n = SizeOf(rule.n, config_);
    ZQFP_RETURN_IF_ERROR(
        Add(LinearItem(name, {n, SizeOf(rule.k, config_)}, index)));
    if (rule.bias != nullptr && config_.*rule.bias) {
      ZQFP_RETURN_IF_ERROR(AddVector(name + ".bias", n));
    }
  }
  return absl::OkStatus();
}

// Of two tied tensors some exporters keep the head instead of the embedding.
std::string Planner::EmbeddingSource() const {
  const TensorTable& table = TensorsOf(config_.architecture);
  const std::string embedding =
      StoredName(table, checkpoint_, std::string(table.embedding) + ".weight");
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
  if (config_.tie_embeddings) {
    ZQFP_RETURN_IF_ERROR(CheckTiedHead(checkpoint_, EmbeddingSource(), name));
    taken_.insert(name);
  }
  if (config_.tie_embeddings && format == HeadFormat::kBf16) {
    return absl::OkStatus();
  }
  Item item = {.name = name,
               .source_name = config_.tie_embeddings ? EmbeddingSource() : name,
               .shape = {config_.vocab_size, config_.model_dim},
               .treatment = Treatment::kToBf16};
  if (format != HeadFormat::kBf16) {
    item.treatment = Treatment::kQuantize;
    item.scheme.grid = {.format = format == HeadFormat::kE4m3
                                      ? GridFormat::kE4m3
                                      : GridFormat::kE2m1,
                        .scales = options_.linears.grid.scales};
  }
  return Add(item);
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

absl::StatusOr<std::vector<QuantizeJob>> Planner::Plan() {
  const TensorTable& table = TensorsOf(config_.architecture);
  const std::string embedding = std::string(table.embedding) + ".weight";
  ZQFP_RETURN_IF_ERROR(Add({.name = embedding,
                            .source_name = EmbeddingSource(),
                            .shape = {config_.vocab_size, config_.model_dim},
                            .treatment = Treatment::kToBf16}));
  if (table.positions != nullptr) {
    const std::string positions = std::string(table.positions) + ".weight";
    ZQFP_RETURN_IF_ERROR(
        Add({.name = positions,
             .source_name = positions,
             .shape = {SizeOf(Dim::kPositions, config_), config_.model_dim},
             .treatment = Treatment::kToBf16}));
  }
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    ZQFP_RETURN_IF_ERROR(AddLayer(i));
  }
  ZQFP_RETURN_IF_ERROR(AddNorm(table.final_norm, config_.model_dim));
  ZQFP_RETURN_IF_ERROR(AddHead(options_.lm_head));
  ZQFP_RETURN_IF_ERROR(CheckNothingLeft());
  return std::move(jobs_);
}

}  // namespace

absl::StatusOr<std::vector<QuantizeJob>> PlanQuantization(
    const Checkpoint& checkpoint, const Config& config,
    const QuantizePlanOptions& options) {
  return Planner(checkpoint, config, options).Plan();
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
