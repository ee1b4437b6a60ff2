// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_MATMUL_FP8_H_
#define ZQFP_KERNELS_CUDA_MATMUL_FP8_H_

// MatmulA8 of many tokens: the weight is unpacked to e4m3, as much at a time as
// stays in the L2 cache, or is kept so, and multiplied by cuBLASLt.

#include "kernels/core/ops.h"
#include "kernels/cuda/unpack_fp8.h"

namespace zqfp::kernels::cuda {

// With fewer tokens than this the HMMA kernel takes less time than reading,
// writing and reading the weight again (design: a tie near 180; not measured).
inline constexpr int64_t kFp8LeastTokens = 129;

// What cuBLASLt wants of n, k and the number of tokens in FP8.
inline constexpr int64_t kFp8Multiple = 16;

// Whether many tokens go this way where cuBLASLt is there.
constexpr bool FitsMatmulFp8(const WeightView& weight) {
  return FitsFp8Rows(weight.format) && weight.n % kFp8Multiple == 0 &&
         weight.k % kFp8Multiple == 0;
}

// Enqueues the first tokens of `args`, all or all but the last 15, and returns
// how many; 0 where the path does not fit the weight, cuBLASLt has no kernel or
// refuses it, or there are fewer than `least_tokens`. `inner` is V x of a
// low-rank branch, or null; `workspace` has MatmulFp8WorkspaceBytes.
int64_t MatmulFp8(const MatmulA8Args& args, const float* inner,
                  uint8_t* workspace, const Exec& exec,
                  int64_t least_tokens = kFp8LeastTokens);

int64_t MatmulFp8WorkspaceBytes(int64_t num_tokens, int64_t k);

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_MATMUL_FP8_H_
