// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/parallel.h"
#include "kernels/cpu/neon/lanes.h"
#include "kernels/cpu/neon/neon.h"

namespace zqfp::kernels::neon {
namespace {

template <Activation kActivation>
inline F32x8 Apply(F32x8 x) {
  if constexpr (kActivation == Activation::kRelu) {
    return Max(Set(0.0f), x);
  } else if constexpr (kActivation == Activation::kSilu) {
    return TimesSigmoid(x, x);
  } else {
    // x sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3))
    const F32x8 inner = MulAdd(Mul(x, x), Set(0.044715f), Set(1.0f));
    const F32x8 u = Mul(Mul(x, inner), Set(1.5957691216f));
    return TimesSigmoid(x, u);
  }
}

template <Activation kActivation>
void Run(const ActivateArgs& args, const Exec& exec) {
  const int64_t count = args.num_tokens * args.dim;
  // A piece of 4096 numbers is worth a fork.
  ParallelFor(exec, count, 4096, [&](int64_t begin, int64_t end, int) {
    ForLanes(begin, end, [&](int64_t i, int64_t count) {
      F32x8 y = Apply<kActivation>(LoadF32(args.x + i, count));
      if (args.up != nullptr) {
        y = Mul(y, LoadF32(args.up + i, count));
      }
      StoreF32(args.y + i, count, y);
    });
  });
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

}  // namespace zqfp::kernels::neon
