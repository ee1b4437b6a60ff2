// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AVX2_AVX2_H_
#define ZQFP_KERNELS_CPU_AVX2_AVX2_H_

// The ops of this folder, one file each. They may use AVX2, FMA and F16C.

#include "kernels/core/ops.h"

namespace zqfp::kernels::avx2 {

void Embed(const EmbedArgs& args, const Exec& exec) noexcept;
void GatherRows(const GatherRowsArgs& args, const Exec& exec) noexcept;
void AddPositions(const AddPositionsArgs& args, const Exec& exec) noexcept;
void RmsNorm(const RmsNormArgs& args, const Exec& exec) noexcept;
void LayerNorm(const LayerNormArgs& args, const Exec& exec) noexcept;
void QuantizeTokens(const QuantizeTokensArgs& args, const Exec& exec) noexcept;
void Matmul(const MatmulArgs& args, const Exec& exec) noexcept;
// Matmul where the weight is e4m3 or e2m1 (in matmul_a8.cc).
void QuantizedMatmul(const MatmulArgs& args, const Exec& exec) noexcept;
void MatmulA8(const MatmulA8Args& args, const Exec& exec) noexcept;
void Rope(const RopeArgs& args, const Exec& exec) noexcept;
void StoreKv(const StoreKvArgs& args, const Exec& exec) noexcept;
void Attention(const AttentionArgs& args, const Exec& exec) noexcept;
void Activate(const ActivateArgs& args, const Exec& exec) noexcept;
void Softcap(const SoftcapArgs& args, const Exec& exec) noexcept;
int64_t WorkspaceBytes(const WorkspaceQuery& query) noexcept;
int64_t Multiply(int64_t rounds) noexcept;

}  // namespace zqfp::kernels::avx2

#endif  // ZQFP_KERNELS_CPU_AVX2_AVX2_H_
