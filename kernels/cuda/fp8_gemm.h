// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_FP8_GEMM_H_
#define ZQFP_KERNELS_CUDA_FP8_GEMM_H_

// FP8 matrix products by cuBLASLt, with a scale per row of the weight and one
// per token.

#include <stdint.h>

#include "kernels/core/ops.h"

namespace zqfp::kernels::cuda {

// y[t, i] = unit * row_scale[i] * token_scale[t] * sum_k weight[i, k] x[t, k]
//           + residual[t, i]
//   shapes   weight [n, k], x [m, k]: e4m3; y, residual: rows of `stride`
//   numerics e4m3 products summed by the tensor cores, whose accumulator (about
//            14 bits) is promoted to f32 every 128 of k: about 1e-4 of the sum
struct Fp8GemmArgs {
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  const uint8_t* weight = nullptr;
  const float* row_scale = nullptr;
  const uint8_t* x = nullptr;
  const float* token_scale = nullptr;
  float unit = 1;
  const float* residual = nullptr;  // or null; may be y
  float* y = nullptr;
  int64_t stride = 0;
};

// What cuBLASLt wants of k, n, m and of the pointers' alignment in bytes.
inline constexpr int64_t kFp8GemmMultiple = 16;

// What NVIDIA recommends on Hopper.
inline constexpr int64_t kFp8GemmWorkspaceBytes = int64_t{32} << 20;

// Whether cuBLASLt is there and has a kernel for the shape: row and token
// scales need cuBLAS 12.9 and sm_90. The pointers count by their alignment.
bool HasFp8Gemm(const Fp8GemmArgs& args);

// Enqueues it, where HasFp8Gemm. `workspace` is 256-byte aligned and has
// kFp8GemmWorkspaceBytes.
void Fp8Gemm(const Fp8GemmArgs& args, void* workspace, const Exec& exec);

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_FP8_GEMM_H_
