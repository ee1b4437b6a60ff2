// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/quantize_row.h"

namespace zqfp::kernels::cuda {
namespace {

constexpr int kWarps = 8;  // of a block

// The sequence that has the token: as many as end at or before it. The warp
// counts together, so that no load waits for another one.
__device__ int64_t SequenceOf(const RaggedBatchView& batch, int64_t token) {
  float ended = 0;  // exact: fewer than 2^24
  for (int64_t s = threadIdx.x % 32; s < batch.num_sequences; s += 32) {
    ended += batch.token_begin[s + 1] <= token ? 1.0f : 0.0f;
  }
  return static_cast<int64_t>(ReduceWarp<Sum>(ended));
}

// The row of a page array that holds this token's head.
__device__ int64_t PageRow(const RaggedBatchView& batch,
                           const KvPagesView& pages, int64_t token,
                           int64_t head) {
  const int64_t s = SequenceOf(batch, token);
  const int64_t position =
      batch.context_len[s] - (batch.token_begin[s + 1] - token);
  const int64_t page =
      batch
          .page_table[s * batch.page_table_stride + position / pages.page_size];
  return (page * pages.num_kv_heads + head) * pages.page_size +
         position % pages.page_size;
}

template <int kWidth>
__device__ __forceinline__ void StoreBf16(uint16_t* to,
                                          const Floats<kWidth>& x) {
  if constexpr (kWidth == 4) {
    *reinterpret_cast<uint2*>(to) =
        make_uint2(Bf16x2FromF32(x.value[1], x.value[0]),
                   Bf16x2FromF32(x.value[3], x.value[2]));
  } else {
    for (int i = 0; i < kWidth; ++i) {
      to[i] = static_cast<uint16_t>(Bf16x2FromF32(0, x.value[i]));
    }
  }
}

// Block (token, some rows): one warp a row, which is a head's key or, behind
// all of those, its value.
template <ValueFormat kFormat, int kWidth>
__global__ void __launch_bounds__(32 * kWarps)
    StoreRow(RaggedBatchView batch, const float* __restrict__ k,
             const float* __restrict__ v, KvPagesView pages) {
  const int64_t index = blockIdx.y * kWarps + threadIdx.x / 32;
  if (index >= 2 * pages.num_kv_heads) return;  // a whole warp
  const bool is_value = index >= pages.num_kv_heads;
  const int64_t head = is_value ? index - pages.num_kv_heads : index;
  const int64_t dim = pages.head_dim;
  const float* from =
      (is_value ? v : k) + (blockIdx.x * pages.num_kv_heads + head) * dim;
  const int64_t row = PageRow(batch, pages, blockIdx.x, head);
  void* to = is_value ? pages.v : pages.k;
  if constexpr (kFormat == ValueFormat::kE4m3) {
    QuantizeRow<kWidth, RowTeam<true>>(
        from, dim, static_cast<uint8_t*>(to) + row * dim,
        (is_value ? pages.v_scale : pages.k_scale) + row);
  } else {
    for (int64_t i = threadIdx.x % 32 * kWidth; i < dim; i += 32 * kWidth) {
      const Floats<kWidth> part = LoadFloats<kWidth>(from + i);
      if constexpr (kFormat == ValueFormat::kF32) {
        StoreFloats<kWidth>(static_cast<float*>(to) + row * dim + i, part);
      } else {
        StoreBf16<kWidth>(static_cast<uint16_t*>(to) + row * dim + i, part);
      }
    }
  }
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
  Launch(exec, shape, wide ? StoreRow<kFormat, 4> : StoreRow<kFormat, 1>,
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
