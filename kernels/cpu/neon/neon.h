// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_NEON_NEON_H_
#define ZQFP_KERNELS_CPU_NEON_NEON_H_

// The ops of this folder, one file each. They may use what every AArch64 has:
// NEON with fused multiply-adds and conversions from f16 (Armv8.0-A).

#include "kernels/core/ops.h"

namespace zqfp::kernels::neon {

void Embed(const EmbedArgs& args, const Exec& exec) noexcept;
void GatherRows(const GatherRowsArgs& args, const Exec& exec) noexcept;
void AddPositions(const AddPositionsArgs& args, const Exec& exec) noexcept;
void RmsNorm(const RmsNormArgs& args, const Exec& exec) noexcept;
void LayerNorm(const LayerNormArgs& args, const Exec& exec) noexcept;
void QuantizeTokens(const QuantizeTokensArgs& args, const Exec& exec) noexcept;
void Matmul(const MatmulArgs& args, const Exec& exec) noexcept;
void MatmulA8(const MatmulA8Args& args, const Exec& exec) noexcept;
void Rope(const RopeArgs& args, const Exec& exec) noexcept;
void StoreKv(const StoreKvArgs& args, const Exec& exec) noexcept;
void Attention(const AttentionArgs& args, const Exec& exec) noexcept;
void Activate(const ActivateArgs& args, const Exec& exec) noexcept;
void Softcap(const SoftcapArgs& args, const Exec& exec) noexcept;
int64_t WorkspaceBytes(const WorkspaceQuery& query) noexcept;
int64_t Multiply(int64_t rounds) noexcept;

}  // namespace zqfp::kernels::neon

#endif  // ZQFP_KERNELS_CPU_NEON_NEON_H_
