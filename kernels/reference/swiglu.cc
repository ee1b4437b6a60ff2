// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "kernels/core/parallel.h"
#include "kernels/reference/reference.h"

namespace zqfp::kernels::reference {

void SwiGlu(const SwiGluArgs& args, const Exec& exec) noexcept {
  const int64_t count = args.num_tokens * args.dim;
  ParallelFor(exec, count, GrainFor(16), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const double gate = args.gate[i];
      args.y[i] =
          static_cast<float>(gate / (1.0 + std::exp(-gate)) * args.up[i]);
    }
  });
}

}  // namespace zqfp::kernels::reference
