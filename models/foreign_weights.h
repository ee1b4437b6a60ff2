// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_FOREIGN_WEIGHTS_H_
#define ZQFP_MODELS_FOREIGN_WEIGHTS_H_

// Binds the linears of models that other tools quantized, without a rounding:
// codes stay where the file has them, scales become those of the kernels.
//   MXFP4        kE2m1Shift where every row is proved to lie in the exactness
//                window, kE2m1Free where not
//   NVFP4        kE2m1E4m3: group scales in place, the tensor's scale apart
//   FP8          kE4m3 (tensor, channel) or kE4m3Groups (blocks)

#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "kernels/cpu/thread_pool.h"
#include "models/foreign_quantization.h"
#include "models/safetensors.h"
#include "models/weights.h"

namespace zqfp {

class ForeignBinder {
 public:
  // All outlive the binder. The names of what was used go to `taken`.
  ForeignBinder(const ForeignQuantization& quantization,
                const Checkpoint& checkpoint, kernels::ThreadPool& pool,
                std::set<std::string>* taken)
      : quantization_(quantization),
        checkpoint_(checkpoint),
        pool_(pool),
        taken_(*taken) {}

  // `linear` has its name, n and k; gets everything but the bias. Errors name
  // file, tensor, wanted and found; DataLoss for codes and scales that are
  // NaN, zero where they may not be, negative or infinite.
  absl::Status Bind(const ForeignScheme& scheme, LinearWeight* linear);

 private:
  using Shape = std::vector<int64_t>;

  // The first tensor of `names` that there is, which must have one of `dtypes`
  // and one of `shapes`.
  absl::StatusOr<const Tensor*> Take(const std::vector<std::string>& names,
                                     const std::vector<DType>& dtypes,
                                     const std::vector<Shape>& shapes);
  absl::StatusOr<std::vector<float>> TakeScales(
      const std::vector<std::string>& names, const std::vector<Shape>& shapes);
  absl::StatusOr<float> TakeScalar(const std::vector<std::string>& names);
  absl::Status BindMxfp4(const ForeignScheme& scheme, LinearWeight* linear);
  absl::Status BindNvfp4(const ForeignScheme& scheme, LinearWeight* linear);
  absl::Status BindE4m3(const ForeignScheme& scheme, LinearWeight* linear);
  absl::Status BindInputs(const ForeignScheme& scheme, LinearWeight* linear);

  const ForeignQuantization& quantization_;
  const Checkpoint& checkpoint_;
  kernels::ThreadPool& pool_;
  std::set<std::string>& taken_;
};

}  // namespace zqfp

#endif  // ZQFP_MODELS_FOREIGN_WEIGHTS_H_
