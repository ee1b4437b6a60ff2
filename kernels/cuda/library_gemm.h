// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_LIBRARY_GEMM_H_
#define ZQFP_KERNELS_CUDA_LIBRARY_GEMM_H_

// Products by cuBLASLt: those of MatmulA8 of many tokens, and, as others use
// it, those that our matmuls are held against.

#include "absl/status/status.h"
#include "kernels/core/library_gemm.h"
#include "kernels/core/ops.h"

namespace zqfp::kernels::cuda {

// As in DeviceLab: how many algorithms cuBLASLt offers. It is asked once for
// each shape; row and token scales need cuBLAS 12.9 and sm_90.
int64_t NumLibraryAlgorithms(const LibraryGemm& gemm);

// Enqueues it; `workspace` has kLibraryWorkspaceBytes. Internal where cuBLASLt
// refuses what it has offered.
absl::Status RunLibraryGemm(const LibraryGemm& gemm, int64_t algorithm,
                            void* workspace, const Exec& exec);

// Products of this shape have no algorithms any more.
void DropLibraryAlgorithms(const LibraryGemm& gemm);

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_LIBRARY_GEMM_H_
