// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "kernels/core/parallel.h"
#include "kernels/reference/reference.h"

namespace zqfp::kernels::reference {

void Softcap(const SoftcapArgs& args, const Exec& exec) noexcept {
  const int64_t count = args.num_rows * args.dim;
  const double cap = args.cap;
  ParallelFor(exec, count, GrainFor(16), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      args.x[i] = static_cast<float>(cap * std::tanh(args.x[i] / cap));
    }
  });
}

}  // namespace zqfp::kernels::reference
