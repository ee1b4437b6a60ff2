// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/row_reduction.h"
#include "kernels/cuda/row_vectors.h"

namespace zqfp::kernels::cuda {
namespace {

// One team a row: the mean, then the variance, then the row. The later passes
// find x in the L1 cache; every thread writes where only it has read, so y may
// be x.
template <int kWidth, bool kIsWarp>
__global__ void __launch_bounds__(kReduceThreads)
    NormalizeRow(int64_t num_rows, int64_t dim, float epsilon, const float* x,
                 const float* __restrict__ weight,
                 const float* __restrict__ bias, float* y) {
  AwaitInputs();
  using Team = RowTeam<kIsWarp>;
  const int64_t row = Team::Row();
  if (row >= num_rows) return;  // a whole team
  const int64_t first = Team::Member() * kWidth, step = Team::Size() * kWidth;
  const float count = static_cast<float>(dim);
  x += row * dim;
  float sum = 0;
  for (int64_t i = first; i < dim; i += step) {
    const Floats<kWidth> part = LoadFloats<kWidth>(x + i);
    for (int j = 0; j < kWidth; ++j) sum += part.value[j];
  }
  const float mean = Team::template Reduce<Sum>(sum) / count;
  float squares = 0;
  for (int64_t i = first; i < dim; i += step) {
    const Floats<kWidth> part = LoadFloats<kWidth>(x + i);
    for (int j = 0; j < kWidth; ++j) {
      const float difference = part.value[j] - mean;
      squares = fmaf(difference, difference, squares);
    }
  }
  const float variance = Team::template Reduce<Sum>(squares) / count;
  const float inverse = 1.0f / sqrtf(variance + epsilon);
  for (int64_t i = first; i < dim; i += step) {
    const Floats<kWidth> factor = LoadFloats<kWidth>(weight + i);
    const Floats<kWidth> added = LoadFloats<kWidth>(bias + i);
    Floats<kWidth> part = LoadFloats<kWidth>(x + i);
    for (int j = 0; j < kWidth; ++j) {
      part.value[j] =
          (part.value[j] - mean) * inverse * factor.value[j] + added.value[j];
    }
    StoreFloats<kWidth>(y + row * dim + i, part);
  }
}

template <int kWidth>
void Run(const LayerNormArgs& args, const Exec& exec) {
  Launch(exec, TeamShape(args.num_rows, args.dim, kWidth),
         IsWarpRow(args.dim, kWidth) ? NormalizeRow<kWidth, true>
                                     : NormalizeRow<kWidth, false>,
         args.num_rows, args.dim, args.epsilon, args.x, args.weight, args.bias,
         args.y);
}

}  // namespace

void LayerNorm(const LayerNormArgs& args, const Exec& exec) noexcept {
  const bool wide =
      args.dim % 4 == 0 && IsAligned16(args.x, args.weight, args.bias, args.y);
  return wide ? Run<4>(args, exec) : Run<1>(args, exec);
}

}  // namespace zqfp::kernels::cuda
