// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/row_vectors.h"

namespace zqfp::kernels::cuda {
namespace {

// One block a row.
template <int kWidth>
__global__ void __launch_bounds__(kRowThreads)
    GatherRow(const int32_t* __restrict__ row, const float* __restrict__ x,
              int64_t dim, float* __restrict__ y) {
  AwaitInputs();
  const float* from = x + row[blockIdx.x] * dim;
  float* to = y + blockIdx.x * dim;
  for (int64_t i = threadIdx.x * kWidth; i < dim; i += blockDim.x * kWidth) {
    StoreFloats<kWidth>(to + i, LoadFloats<kWidth>(from + i));
  }
}

}  // namespace

void GatherRows(const GatherRowsArgs& args, const Exec& exec) noexcept {
  const bool wide = args.dim % 4 == 0 && IsAligned16(args.x, args.y);
  Launch(exec, RowShape(args.num_rows, args.dim, wide ? 4 : 1),
         wide ? GatherRow<4> : GatherRow<1>, args.row, args.x, args.dim,
         args.y);
}

}  // namespace zqfp::kernels::cuda
