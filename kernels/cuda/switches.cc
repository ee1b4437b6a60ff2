// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/switches.h"

#include <stdlib.h>
#include <string.h>

namespace zqfp::kernels::cuda {
namespace {

bool IsOn(const char* variable) {
  const char* wanted = getenv(variable);
  return wanted == nullptr || strcmp(wanted, "0") != 0;
}

}  // namespace

bool LaunchesOverlap() {
  static const bool overlap = IsOn("ZQFP_CUDA_OVERLAP");
  return overlap;
}

bool StepsAreGraphs() {
  static const bool graphs = IsOn("ZQFP_CUDA_GRAPHS");
  return graphs;
}

}  // namespace zqfp::kernels::cuda
