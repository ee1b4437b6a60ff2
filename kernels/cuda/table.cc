// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/table.h"

#include "kernels/cuda/matmul.h"
#include "kernels/cuda/ops.h"

namespace zqfp::kernels::cuda {

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
    .attention = nullptr,
    .activate = Activate,
    .softcap = Softcap,
    .workspace_bytes = MatmulWorkspaceBytes,
};

}  // namespace zqfp::kernels::cuda
