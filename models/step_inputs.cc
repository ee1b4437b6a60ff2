// SPDX-License-Identifier: Apache-2.0
#include "models/step_inputs.h"

#include <string.h>

#include <algorithm>
#include <iterator>

#include "kernels/core/status_macros.h"
#include "models/model.h"

namespace zqfp {

namespace {

// Fewer sizes: the next multiple of `least`, or of an eighth to a quarter of
// the number where that is more.
int64_t RoundSizeUp(int64_t size, int64_t least) {
  int64_t step = least;
  while (step * 8 < size) step *= 2;
  return (size + step - 1) / step * step;
}

// What a page table of a device is padded to, in pages, and what a step there
// takes for its longest context, in tokens: steps of a growing context then
// look alike for a while, and one recording serves them.
constexpr int64_t kLeastPages = 8;
constexpr int64_t kLeastContext = 256;

}  // namespace

// Where every array stands in the block.
struct StepInputsBlock::Offsets {
  int64_t ids, token_begin, context_len, page_table, logit_rows, temperature;
  int64_t positions, cos, sin, local_cos, local_sin;
  int64_t page_table_stride;
  int64_t num_bytes = 0;

  Offsets(const Config& config, const Batch& batch, int64_t stride)
      : page_table_stride(stride) {
    const auto rows = static_cast<int64_t>(batch.token_ids.size());
    const bool rotary = config.positions == PositionKind::kRotary;
    const int64_t angles = rotary ? rows * (config.rotary_dim() / 2) : 0;
    const int64_t local_angles = config.local_rope ? angles : 0;
    ids = Take(rows);
    token_begin = Take(static_cast<int64_t>(batch.token_begin.size()));
    context_len = Take(static_cast<int64_t>(batch.context_len.size()));
    page_table = Take(static_cast<int64_t>(batch.context_len.size()) * stride);
    logit_rows = Take(static_cast<int64_t>(batch.logit_rows.size()));
    temperature = Take(static_cast<int64_t>(batch.logit_rows.size()));
    positions = Take(rotary ? 0 : rows);
    cos = Take(angles);
    sin = Take(angles);
    local_cos = Take(local_angles);
    local_sin = Take(local_angles);
  }

