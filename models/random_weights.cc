// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <sys/mman.h>

#include <cmath>
#include <memory>

#include "kernels/core/float_formats.h"
#include "kernels/core/parallel.h"
#include "kernels/core/status_macros.h"
#include "models/architectures.h"
#include "models/weights.h"

namespace zqfp {
namespace {

using kernels::WeightFormat;

// Random numbers that depend on (seed, index) only, so that the fill does not
// depend on the number of threads (SplitMix64).
uint64_t Mix(uint64_t z) {
  z += 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

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

class Filler {
 public:
  Filler(const Config& config, uint64_t seed, kernels::ThreadPool& pool,
         Arena& arena)
      : config_(config), seed_(seed), pool_(pool), arena_(arena) {}

  // bf16 values of about N(0, 1/k), without a tail.
  uint16_t* Bf16(int64_t count, int64_t k) {
    uint16_t* data = arena_.Take<uint16_t>(count);
    const float unit = std::sqrt(3.0f / static_cast<float>(k)) / float(1 << 23);
    Fill(count, [=](int64_t i, uint64_t random) {
      const int32_t centred = static_cast<int32_t>(random >> 40) - (1 << 23);
      data[i] = kernels::FloatToBf16(static_cast<float>(centred) * unit);
    });
    return data;
  }

  void Quantized(WeightFormat format, LinearWeight* linear) {
    kernels::WeightView& view = linear->view;
    view.format = format;
    // RMS of random e2m1 codes is 2.9, of random finite e4m3 codes 132.
    const float rms = format == WeightFormat::kE4m3 ? 132.0f : 2.9f;
    const float scale = 1.0f / (rms * std::sqrt(static_cast<float>(view.k)));
    const int64_t bytes = format == WeightFormat::kE4m3
                              ? view.n * view.k
                              : view.n * ((view.k + 1) / 2);
    uint8_t* data = arena_.Take<uint8_t>(bytes);
    const bool e4m3 = format == WeightFormat::kE4m3;
    Fill(bytes, [=](int64_t i, uint64_t random) {
      const uint8_t code = static_cast<uint8_t>(random >> 56);
      // 0x7f and 0xff are NaN in e4m3.
      data[i] = e4m3 && (code & 0x7f) == 0x7f ? code ^ 0x10 : code;
    });
    view.data = data;
    if (e4m3) {
      view.row_scale = Constant(view.n, scale);
      return;
    }
    view.group_size = config_.quantization->group_size;
    const int64_t groups = kernels::NumGroups(view.k, view.group_size);
    if (format == WeightFormat::kE2m1Free) {
      view.group_scale = Constant(view.n * groups, scale);
      return;
    }
    view.row_scale = Constant(view.n, scale * 2);
    uint8_t* shift = arena_.Take<uint8_t>(view.n * groups);
    Fill(view.n * groups, [=](int64_t i, uint64_t random) {
      shift[i] = static_cast<uint8_t>(random >> 62);
    });
    view.shift = shift;
  }

  void Linear(const std::string& name, int64_t n, int64_t k,
              WeightFormat format, LinearWeight* linear) {
    linear->name = name;
    linear->view = {.n = n, .k = k};
    if (format != WeightFormat::kBf16) {
      linear->activations = config_.quantization->activations;
      return Quantized(format, linear);
    }
    linear->view.format = format;
    linear->view.data = Bf16(n * k, k);
  }

  // A low-rank branch of e4m3 factors, small beside the weight.
  void Lorc(int64_t rank, LinearWeight* linear) {
    const int64_t n = linear->view.n, k = linear->view.k;
    linear->lorc_u.resize(static_cast<size_t>(rank * n));
    uint8_t* v = arena_.Take<uint8_t>(rank * k);
    const auto finite = [](uint64_t random) {
      const uint8_t code = static_cast<uint8_t>(random >> 56);
      return static_cast<uint8_t>((code & 0x7f) == 0x7f ? code ^ 0x10 : code);
    };
    uint8_t* u = linear->lorc_u.data();
    Fill(rank * n, [=](int64_t i, uint64_t random) { u[i] = finite(random); });
    Fill(rank * k, [=](int64_t i, uint64_t random) { v[i] = finite(random); });
    const float scale = 0.01f / std::sqrt(static_cast<float>(rank * k));
    linear->view.lorc = {.format = kernels::ValueFormat::kE4m3,
                         .rank = rank,
                         .u = u,
                         .v = v,
                         .u_scale = Constant(n, scale / 132),
                         .v_scale = Constant(rank, 1.0f / 132)};
  }

 private:
  template <typename Write>
  void Fill(int64_t count, const Write& write) {
    seed_ = Mix(seed_);
    kernels::Exec exec = {.parallel = pool_.parallel()};
    kernels::ParallelFor(exec, count, 4096,
                         [&](int64_t begin, int64_t end, int) {
                           for (int64_t i = begin; i < end; ++i) {
                             write(i, Mix(seed_ ^ static_cast<uint64_t>(i)));
                           }
                         });
  }

  const float* Constant(int64_t count, float value) {
    float* data = arena_.Take<float>(count);
    std::fill_n(data, count, value);
    return data;
  }

  const Config& config_;
  uint64_t seed_;
  kernels::ThreadPool& pool_;
  Arena& arena_;
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
           rank * (k + 64) + n * 4;
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
                                      kernels::ThreadPool& pool) {
  if (config.foreign) {
    return absl::UnimplementedError(
        "random weights: want a model that is not quantized or by zqfp, found "
        "another tool's quantization");
  }
  ZQFP_ASSIGN_OR_RETURN(Arena arena, Arena::Create(BytesNeeded(config)));
  Filler fill(config, seed, pool, arena);
  Weights weights;
  weights.memory = arena.memory();
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
  return weights;
}

}  // namespace zqfp
