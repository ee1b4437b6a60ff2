// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <sys/mman.h>

#include <cmath>
#include <memory>

#include "kernels/core/device_lab.h"
#include "kernels/core/float_formats.h"
#include "kernels/core/parallel.h"
#include "kernels/core/random_values.h"
#include "kernels/core/status_macros.h"
#include "models/architectures.h"
#include "models/weights.h"

namespace zqfp {
namespace {

using kernels::RandomBits;
using kernels::RandomKind;
using kernels::WeightFormat;

// Hands out pieces of one big mapping.
class Arena {
 public:
  static absl::StatusOr<Arena> Create(int64_t num_bytes) {
    void* memory =
        mmap(nullptr, static_cast<size_t>(num_bytes), PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
      return absl::ResourceExhaustedError(fmt::format(
          "random weights: want {} bytes, the system refused", num_bytes));
    }
    Arena arena;
    arena.memory_ = std::shared_ptr<void>(memory, [num_bytes](void* p) {
      munmap(p, static_cast<size_t>(num_bytes));
    });
    return arena;
  }

  template <typename T>
  T* Take(int64_t count) {
    char* at = static_cast<char*>(memory_.get()) + used_;
    used_ += Padded(count * static_cast<int64_t>(sizeof(T)));
    return reinterpret_cast<T*>(at);
  }
  static int64_t Padded(int64_t bytes) { return (bytes + 63) / 64 * 64; }
  const std::shared_ptr<void>& memory() const { return memory_; }

 private:
  std::shared_ptr<void> memory_;
  int64_t used_ = 0;
};

// The elements of an array, on the threads of the pool.
void FillOnHost(kernels::ThreadPool& pool, RandomKind kind, uint64_t seed,
                float unit, int64_t count, void* memory) {
  const kernels::Exec exec = {.parallel = pool.parallel()};
  const auto fill = [&](auto* to, const auto& value) {
    kernels::ParallelFor(exec, count, 4096,
                         [&](int64_t begin, int64_t end, int) {
                           for (int64_t i = begin; i < end; ++i) {
                             to[i] = value(RandomBits(seed, i));
                           }
                         });
  };
  auto* const bytes = static_cast<uint8_t*>(memory);
  auto* const floats = static_cast<float*>(memory);
  switch (kind) {
    case RandomKind::kByte:
      return fill(bytes, kernels::RandomByte);
    case RandomKind::kFiniteE4m3:
      return fill(bytes, kernels::RandomFiniteE4m3);
    case RandomKind::kNormalE4m3:
      return fill(bytes, kernels::RandomNormalE4m3);
    case RandomKind::kShift:
      return fill(bytes, kernels::RandomShift);
    case RandomKind::kBf16:
      return fill(static_cast<uint16_t*>(memory), [=](uint64_t bits) {
        return kernels::FloatToBf16(kernels::RandomFloat(bits, unit));
      });
    case RandomKind::kF32:
      return fill(floats, [=](uint64_t bits) {
        return kernels::RandomFloat(bits, unit);
      });
    case RandomKind::kConstant:
      std::fill_n(floats, count, unit);
  }
}

// Makes the arrays of one linear layer after the other, in the arena or, with a
// lab, on its device. Either way they hold the same.
class Filler {
 public:
  Filler(const Config& config, uint64_t seed, kernels::ThreadPool& pool,
         Arena* arena, kernels::DeviceLab* lab)
      : config_(config), seed_(seed), pool_(pool), arena_(arena), lab_(lab) {}

  // bf16 values of about N(0, 1/k), without a tail.
  const void* Bf16(int64_t count, int64_t k) {
    return Array<uint16_t>(RandomKind::kBf16, count,
                           1.0f / std::sqrt(static_cast<float>(k)));
  }

