// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_PLACE_WEIGHT_H_
#define ZQFP_KERNELS_CUDA_PLACE_WEIGHT_H_

// A weight's way from the host to the device.

#include <stdint.h>

#include "absl/status/statusor.h"
#include "kernels/core/device.h"

namespace zqfp::kernels::cuda {

// Memory for one weight as it is on disk, used again by the next: on a stream
// the next one's upload is behind the packing of this one, and nobody waits.
class Scratch {
 public:
  absl::StatusOr<uint8_t*> Reserve(Device& device, int64_t num_bytes);
  void Release();

 private:
  DeviceMemory memory_;
  int64_t num_bytes_ = 0;
};

// Copies the weight, its scales and its low-rank factors. Codes of e2m1 and
// e4m3 and their scales are packed on the device (packed_weight.h), out of the
// scratch: the view has then no `data`.
absl::StatusOr<PlacedWeight> PlaceWeight(Device& device, Scratch& scratch,
                                         const WeightView& weight);

// Packs a weight whose arrays are on the device: its view has their packed form
// instead. They may go when the ops so far are done.
absl::Status PackArrays(Device& device, PlacedWeight& placed);

// As in Device.
int64_t Fp8RowBytes(const WeightView& weight);
absl::StatusOr<DeviceMemory> PlaceFp8Rows(Device& device,
                                          const WeightView& placed);

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_PLACE_WEIGHT_H_
