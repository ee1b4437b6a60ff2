// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_LAB_H_
#define ZQFP_KERNELS_CUDA_LAB_H_

// The lab of the GPU that OpenDevice opened.

#include "absl/status/statusor.h"
#include "kernels/core/device_lab.h"

namespace zqfp::kernels::cuda {

// The same one every time; it lives until the process ends. OpenDevice's error
// where there is no GPU.
absl::StatusOr<DeviceLab*> OpenLab();

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_LAB_H_
