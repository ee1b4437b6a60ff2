// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_PLACE_WEIGHT_H_
#define ZQFP_KERNELS_CUDA_PLACE_WEIGHT_H_

// A weight's way from the host to the device.

#include "absl/status/statusor.h"
#include "kernels/core/device.h"

namespace zqfp::kernels::cuda {

// Copies the weight, its scales and its low-rank factors. Codes of e2m1 and
// e4m3 and their scales are packed on the device (packed_weight.h): the view
// has then no `data`.
absl::StatusOr<PlacedWeight> PlaceWeight(Device& device,
                                         const WeightView& weight);

// As in Device.
int64_t Fp8RowBytes(const WeightView& weight);
absl::StatusOr<DeviceMemory> PlaceFp8Rows(Device& device,
                                          const WeightView& placed);

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_PLACE_WEIGHT_H_
