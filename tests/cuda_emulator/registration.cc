// SPDX-License-Identifier: Apache-2.0
// Makes the emulated kernels a backend of the test program, "cuda_emulated".
#include "kernels/backend.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/lab.h"
#include "kernels/cuda/table.h"

namespace zqfp::kernels {
namespace {

const OpTable& Table() {
  static OpTable table = [] {
    OpTable result = cuda::kTable;
    result.name = "cuda_emulated";
    return result;
  }();
  return table;
}

[[maybe_unused]] const bool is_registered = [] {
  RegisterDeviceBackend({.table = &Table(),
                         .open = cuda::OpenDevice,
                         .automatic = false,
                         .open_lab = cuda::OpenLab});
  return true;
}();

}  // namespace
}  // namespace zqfp::kernels
