// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/row_vectors.h"

namespace zqfp::kernels::cuda {
namespace {

template <int kWidth>
__global__ void __launch_bounds__(kRowThreads)
    CapValues(int64_t count, float cap, float* __restrict__ x) {
  AwaitInputs();
  const int64_t i = FlatIndex<kWidth>();
  if (i >= count) return;
  Floats<kWidth> part = LoadFloats<kWidth>(x + i);
  for (int j = 0; j < kWidth; ++j) {
    part.value[j] = cap * tanhf(part.value[j] / cap);
  }
  StoreFloats<kWidth>(x + i, part);
}

}  // namespace

void Softcap(const SoftcapArgs& args, const Exec& exec) noexcept {
  const int64_t count = args.num_rows * args.dim;
  const bool wide = count % 4 == 0 && IsAligned16(args.x);
  Launch(exec, FlatShape(count, wide ? 4 : 1),
         wide ? CapValues<4> : CapValues<1>, count, args.cap, args.x);
}

}  // namespace zqfp::kernels::cuda
