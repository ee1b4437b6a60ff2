// SPDX-License-Identifier: Apache-2.0
#include "kernels/reference/reference.h"

namespace zqfp::kernels::reference {

void Rope(const RopeArgs& args, const Exec&) noexcept {
  const int64_t half = args.rotary_dim / 2;
  for (int64_t t = 0; t < args.num_tokens; ++t) {
    const float* cos = args.cos + t * half;
    const float* sin = args.sin + t * half;
    for (int64_t h = 0; h < args.num_heads; ++h) {
      float* x = args.x + (t * args.num_heads + h) * args.head_dim;
      for (int64_t i = 0; i < half; ++i) {
        const double a = x[i], b = x[i + half];
        x[i] = static_cast<float>(a * cos[i] - b * sin[i]);
        x[i + half] = static_cast<float>(b * cos[i] + a * sin[i]);
      }
    }
  }
}

}  // namespace zqfp::kernels::reference
