// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/avx512/avx512.h"
#include "kernels/cpu/tables.h"

namespace zqfp::kernels {

constinit const OpTable kAvx512Table = {
    .name = "avx512",
    .embed = avx512::Embed,
    .gather_rows = nullptr,
    .add_positions = avx512::AddPositions,
    .rms_norm = avx512::RmsNorm,
    .layer_norm = avx512::LayerNorm,
    .quantize_tokens = avx512::QuantizeTokens,
    .matmul = avx512::Matmul,
    .matmul_a8 = avx512::MatmulA8,
    .rope = avx512::Rope,
    .store_kv = avx512::StoreKv,
    .attention = avx512::Attention,
    .activate = avx512::Activate,
    .softcap = avx512::Softcap,
    .workspace_bytes = avx512::WorkspaceBytes,
    .multiply = avx512::Multiply,
};

}  // namespace zqfp::kernels
