// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/activate_values.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/quantize_row.h"

namespace zqfp::kernels::cuda {
namespace {

// One team a token.
template <Activation kActivation, int kWidth, bool kIsWarp>
__global__ void __launch_bounds__(kReduceThreads)
    ActivateAndQuantize(int64_t num_tokens, int64_t dim,
                        const float* __restrict__ x,
                        const float* __restrict__ up, uint8_t* __restrict__ q,
                        float* __restrict__ scale) {
  AwaitInputs();
  using Team = RowTeam<kIsWarp>;
  const int64_t t = Team::Row();
  if (t >= num_tokens) return;  // a whole team
  x += t * dim;
  if (up != nullptr) up += t * dim;
  const auto activated = [x, up](int64_t i) {
    return Activated<kActivation, kWidth>(x, up, i);
  };
  QuantizeRow<kWidth, Team>(activated, dim, q + t * dim, scale + t);
}

template <Activation kActivation, int kWidth>
void RunWidth(const ActivateArgs& args, const QuantizeTokensArgs& quantize,
              const Exec& exec) {
  Launch(exec, TeamShape(args.num_tokens, args.dim, kWidth),
         IsWarpRow(args.dim, kWidth)
             ? ActivateAndQuantize<kActivation, kWidth, true>
             : ActivateAndQuantize<kActivation, kWidth, false>,
         args.num_tokens, args.dim, args.x, args.up, quantize.q,
         quantize.scale);
}

template <Activation kActivation>
void Run(const ActivateArgs& args, const QuantizeTokensArgs& quantize,
         const Exec& exec) {
  const bool wide = args.dim % 4 == 0 && IsAligned16(args.x, args.up) &&
                    IsAligned4(quantize.q);
  return wide ? RunWidth<kActivation, 4>(args, quantize, exec)
              : RunWidth<kActivation, 1>(args, quantize, exec);
}

}  // namespace

void ActivateQuantize(const ActivateArgs& args,
                      const QuantizeTokensArgs& quantize,
                      const Exec& exec) noexcept {
  switch (args.activation) {
    case Activation::kSilu:
      return Run<Activation::kSilu>(args, quantize, exec);
    case Activation::kRelu:
      return Run<Activation::kRelu>(args, quantize, exec);
    case Activation::kGeluTanh:
      return Run<Activation::kGeluTanh>(args, quantize, exec);
  }
}

}  // namespace zqfp::kernels::cuda
