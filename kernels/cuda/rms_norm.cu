// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/rms_norm_row.h"

namespace zqfp::kernels::cuda {
namespace {

// One team a row. The second pass finds x in the L1 cache; every thread writes
// where only it has read, so y may be x or residual.
template <int kWidth, bool kIsWarp>
__global__ void __launch_bounds__(kReduceThreads)
    NormalizeRow(int64_t num_rows, int64_t dim, float epsilon, const float* x,
                 const float* __restrict__ weight, const float* residual,
                 float* y) {
  AwaitInputs();
  using Team = RowTeam<kIsWarp>;
  const int64_t row = Team::Row();
  if (row >= num_rows) return;  // a whole team
  const RmsNormRow<kWidth, Team> normed(x + row * dim, weight, dim, epsilon);
  const int64_t first = Team::Member() * kWidth, step = Team::Size() * kWidth;
  for (int64_t i = first; i < dim; i += step) {
    Floats<kWidth> part = normed(i);
    if (residual != nullptr) {
      const Floats<kWidth> added = LoadFloats<kWidth>(residual + row * dim + i);
      for (int j = 0; j < kWidth; ++j) part.value[j] += added.value[j];
    }
    StoreFloats<kWidth>(y + row * dim + i, part);
  }
}

template <int kWidth>
void Run(const RmsNormArgs& args, const Exec& exec) {
  Launch(exec, TeamShape(args.num_rows, args.dim, kWidth),
         IsWarpRow(args.dim, kWidth) ? NormalizeRow<kWidth, true>
                                     : NormalizeRow<kWidth, false>,
         args.num_rows, args.dim, args.epsilon, args.x, args.weight,
         args.residual, args.y);
}

}  // namespace

void RmsNorm(const RmsNormArgs& args, const Exec& exec) noexcept {
  const bool wide = args.dim % 4 == 0 &&
                    IsAligned16(args.x, args.weight, args.residual, args.y);
  return wide ? Run<4>(args, exec) : Run<1>(args, exec);
}

}  // namespace zqfp::kernels::cuda
