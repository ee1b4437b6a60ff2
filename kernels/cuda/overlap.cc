// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/overlap.h"

#include <stdlib.h>
#include <string.h>

namespace zqfp::kernels::cuda {

bool LaunchesOverlap() {
  static const bool overlap = [] {
    const char* wanted = getenv("ZQFP_CUDA_OVERLAP");
    return wanted == nullptr || strcmp(wanted, "0") != 0;
  }();
  return overlap;
}

}  // namespace zqfp::kernels::cuda
