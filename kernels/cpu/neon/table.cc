// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/neon/neon.h"
#include "kernels/cpu/tables.h"

namespace zqfp::kernels {

constinit const OpTable kNeonTable = {
    .name = "neon",
    .embed = neon::Embed,
    .gather_rows = neon::GatherRows,
    .add_positions = neon::AddPositions,
    .rms_norm = neon::RmsNorm,
    .layer_norm = neon::LayerNorm,
    .quantize_tokens = neon::QuantizeTokens,
    .matmul = neon::Matmul,
    .matmul_a8 = neon::MatmulA8,
    .rope = neon::Rope,
    .store_kv = neon::StoreKv,
    .attention = neon::Attention,
    .activate = neon::Activate,
    .softcap = neon::Softcap,
    .workspace_bytes = neon::WorkspaceBytes,
    .multiply = neon::Multiply,
};

}  // namespace zqfp::kernels
