// SPDX-License-Identifier: Apache-2.0
#include <math.h>

#include "kernels/core/parallel.h"
#include "kernels/cpu/neon/lanes.h"
#include "kernels/cpu/neon/neon.h"

namespace zqfp::kernels::neon {
namespace {

// Sum of (x - shift) ^ kPower over a row.
template <int kPower>
inline float SumRow(const float* x, int64_t dim, float shift) {
  F32x8 sum = Set(0.0f);
  ForLanes(0, dim, [&](int64_t i, int64_t count) {
    F32x8 v = Sub(LoadF32(x + i, count), Set(shift));
    v = ZeroBeyond(v, count);
    sum = kPower == 1 ? Add(sum, v) : MulAdd(v, v, sum);
  });
  return SumLanes(sum);
}

inline void NormalizeRow(const LayerNormArgs& args, const float* x, float* y) {
  const int64_t dim = args.dim;
  const float mean = SumRow<1>(x, dim, 0.0f) / static_cast<float>(dim);
  const float variance = SumRow<2>(x, dim, mean) / static_cast<float>(dim);
  const F32x8 inverse = Set(1.0f / sqrtf(variance + args.epsilon));
  ForLanes(0, dim, [&](int64_t i, int64_t count) {
    const F32x8 v = Sub(LoadF32(x + i, count), Set(mean));
    const F32x8 w = LoadF32(args.weight + i, count);
    const F32x8 b = LoadF32(args.bias + i, count);
    StoreF32(y + i, count, MulAdd(Mul(v, inverse), w, b));
  });
}

}  // namespace

void LayerNorm(const LayerNormArgs& args, const Exec& exec) noexcept {
  ParallelFor(exec, args.num_rows, 1 + 4096 / args.dim,
              [&](int64_t begin, int64_t end, int) {
                for (int64_t r = begin; r < end; ++r) {
                  NormalizeRow(args, args.x + r * args.dim,
                               args.y + r * args.dim);
                }
              });
}

}  // namespace zqfp::kernels::neon
