// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_MATMUL_WGMMA_H_
#define ZQFP_KERNELS_CUDA_MATMUL_WGMMA_H_

// MatmulA8 of a number of tokens between few and many: codes are unpacked on
// their way to the FP8 tensor cores (wgmma_tile.h).
//
//  1. Scale groups of 64 columns and more; e4m3 rows without groups.
//  2. Sums of a group in the tensor cores' 14 bits, of groups in f32.

#include "kernels/core/ops.h"
#include "kernels/cuda/wgmma_plan.h"

namespace zqfp::kernels::cuda {

// The numbers of tokens with which MatmulA8 multiplies so: none. To be filled
// by timing this kernel beside the f16 one (matmul_a8.cu) for 24 .. 128 tokens
// and beside cuBLASLt (matmul_fp8.h) for 128 .. 1024, on matrices that do not
// stay in L2; the design expects it to win from some 32 to some 512. (The bound
// of the op's tests is then that of matmul_wgmma_test.cc.)
inline constexpr int64_t kWgmmaLeastTokens = 1;
inline constexpr int64_t kWgmmaMostTokens = 0;

constexpr bool IsForWgmma(int64_t m) {
  return m >= kWgmmaLeastTokens && m <= kWgmmaMostTokens;
}

// Whether the weight fits the kernel.
bool HasWgmma(const WeightView& weight);

// Enqueues all of `args`, of a weight that fits. `inner` is V x of a low-rank
// branch, or null; `workspace` has MatmulWgmmaWorkspaceBytes.
void MatmulWgmma(const MatmulA8Args& args, WgmmaShape shape, const float* inner,
                 uint8_t* workspace, const Exec& exec);

// Of this device.
WgmmaShape ChooseWgmmaShape(const MatmulA8Args& args);

int64_t MatmulWgmmaWorkspaceBytes();

// MatmulA8 by this kernel whatever the range says, for measurements and tests;
// with one of kWgmmaShapes, or with that which it would choose. False, and
// nothing is enqueued, where the weight does not fit. The workspace has
// MatmulA8WgmmaWorkspaceBytes.
inline constexpr int kChosenShape = -1;
bool MatmulA8Wgmma(const MatmulA8Args& args, int shape_index, const Exec& exec);
int64_t MatmulA8WgmmaWorkspaceBytes(const WorkspaceQuery& query);

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_MATMUL_WGMMA_H_
