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
      F32x8 sum[2] = {Set(0.0f), Set(0.0f)};
      for (int64_t i = 0; i < dim; i += 2 * kLanes) {
        const F32x8 a = LoadF32(x + i, dim - i);
        sum[0] = MulAdd(a, a, sum[0]);
        if (i + kLanes >= dim) break;
        const F32x8 b = LoadF32(x + i + kLanes, dim - i - kLanes);
        sum[1] = MulAdd(b, b, sum[1]);
      }
      const float mean =
          SumLanes(Add(sum[0], sum[1])) / static_cast<float>(dim);
      const F32x8 inverse = Set(1.0f / sqrtf(mean + args.epsilon));
      for (int64_t i = 0; i < dim; i += kLanes) {
        const F32x8 v = LoadF32(x + i, dim - i);
        const F32x8 w = LoadF32(args.weight + i, dim - i);
        F32x8 out = Mul(Mul(v, inverse), w);
        if (args.residual != nullptr) {
          out = Add(out, LoadF32(args.residual + r * dim + i, dim - i));
        }
        StoreF32(y + i, dim - i, out);
      }
    }
  });
}

}  // namespace zqfp::kernels::neon
