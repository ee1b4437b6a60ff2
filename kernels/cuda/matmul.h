// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_MATMUL_H_
#define ZQFP_KERNELS_CUDA_MATMUL_H_

// What Matmul and MatmulA8 need besides their arguments.

#include <string>

#include "kernels/core/ops.h"

namespace zqfp::kernels::cuda {

// Of either op. It depends on the tokens and on the device, not on the weight:
// V x of a low-rank branch, then the partial sums of tiles that several blocks
// share.
int64_t MatmulWorkspaceBytes(const WorkspaceQuery& query) noexcept;

// The HMMA kernel of MatmulA8, however many tokens there are. `inner` is V x of
// a low-rank branch, or null; `workspace` is MatmulA8's without it.
void MatmulHmma(const MatmulA8Args& args, float* inner, uint8_t* workspace,
                const Exec& exec);

// Device::DescribeMatmul.
std::string DescribeMatmulKernels(const WeightView& weight, bool a8);

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_MATMUL_H_
