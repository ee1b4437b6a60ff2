// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_STORE_KV_ROW_H_
#define ZQFP_KERNELS_CUDA_STORE_KV_ROW_H_

// One head's key or value of one token to its page: StoreKv, and StoreKv
// behind Rope.

#include <stdint.h>

#include "kernels/core/views.h"
#include "kernels/cuda/quantize_row.h"

namespace zqfp::kernels::cuda {

// The sequence that has the token: as many as end at or before it. The warp
// counts together, so that no load waits for another one.
__device__ inline int64_t SequenceOf(const RaggedBatchView& batch,
                                     int64_t token) {
  float ended = 0;  // exact: fewer than 2^24
  for (int64_t s = threadIdx.x % 32; s < batch.num_sequences; s += 32) {
    ended += batch.token_begin[s + 1] <= token ? 1.0f : 0.0f;
  }
  return static_cast<int64_t>(ReduceWarp<Sum>(ended));
}

// The row of a page array that holds this token's head.
__device__ inline int64_t PageRow(const RaggedBatchView& batch,
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

// Which row of a token's keys and values: those of the keys come first.
struct KvRow {
  bool is_value;
  int64_t head;
};

__device__ __forceinline__ KvRow KvRowOf(const KvPagesView& pages,
                                         int64_t index) {
  const bool is_value = index >= pages.num_kv_heads;
  return {is_value, is_value ? index - pages.num_kv_heads : index};
}

// Stores `from` [head_dim] in that row of the keys' or the values' pages; the
// whole warp calls it.
template <ValueFormat kFormat, int kWidth>
__device__ __forceinline__ void StoreInRow(const KvPagesView& pages,
                                           bool is_value, int64_t row,
                                           const float* from) {
  const int64_t dim = pages.head_dim;
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

// The same of a token of the batch.
template <ValueFormat kFormat, int kWidth>
__device__ __forceinline__ void StoreRow(const RaggedBatchView& batch,
                                         const KvPagesView& pages,
                                         int64_t token, const KvRow& which,
                                         const float* from) {
  const int64_t row = PageRow(batch, pages, token, which.head);
  StoreInRow<kFormat, kWidth>(pages, which.is_value, row, from);
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_STORE_KV_ROW_H_
