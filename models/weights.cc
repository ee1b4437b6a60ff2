// SPDX-License-Identifier: Apache-2.0
#include "models/weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <string.h>

#include <cmath>
#include <set>

#include "absl/types/span.h"
#include "kernels/core/float_formats.h"
#include "kernels/core/status_macros.h"
#include "kernels/op_work.h"
#include "models/architectures.h"
#include "models/finite_scan.h"
#include "models/foreign_weights.h"
#include "models/gguf_blocks.h"
#include "models/tensor_part.h"

namespace zqfp {
namespace {

using kernels::ValueFormat;
using kernels::WeightFormat;

// Walks the table, taking tensors out of a checkpoint one after another.
class Binder {
 public:
  Binder(const Checkpoint& checkpoint, const Config& config,
         kernels::ThreadPool& pool)
      : checkpoint_(checkpoint), config_(config), pool_(pool) {}

  absl::Status Bind(Weights* weights);

 private:
  using Shape = std::vector<int64_t>;

  absl::StatusOr<const Tensor*> Take(const std::string& name,
                                     std::vector<DType> dtypes, Shape shape);
  absl::Status BindVector(const std::string& name, int64_t size,
                          std::vector<float>* values);
  absl::Status BindNorm(const std::string& name, int64_t size,
                        NormWeight* norm);
  absl::StatusOr<const float*> BindScales(const std::string& name, Shape shape);
  absl::Status BindFloat(const std::string& name, LinearWeight* linear);
  absl::Status BindBlocks(const std::string& name, LinearWeight* linear);
  absl::Status BindE4m3(LinearWeight* linear);
  absl::Status BindE2m1(LinearWeight* linear);
  absl::Status BindShifts(LinearWeight* linear, int64_t groups);
  absl::Status BindLorc(LinearWeight* linear);
  absl::Status BindLinear(const std::string& name, int64_t n, int64_t k,
                          bool has_bias, WeightFormat format,
                          LinearWeight* linear);
  absl::Status CheckPlain(const std::vector<std::string>& names) const;
  absl::Status BindPart(int64_t index, const LinearRule& rule,
                        LinearWeight* linear);
  absl::Status BindLayer(int64_t index, LayerWeights* layer);
  std::string EmbeddingName() const;
  absl::Status BindTable(const std::string& name, int64_t num_rows,
                         ValueFormat* format, const void** table,
                         std::shared_ptr<const MappedFile>* memory);
  absl::Status BindHead(Weights* weights);
  absl::Status CheckNothingLeft() const;
  WeightFormat DecoderFormat(const std::string& linear) const;

  const Checkpoint& checkpoint_;
  const Config& config_;
  kernels::ThreadPool& pool_;
  std::set<std::string> taken_;
};

ValueFormat FormatOf(DType dtype) {
  if (dtype == DType::kBf16) return ValueFormat::kBf16;
  if (dtype == DType::kF16) return ValueFormat::kF16;
  return ValueFormat::kF32;
}

WeightFormat FloatFormat(DType dtype) {
  if (dtype == DType::kBf16) return WeightFormat::kBf16;
  if (dtype == DType::kF16) return WeightFormat::kF16;
  return WeightFormat::kF32;
}

absl::StatusOr<const Tensor*> Binder::Take(const std::string& name,
                                           std::vector<DType> dtypes,
                                           Shape shape) {
  const std::string stored =
      StoredName(TensorsOf(config_.architecture), checkpoint_, name);
  ZQFP_ASSIGN_OR_RETURN(const Tensor* tensor, checkpoint_.Get(stored));
  bool fits = false;
  std::vector<std::string> names;
  for (const DType dtype : dtypes) {
    fits = fits || tensor->dtype == dtype;
    names.emplace_back(ToString(dtype));
  }
  if (!fits || tensor->shape != shape) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: {}: want {} [{}], file has {}", tensor->file, stored,
        fmt::join(names, " or "), fmt::join(shape, ", "), Describe(*tensor)));
  }
  taken_.insert(stored);
  return tensor;
}

absl::Status Binder::BindVector(const std::string& name, int64_t size,
                                std::vector<float>* values) {
  ZQFP_ASSIGN_OR_RETURN(
      const Tensor* tensor,
      Take(name, {DType::kF32, DType::kBf16, DType::kF16}, {size}));
  ZQFP_RETURN_IF_ERROR(CheckFinite(*tensor, pool_));
  values->resize(static_cast<size_t>(size));
  for (int64_t i = 0; i < size; ++i) {
    (*values)[static_cast<size_t>(i)] = ReadFloat(*tensor, i);
  }
  return absl::OkStatus();
}

