// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/parallel.h"
#include "kernels/cpu/avx2/avx2.h"
#include "kernels/cpu/avx2/lanes.h"

namespace zqfp::kernels::avx2 {
namespace {

constexpr int64_t kTileKeys = 64;

// One query head of one row, and the keys and values it reads.
struct Query {
  const KvPagesView& pages;
  const int32_t* page_table;
  int64_t kv_head;
  const float* q;
  const AttentionArgs& args;

  int64_t Row(int64_t position) const {
    const int64_t page = page_table[position / pages.page_size];
    return (page * pages.num_kv_heads + kv_head) * pages.page_size +
           position % pages.page_size;
  }
};

template <ValueFormat kFormat>
float Score(const Query& query, int64_t row) {
  const int64_t dim = query.pages.head_dim;
  __m256 sum = _mm256_setzero_ps();
  for (int64_t d = 0; d < dim; d += kLanes) {
    sum = _mm256_fmadd_ps(LoadF32(query.q + d, dim - d),
                          Load<kFormat>(query.pages.k, row * dim + d, dim - d),
                          sum);
  }
  const float key_scale =
      kFormat == ValueFormat::kE4m3 ? query.pages.k_scale[row] : 1.0f;
  return SumLanes(sum) * key_scale * query.args.scale;
}

void CapScores(float softcap, int64_t count, float* score) {
  for (int64_t i = 0; i < count; i += kLanes) {
    _mm256_store_ps(score + i, Cap(_mm256_load_ps(score + i), softcap));
  }
}

// Online softmax: what was summed so far shrinks when a larger score turns up.
struct Softmax {
  alignas(32) float sum[kMaxHeadDim] = {};
  float maximum = -__builtin_inff();
  float total = 0;
};

// score[i] becomes exp(score[i] - maximum), zero beyond count.
void Weigh(float* score, int64_t count, int64_t dim, Softmax& state) {
  __m256 most = _mm256_set1_ps(state.maximum);
  for (int64_t i = count; i < kTileKeys; ++i) score[i] = -__builtin_inff();
  for (int64_t i = 0; i < kTileKeys; i += kLanes) {
    most = _mm256_max_ps(most, _mm256_load_ps(score + i));
  }
  const float maximum = MaxLane(most);
  const __m256 shrink =
      Exp(_mm256_set1_ps(state.maximum - maximum));  // exp(-inf) is 0
  const float factor = state.total == 0 ? 0.0f : _mm256_cvtss_f32(shrink);
  for (int64_t d = 0; d < dim; d += kLanes) {
    _mm256_store_ps(state.sum + d, _mm256_mul_ps(_mm256_load_ps(state.sum + d),
                                                 _mm256_set1_ps(factor)));
  }
  __m256 added = _mm256_setzero_ps();
  for (int64_t i = 0; i < kTileKeys; i += kLanes) {
    __m256 weight =
        Exp(_mm256_sub_ps(_mm256_load_ps(score + i), _mm256_set1_ps(maximum)));
    weight = _mm256_and_ps(weight, _mm256_castsi256_ps(Mask(count - i)));
    _mm256_store_ps(score + i, weight);
    added = _mm256_add_ps(added, weight);
  }
  state.total = state.total * factor + SumLanes(added);
  state.maximum = maximum;
}

template <ValueFormat kFormat>
void AddValues(const Query& query, const int64_t* row, const float* weight,
               int64_t count, Softmax& state) {
  const int64_t dim = query.pages.head_dim;
  alignas(32) float scaled[kTileKeys];
  for (int64_t i = 0; i < count; ++i) {
    scaled[i] = kFormat == ValueFormat::kE4m3
                    ? weight[i] * query.pages.v_scale[row[i]]
                    : weight[i];
  }
  for (int64_t d = 0; d < dim; d += kLanes) {
    __m256 sum = _mm256_load_ps(state.sum + d);
    for (int64_t i = 0; i < count; ++i) {
      sum = _mm256_fmadd_ps(
          _mm256_set1_ps(scaled[i]),
          Load<kFormat>(query.pages.v, row[i] * dim + d, dim - d), sum);
    }
    _mm256_store_ps(state.sum + d, sum);
  }
}

// y = softmax(cap(scale * q K^T)) V over the positions [first, last].
template <ValueFormat kFormat>
void Attend(const Query& query, int64_t first, int64_t last, float* y) {
  const int64_t dim = query.pages.head_dim;
  Softmax state;
  int64_t row[kTileKeys];
  alignas(32) float score[kTileKeys] = {};
  for (int64_t p = first; p <= last; p += kTileKeys) {
    const int64_t count = last - p + 1 < kTileKeys ? last - p + 1 : kTileKeys;
    for (int64_t i = 0; i < count; ++i) {
      row[i] = query.Row(p + i);
      score[i] = Score<kFormat>(query, row[i]);
    }
    if (query.args.softcap > 0) CapScores(query.args.softcap, count, score);
    Weigh(score, count, dim, state);
    AddValues<kFormat>(query, row, score, count, state);
  }
  for (int64_t d = 0; d < dim; d += kLanes) {
    StoreF32(y + d, dim - d,
             _mm256_div_ps(_mm256_load_ps(state.sum + d),
                           _mm256_set1_ps(state.total)));
  }
}

template <ValueFormat kFormat>
void Run(const AttentionArgs& args, const Exec& exec) {
  const RaggedBatchView& batch = args.batch;
  const KvPagesView& pages = args.pages;
  const int64_t group = args.num_heads / pages.num_kv_heads;
  for (int64_t s = 0; s < batch.num_sequences; ++s) {
    const int64_t begin = batch.token_begin[s];
    const int64_t rows = batch.token_begin[s + 1] - begin;
    const int32_t* page_table = batch.page_table + s * batch.page_table_stride;
    const auto attend = [&](int64_t job) {
      const int64_t row = job / args.num_heads;
      const int64_t head = job % args.num_heads;
      const int64_t position = batch.context_len[s] - (rows - row);
      const int64_t start = position - args.window + 1;
      const int64_t first = args.window > 0 && start > 0 ? start : 0;
      const int64_t at =
          ((begin + row) * args.num_heads + head) * pages.head_dim;
      Attend<kFormat>({pages, page_table, head / group, args.q + at, args},
                      first, position, args.y + at);
    };
    ParallelFor(exec, rows * args.num_heads,
                GrainFor(batch.context_len[s] * pages.head_dim),
                [&](int64_t from, int64_t to, int) {
                  for (int64_t job = from; job < to; ++job) attend(job);
                });
  }
}

}  // namespace

void Attention(const AttentionArgs& args, const Exec& exec) noexcept {
  switch (args.pages.format) {
    case ValueFormat::kBf16:
      return Run<ValueFormat::kBf16>(args, exec);
    case ValueFormat::kE4m3:
      return Run<ValueFormat::kE4m3>(args, exec);
    default:
      return Run<ValueFormat::kF32>(args, exec);
  }
}

}  // namespace zqfp::kernels::avx2