  void Linear(const std::string& name, int64_t n, int64_t k,
              WeightFormat format, LinearWeight* linear) {
    linear->name = name;
    linear->view = {.format = format, .n = n, .k = k};
    if (format == WeightFormat::kBf16) {
      linear->view.data = Bf16(n * k, k);
      return;
    }
    linear->activations = config_.quantization->activations;
    const size_t num_arrays = memory_.size();
    Quantized(linear->view);
    if (lab_ == nullptr || !status_.ok()) return;
    absl::StatusOr<kernels::PlacedWeight> placed = lab_->Pack(linear->view);
    memory_.resize(num_arrays);
    status_.Update(placed.status());
    if (!placed.ok()) return;
    linear->view = placed->view;
    for (kernels::DeviceMemory& memory : placed->memory) {
      memory_.push_back(std::move(memory));
    }
  }

  // A low-rank branch of e4m3 factors, small beside the weight.
  void Lorc(int64_t rank, LinearWeight* linear) {
    const int64_t n = linear->view.n, k = linear->view.k;
    const float scale = 0.01f / std::sqrt(static_cast<float>(rank * k));
    const auto* u = Array<uint8_t>(RandomKind::kFiniteE4m3, rank * n);
    const auto* v = Array<uint8_t>(RandomKind::kFiniteE4m3, rank * k);
    linear->view.lorc = {.format = kernels::ValueFormat::kE4m3,
                         .rank = rank,
                         .u = u,
                         .v = v,
                         .u_scale = Constant(n, scale / 132),
                         .v_scale = Constant(rank, 1.0f / 132)};
  }

  // The first error, and the memory of a device that the views point into.
  const absl::Status& status() const { return status_; }
  std::vector<kernels::DeviceMemory> TakeMemory() { return std::move(memory_); }

 private:
  // Codes and scales of a format with them.
  void Quantized(kernels::WeightView& view) {
    const bool e4m3 = view.format == WeightFormat::kE4m3;
    // RMS of random e2m1 codes is 2.9, of random finite e4m3 codes 132.
    const float rms = e4m3 ? 132.0f : 2.9f;
    const float scale = 1.0f / (rms * std::sqrt(static_cast<float>(view.k)));
    if (e4m3) {
      view.data = Array<uint8_t>(RandomKind::kFiniteE4m3, view.n * view.k);
      view.row_scale = Constant(view.n, scale);
      return;
    }
    view.data = Array<uint8_t>(RandomKind::kByte, view.n * ((view.k + 1) / 2));
    view.group_size = config_.quantization->group_size;
    const int64_t groups = kernels::NumGroups(view.k, view.group_size);
    if (view.format == WeightFormat::kE2m1Free) {
      view.group_scale = Constant(view.n * groups, scale);
      return;
    }
    view.row_scale = Constant(view.n, scale * 2);
    view.shift = Array<uint8_t>(RandomKind::kShift, view.n * groups);
  }

  const float* Constant(int64_t count, float value) {
    return Array<float>(RandomKind::kConstant, count, value);
  }

  // Null where the device has no room for it.
  template <typename T>
  const T* Array(RandomKind kind, int64_t count, float unit = 0) {
    seed_ = kernels::MixBits(seed_);
    if (lab_ == nullptr) {
      T* const data = arena_->Take<T>(count);
      FillOnHost(pool_, kind, seed_, unit, count, data);
      return data;
    }
    absl::StatusOr<kernels::DeviceMemory> memory =
        lab_->device().Allocate(count * static_cast<int64_t>(sizeof(T)));
    status_.Update(memory.status());
    if (!memory.ok()) return nullptr;
    memory_.push_back(*std::move(memory));
    lab_->Fill(kind, seed_, unit, count, memory_.back().get());
    return static_cast<const T*>(memory_.back().get());
  }

