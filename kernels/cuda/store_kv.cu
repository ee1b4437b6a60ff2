// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/store_kv_row.h"

namespace zqfp::kernels::cuda {
namespace {

constexpr int kWarps = 8;  // of a block

// Block (token, some rows): one warp a row, which is a head's key or, behind
// all of those, its value.
template <ValueFormat kFormat, int kWidth>
__global__ void __launch_bounds__(32 * kWarps)
    StoreRows(RaggedBatchView batch, const float* __restrict__ k,
              const float* __restrict__ v, KvPagesView pages) {
  AwaitInputs();
  const int64_t index = blockIdx.y * kWarps + threadIdx.x / 32;
  if (index >= 2 * pages.num_kv_heads) return;  // a whole warp
  const KvRow row = KvRowOf(pages, index);
  StoreRow<kFormat, kWidth>(
      batch, pages, blockIdx.x, row,
      (row.is_value ? v : k) +
          (blockIdx.x * pages.num_kv_heads + row.head) * pages.head_dim);
}

template <ValueFormat kFormat>
void Run(const StoreKvArgs& args, const Exec& exec) {
  const KvPagesView& pages = args.pages;
  const bool wide =
      pages.head_dim % 4 == 0 && IsAligned16(args.k, args.v, pages.k, pages.v);
  const int64_t rows = 2 * pages.num_kv_heads;
  const LaunchShape shape = {
      .grid = dim3(static_cast<unsigned>(args.batch.num_tokens),
                   static_cast<unsigned>((rows + kWarps - 1) / kWarps)),
      .block = dim3(32 * kWarps)};
  Launch(exec, shape, wide ? StoreRows<kFormat, 4> : StoreRows<kFormat, 1>,
         args.batch, args.k, args.v, pages);
}

}  // namespace

void StoreKv(const StoreKvArgs& args, const Exec& exec) noexcept {
  switch (args.pages.format) {
    case ValueFormat::kF32:
      return Run<ValueFormat::kF32>(args, exec);
    case ValueFormat::kBf16:
      return Run<ValueFormat::kBf16>(args, exec);
    case ValueFormat::kE4m3:
      return Run<ValueFormat::kE4m3>(args, exec);
    case ValueFormat::kF16:
      return;  // ValidateStoreKv refuses it
  }
}

}  // namespace zqfp::kernels::cuda
