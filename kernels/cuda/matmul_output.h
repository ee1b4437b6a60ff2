// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_MATMUL_OUTPUT_H_
#define ZQFP_KERNELS_CUDA_MATMUL_OUTPUT_H_

// MatmulOutput: what becomes of a sum of products before it is y.

#include <cuda_runtime.h>
#include <stdint.h>

#include "kernels/core/views.h"
#include "kernels/cuda/decode.h"

namespace zqfp::kernels::cuda {

struct MatmulOutput {
  int64_t m = 0;
  int64_t n = 0;
  const float* row_scale = nullptr;    // [n] or null
  const float* token_scale = nullptr;  // [m] or null
  LorcView lorc;
  const float* inner = nullptr;     // [m, lorc.rank], V x of every token
  const float* bias = nullptr;      // [n] or null
  const float* residual = nullptr;  // [m, n] or null; may be y
  float* y = nullptr;               // [m, n]
};

// sum_r U[row, r] inner[token, r].
__device__ inline float LowRankOuter(const MatmulOutput& output, int64_t token,
                                     int64_t row) {
  const LorcView& lorc = output.lorc;
  const float* inner = output.inner + token * lorc.rank;
  float sum = 0;
  if (lorc.format == ValueFormat::kE4m3) {
    const uint8_t* u = static_cast<const uint8_t*>(lorc.u) + row;
    for (int64_t r = 0; r < lorc.rank; ++r) {
      sum += inner[r] * DecodeE4m3(u[r * output.n]);
    }
    return sum * lorc.u_scale[row];
  }
  const uint16_t* u = static_cast<const uint16_t*>(lorc.u) + row;
  for (int64_t r = 0; r < lorc.rank; ++r) {
    sum += inner[r] * DecodeBf16(u[r * output.n]);
  }
  return sum;
}

// y[token, row] from the sum over k of that row and token without their scales.
__device__ inline void StoreOutput(const MatmulOutput& output, int64_t token,
                                   int64_t row, float sum) {
  if (output.row_scale != nullptr) sum *= output.row_scale[row];
  if (output.lorc.rank > 0) sum += LowRankOuter(output, token, row);
  if (output.token_scale != nullptr) sum *= output.token_scale[token];
  if (output.bias != nullptr) sum += output.bias[row];
  const int64_t at = token * output.n + row;
  if (output.residual != nullptr) sum += output.residual[at];
  output.y[at] = sum;
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_MATMUL_OUTPUT_H_
