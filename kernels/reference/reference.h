// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_REFERENCE_REFERENCE_H_
#define ZQFP_KERNELS_REFERENCE_REFERENCE_H_

// The readable backend: every op in plain loops, sums in f64. It is the oracle
// of the tests and the last fallback; ops.h has the cards.

#include "kernels/core/ops.h"

namespace zqfp::kernels {

extern const OpTable kReferenceTable;

namespace reference {

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

// The value of element `index` of an array in `format` (e4m3: unscaled).
float ReadValue(ValueFormat format, const void* data, int64_t index);

}  // namespace reference
}  // namespace zqfp::kernels

#endif  // ZQFP_KERNELS_REFERENCE_REFERENCE_H_
