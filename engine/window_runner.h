// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_ENGINE_WINDOW_RUNNER_H_
#define ZQFP_ENGINE_WINDOW_RUNNER_H_

// The one way in which evaluations run windows of tokens through a model.

#include <stdint.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/prediction.h"
#include "models/model.h"
#include "zqfp/zqfp.h"

namespace zqfp {

// A part of a window's inputs: [begin, end), those from first_scored on with
// logits.
struct StepRange {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t first_scored = 0;

  // Rows of logits that the step gives.
  int64_t num_rows() const {
    return std::max<int64_t>(0, end - std::max(begin, first_scored));
  }
};

// Runs windows one after the other, each from position 0 in the same pages.
// A window of n ids has n - 1 inputs; input i predicts ids[i + 1].
class WindowRunner {
 public:
  // For windows of up to `window` inputs; the model outlives the runner.
  static absl::StatusOr<WindowRunner> Create(Model* model, KvFormat format,
                                             int64_t window);

  // The steps of a window whose inputs before `begin` the pages hold already:
  // as large as the model takes them and 16 MiB of logits allow, 256 MiB on
  // a device.
  std::vector<StepRange> Steps(int64_t num_inputs, int64_t begin,
                               int64_t first_scored) const;
  // Runs one step; inputs before it must have run. The logits [num_rows(),
  // vocab_size] stay valid until the next step.
  absl::StatusOr<absl::Span<const float>> Step(absl::Span<const int32_t> ids,
                                               const StepRange& range);

  // Runs a window from input `begin` on and appends the predictions of its
  // inputs from first_scored on. DataLoss where logits are not finite.
  absl::Status Run(absl::Span<const int32_t> ids, int64_t begin,
                   int64_t first_scored, std::vector<Prediction>* predictions);

  Model& model() const { return *model_; }

 private:
  explicit WindowRunner(Model* model) : model_(model) {}

  Model* model_;
  std::optional<KvCache> cache_;
  std::vector<int32_t> page_table_;
  std::vector<float> logits_;
};

// DataLoss, naming the position, unless `value` (of `what`) is finite.
absl::Status CheckFinite(double value, const char* what, int64_t position);

}  // namespace zqfp

#endif  // ZQFP_ENGINE_WINDOW_RUNNER_H_
