// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/amx/amx.h"
#include "kernels/cpu/tables.h"

namespace zqfp::kernels {

constinit const OpTable kAmxTable = {
    .name = "amx",
    .embed = nullptr,
    .gather_rows = nullptr,
    .add_positions = nullptr,
    .rms_norm = nullptr,
    .layer_norm = nullptr,
    .quantize_tokens = nullptr,
    .matmul = nullptr,
    .matmul_a8 = amx::MatmulA8,
    .rope = nullptr,
    .store_kv = nullptr,
    .attention = amx::Attention,
    .activate = nullptr,
    .softcap = nullptr,
    .workspace_bytes = amx::WorkspaceBytes,
    .multiply = amx::Multiply,
};

}  // namespace zqfp::kernels
