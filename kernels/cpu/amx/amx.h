// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AMX_AMX_H_
#define ZQFP_KERNELS_CPU_AMX_AMX_H_

// The ops of this folder: those that products of BF16 tiles make faster.

#include "kernels/core/ops.h"

namespace zqfp::kernels::amx {

void MatmulA8(const MatmulA8Args& args, const Exec& exec) noexcept;
void Attention(const AttentionArgs& args, const Exec& exec) noexcept;
int64_t AttentionBytes(const WorkspaceQuery& query);
int64_t WorkspaceBytes(const WorkspaceQuery& query) noexcept;
int64_t Multiply(int64_t rounds) noexcept;

}  // namespace zqfp::kernels::amx

#endif  // ZQFP_KERNELS_CPU_AMX_AMX_H_
