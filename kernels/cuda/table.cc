// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/table.h"

#include "kernels/cuda/attention.h"
#include "kernels/cuda/ops.h"

namespace zqfp::kernels::cuda {

constinit const OpTable kTable = {
    .name = "cuda",
    .embed = nullptr,
    .gather_rows = GatherRows,
    .add_positions = nullptr,
    .rms_norm = nullptr,
    .layer_norm = nullptr,
    .quantize_tokens = nullptr,
    .matmul = nullptr,
    .matmul_a8 = nullptr,
    .rope = nullptr,
    .store_kv = nullptr,
    .attention = Attention,
    .activate = nullptr,
    .softcap = nullptr,
    .workspace_bytes = AttentionWorkspaceBytes,
};

}  // namespace zqfp::kernels::cuda
