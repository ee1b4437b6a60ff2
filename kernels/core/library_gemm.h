// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CORE_LIBRARY_GEMM_H_
#define ZQFP_KERNELS_CORE_LIBRARY_GEMM_H_

// LibraryGemm: a matrix product that the library of a device does.

#include <stdint.h>

#include "kernels/core/views.h"

namespace zqfp::kernels {

// y[t, i] = unit * row_scale[i] * token_scale[t] * sum_k weight[i, k] x[t, k]
//           + residual[t, i]
//   shapes   weight [n, k], x [m, k]; y, residual: m rows of n, `stride` apart
//   numerics sums of bf16 in f32, of e4m3 as `sums` says
//   memory   residual may be y
struct LibraryGemm {
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  ValueFormat format = ValueFormat::kBf16;    // of W and x: kBf16 or kE4m3
  ValueFormat y_format = ValueFormat::kBf16;  // or kF32; of the residual, too
  Fp8Sums sums = Fp8Sums::kPromoted;
  const void* weight = nullptr;
  const float* row_scale = nullptr;  // [n]  kE4m3
  const void* x = nullptr;
  const float* token_scale = nullptr;  // [m]  kE4m3
  float unit = 1;
  const void* residual = nullptr;  // or null
  void* y = nullptr;
  int64_t stride = 0;  // in elements; 0: n
};

// What a library may use while it multiplies: as much as NVIDIA recommends on
// Hopper. 256-byte aligned.
inline constexpr int64_t kLibraryWorkspaceBytes = int64_t{32} << 20;

}  // namespace zqfp::kernels

#endif  // ZQFP_KERNELS_CORE_LIBRARY_GEMM_H_
