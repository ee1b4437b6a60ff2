// SPDX-License-Identifier: Apache-2.0
// Makes the emulated kernels a backend of the test program, "cuda_emulated".
#include "kernels/backend.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/table.h"
#include "kernels/reference/reference.h"

namespace zqfp::kernels {
namespace {

// Until all ops are there the reference stands in: the memory is the host's.
template <typename Op>
void FillFromReference(OpTable& table, Op OpTable::*slot) {
  if (table.*slot == nullptr) table.*slot = kReferenceTable.*slot;
}

const OpTable& Table() {
  static OpTable table = [] {
    OpTable result = cuda::kTable;
    result.name = "cuda_emulated";
    FillFromReference(result, &OpTable::embed);
    FillFromReference(result, &OpTable::gather_rows);
    FillFromReference(result, &OpTable::add_positions);
    FillFromReference(result, &OpTable::rms_norm);
    FillFromReference(result, &OpTable::layer_norm);
    FillFromReference(result, &OpTable::quantize_tokens);
    FillFromReference(result, &OpTable::matmul);
    FillFromReference(result, &OpTable::matmul_a8);
    FillFromReference(result, &OpTable::rope);
    FillFromReference(result, &OpTable::store_kv);
    FillFromReference(result, &OpTable::attention);
    FillFromReference(result, &OpTable::activate);
    FillFromReference(result, &OpTable::softcap);
    return result;
  }();
  return table;
}

[[maybe_unused]] const bool is_registered = [] {
  RegisterDeviceBackend(
      {.table = &Table(), .open = cuda::OpenDevice, .automatic = false});
  return true;
}();

}  // namespace
}  // namespace zqfp::kernels