absl::Status Binder::BindNorm(const std::string& name, int64_t size,
                              NormWeight* norm) {
  ZQFP_RETURN_IF_ERROR(BindVector(name + ".weight", size, &norm->weight));
  if (config_.norm == NormKind::kRmsPlusOne) {
    for (float& weight : norm->weight) weight += 1.0f;
  }
  if (config_.norm != NormKind::kLayer) return absl::OkStatus();
  return BindVector(name + ".bias", size, &norm->bias);
}

// F32 scales, each finite and above zero.
absl::StatusOr<const float*> Binder::BindScales(const std::string& name,
                                                Shape shape) {
  ZQFP_ASSIGN_OR_RETURN(const Tensor* tensor, Take(name, {DType::kF32}, shape));
  const float* scales = reinterpret_cast<const float*>(tensor->data);
  for (int64_t i = 0; i < tensor->num_bytes / 4; ++i) {
    if (!(scales[i] > 0) || std::isinf(scales[i])) {
      return absl::DataLossError(fmt::format(
          "{}: {}: want finite scales above 0, found {} at element {}",
          tensor->file, name, scales[i], i));
    }
  }
  return scales;
}

// GGUF's blocks, as kernels read them.
absl::Status Binder::BindBlocks(const std::string& name, LinearWeight* linear) {
  kernels::WeightView& view = linear->view;
  ZQFP_ASSIGN_OR_RETURN(
      const Tensor* tensor,
      Take(name, {DType::kQ8Blocks, DType::kMxfp4Blocks}, {view.n, view.k}));
  ZQFP_RETURN_IF_ERROR(CheckFinite(*tensor, pool_));
  linear->source = tensor->source;
  linear->source_bytes = tensor->num_bytes;
  if (tensor->dtype == DType::kMxfp4Blocks) {
    ZQFP_ASSIGN_OR_RETURN(RelaidWeight relaid, RelayMxfp4(*tensor, pool_));
    relaid.view.n = view.n;
    relaid.view.k = view.k;
    view = relaid.view;
    linear->memory =
        std::make_shared<const MappedFile>(std::move(relaid.memory));
  } else {
    ZQFP_ASSIGN_OR_RETURN(MappedFile floats, ExpandTensor(*tensor, pool_));
    view.format = WeightFormat::kF32;
    view.data = floats.bytes().data();
    linear->memory = std::make_shared<const MappedFile>(std::move(floats));
  }
  DropPages(tensor->data, tensor->num_bytes);
  return absl::OkStatus();
}

absl::Status Binder::BindFloat(const std::string& name, LinearWeight* linear) {
  const Tensor* found = checkpoint_.Find(name);
  if (found != nullptr && BlockElements(found->dtype) > 1) {
    return BindBlocks(name, linear);
  }
  kernels::WeightView& view = linear->view;
  ZQFP_ASSIGN_OR_RETURN(
      const Tensor* tensor,
      Take(name, {DType::kF32, DType::kBf16, DType::kF16}, {view.n, view.k}));
  ZQFP_RETURN_IF_ERROR(CheckFinite(*tensor, pool_));
  linear->source = tensor->source;
  linear->source_bytes = tensor->source.empty() ? 0 : tensor->num_bytes;
  view.data = tensor->data;
  view.format = FloatFormat(tensor->dtype);
  return absl::OkStatus();
}

absl::Status Binder::BindE4m3(LinearWeight* linear) {
  kernels::WeightView& view = linear->view;
  ZQFP_ASSIGN_OR_RETURN(
      const Tensor* tensor,
      Take(linear->name + ".weight", {DType::kE4m3}, {view.n, view.k}));
  ZQFP_RETURN_IF_ERROR(CheckFinite(*tensor, pool_));
  view.format = WeightFormat::kE4m3;
  view.data = tensor->data;
  ZQFP_ASSIGN_OR_RETURN(
      view.row_scale, BindScales(linear->name + ".weight_row_scale", {view.n}));
  return absl::OkStatus();
}

