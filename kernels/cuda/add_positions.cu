// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/row_vectors.h"

namespace zqfp::kernels::cuda {
namespace {

// One block a token.
template <ValueFormat kFormat, int kWidth>
__global__ void __launch_bounds__(kRowThreads)
    AddPosition(const int32_t* __restrict__ position,
                const void* __restrict__ table, int64_t model_dim,
                float* __restrict__ x) {
  AwaitInputs();
  const int64_t from = position[blockIdx.x] * model_dim;
  float* to = x + blockIdx.x * model_dim;
  for (int64_t i = threadIdx.x * kWidth; i < model_dim;
       i += blockDim.x * kWidth) {
    const Floats<kWidth> row = LoadValues<kFormat, kWidth>(table, from + i);
    Floats<kWidth> sum = LoadFloats<kWidth>(to + i);
    for (int j = 0; j < kWidth; ++j) sum.value[j] += row.value[j];
    StoreFloats<kWidth>(to + i, sum);
  }
}

template <ValueFormat kFormat>
void Run(const AddPositionsArgs& args, const Exec& exec) {
  const bool wide = args.model_dim % 4 == 0 && IsAligned16(args.table, args.x);
  Launch(exec, RowShape(args.num_tokens, args.model_dim, wide ? 4 : 1),
         wide ? AddPosition<kFormat, 4> : AddPosition<kFormat, 1>,
         args.position, args.table, args.model_dim, args.x);
}

}  // namespace

void AddPositions(const AddPositionsArgs& args, const Exec& exec) noexcept {
  switch (args.table_format) {
    case ValueFormat::kF32:
      return Run<ValueFormat::kF32>(args, exec);
    case ValueFormat::kBf16:
      return Run<ValueFormat::kBf16>(args, exec);
    case ValueFormat::kF16:
      return Run<ValueFormat::kF16>(args, exec);
    case ValueFormat::kE4m3:
      return;  // Validate refuses it
  }
}

}  // namespace zqfp::kernels::cuda
