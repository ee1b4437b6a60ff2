// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/float_formats.h"
#include "kernels/reference/reference.h"

namespace zqfp::kernels::reference {
namespace {

// Writes one head of one token to row `row` of a page array.
void StoreRow(const KvPagesView& pages, const float* x, void* data,
              float* scale, int64_t row) {
  const int64_t begin = row * pages.head_dim;
  if (pages.format == ValueFormat::kE4m3) {
    QuantizeTokens({.num_tokens = 1,
                    .dim = pages.head_dim,
                    .x = x,
                    .q = static_cast<uint8_t*>(data) + begin,
                    .scale = scale + row},
                   Exec{});
    return;
  }
  for (int64_t i = 0; i < pages.head_dim; ++i) {
    if (pages.format == ValueFormat::kF32) {
      static_cast<float*>(data)[begin + i] = x[i];
    } else {
      static_cast<uint16_t*>(data)[begin + i] = FloatToBf16(x[i]);
    }
  }
}

}  // namespace

void StoreKv(const StoreKvArgs& args, const Exec&) noexcept {
  const RaggedBatchView& batch = args.batch;
  const KvPagesView& pages = args.pages;
  for (int64_t s = 0; s < batch.num_sequences; ++s) {
    const int64_t end = batch.token_begin[s + 1];
    for (int64_t t = batch.token_begin[s]; t < end; ++t) {
      const int64_t position = batch.context_len[s] - (end - t);
      const int64_t page = batch.page_table[s * batch.page_table_stride +
                                            position / pages.page_size];
      for (int64_t h = 0; h < pages.num_kv_heads; ++h) {
        const int64_t row = (page * pages.num_kv_heads + h) * pages.page_size +
                            position % pages.page_size;
        const int64_t from = (t * pages.num_kv_heads + h) * pages.head_dim;
        StoreRow(pages, args.k + from, pages.k, pages.k_scale, row);
        StoreRow(pages, args.v + from, pages.v, pages.v_scale, row);
      }
    }
  }
}

}  // namespace zqfp::kernels::reference
