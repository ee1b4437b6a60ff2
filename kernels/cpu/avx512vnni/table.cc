// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/avx512vnni/avx512vnni.h"
#include "kernels/cpu/tables.h"

namespace zqfp::kernels {

constinit const OpTable kAvx512VnniTable = {
    .name = "avx512vnni",
    .embed = nullptr,
    .gather_rows = nullptr,
    .add_positions = nullptr,
    .rms_norm = nullptr,
    .layer_norm = nullptr,
    .quantize_tokens = nullptr,
    .matmul = nullptr,
    .matmul_a8 = avx512vnni::MatmulA8,
    .rope = nullptr,
    .store_kv = nullptr,
    .attention = nullptr,
    .activate = nullptr,
    .softcap = nullptr,
    .workspace_bytes = avx512vnni::WorkspaceBytes,
    .multiply = avx512vnni::Multiply,
};

}  // namespace zqfp::kernels
