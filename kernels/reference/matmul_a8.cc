// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/parallel.h"
#include "kernels/reference/dot.h"
#include "kernels/reference/reference.h"

namespace zqfp::kernels::reference {

void MatmulA8(const MatmulA8Args& args, const Exec& exec) noexcept {
  const WeightView& w = args.weight;
  ParallelFor(exec, w.n, GrainFor(args.m * w.k),
              [&](int64_t begin, int64_t end, int) {
                for (int64_t t = 0; t < args.m; ++t) {
                  const TokenView token = {.codes = args.x.data + t * w.k};
                  double inner[kMaxLorcRank];
                  LowRankInner(w, token, inner);
                  for (int64_t n = begin; n < end; ++n) {
                    double sum = Dot(w, n, token) + LowRankOuter(w, n, inner);
                    sum *= args.x.scale[t];
                    if (args.bias != nullptr) sum += args.bias[n];
                    const int64_t at = t * w.n + n;
                    if (args.residual != nullptr) sum += args.residual[at];
                    args.y[at] = static_cast<float>(sum);
                  }
                }
              });
}

}  // namespace zqfp::kernels::reference
