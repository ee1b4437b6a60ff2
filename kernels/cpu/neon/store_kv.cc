// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>

#include "kernels/core/parallel.h"
#include "kernels/cpu/neon/lanes.h"
#include "kernels/cpu/neon/neon.h"
#include "kernels/cpu/neon/quantize_row.h"

namespace zqfp::kernels::neon {
namespace {

// Writes one head of one token to row `row` of a page array.
void StoreRow(const KvPagesView& pages, const float* x, void* data,
              float* scale, int64_t row) {
  const int64_t dim = pages.head_dim;
  const int64_t at = row * dim;
  if (pages.format == ValueFormat::kE4m3) {
    QuantizeRow(x, dim, static_cast<uint8_t*>(data) + at, scale + row);
    return;
  }
  ForLanes(0, dim, [&](int64_t i, int64_t count) {
    const F32x8 v = LoadF32(x + i, count);
    if (pages.format == ValueFormat::kF32) {
      StoreF32(static_cast<float*>(data) + at + i, count, v);
      return;
    }
    uint16_t codes[kLanes];
    vst1q_u16(codes, vcombine_u16(ToBf16(v.low), ToBf16(v.high)));
    __builtin_memcpy(static_cast<uint16_t*>(data) + at + i, codes,
                     static_cast<size_t>(count) * 2);
  });
}

}  // namespace

void StoreKv(const StoreKvArgs& args, const Exec& exec) noexcept {
  const RaggedBatchView& batch = args.batch;
  const KvPagesView& pages = args.pages;
  const int64_t heads = pages.num_kv_heads;
  for (int64_t s = 0; s < batch.num_sequences; ++s) {
    const int64_t first = batch.token_begin[s];
    const int64_t rows = batch.token_begin[s + 1] - first;
    const int32_t* page_table = batch.page_table + s * batch.page_table_stride;
    ParallelFor(exec, rows, 16, [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; ++r) {
        const int64_t position = batch.context_len[s] - (rows - r);
        const int64_t page = page_table[position / pages.page_size];
        for (int64_t h = 0; h < heads; ++h) {
          const int64_t row =
              (page * heads + h) * pages.page_size + position % pages.page_size;
          const int64_t from = ((first + r) * heads + h) * pages.head_dim;
          StoreRow(pages, args.k + from, pages.k, pages.k_scale, row);
          StoreRow(pages, args.v + from, pages.v, pages.v_scale, row);
        }
      }
    });
  }
}

}  // namespace zqfp::kernels::neon
