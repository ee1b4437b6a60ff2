// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/row_vectors.h"

namespace zqfp::kernels::cuda {
namespace {

// One block a token.
template <ValueFormat kFormat, int kWidth>
__global__ void __launch_bounds__(kRowThreads)
    EmbedToken(const int32_t* __restrict__ id, const void* __restrict__ table,
               int64_t model_dim, float scale, float* __restrict__ y) {
  AwaitInputs();
  const int64_t from = id[blockIdx.x] * model_dim;
  float* to = y + blockIdx.x * model_dim;
  for (int64_t i = threadIdx.x * kWidth; i < model_dim;
       i += blockDim.x * kWidth) {
    Floats<kWidth> row = LoadValues<kFormat, kWidth>(table, from + i);
    for (int j = 0; j < kWidth; ++j) row.value[j] *= scale;
    StoreFloats<kWidth>(to + i, row);
  }
}

template <ValueFormat kFormat>
void Run(const EmbedArgs& args, const Exec& exec) {
  const bool wide = args.model_dim % 4 == 0 && IsAligned16(args.table, args.y);
  Launch(exec, RowShape(args.num_tokens, args.model_dim, wide ? 4 : 1),
         wide ? EmbedToken<kFormat, 4> : EmbedToken<kFormat, 1>, args.id,
         args.table, args.model_dim, args.scale, args.y);
}

}  // namespace

void Embed(const EmbedArgs& args, const Exec& exec) noexcept {
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
