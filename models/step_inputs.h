// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_STEP_INPUTS_H_
#define ZQFP_MODELS_STEP_INPUTS_H_

// What a step reads besides weights and cache: ids, positions, page tables.

#include <stdint.h>

#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "kernels/core/buffer.h"
#include "models/config.h"
#include "models/rope.h"

namespace zqfp {

struct Batch;  // models/model.h

// Pointers of the ops' memory.
struct StepInputs {
  const int32_t* ids = nullptr;  // [num_tokens]
  kernels::RaggedBatchView batch;
  int64_t num_logit_rows = 0;
  const int32_t* logit_rows = nullptr;  // [num_logit_rows]
  const float* temperature = nullptr;   // [num_logit_rows]
  const int32_t* positions = nullptr;   // [num_tokens], rows of learned ones
  const float* cos = nullptr;           // [num_tokens, rotary_dim / 2]
  const float* sin = nullptr;
  const float* local_cos = nullptr;  // as cos, of the layers with a window
  const float* local_sin = nullptr;  // where they have a rope of their own
};

// The batch as the host has it: a view whose sizes are measured.
kernels::RaggedBatchView ViewOf(const Batch& batch);

// Lays the inputs of a step out in one block, so that one copy brings them to a
// device.
class StepInputsBlock {
 public:
  // Both outlive it; `device` is null where ops read the host's memory.
  StepInputsBlock(const Config* config, kernels::Device* device);

  // The inputs of a valid batch, until the next call.
  absl::StatusOr<StepInputs> Fill(const Batch& batch);

 private:
  struct Offsets;
  void FillHost(const Batch& batch, const Offsets& at);
  void FillPositions(const Batch& batch, int32_t* positions) const;
  // cos and sin of every row, for one rope.
  void FillAngles(const Batch& batch, RopeAngles& angles, float* cos,
                  float* sin) const;

  const Config& config_;
  kernels::Device* device_;
  std::optional<RopeAngles> angles_, local_angles_;
  std::vector<uint8_t> host_;
  kernels::Buffer on_device_;
};

}  // namespace zqfp

#endif  // ZQFP_MODELS_STEP_INPUTS_H_
