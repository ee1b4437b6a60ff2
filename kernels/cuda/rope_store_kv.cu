// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/rope_row.h"
#include "kernels/cuda/store_kv_row.h"

namespace zqfp::kernels::cuda {
namespace {

constexpr int kWarps = 8;  // of a block

// What both sides of the launch share of the two ropes.
struct Rotation {
  int64_t num_heads;  // of the queries
  int half;           // rotary_dim / 2
  const float* cos;
  const float* sin;
  float* q;
  float* k;
};

// Block (token, some rows): one warp a row, which is a head's query, its key or
// its value, in that order.
template <ValueFormat kFormat, int kWidth>
__global__ void __launch_bounds__(32 * kWarps)
    RotateAndStore(Rotation rotation, RaggedBatchView batch,
                   const float* __restrict__ v, KvPagesView pages) {
  AwaitInputs();
  const int64_t token = blockIdx.x, heads = rotation.num_heads;
  const int64_t index = blockIdx.y * kWarps + threadIdx.x / 32;
  if (index >= heads + 2 * pages.num_kv_heads) return;  // a whole warp
  const bool is_query = index < heads;
  const KvRow which = KvRowOf(pages, is_query ? 0 : index - heads);
  const int64_t dim = pages.head_dim;
  const int64_t kv_row = token * pages.num_kv_heads + which.head;
  if (which.is_value) {
    StoreRow<kFormat, kWidth>(batch, pages, token, which, v + kv_row * dim);
    return;
  }
  float* row = is_query ? rotation.q + (token * heads + index) * dim
                        : rotation.k + kv_row * dim;
  const int64_t angles = token * rotation.half;
  RotateRow<kWidth>(rotation.cos + angles, rotation.sin + angles, rotation.half,
                    static_cast<int>(threadIdx.x % 32), 32, row, row);
  if (is_query) return;
  __syncwarp();  // a lane reads what others have rotated
  StoreRow<kFormat, kWidth>(batch, pages, token, which, row);
}

template <ValueFormat kFormat>
void Run(const RopeArgs& queries, const RopeArgs& keys,
         const StoreKvArgs& store, const Exec& exec) {
  const KvPagesView& pages = store.pages;
  const bool wide = queries.rotary_dim % 8 == 0 && pages.head_dim % 4 == 0 &&
                    IsAligned16(queries.cos, queries.sin, queries.x, keys.x,
                                store.v, pages.k, pages.v);
  const int64_t rows = queries.num_heads + 2 * pages.num_kv_heads;
  const LaunchShape shape = {
      .grid = dim3(static_cast<unsigned>(store.batch.num_tokens),
                   static_cast<unsigned>((rows + kWarps - 1) / kWarps)),
      .block = dim3(32 * kWarps)};
  const Rotation rotation = {.num_heads = queries.num_heads,
                             .half = static_cast<int>(queries.rotary_dim / 2),
                             .cos = queries.cos,
                             .sin = queries.sin,
                             .q = queries.x,
                             .k = keys.x};
  Launch(exec, shape,
         wide ? RotateAndStore<kFormat, 4> : RotateAndStore<kFormat, 1>,
         rotation, store.batch, store.v, pages);
}

}  // namespace

void RopeStoreKv(const RopeArgs& queries, const RopeArgs& keys,
                 const StoreKvArgs& store, const Exec& exec) noexcept {
  switch (store.pages.format) {
    case ValueFormat::kF32:
      return Run<ValueFormat::kF32>(queries, keys, store, exec);
    case ValueFormat::kBf16:
      return Run<ValueFormat::kBf16>(queries, keys, store, exec);
    case ValueFormat::kE4m3:
      return Run<ValueFormat::kE4m3>(queries, keys, store, exec);
    case ValueFormat::kF16:
      return;  // ValidateStoreKv refuses it
  }
}

}  // namespace zqfp::kernels::cuda
