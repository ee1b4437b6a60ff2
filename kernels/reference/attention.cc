// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/core/parallel.h"
#include "kernels/reference/reference.h"

namespace zqfp::kernels::reference {
namespace {

// Keys and values of one sequence and KV head, by position.
struct HeadReader {
  const KvPagesView& pages;
  const int32_t* page_table;
  int64_t kv_head;

  int64_t Row(int64_t position) const {
    const int64_t page = page_table[position / pages.page_size];
    return (page * pages.num_kv_heads + kv_head) * pages.page_size +
           position % pages.page_size;
  }
  double Key(int64_t row, int64_t i) const {
    const double scale =
        pages.format == ValueFormat::kE4m3 ? pages.k_scale[row] : 1.0;
    return scale * ReadValue(pages.format, pages.k, row * pages.head_dim + i);
  }
  double Value(int64_t row, int64_t i) const {
    const double scale =
        pages.format == ValueFormat::kE4m3 ? pages.v_scale[row] : 1.0;
    return scale * ReadValue(pages.format, pages.v, row * pages.head_dim + i);
  }
};

double Score(const HeadReader& head, const float* q, int64_t row) {
  double sum = 0;
  for (int64_t i = 0; i < head.pages.head_dim; ++i) {
    sum += q[i] * head.Key(row, i);
  }
  return sum;
}

// cap(score): see AttentionArgs.
double Cap(double score, double softcap) {
  return softcap > 0 ? softcap * std::tanh(score / softcap) : score;
}

// y = softmax(cap(scale * q K^T)) V over positions [first, last], as the
// running (online) softmax: when a larger score turns up, what was summed so
// far shrinks by exp(old maximum - new maximum). head_dim <= kMaxHeadDim.
void AttendOne(const HeadReader& head, const AttentionArgs& args,
               const float* q, int64_t first, int64_t last, float* y) {
  double sum[kMaxHeadDim] = {};
  double total = 0;
  double maximum = -std::numeric_limits<double>::infinity();
  const int64_t dim = head.pages.head_dim;
  for (int64_t p = first; p <= last; ++p) {
    const int64_t row = head.Row(p);
    const double score = Cap(args.scale * Score(head, q, row), args.softcap);
    const double larger = score > maximum ? score : maximum;
    const double shrink = std::exp(maximum - larger);
    const double weight = std::exp(score - larger);  // NaN stays NaN
    for (int64_t i = 0; i < dim; ++i) {
      sum[i] = sum[i] * shrink + weight * head.Value(row, i);
    }
    total = total * shrink + weight;
    maximum = larger;
  }
  for (int64_t i = 0; i < dim; ++i) y[i] = static_cast<float>(sum[i] / total);
}

}  // namespace

void Attention(const AttentionArgs& args, const Exec& exec) noexcept {
  const RaggedBatchView& batch = args.batch;
  const KvPagesView& pages = args.pages;
  const int64_t group = args.num_heads / pages.num_kv_heads;
  for (int64_t s = 0; s < batch.num_sequences; ++s) {
    const int64_t begin = batch.token_begin[s];
    const int64_t rows = batch.token_begin[s + 1] - begin;
    const int32_t* page_table = batch.page_table + s * batch.page_table_stride;
    ParallelFor(exec, rows * args.num_heads,
                GrainFor(batch.context_len[s] * pages.head_dim),
                [&](int64_t first_job, int64_t last_job, int) {
                  for (int64_t job = first_job; job < last_job; ++job) {
                    const int64_t row = job / args.num_heads;
                    const int64_t h = job % args.num_heads;
                    const int64_t position =
                        batch.context_len[s] - (rows - row);
                    const int64_t first =
                        args.window > 0
                            ? std::max<int64_t>(0, position - args.window + 1)
                            : 0;
                    const int64_t at =
                        ((begin + row) * args.num_heads + h) * pages.head_dim;
                    AttendOne({pages, page_table, h / group}, args, args.q + at,
                              first, position, args.y + at);
                  }
                });
  }
}

}  // namespace zqfp::kernels::reference
