// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_OPS_H_
#define ZQFP_KERNELS_CUDA_OPS_H_

// The ops of the CUDA backend (cards: kernels/core/ops.h), one file each. They
// enqueue work on Exec::stream and return.

#include "kernels/core/ops.h"

namespace zqfp::kernels::cuda {

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
void TopLogits(const TopLogitsArgs& args, const Exec& exec) noexcept;
int64_t TopLogitsWorkspaceBytes(const WorkspaceQuery& query) noexcept;

// Those of FusedOps.
void RmsNormQuantize(const RmsNormArgs& norm,
                     const QuantizeTokensArgs& quantize,
                     const Exec& exec) noexcept;
void ActivateQuantize(const ActivateArgs& args,
                      const QuantizeTokensArgs& quantize,
                      const Exec& exec) noexcept;
void RopeStoreKv(const RopeArgs& queries, const RopeArgs& keys,
                 const StoreKvArgs& store, const Exec& exec) noexcept;
void RopeStoreAttention(const HeadNorms& norms, const RopeArgs& queries,
                        const RopeArgs& keys, const StoreKvArgs& store,
                        const AttentionArgs& attention,
                        const Exec& exec) noexcept;
bool TakesRopeStoreAttention(const HeadNorms& norms, const RopeArgs& queries,
                             const RopeArgs& keys, const StoreKvArgs& store,
                             const AttentionArgs& attention) noexcept;
void MatmulA8Group(const MatmulA8Args* group, int size,
                   const Exec& exec) noexcept;
void QuantizeMatmulA8(const RmsNormArgs& input, const MatmulA8Args* group,
                      int size, const Exec& exec) noexcept;
bool TakesQuantizeMatmulA8(const RmsNormArgs& input, const MatmulA8Args* group,
                           int size) noexcept;

int64_t WorkspaceBytes(const WorkspaceQuery& query) noexcept;

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_OPS_H_
