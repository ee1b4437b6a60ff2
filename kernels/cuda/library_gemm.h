// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_LIBRARY_GEMM_H_
#define ZQFP_KERNELS_CUDA_LIBRARY_GEMM_H_

// cuBLASLt as others use it, to hold our matmuls against: BF16, and FP8 with a
// scale per row and token, whose sums are promoted to f32 on the way or not.
// What MatmulA8 itself takes of it is in fp8_gemm.h.

#include "absl/status/status.h"
#include "kernels/core/device_lab.h"

namespace zqfp::kernels::cuda {

// As in DeviceLab. Asks cuBLASLt once for each shape.
int64_t NumLibraryAlgorithms(const LibraryGemm& gemm);
absl::Status RunLibraryGemm(const LibraryGemm& gemm, int64_t algorithm,
                            void* workspace, const Exec& exec);

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_LIBRARY_GEMM_H_
