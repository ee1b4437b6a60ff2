// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_WORKLOAD_H_
#define ZQFP_TOOLS_WORKLOAD_H_

// Workload: sequences of the same length side by side, without an engine.

#include <stdint.h>

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "models/model.h"

namespace zqfp::tools {

class Workload {
 public:
  // Room for `batch` sequences of `tokens` tokens.
  static absl::StatusOr<Workload> Create(Model* model, kernels::ValueFormat kv,
                                         int64_t batch, int64_t tokens);

  // Every sequence gets `count` more tokens, in steps of what the model takes.
  // Of their logits a device gives the best, as the engine asks for them.
  absl::Status Extend(int64_t count);

  // Every sequence gets `context` tokens, and kWarmSteps one by one, which load
  // kernels and are recorded.
  static constexpr int64_t kWarmSteps = 3;
  absl::Status Warm(int64_t context);
  // Seconds of `count` more tokens, and of each of `count` steps of one token.
  absl::StatusOr<double> TimeExtend(int64_t count);
  absl::StatusOr<std::vector<double>> TimeSteps(int64_t count);

  void Rewind(int64_t length) { length_ = length; }
  int64_t num_steps() const { return num_steps_; }
  int64_t kv_bytes() const { return cache_->num_bytes(); }

 private:
  Workload(Model* model, int64_t batch, int64_t tokens);

  absl::Status Step(int64_t count);

  Model* model_;
  int64_t batch_;
  int64_t pages_;  // of one sequence
  int64_t length_ = 0;
  int64_t num_steps_ = 0;
  std::optional<KvCache> cache_;
  std::vector<float> logits_;
  std::vector<TopLogits> top_;  // instead of them
};

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_WORKLOAD_H_
