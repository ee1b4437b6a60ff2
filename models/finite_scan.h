// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_FINITE_SCAN_H_
#define ZQFP_MODELS_FINITE_SCAN_H_

// Looks for a NaN or an infinity in a tensor, at the speed of memory.

#include "absl/status/status.h"
#include "kernels/cpu/thread_pool.h"
#include "models/safetensors.h"

namespace zqfp {

// F32, F16, BF16, F8_E4M3 (whose only such code is NaN) or GGUF's blocks (their
// scales); other dtypes pass. DataLoss names file, tensor and element.
absl::Status CheckFinite(const Tensor& tensor, kernels::ThreadPool& pool);

}  // namespace zqfp

#endif  // ZQFP_MODELS_FINITE_SCAN_H_
