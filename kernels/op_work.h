// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_OP_WORK_H_
#define ZQFP_KERNELS_OP_WORK_H_

// What one call of an op has to move and to compute, from its arguments alone:
// the yardstick of a profile.

#include <stdint.h>

#include "absl/types/span.h"
#include "kernels/core/ops.h"

namespace zqfp::kernels {

// The least any kernel can do: each input is read once, each output written
// once, caches forget everything between two ops. Indices of a batch and page
// tables are not counted.
struct OpWork {
  int64_t bytes = 0;
  // Multiplications and additions of matrix products: of the matmuls, their
  // low-rank branches and attention. Of the other ops 0, which memory bounds.
  int64_t flop = 0;
};

// Bytes of the weight, its scales and low-rank factors.
int64_t WeightBytes(const WeightView& weight);

OpWork Work(const EmbedArgs& args);
OpWork Work(const GatherRowsArgs& args);
OpWork Work(const AddPositionsArgs& args);
OpWork Work(const RmsNormArgs& args);
OpWork Work(const LayerNormArgs& args);
OpWork Work(const QuantizeTokensArgs& args);
OpWork Work(const MatmulArgs& args);
OpWork Work(const MatmulA8Args& args);
OpWork Work(const RopeArgs& args);
OpWork Work(const StoreKvArgs& args);
// Of the cache the tokens that some row of the step sees.
OpWork Work(const AttentionArgs& args);
OpWork Work(const ActivateArgs& args);
OpWork Work(const SoftcapArgs& args);
OpWork Work(const TopLogitsArgs& args);
// Of the fused ops: what one of them leaves for the next is not moved.
OpWork Work(const RmsNormArgs& norm, const QuantizeTokensArgs& quantize);
OpWork Work(const ActivateArgs& activate, const QuantizeTokensArgs& quantize);
OpWork Work(const RopeArgs& queries, const RopeArgs& keys,
            const StoreKvArgs& store);
OpWork Work(absl::Span<const MatmulA8Args> group);
OpWork Work(const RmsNormArgs& input, absl::Span<const MatmulA8Args> group);

}  // namespace zqfp::kernels

#endif  // ZQFP_KERNELS_OP_WORK_H_
