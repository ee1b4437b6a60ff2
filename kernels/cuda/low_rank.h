// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_LOW_RANK_H_
#define ZQFP_KERNELS_CUDA_LOW_RANK_H_

// The first half of a low-rank branch; the second is MatmulOutput's.

#include "kernels/core/ops.h"

namespace zqfp::kernels::cuda {

// inner[t, r] = v_scale[r] * sum_k V[r, k] x[t, k], x without its scale.
struct LowRankInnerArgs {
  int64_t m = 0;
  int64_t k = 0;
  LorcView lorc;                   // rank > 0
  const float* x = nullptr;        // [m, k]
  const uint8_t* codes = nullptr;  // [m, k] e4m3, where x is null
  float* inner = nullptr;          // [m, rank]
};
void LowRankInner(const LowRankInnerArgs& args, const Exec& exec);

// Bytes of `inner`, rounded up to what cuBLASLt wants of the workspace behind.
constexpr int64_t LowRankInnerBytes(int64_t m, int64_t rank) {
  return (m * rank * int64_t{sizeof(float)} + 255) / 256 * 256;
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_LOW_RANK_H_
