// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/parallel.h"
#include "kernels/cpu/neon/lanes.h"
#include "kernels/cpu/neon/neon.h"

namespace zqfp::kernels::neon {

void Rope(const RopeArgs& args, const Exec& exec) noexcept {
  const int64_t half = args.rotary_dim / 2;
  ParallelFor(exec, args.num_tokens, 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t h = 0; h < args.num_heads; ++h) {
        float* low = args.x + (t * args.num_heads + h) * args.head_dim;
        float* high = low + half;
        ForLanes(0, half, [&](int64_t i, int64_t count) {
          const F32x8 cos = LoadF32(args.cos + t * half + i, count);
          const F32x8 sin = LoadF32(args.sin + t * half + i, count);
          const F32x8 a = LoadF32(low + i, count);
          const F32x8 b = LoadF32(high + i, count);
          StoreF32(low + i, count, NegMulAdd(b, sin, Mul(a, cos)));
          StoreF32(high + i, count, MulAdd(b, cos, Mul(a, sin)));
        });
      }
    }
  });
}

}  // namespace zqfp::kernels::neon
