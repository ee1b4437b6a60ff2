// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/table.h"

#include "kernels/cuda/matmul.h"
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
    .matmul = Matmul,
    .matmul_a8 = MatmulA8,
    .rope = nullptr,
    .store_kv = nullptr,
    .attention = nullptr,
    .activate = nullptr,
    .softcap = nullptr,
    .workspace_bytes = MatmulWorkspaceBytes,
};

}  // namespace zqfp::kernels::cuda