  // Room for `count` numbers of 4 bytes.
  int64_t Take(int64_t count) {
    const int64_t begin = num_bytes;
    num_bytes += (count * 4 + 63) / 64 * 64;
    return begin;
  }
};

kernels::RaggedBatchView ViewOf(const Batch& batch) {
  kernels::RaggedBatchView view = {
      .num_sequences = static_cast<int64_t>(batch.context_len.size()),
      .token_begin = batch.token_begin.data(),
      .context_len = batch.context_len.data(),
      .page_table = batch.page_table.data(),
      .page_table_stride = batch.page_table_stride};
  view.Measure();
  return view;
}

StepInputsBlock::StepInputsBlock(const Config* config, kernels::Device* device)
    : config_(*config), device_(device) {
  if (config_.positions != PositionKind::kRotary) return;
  angles_.emplace(config_.rope, config_.rotary_dim());
  if (config_.local_rope) {
    local_angles_.emplace(*config_.local_rope, config_.rotary_dim());
  }
}

void StepInputsBlock::FillHost(const Batch& batch, const Offsets& at) {
  host_.resize(static_cast<size_t>(at.num_bytes));
  const auto ints = [&](int64_t offset) {
    return reinterpret_cast<int32_t*>(host_.data() + offset);
  };
  const auto floats = [&](int64_t offset) {
    return reinterpret_cast<float*>(host_.data() + offset);
  };
  const auto put = [&](const std::vector<int32_t>& from, int64_t offset) {
    std::copy(from.begin(), from.end(), ints(offset));
  };
  put(batch.token_ids, at.ids);
  put(batch.token_begin, at.token_begin);
  put(batch.context_len, at.context_len);
  const int64_t entries = batch.page_table_stride;
  for (int64_t s = 0; s < std::ssize(batch.context_len); ++s) {
    int32_t* row = ints(at.page_table) + s * at.page_table_stride;
    std::copy_n(batch.page_table.begin() + s * entries, entries, row);
    std::fill(row + entries, row + at.page_table_stride, 0);
  }
  put(batch.logit_rows, at.logit_rows);
  float* const temperature = floats(at.temperature);
  std::fill_n(temperature, batch.logit_rows.size(), 0.0f);
  std::copy(batch.temperature.begin(), batch.temperature.end(), temperature);
  if (config_.positions != PositionKind::kRotary) {
    return FillPositions(batch, ints(at.positions));
  }
  FillAngles(batch, *angles_, floats(at.cos), floats(at.sin));
  if (local_angles_) {
    FillAngles(batch, *local_angles_, floats(at.local_cos),
               floats(at.local_sin));
  }
}

absl::StatusOr<StepInputs> StepInputsBlock::Fill(const Batch& batch) {
  const bool on_host = device_ == nullptr;
  const Offsets at(config_, batch,
                   on_host ? batch.page_table_stride
                           : RoundSizeUp(batch.page_table_stride, kLeastPages));
  FillHost(batch, at);
  const uint8_t* base = host_.data();
  if (!on_host) {
    if (on_device_.num_bytes() < at.num_bytes) {
      ZQFP_ASSIGN_OR_RETURN(
          on_device_,
          kernels::Buffer::Allocate(device_, at.num_bytes, "inputs of a step"));
    }
    ZQFP_RETURN_IF_ERROR(
        device_->Upload(host_.data(), at.num_bytes, on_device_.data()));
    base = static_cast<const uint8_t*>(on_device_.data());
  }
  const auto ints = [&](int64_t offset) {
    return reinterpret_cast<const int32_t*>(base + offset);
  };
  const auto floats = [&](int64_t offset) {
    return reinterpret_cast<const float*>(base + offset);
  };
  StepInputs inputs = {
      .ids = ints(at.ids),
      .batch = ViewOf(batch),
      .num_logit_rows = static_cast<int64_t>(batch.logit_rows.size()),
      .logit_rows = ints(at.logit_rows),
      .temperature = floats(at.temperature),
      .positions = ints(at.positions),
      .cos = floats(at.cos),
      .sin = floats(at.sin),
      .local_cos = floats(at.local_cos),
      .local_sin = floats(at.local_sin)};
  inputs.batch.token_begin = ints(at.token_begin);
  inputs.batch.context_len = ints(at.context_len);
  inputs.batch.page_table = ints(at.page_table);
  inputs.batch.page_table_stride = at.page_table_stride;
  if (!on_host) {
    inputs.batch.longest_context =
        RoundSizeUp(inputs.batch.longest_context, kLeastContext);
  }
  return inputs;
}

void StepInputsBlock::FillPositions(const Batch& batch,
                                    int32_t* positions) const {
  for (size_t s = 0; s < batch.context_len.size(); ++s) {
    const int64_t end = batch.token_begin[s + 1];
    for (int64_t row = batch.token_begin[s]; row < end; ++row) {
      positions[row] = static_cast<int32_t>(config_.position_offset +
                                            batch.context_len[s] - (end - row));
    }
  }
}

void StepInputsBlock::FillAngles(const Batch& batch, RopeAngles& angles,
                                 float* cos, float* sin) const {
  const int64_t half = config_.rotary_dim() / 2;
  for (size_t s = 0; s < batch.context_len.size(); ++s) {
    const int64_t end = batch.token_begin[s + 1];
    for (int64_t row = batch.token_begin[s]; row < end; ++row) {
      angles.Fill(batch.rope_length[s], batch.context_len[s] - (end - row),
                  cos + row * half, sin + row * half);
    }
  }
}

}  // namespace zqfp
