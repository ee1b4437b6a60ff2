// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/core/float_formats.h"
#include "kernels/core/parallel.h"
#include "kernels/reference/reference.h"

namespace zqfp::kernels::reference {
namespace {

// The scale of one row: max|x| / 448; 1 for zeros, NaN for a non-finite row.
float RowScale(const float* x, int64_t dim) {
  float amax = 0;
  for (int64_t i = 0; i < dim; ++i) {
    if (!std::isfinite(x[i])) return std::numeric_limits<float>::quiet_NaN();
    amax = std::max(amax, std::fabs(x[i]));
  }
  const float scale = amax / kE4m3Max;
  // A row so small that its scale underflows to zero counts as zero.
  return scale > 0 ? scale : 1.0f;
}

}  // namespace

void QuantizeTokens(const QuantizeTokensArgs& args, const Exec& exec) noexcept {
  ParallelFor(exec, args.num_tokens, GrainFor(args.dim),
              [&](int64_t begin, int64_t end, int) {
                for (int64_t t = begin; t < end; ++t) {
                  const float* x = args.x + t * args.dim;
                  args.scale[t] = RowScale(x, args.dim);
                  for (int64_t i = 0; i < args.dim; ++i) {
                    args.q[t * args.dim + i] =
                        FloatToE4m3(x[i] / args.scale[t]);
                  }
                }
              });
}

}  // namespace zqfp::kernels::reference
