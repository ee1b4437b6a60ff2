// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_PLACE_WEIGHT_H_
#define ZQFP_KERNELS_CUDA_PLACE_WEIGHT_H_

// A weight's way from the host to the device.

#include "absl/status/statusor.h"
#include "kernels/core/device.h"

namespace zqfp::kernels::cuda {

// Copies the weight, its scales and its low-rank factors.
absl::StatusOr<PlacedWeight> PlaceWeight(Device& device,
                                         const WeightView& weight);

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_PLACE_WEIGHT_H_
