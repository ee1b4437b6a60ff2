// SPDX-License-Identifier: Apache-2.0
#include <math.h>

#include "kernels/core/parallel.h"
#include "kernels/cpu/neon/lanes.h"
#include "kernels/cpu/neon/neon.h"

namespace zqfp::kernels::neon {

void RmsNorm(const RmsNormArgs& args, const Exec& exec) noexcept {
  const int64_t dim = args.dim;
  // Short rows (the q and k norms) fork only where there are many.
  const int64_t grain = 1 + 4096 / dim;
  ParallelFor(exec, args.num_rows, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      const float* x = args.x + r * dim;
      float* y = args.y + r * dim;
      F32x8 sum = Set(0.0f);
      ForLanes(0, dim, [&](int64_t i, int64_t count) {
        const F32x8 v = LoadF32(x + i, count);
        sum = MulAdd(v, v, sum);
      });
      const float mean = SumLanes(sum) / static_cast<float>(dim);
      const F32x8 inverse = Set(1.0f / sqrtf(mean + args.epsilon));
      ForLanes(0, dim, [&](int64_t i, int64_t count) {
        const F32x8 v = LoadF32(x + i, count);
        const F32x8 w = LoadF32(args.weight + i, count);
        F32x8 out = Mul(Mul(v, inverse), w);
        if (args.residual != nullptr) {
          out = Add(out, LoadF32(args.residual + r * dim + i, count));
        }
        StoreF32(y + i, count, out);
      });
    }
  });
}

}  // namespace zqfp::kernels::neon
