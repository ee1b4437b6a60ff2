// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_PLACE_WEIGHTS_H_
#define ZQFP_MODELS_PLACE_WEIGHTS_H_

// Brings the weights of a model to a device.

#include "absl/status/status.h"
#include "kernels/core/device.h"
#include "models/config.h"
#include "models/weights.h"

namespace zqfp {

struct Placement {
  // What the caller will allocate besides.
  int64_t other_bytes = 0;
  // Of every linear: WeightView::fp8_sums, and whether it gets fp8_rows where
  // the device's library multiplies it. Those are made once, beside the weight.
  kernels::Fp8Sums fp8_sums = kernels::Fp8Sums::kPromoted;
  bool keep_fp8_rows = false;
};

// Copies every weight that is not there already (Weights::made_on_device) and
// points the views there; what the host held of them besides mapped files is
// let go. ResourceExhausted, with the plan, where all that does not fit;
// Unimplemented, naming the layer, for inputs that no kernel of a device
// rounds.
absl::Status PlaceWeights(const Config& config, const Placement& placement,
                          kernels::Device& device, Weights& weights);

}  // namespace zqfp

#endif  // ZQFP_MODELS_PLACE_WEIGHTS_H_
