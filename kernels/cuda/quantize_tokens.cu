// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/quantize_row.h"

namespace zqfp::kernels::cuda {
namespace {

// One team a token.
template <int kWidth, bool kIsWarp>
__global__ void __launch_bounds__(kReduceThreads)
    QuantizeToken(int64_t num_tokens, int64_t dim, const float* __restrict__ x,
                  uint8_t* __restrict__ q, float* __restrict__ scale) {
  AwaitInputs();
  using Team = RowTeam<kIsWarp>;
  const int64_t t = Team::Row();
  if (t >= num_tokens) return;  // a whole team
  QuantizeRow<kWidth, Team>(x + t * dim, dim, q + t * dim, scale + t);
}

template <int kWidth>
void Run(const QuantizeTokensArgs& args, const Exec& exec) {
  Launch(exec, TeamShape(args.num_tokens, args.dim, kWidth),
         IsWarpRow(args.dim, kWidth) ? QuantizeToken<kWidth, true>
                                     : QuantizeToken<kWidth, false>,
         args.num_tokens, args.dim, args.x, args.q, args.scale);
}

}  // namespace

void QuantizeTokens(const QuantizeTokensArgs& args, const Exec& exec) noexcept {
  const bool wide =
      args.dim % 4 == 0 && IsAligned16(args.x) && IsAligned4(args.q);
  return wide ? Run<4>(args, exec) : Run<1>(args, exec);
}

}  // namespace zqfp::kernels::cuda
