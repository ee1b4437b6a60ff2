// SPDX-License-Identifier: Apache-2.0
#include "kernels/reference/reference.h"

#include "kernels/core/float_formats.h"

namespace zqfp::kernels {

constinit const OpTable kReferenceTable = {
    .name = "reference",
    .embed = reference::Embed,
    .gather_rows = reference::GatherRows,
    .add_positions = reference::AddPositions,
    .rms_norm = reference::RmsNorm,
    .layer_norm = reference::LayerNorm,
    .quantize_tokens = reference::QuantizeTokens,
    .matmul = reference::Matmul,
    .matmul_a8 = reference::MatmulA8,
    .rope = reference::Rope,
    .store_kv = reference::StoreKv,
    .attention = reference::Attention,
    .activate = reference::Activate,
    .softcap = reference::Softcap,
    .workspace_bytes = nullptr,
    .multiply = nullptr,
};

namespace reference {

float ReadValue(ValueFormat format, const void* data, int64_t index) {
  switch (format) {
    case ValueFormat::kF32:
      return static_cast<const float*>(data)[index];
    case ValueFormat::kBf16:
      return Bf16ToFloat(static_cast<const uint16_t*>(data)[index]);
    case ValueFormat::kF16:
      return F16ToFloat(static_cast<const uint16_t*>(data)[index]);
    case ValueFormat::kE4m3:
      return E4m3ToFloat(static_cast<const uint8_t*>(data)[index]);
  }
  return 0;
}

}  // namespace reference
}  // namespace zqfp::kernels