// Row scales and shifts; proves the exactness window (shift <= 14) and, for
// M1, that the row scales are powers of two.
absl::Status Binder::BindShifts(LinearWeight* linear, int64_t groups) {
  kernels::WeightView& view = linear->view;
  const std::string scale_name = linear->name + ".weight_row_scale";
  ZQFP_ASSIGN_OR_RETURN(view.row_scale, BindScales(scale_name, {view.n}));
  const std::string shift_name = linear->name + ".weight_shift";
  ZQFP_ASSIGN_OR_RETURN(const Tensor* shifts,
                        Take(shift_name, {DType::kU8}, {view.n, groups}));
  view.shift = shifts->data;
  for (int64_t i = 0; i < view.n * groups; ++i) {
    if (view.shift[i] > kernels::kMaxShift) {
      return absl::DataLossError(
          fmt::format("{}: {}: want shifts of 0..{} (exact in e4m3), found {} "
                      "in row {}",
                      shifts->file, shift_name, kernels::kMaxShift,
                      view.shift[i], i / groups));
    }
  }
  if (config_.quantization->constraint != ScaleConstraint::kM1) {
    return absl::OkStatus();
  }
  for (int64_t n = 0; n < view.n; ++n) {
    int exponent;
    if (std::frexp(view.row_scale[n], &exponent) != 0.5f) {
      return absl::DataLossError(
          fmt::format("{}: {}: want powers of two (m1), found {} in row {}",
                      shifts->file, scale_name, view.row_scale[n], n));
    }
  }
  return absl::OkStatus();
}

absl::Status Binder::BindE2m1(LinearWeight* linear) {
  kernels::WeightView& view = linear->view;
  view.group_size = config_.quantization->group_size;
  const int64_t groups = kernels::NumGroups(view.k, view.group_size);
  ZQFP_ASSIGN_OR_RETURN(const Tensor* packed,
                        Take(linear->name + ".weight_packed", {DType::kU8},
                             {view.n, (view.k + 1) / 2}));
  view.data = packed->data;
  if (config_.quantization->constraint != ScaleConstraint::kFree) {
    view.format = WeightFormat::kE2m1Shift;
    return BindShifts(linear, groups);
  }
  view.format = WeightFormat::kE2m1Free;
  ZQFP_ASSIGN_OR_RETURN(
      view.group_scale,
      BindScales(linear->name + ".weight_scale", {view.n, groups}));
  return absl::OkStatus();
}

// The factors of X: X.lorc_u [n, rank] and X.lorc_v [rank, k], in e4m3 with one
// scale per row.
absl::Status Binder::BindLorc(LinearWeight* linear) {
  const LorcConfig& config = config_.quantization->lorc;
  const kernels::WeightView& view = linear->view;
  const DType dtype =
      config.format == ValueFormat::kE4m3 ? DType::kE4m3 : DType::kBf16;
  const std::string base = linear->name + ".lorc_";
  ZQFP_ASSIGN_OR_RETURN(const Tensor* u,
                        Take(base + "u", {dtype}, {view.n, config.rank}));
  ZQFP_ASSIGN_OR_RETURN(const Tensor* v,
                        Take(base + "v", {dtype}, {config.rank, view.k}));
  ZQFP_RETURN_IF_ERROR(CheckFinite(*u, pool_));
  ZQFP_RETURN_IF_ERROR(CheckFinite(*v, pool_));
  kernels::LorcView& lorc = linear->view.lorc;
  lorc = {.format = config.format, .rank = config.rank, .v = v->data};
  SetLorcU(u->data, linear);
  if (config.format == ValueFormat::kBf16) return absl::OkStatus();
  ZQFP_ASSIGN_OR_RETURN(lorc.u_scale, BindScales(base + "u_scale", {view.n}));
  ZQFP_ASSIGN_OR_RETURN(lorc.v_scale,
                        BindScales(base + "v_scale", {config.rank}));
  return absl::OkStatus();
}

absl::Status Binder::BindLinear(const std::string& name, int64_t n, int64_t k,
                                bool has_bias, WeightFormat format,
                                LinearWeight* linear) {
  linear->name = name;
  linear->view = {.n = n, .k = k};
  if (format != WeightFormat::kF32) {
    linear->activations = config_.quantization->activations;
  }
  const ForeignScheme* foreign = nullptr;
  if (config_.foreign) {
    ZQFP_ASSIGN_OR_RETURN(foreign, config_.foreign->SchemeOf(name));
  }
  if (foreign != nullptr) {
    ZQFP_RETURN_IF_ERROR(
        ForeignBinder(*config_.foreign, checkpoint_, pool_, &taken_)
            .Bind(*foreign, linear));
  } else if (format == WeightFormat::kE2m1Shift) {
    ZQFP_RETURN_IF_ERROR(BindE2m1(linear));
  } else if (format == WeightFormat::kE4m3) {
    ZQFP_RETURN_IF_ERROR(BindE4m3(linear));
  } else {
    ZQFP_RETURN_IF_ERROR(BindFloat(name + ".weight", linear));
  }
  if (!has_bias) return absl::OkStatus();
  return BindVector(name + ".bias", n, &linear->bias);
}