  const Config& config_;
  uint64_t seed_;
  kernels::ThreadPool& pool_;
  Arena* arena_;
  kernels::DeviceLab* lab_;
  absl::Status status_;
  std::vector<kernels::DeviceMemory> memory_;
};

WeightFormat DecoderFormat(const Config& config) {
  if (!config.quantization) return WeightFormat::kBf16;
  if (config.quantization->weights == LinearFormat::kE4m3) {
    return WeightFormat::kE4m3;
  }
  return config.quantization->constraint == ScaleConstraint::kFree
             ? WeightFormat::kE2m1Free
             : WeightFormat::kE2m1Shift;
}

WeightFormat HeadWeightFormat(const Config& config) {
  if (!config.quantization) return WeightFormat::kBf16;
  switch (config.quantization->lm_head) {
    case HeadFormat::kBf16:
      return WeightFormat::kBf16;
    case HeadFormat::kE4m3:
      return WeightFormat::kE4m3;
    case HeadFormat::kE2m1:
      return DecoderFormat(config);
  }
  return WeightFormat::kBf16;
}

// Enough for every array of RandomWeights, paddings included.
int64_t BytesNeeded(const Config& config) {
  const TensorTable& table = TensorsOf(config.architecture);
  const int64_t rank = config.quantization ? config.quantization->lorc.rank : 0;
  const auto linear_bytes = [&](int64_t n, int64_t k) {
    // bf16 is the widest; free scales at the smallest group add an eighth.
    return n * k * (config.quantization ? 1 : 2) + n * (k / 4 + 16) + 1024 +
           rank * (n + k + 128) + n * 4;
  };
  int64_t layer = 0;
  for (const LinearRule& rule : table.linears) {
    layer += linear_bytes(SizeOf(rule.n, config), SizeOf(rule.k, config));
  }
  const int64_t positions =
      table.positions != nullptr ? SizeOf(Dim::kPositions, config) : 0;
  return config.num_layers * layer +
         2 * (config.vocab_size * (config.model_dim * 3 + 64)) +
         2 * positions * config.model_dim + 64;
}

NormWeight PlainNorm(const Config& config, int64_t dim) {
  const auto size = static_cast<size_t>(dim);
  NormWeight norm = {.weight = std::vector<float>(size, 1.0f), .bias = {}};
  if (config.norm == NormKind::kLayer) norm.bias.assign(size, 0.01f);
  return norm;
}

}  // namespace

absl::StatusOr<Weights> RandomWeights(const Config& config, uint64_t seed,
                                      kernels::ThreadPool& pool,
                                      kernels::DeviceLab* lab) {
  if (config.foreign) {
    return absl::UnimplementedError(
        "random weights: want a model that is not quantized or by zqfp, found "
        "another tool's quantization");
  }
  Arena arena;
  Weights weights;
  if (lab == nullptr) {
    ZQFP_ASSIGN_OR_RETURN(arena, Arena::Create(BytesNeeded(config)));
    weights.memory = arena.memory();
  }
  Filler fill(config, seed, pool, &arena, lab);
  weights.embedding_format = kernels::ValueFormat::kBf16;
  weights.embedding = fill.Bf16(config.vocab_size * config.model_dim, 1);
  const TensorTable& table = TensorsOf(config.architecture);
  if (table.positions != nullptr) {
    weights.positions_format = kernels::ValueFormat::kBf16;
    weights.positions =
        fill.Bf16(SizeOf(Dim::kPositions, config) * config.model_dim, 1);
  }
  weights.layers.resize(static_cast<size_t>(config.num_layers));
  for (int64_t i = 0; i < config.num_layers; ++i) {
    LayerWeights& layer = weights.layers[static_cast<size_t>(i)];
    for (const NormRule& rule : table.norms) {
      if (rule.present != nullptr && !(config.*rule.present)) continue;
      layer.*rule.field = PlainNorm(config, SizeOf(rule.dim, config));
    }
    for (const LinearRule& rule : table.linears) {
      LinearWeight& linear = layer.*rule.field;
      fill.Linear(LayerTensorName(table, i, rule.name), SizeOf(rule.n, config),
                  SizeOf(rule.k, config), DecoderFormat(config), &linear);
      if (config.quantization && config.quantization->lorc.rank > 0) {
        fill.Lorc(config.quantization->lorc.rank, &linear);
      }
      if (rule.bias != nullptr && config.*rule.bias) {
        linear.bias.assign(static_cast<size_t>(linear.view.n), 0.01f);
      }
    }
  }
  weights.final_norm = PlainNorm(config, config.model_dim);
  fill.Linear(table.lm_head, config.vocab_size, config.model_dim,
              HeadWeightFormat(config), &weights.lm_head);
  ZQFP_RETURN_IF_ERROR(fill.status());
  weights.made_on_device = lab != nullptr;
  weights.placed = fill.TakeMemory();
  return weights;
}

}  // namespace zqfp
