// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/activate_values.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/row_vectors.h"

namespace zqfp::kernels::cuda {
namespace {

// y may be x: every thread writes where only it has read.
template <Activation kActivation, int kWidth>
__global__ void __launch_bounds__(kRowThreads)
    ActivateValues(int64_t count, const float* x, const float* __restrict__ up,
                   float* y) {
  AwaitInputs();
  const int64_t i = FlatIndex<kWidth>();
  if (i >= count) return;
  StoreFloats<kWidth>(y + i, Activated<kActivation, kWidth>(x, up, i));
}

template <Activation kActivation>
void Run(const ActivateArgs& args, const Exec& exec) {
  const int64_t count = args.num_tokens * args.dim;
  const bool wide = count % 4 == 0 && IsAligned16(args.x, args.up, args.y);
  Launch(exec, FlatShape(count, wide ? 4 : 1),
         wide ? ActivateValues<kActivation, 4> : ActivateValues<kActivation, 1>,
         count, args.x, args.up, args.y);
}

}  // namespace

void Activate(const ActivateArgs& args, const Exec& exec) noexcept {
  switch (args.activation) {
    case Activation::kSilu:
      return Run<Activation::kSilu>(args, exec);
    case Activation::kRelu:
      return Run<Activation::kRelu>(args, exec);
    case Activation::kGeluTanh:
      return Run<Activation::kGeluTanh>(args, exec);
  }
}

}  // namespace zqfp::kernels::cuda