// Of such linears the tensors of other quantizers are not read.
absl::Status Binder::CheckPlain(const std::vector<std::string>& names) const {
  if (!config_.foreign) return absl::OkStatus();
  for (const std::string& name : names) {
    ZQFP_ASSIGN_OR_RETURN(const ForeignScheme* scheme,
                          config_.foreign->SchemeOf(name));
    if (scheme == nullptr) continue;
    return absl::UnimplementedError(fmt::format(
        "quantization_config: {}: want no quantization of a linear that is "
        "stored together with others, found one",
        name));
  }
  return absl::OkStatus();
}

// A linear whose checkpoint tensor holds more than it, or in another order.
absl::Status Binder::BindPart(int64_t index, const LinearRule& rule,
                              LinearWeight* linear) {
  const TensorTable& table = TensorsOf(config_.architecture);
  const StoredSlice slice = SliceOf(table, rule, config_);
  const std::string stored = LayerTensorName(table, index, slice.name.c_str());
  ZQFP_RETURN_IF_ERROR(
      CheckPlain({stored, LayerTensorName(table, index, rule.name)}));
  const int64_t n = SizeOf(rule.n, config_), k = SizeOf(rule.k, config_);
  const bool is_transposed = rule.order == TensorOrder::kInputMajor;
  const Shape shape =
      is_transposed ? Shape{k, slice.num_outputs} : Shape{slice.num_outputs, k};
  ZQFP_ASSIGN_OR_RETURN(const Tensor* whole,
                        Take(stored + ".weight",
                             {DType::kF32, DType::kBf16, DType::kF16}, shape));
  if (slice.first == 0) ZQFP_RETURN_IF_ERROR(CheckFinite(*whole, pool_));
  const TensorPart part = {whole, slice.first, n, rule.order};
  linear->name = LayerTensorName(table, index, rule.name);
  linear->view = {.format = FloatFormat(whole->dtype), .n = n, .k = k};
  linear->view.data = part.ToTensor().data;
  if (is_transposed) {
    linear->transposed = part.Transpose();
    linear->view.data = linear->transposed.data();
  }
  if (rule.bias == nullptr || !(config_.*rule.bias)) return absl::OkStatus();
  std::vector<float> bias;
  ZQFP_RETURN_IF_ERROR(BindVector(stored + ".bias", slice.num_outputs, &bias));
  linear->bias.assign(bias.begin() + slice.first,
                      bias.begin() + slice.first + n);
  return absl::OkStatus();
}

// kE2m1Shift stands for both e2m1 kinds, kF32 for all unquantized ones.
WeightFormat Binder::DecoderFormat(const std::string& linear) const {
  if (!config_.quantization || config_.quantization->Keeps(linear)) {
    return WeightFormat::kF32;
  }
  return config_.quantization->weights == LinearFormat::kE4m3
             ? WeightFormat::kE4m3
             : WeightFormat::kE2m1Shift;
}

absl::Status Binder::BindLayer(int64_t index, LayerWeights* layer) {
  const TensorTable& table = TensorsOf(config_.architecture);
  for (const NormRule& rule : table.norms) {
    if (rule.present != nullptr && !(config_.*rule.present)) continue;
    ZQFP_RETURN_IF_ERROR(BindNorm(LayerTensorName(table, index, rule.name),
                                  SizeOf(rule.dim, config_),
                                  &(layer->*rule.field)));
  }
  for (const LinearRule& rule : table.linears) {
    const std::string name = LayerTensorName(table, index, rule.name);
    LinearWeight& linear = layer->*rule.field;
    if (rule.stored != nullptr && !config_.separate_linears) {
      ZQFP_RETURN_IF_ERROR(BindPart(index, rule, &linear));
      continue;
    }
    ZQFP_RETURN_IF_ERROR(BindLinear(name, SizeOf(rule.n, config_),
                                    SizeOf(rule.k, config_),
                                    rule.bias != nullptr && config_.*rule.bias,
                                    DecoderFormat(name), &linear));
    if (linear.quantized() && config_.quantization &&
        config_.quantization->lorc.rank > 0) {
      ZQFP_RETURN_IF_ERROR(BindLorc(&linear));
    }
  }
  return absl::OkStatus();
}

