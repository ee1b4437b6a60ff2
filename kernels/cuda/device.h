// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_DEVICE_H_
#define ZQFP_KERNELS_CUDA_DEVICE_H_

// The GPU of this process: CUDA's device 0 (CUDA_VISIBLE_DEVICES picks it).

#include "absl/status/statusor.h"
#include "kernels/core/device.h"

namespace zqfp::kernels::cuda {

// The same one every time; it lives until the process ends. FailedPrecondition
// with what was found where that is no GPU of compute capability 9.x.
absl::StatusOr<Device*> OpenDevice();

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_DEVICE_H_
