// SPDX-License-Identifier: Apache-2.0
#include "models/place_weights.h"

#include <fmt/format.h>

#include <utility>

#include "kernels/core/status_macros.h"
#include "kernels/op_work.h"
#include "models/architectures.h"

namespace zqfp {
namespace {

using kernels::Device;
using kernels::DeviceMemory;

// What resident_fp8 takes for one linear: rows that a matmul reads.
int64_t Fp8RowBytes(const LinearWeight& linear, const Device& device) {
  return linear.runs_a8() ? device.Fp8RowBytes(linear.view) : 0;
}

// Puts one weight after the other on the device.
class Placer {
 public:
  Placer(const Placement& placement, Device& device, Weights& weights)
      : placement_(placement), device_(device), weights_(weights) {}

  absl::Status Linear(LinearWeight& linear) {
    if (!weights_.made_on_device) {
      ZQFP_ASSIGN_OR_RETURN(kernels::PlacedWeight placed,
                            device_.Place(linear.view));
      linear.view = placed.view;
      for (DeviceMemory& memory : placed.memory) {
        weights_.placed.push_back(std::move(memory));
      }
    }
    linear.view.fp8_sums = placement_.fp8_sums;
    if (placement_.keep_fp8_rows) ZQFP_RETURN_IF_ERROR(Fp8Rows(linear));
    ZQFP_RETURN_IF_ERROR(Floats(linear.bias, linear.placed_bias));
    linear.scales = {};
    linear.shifts = {};
    linear.lorc_u = {};
    linear.transposed = {};
    linear.memory = nullptr;
    return absl::OkStatus();
  }

  absl::Status Norm(NormWeight& norm) {
    ZQFP_RETURN_IF_ERROR(Floats(norm.weight, norm.placed_weight));
    return Floats(norm.bias, norm.placed_bias);
  }

  absl::Status Floats(const std::vector<float>& values, const float*& placed) {
    const void* bytes = values.data();
    ZQFP_RETURN_IF_ERROR(Bytes(bytes, static_cast<int64_t>(values.size()) * 4));
    placed = values.empty() ? nullptr : static_cast<const float*>(bytes);
    return absl::OkStatus();
  }

  // Copies [data, data + num_bytes) and points `data` there.
  absl::Status Bytes(const void*& data, int64_t num_bytes) {
    if (num_bytes == 0) return absl::OkStatus();
    ZQFP_ASSIGN_OR_RETURN(DeviceMemory memory, device_.Allocate(num_bytes));
    ZQFP_RETURN_IF_ERROR(device_.Upload(data, num_bytes, memory.get()));
    data = memory.get();
    weights_.placed.push_back(std::move(memory));
    return absl::OkStatus();
  }

 private:
  absl::Status Fp8Rows(LinearWeight& linear) {
    const int64_t num_bytes = Fp8RowBytes(linear, device_);
    if (num_bytes == 0) return absl::OkStatus();
    ZQFP_ASSIGN_OR_RETURN(DeviceMemory rows, device_.PlaceFp8Rows(linear.view));
    linear.view.fp8_rows = static_cast<const uint8_t*>(rows.get());
    weights_.placed.push_back(std::move(rows));
    weights_.fp8_row_bytes += num_bytes;
    return absl::OkStatus();
  }

  const Placement& placement_;
  Device& device_;
  Weights& weights_;
};

int64_t EmbeddingBytes(const Config& config, const Weights& weights) {
  return config.vocab_size * config.model_dim *
         kernels::ValueBytes(weights.embedding_format);
}

// 0 without learned positions.
int64_t PositionBytes(const Config& config, const Weights& weights) {
  if (weights.positions == nullptr) return 0;
  return (config.position_offset + config.max_positions) * config.model_dim *
         kernels::ValueBytes(weights.positions_format);
}

// What it takes for all of them.
int64_t Fp8RowBytes(const Weights& weights, const TensorTable& table,
                    const Device& device) {
  int64_t num_bytes = Fp8RowBytes(weights.lm_head, device);
  for (const LayerWeights& layer : weights.layers) {
    for (const LinearRule& rule : table.linears) {
      num_bytes += Fp8RowBytes(layer.*rule.field, device);
    }
  }
  return num_bytes;
}

absl::Status CheckRoom(int64_t weight_bytes, int64_t fp8_row_bytes,
                       int64_t other_bytes, const Device& device) {
  const int64_t free = device.Memory().free;
  if (weight_bytes + fp8_row_bytes + other_bytes <= free) {
    return absl::OkStatus();
  }
  const auto megabytes = [](int64_t num_bytes) {
    return fmt::format("{:.0f} MB", static_cast<double>(num_bytes) / 1e6);
  };
  return absl::ResourceExhaustedError(fmt::format(
      "model: want {} for weights{} and {} for buffers on {}, found {} free",
      megabytes(weight_bytes),
      fp8_row_bytes == 0
          ? ""
          : fmt::format(", {} for their e4m3 rows (resident_fp8)",
                        megabytes(fp8_row_bytes)),
      megabytes(other_bytes), device.Describe(), megabytes(free)));
}

absl::Status CheckInputs(const LinearWeight& linear, const Device& device) {
  if (!linear.rounds_input()) return absl::OkStatus();
  return absl::UnimplementedError(fmt::format(
      "{}: want inputs in e4m3 per token or f32 on {}, found others (static or "
      "grouped scales): they run on the CPU, or with weight_only",
      linear.name, device.Describe()));
}

}  // namespace

absl::Status PlaceWeights(const Config& config, const Placement& placement,
                          Device& device, Weights& weights) {
  const TensorTable& table = TensorsOf(config.architecture);
  for (const LayerWeights& layer : weights.layers) {
    for (const LinearRule& rule : table.linears) {
      ZQFP_RETURN_IF_ERROR(CheckInputs(layer.*rule.field, device));
    }
  }
  const int64_t embedding_bytes =
      weights.made_on_device ? 0 : EmbeddingBytes(config, weights);
  const int64_t position_bytes =
      weights.made_on_device ? 0 : PositionBytes(config, weights);
  const int64_t linear_bytes =
      weights.made_on_device ? 0 : weights.StreamedBytes();
  const int64_t fp8_row_bytes =
      placement.keep_fp8_rows ? Fp8RowBytes(weights, table, device) : 0;
  ZQFP_RETURN_IF_ERROR(
      CheckRoom(linear_bytes + embedding_bytes + position_bytes, fp8_row_bytes,
                placement.other_bytes, device));
  Placer placer(placement, device, weights);
  for (LayerWeights& layer : weights.layers) {
    for (const LinearRule& rule : table.linears) {
      ZQFP_RETURN_IF_ERROR(placer.Linear(layer.*rule.field));
    }
    for (NormWeight* norm :
         {&layer.attention_norm, &layer.q_norm, &layer.k_norm,
          &layer.attention_post_norm, &layer.ffn_norm, &layer.ffn_post_norm}) {
      ZQFP_RETURN_IF_ERROR(placer.Norm(*norm));
    }
  }
  ZQFP_RETURN_IF_ERROR(placer.Norm(weights.final_norm));
  ZQFP_RETURN_IF_ERROR(placer.Bytes(weights.embedding, embedding_bytes));
  ZQFP_RETURN_IF_ERROR(placer.Bytes(weights.positions, position_bytes));
  weights.embedding_memory = nullptr;
  ZQFP_RETURN_IF_ERROR(placer.Linear(weights.lm_head));
  weights.memory = nullptr;
  return device.Synchronize();
}

}  // namespace zqfp
