// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/row_vectors.h"

namespace zqfp::kernels::cuda {
namespace {

template <Activation kActivation>
__device__ __forceinline__ float Apply(float x) {
  if constexpr (kActivation == Activation::kRelu) {
    return x < 0 ? 0.0f : x;  // NaN stays NaN
  } else if constexpr (kActivation == Activation::kSilu) {
    return x / (1.0f + expf(-x));
  } else {
    // x sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3))
    const float u = x * fmaf(x * x, 0.044715f, 1.0f) * 1.5957691216f;
    return x / (1.0f + expf(-u));
  }
}

// y may be x: every thread writes where only it has read.
template <Activation kActivation, int kWidth>
__global__ void __launch_bounds__(kRowThreads)
    ActivateValues(int64_t count, const float* x, const float* __restrict__ up,
                   float* y) {
  const int64_t i = FlatIndex<kWidth>();
  if (i >= count) return;
  Floats<kWidth> part = LoadFloats<kWidth>(x + i);
  for (int j = 0; j < kWidth; ++j) {
    part.value[j] = Apply<kActivation>(part.value[j]);
  }
  if (up != nullptr) {
    const Floats<kWidth> factor = LoadFloats<kWidth>(up + i);
    for (int j = 0; j < kWidth; ++j) part.value[j] *= factor.value[j];
  }
  StoreFloats<kWidth>(y + i, part);
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
