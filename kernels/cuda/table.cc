// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/table.h"

#include <algorithm>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/ops.h"

namespace zqfp::kernels::cuda {

int64_t WorkspaceBytes(const WorkspaceQuery& query) noexcept {
  return std::max({AttentionWorkspaceBytes(query), MatmulWorkspaceBytes(query),
                   TopLogitsWorkspaceBytes(query)});
}

constinit const OpTable kTable = {
    .name = "cuda",
    .embed = Embed,
    .gather_rows = GatherRows,
    .add_positions = AddPositions,
    .rms_norm = RmsNorm,
    .layer_norm = LayerNorm,
    .quantize_tokens = QuantizeTokens,
    .matmul = Matmul,
    .matmul_a8 = MatmulA8,
    .rope = Rope,
    .store_kv = StoreKv,
    .attention = Attention,
    .activate = Activate,
    .softcap = Softcap,
    .workspace_bytes = WorkspaceBytes,
    .multiply = nullptr,
    .top_logits = TopLogits,
    .fused = {.rms_norm_quantize = RmsNormQuantize,
              .activate_quantize = ActivateQuantize,
              .rope_store_kv = RopeStoreKv,
              .rope_store_attention = RopeStoreAttention,
              .takes_rope_store_attention = TakesRopeStoreAttention,
              .matmul_a8_group = MatmulA8Group,
              .quantize_matmul_a8 = QuantizeMatmulA8,
              .takes_quantize_matmul_a8 = TakesQuantizeMatmulA8},
};

}  // namespace zqfp::kernels::cuda
