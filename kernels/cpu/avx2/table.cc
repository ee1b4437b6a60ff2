// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/avx2/avx2.h"
#include "kernels/cpu/tables.h"

namespace zqfp::kernels {

constinit const OpTable kAvx2Table = {
    .name = "avx2",
    .embed = avx2::Embed,
    .gather_rows = avx2::GatherRows,
    .add_positions = avx2::AddPositions,
    .rms_norm = avx2::RmsNorm,
    .layer_norm = avx2::LayerNorm,
    .quantize_tokens = avx2::QuantizeTokens,
    .matmul = avx2::Matmul,
    .matmul_a8 = avx2::MatmulA8,
    .rope = avx2::Rope,
    .store_kv = avx2::StoreKv,
    .attention = avx2::Attention,
    .activate = avx2::Activate,
    .softcap = avx2::Softcap,
    .workspace_bytes = avx2::WorkspaceBytes,
    .multiply = avx2::Multiply,
};

}  // namespace zqfp::kernels