// Of two tied tensors some exporters keep the head instead of the embedding.
std::string Binder::EmbeddingName() const {
  const TensorTable& table = TensorsOf(config_.architecture);
  const std::string embedding =
      StoredName(table, checkpoint_, std::string(table.embedding) + ".weight");
  const std::string head = std::string(table.lm_head) + ".weight";
  const bool is_head = config_.tie_embeddings && !config_.quantization &&
                       checkpoint_.Find(embedding) == nullptr &&
                       checkpoint_.Find(head) != nullptr;
  return is_head ? head : embedding;
}

// A table of which single rows are read: [num_rows, model_dim]. `memory` keeps
// what blocks of a GGUF file become; where it is null they are not allowed.
absl::Status Binder::BindTable(const std::string& name, int64_t num_rows,
                               ValueFormat* format, const void** table,
                               std::shared_ptr<const MappedFile>* memory) {
  std::vector<DType> dtypes = {DType::kF32, DType::kBf16, DType::kF16};
  const Tensor* found = checkpoint_.Find(name);
  const bool blocks =
      memory != nullptr && found != nullptr && BlockElements(found->dtype) > 1;
  if (blocks) dtypes = {found->dtype};
  ZQFP_ASSIGN_OR_RETURN(const Tensor* tensor,
                        Take(name, dtypes, {num_rows, config_.model_dim}));
  ZQFP_RETURN_IF_ERROR(CheckFinite(*tensor, pool_));
  if (blocks) {
    ZQFP_ASSIGN_OR_RETURN(MappedFile floats, ExpandTensor(*tensor, pool_));
    *table = floats.bytes().data();
    *format = ValueFormat::kF32;
    *memory = std::make_shared<const MappedFile>(std::move(floats));
    DropPages(tensor->data, tensor->num_bytes);
    return absl::OkStatus();
  }
  *table = tensor->data;
  *format = FormatOf(tensor->dtype);
  return absl::OkStatus();
}

// A quantized head is a tensor of its own even where the embedding is tied; a
// bf16 head of a tied model is the embedding.
absl::Status Binder::BindHead(Weights* weights) {
  const TensorTable& table = TensorsOf(config_.architecture);
  const HeadFormat head =
      config_.quantization ? config_.quantization->lm_head : HeadFormat::kBf16;
  const int64_t n = config_.vocab_size, k = config_.model_dim;
  if (head == HeadFormat::kE4m3 || head == HeadFormat::kE2m1) {
    return BindLinear(table.lm_head, n, k, false,
                      head == HeadFormat::kE4m3 ? WeightFormat::kE4m3
                                                : WeightFormat::kE2m1Shift,
                      &weights->lm_head);
  }
  const ForeignScheme* foreign = nullptr;
  if (config_.foreign) {
    ZQFP_ASSIGN_OR_RETURN(foreign, config_.foreign->SchemeOf(table.lm_head));
  }
  if (!config_.tie_embeddings || foreign != nullptr) {
    return BindLinear(table.lm_head, n, k, false, WeightFormat::kF32,
                      &weights->lm_head);
  }
  // Some exporters write the tied head a second time; it is the same tensor.
  const std::string copy = std::string(table.lm_head) + ".weight";
  ZQFP_RETURN_IF_ERROR(CheckTiedHead(checkpoint_, EmbeddingName(), copy));
  taken_.insert(copy);
  LinearWeight& linear = weights->lm_head;
  linear.name = table.lm_head;
  linear.view = {.n = n, .k = k};
  const Tensor* tensor = checkpoint_.Find(EmbeddingName());
  if (tensor != nullptr && tensor->dtype == DType::kQ8Blocks) {
    linear.view.data = weights->embedding;  // expanded once, in f32
    linear.memory = weights->embedding_memory;
    linear.source = tensor->source;
    linear.source_bytes = tensor->num_bytes;
    return absl::OkStatus();
  }
  return BindFloat(EmbeddingName(), &linear);
}

