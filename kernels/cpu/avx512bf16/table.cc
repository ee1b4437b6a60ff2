// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/avx512bf16/avx512bf16.h"
#include "kernels/cpu/tables.h"

namespace zqfp::kernels {

constinit const OpTable kAvx512Bf16Table = {
    .name = "avx512bf16",
    .embed = nullptr,
    .gather_rows = nullptr,
    .add_positions = nullptr,
    .rms_norm = nullptr,
    .layer_norm = nullptr,
    .quantize_tokens = nullptr,
    .matmul = nullptr,
    .matmul_a8 = avx512bf16::MatmulA8,
    .rope = nullptr,
    .store_kv = nullptr,
    .attention = nullptr,
    .activate = nullptr,
    .softcap = nullptr,
    .workspace_bytes = avx512bf16::WorkspaceBytes,
    .multiply = avx512bf16::Multiply,
};

}  // namespace zqfp::kernels
