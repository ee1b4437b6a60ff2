// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AVX512BF16_AVX512BF16_H_
#define ZQFP_KERNELS_CPU_AVX512BF16_AVX512BF16_H_

// The ops of this folder: those that BF16 dot products make faster.

#include "kernels/core/ops.h"

namespace zqfp::kernels::avx512bf16 {

void MatmulA8(const MatmulA8Args& args, const Exec& exec) noexcept;
int64_t WorkspaceBytes(const WorkspaceQuery& query) noexcept;
int64_t Multiply(int64_t rounds) noexcept;

}  // namespace zqfp::kernels::avx512bf16

#endif  // ZQFP_KERNELS_CPU_AVX512BF16_AVX512BF16_H_
