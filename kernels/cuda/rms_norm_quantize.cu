// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/check.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/quantize_row.h"
#include "kernels/cuda/rms_norm_row.h"

namespace zqfp::kernels::cuda {
namespace {

// One team a row.
template <int kWidth, bool kIsWarp>
__global__ void __launch_bounds__(kReduceThreads)
    NormalizeAndQuantize(int64_t num_rows, int64_t dim, float epsilon,
                         const float* __restrict__ x,
                         const float* __restrict__ weight,
                         uint8_t* __restrict__ q, float* __restrict__ scale) {
  AwaitInputs();
  using Team = RowTeam<kIsWarp>;
  const int64_t row = Team::Row();
  if (row >= num_rows) return;  // a whole team
  const RmsNormRow<kWidth, Team> normed(x + row * dim, weight, dim, epsilon);
  QuantizeRow<kWidth, Team>(normed, dim, q + row * dim, scale + row);
}

template <int kWidth>
void Run(const RmsNormArgs& norm, const QuantizeTokensArgs& quantize,
         const Exec& exec) {
  Launch(exec, TeamShape(norm.num_rows, norm.dim, kWidth),
         IsWarpRow(norm.dim, kWidth) ? NormalizeAndQuantize<kWidth, true>
                                     : NormalizeAndQuantize<kWidth, false>,
         norm.num_rows, norm.dim, norm.epsilon, norm.x, norm.weight, quantize.q,
         quantize.scale);
}

}  // namespace

void RmsNormQuantize(const RmsNormArgs& norm,
                     const QuantizeTokensArgs& quantize,
                     const Exec& exec) noexcept {
  ZQFP_CHECK(norm.residual == nullptr);
  const bool wide = norm.dim % 4 == 0 && IsAligned16(norm.x, norm.weight) &&
                    IsAligned4(quantize.q);
  return wide ? Run<4>(norm, quantize, exec) : Run<1>(norm, quantize, exec);
}

}  // namespace zqfp::kernels::cuda
