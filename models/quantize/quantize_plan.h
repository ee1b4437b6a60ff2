// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_QUANTIZE_QUANTIZE_PLAN_H_
#define ZQFP_MODELS_QUANTIZE_QUANTIZE_PLAN_H_

// What becomes of each tensor of a checkpoint, known before any work is done.

#include <stdint.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/config.h"
#include "models/quantize/quantize_linear.h"
#include "models/safetensors.h"
#include "models/safetensors_writer.h"
#include "models/tensor_part.h"

namespace zqfp {

enum class Treatment : uint8_t {
  kCopy,
  kToBf16,    // from f32
  kQuantize,  // as the job's scheme says
};

// One tensor of the input and the tensors it becomes, in the order in which
// they are written.
struct QuantizeJob {
  std::string name;  // without ".weight"
  const Tensor* source = nullptr;
  // Where the checkpoint stores the linear otherwise: what `source` points at
  // then. Its data are null where it is still to be transposed.
  struct Part {
    TensorPart part;
    Tensor tensor;
  };
  std::shared_ptr<const Part> part;
  Treatment treatment = Treatment::kCopy;
  LinearScheme scheme;  // kQuantize
  // Index of its layer where a calibration quantizes it; else -1.
  int64_t calibrated_layer = -1;
  std::vector<TensorPlan> outputs;
  int64_t output_bytes = 0;
};

// Jobs in the order of the model. Errors where a tensor is missing or has
// another shape or dtype, or where the architecture has no use for one.
struct QuantizePlanOptions {
  LinearScheme linears;
  HeadFormat lm_head = HeadFormat::kE4m3;
  std::function<bool(const std::string& name)> keep;  // may be empty
};
absl::StatusOr<std::vector<QuantizeJob>> PlanQuantization(
    const Checkpoint& checkpoint, const Config& config,
    const QuantizePlanOptions& options);

// Splits the jobs, in order, in files of at most max_bytes (one job at least).
std::vector<std::vector<QuantizeJob>> SplitInShards(
    std::vector<QuantizeJob> jobs, int64_t max_bytes);

}  // namespace zqfp

#endif  // ZQFP_MODELS_QUANTIZE_QUANTIZE_PLAN_H_
