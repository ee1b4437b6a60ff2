// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/tables.h"

namespace zqfp::kernels {

constinit const OpTable kAvx512Bf16Table = {
    .name = "avx512bf16",
    .embed = nullptr,
    .rms_norm = nullptr,
    .quantize_tokens = nullptr,
    .matmul = nullptr,
    .matmul_a8 = nullptr,
    .rope = nullptr,
    .store_kv = nullptr,
    .attention = nullptr,
    .swiglu = nullptr,
    .workspace_bytes = nullptr,
};

}  // namespace zqfp::kernels