absl::Status Binder::CheckNothingLeft() const {
  const TensorTable& table = TensorsOf(config_.architecture);
  for (const auto& [name, tensor] : checkpoint_.tensors()) {
    if (taken_.contains(name)) continue;
    bool ignored = false;
    for (const std::string& ending : table.ignored_endings) {
      ignored = ignored || name.ends_with(ending);
    }
    // Scales of a cache that is not used.
    ignored =
        ignored || (config_.foreign && config_.foreign->weight_only &&
                    (name.ends_with(".k_scale") || name.ends_with(".v_scale")));
    if (ignored) continue;
    return absl::InvalidArgumentError(fmt::format(
        "{}: {}: want only tensors that {} with this config has, "
        "found this one besides ({})",
        tensor.file, name, ToString(config_.architecture), Describe(tensor)));
  }
  return absl::OkStatus();
}

absl::Status Binder::Bind(Weights* weights) {
  if (config_.foreign) ZQFP_RETURN_IF_ERROR(config_.foreign->CheckRunnable());
  const TensorTable& table = TensorsOf(config_.architecture);
  ZQFP_RETURN_IF_ERROR(
      BindTable(EmbeddingName(), config_.vocab_size, &weights->embedding_format,
                &weights->embedding, &weights->embedding_memory));
  if (table.positions != nullptr) {
    ZQFP_RETURN_IF_ERROR(BindTable(std::string(table.positions) + ".weight",
                                   SizeOf(Dim::kPositions, config_),
                                   &weights->positions_format,
                                   &weights->positions, nullptr));
  }
  weights->layers.resize(static_cast<size_t>(config_.num_layers));
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    ZQFP_RETURN_IF_ERROR(
        BindLayer(i, &weights->layers[static_cast<size_t>(i)]));
  }
  ZQFP_RETURN_IF_ERROR(
      BindNorm(table.final_norm, config_.model_dim, &weights->final_norm));
  ZQFP_RETURN_IF_ERROR(BindHead(weights));
  return CheckNothingLeft();
}

}  // namespace

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

bool LinearWeight::quantized() const {
  return view.format == WeightFormat::kE4m3 || kernels::HasGroups(view.format);
}

int64_t LinearWeight::num_bytes() const { return kernels::WeightBytes(view); }

int64_t Weights::ConvertedBytes() const {
  std::set<const MappedFile*> counted;  // a tied head shares the embedding's
  int64_t bytes = 0;
  const auto add = [&](const std::shared_ptr<const MappedFile>& memory) {
    if (memory == nullptr || !counted.insert(memory.get()).second) return;
    bytes += static_cast<int64_t>(memory->bytes().size());
  };
  add(embedding_memory);
  add(lm_head.memory);
  for (const LayerWeights& layer : layers) {
    for (const LinearWeight* linear : {&layer.q, &layer.k, &layer.v, &layer.o,
                                       &layer.gate, &layer.up, &layer.down}) {
      add(linear->memory);
    }
  }
  return bytes;
}

int64_t Weights::StreamedBytes() const {
  int64_t bytes = lm_head.num_bytes();
  for (const LayerWeights& layer : layers) {
    for (const LinearWeight* linear : {&layer.q, &layer.k, &layer.v, &layer.o,
                                       &layer.gate, &layer.up, &layer.down}) {
      bytes += linear->num_bytes();
    }
  }
  return bytes;
}

void SetLorcU(const uint8_t* u, LinearWeight* linear) {
  kernels::LorcView& lorc = linear->view.lorc;
  const int64_t n = linear->view.n;
  const int64_t size = lorc.format == ValueFormat::kE4m3 ? 1 : 2;
  linear->lorc_u.resize(static_cast<size_t>(n * lorc.rank * size));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t r = 0; r < lorc.rank; ++r) {
      memcpy(linear->lorc_u.data() + (r * n + i) * size,
             u + (i * lorc.rank + r) * size, static_cast<size_t>(size));
    }
  }
  lorc.u = linear->lorc_u.data();
}

absl::StatusOr<Weights> BindWeights(Checkpoint checkpoint, const Config& config,
                                    kernels::ThreadPool& pool) {
  Weights weights;
  weights.checkpoint.emplace(std::move(checkpoint));
  ZQFP_RETURN_IF_ERROR(
      Binder(*weights.checkpoint, config, pool).Bind(&weights));
  return weights;
}

}  // namespace zqfp
