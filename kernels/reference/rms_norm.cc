// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "kernels/core/parallel.h"
#include "kernels/reference/reference.h"

namespace zqfp::kernels::reference {

void RmsNorm(const RmsNormArgs& args, const Exec& exec) noexcept {
  ParallelFor(
      exec, args.num_rows, GrainFor(args.dim),
      [&](int64_t begin, int64_t end, int) {
        for (int64_t r = begin; r < end; ++r) {
          const float* x = args.x + r * args.dim;
          float* y = args.y + r * args.dim;
          double sum = 0;
          for (int64_t i = 0; i < args.dim; ++i) sum += double{x[i]} * x[i];
          const double mean = sum / static_cast<double>(args.dim);
          const double inverse = 1.0 / std::sqrt(mean + double{args.epsilon});
          for (int64_t i = 0; i < args.dim; ++i) {
            const double residual = args.residual != nullptr
                                        ? args.residual[r * args.dim + i]
                                        : 0.0;
            y[i] =
                static_cast<float>(x[i] * inverse * args.weight[i] + residual);
          }
        }
      });
}

}  // namespace zqfp::kernels::reference
