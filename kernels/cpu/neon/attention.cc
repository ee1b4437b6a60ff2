// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/parallel.h"
#include "kernels/cpu/neon/lanes.h"
#include "kernels/cpu/neon/neon.h"

namespace zqfp::kernels::neon {
namespace {

constexpr int64_t kTileKeys = 64;
// Keys that share a pass over the query, so that eight sums are under way.
constexpr int64_t kPassKeys = 4;

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

// The products of q with kPassKeys keys, scaled.
template <ValueFormat kFormat>
void Score(const Query& query, const int64_t* row, float* score) {
  const int64_t dim = query.pages.head_dim;
  F32x8 sum[kPassKeys];
  for (F32x8& value : sum) value = Set(0.0f);
  ForLanes(0, dim, [&](int64_t d, int64_t count) {
    const F32x8 q = LoadF32(query.q + d, count);
#pragma GCC unroll 4
    for (int i = 0; i < kPassKeys; ++i) {
      sum[i] = MulAdd(q, Load<kFormat>(query.pages.k, row[i] * dim + d, count),
                      sum[i]);
    }
  });
  float32x4_t scores = SumLanes(
      vaddq_f32(sum[0].low, sum[0].high), vaddq_f32(sum[1].low, sum[1].high),
      vaddq_f32(sum[2].low, sum[2].high), vaddq_f32(sum[3].low, sum[3].high));
  if constexpr (kFormat == ValueFormat::kE4m3) {
    float scale[kPassKeys];
    for (int i = 0; i < kPassKeys; ++i) scale[i] = query.pages.k_scale[row[i]];
    scores = vmulq_f32(scores, vld1q_f32(scale));
  }
  vst1q_f32(score, vmulq_n_f32(scores, query.args.scale));
}

void CapScores(float softcap, int64_t count, float* score) {
  for (int64_t i = 0; i < count; i += kLanes) {
    Store(score + i, Cap(Load(score + i), softcap));
  }
}

// Online softmax: what was summed so far shrinks when a larger score turns up.
struct Softmax {
  float sum[kMaxHeadDim] = {};
  float maximum = -__builtin_inff();
  float total = 0;
};

// score[i] becomes exp(score[i] - maximum), zero beyond count.
void Weigh(float* score, int64_t count, int64_t dim, Softmax& state) {
  F32x8 most = Set(state.maximum);
  for (int64_t i = count; i < kTileKeys; ++i) score[i] = -__builtin_inff();
  for (int64_t i = 0; i < kTileKeys; i += kLanes) {
    most = Max(most, Load(score + i));
  }
  const float maximum = MaxLane(most);
  const F32x8 shrink = Exp(Set(state.maximum - maximum));  // exp(-inf) is 0
  const float factor = state.total == 0 ? 0.0f : vgetq_lane_f32(shrink.low, 0);
  for (int64_t d = 0; d < dim; d += kLanes) {
    Store(state.sum + d, Mul(Load(state.sum + d), Set(factor)));
  }
  F32x8 added = Set(0.0f);
  for (int64_t i = 0; i < kTileKeys; i += kLanes) {
    const F32x8 weight =
        ZeroBeyond(Exp(Sub(Load(score + i), Set(maximum))), count - i);
    Store(score + i, weight);
    added = Add(added, weight);
  }
  state.total = state.total * factor + SumLanes(added);
  state.maximum = maximum;
}

// sum[d .. d + kVectors * kLanes) += weight V, of `width` of these columns.
template <ValueFormat kFormat, int kVectors>
void AddColumns(const Query& query, const int64_t* row, const float* weight,
                int64_t count, int64_t d, int64_t width, float* sum) {
  const int64_t dim = query.pages.head_dim;
  F32x8 total[kVectors];
  for (int v = 0; v < kVectors; ++v) total[v] = Load(sum + d + v * kLanes);
  for (int64_t i = 0; i < count; ++i) {
    const F32x8 factor = Set(weight[i]);
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const int64_t at = row[i] * dim + d + v * kLanes;
      total[v] =
          MulAdd(factor, Load<kFormat>(query.pages.v, at, width - v * kLanes),
                 total[v]);
    }
  }
  for (int v = 0; v < kVectors; ++v) Store(sum + d + v * kLanes, total[v]);
}

template <ValueFormat kFormat>
void AddValues(const Query& query, const int64_t* row, const float* weight,
               int64_t count, Softmax& state) {
  const int64_t dim = query.pages.head_dim;
  float scaled[kTileKeys];
  for (int64_t i = 0; i < count; ++i) {
    scaled[i] = kFormat == ValueFormat::kE4m3
                    ? weight[i] * query.pages.v_scale[row[i]]
                    : weight[i];
  }
  constexpr int64_t kWide = 4 * kLanes;
  int64_t d = 0;
  for (; d + kWide <= dim; d += kWide) {
    AddColumns<kFormat, 4>(query, row, scaled, count, d, kWide, state.sum);
  }
  for (; d < dim; d += kLanes) {
    AddColumns<kFormat, 1>(query, row, scaled, count, d, dim - d, state.sum);
  }
}

// y = softmax(cap(scale * q K^T)) V over the positions [first, last].
template <ValueFormat kFormat>
void Attend(const Query& query, int64_t first, int64_t last, float* y) {
  const int64_t dim = query.pages.head_dim;
  Softmax state;
  int64_t row[kTileKeys];
  float score[kTileKeys] = {};
  for (int64_t p = first; p <= last; p += kTileKeys) {
    const int64_t count = last - p + 1 < kTileKeys ? last - p + 1 : kTileKeys;
    for (int64_t i = 0; i < count; ++i) row[i] = query.Row(p + i);
    // The last pass repeats a key; Weigh drops what that scored.
    for (int64_t i = count; i % kPassKeys != 0; ++i) row[i] = row[count - 1];
    for (int64_t i = 0; i < count; i += kPassKeys) {
      Score<kFormat>(query, row + i, score + i);
    }
    if (query.args.softcap > 0) CapScores(query.args.softcap, count, score);
    Weigh(score, count, dim, state);
    AddValues<kFormat>(query, row, score, count, state);
  }
  for (int64_t d = 0; d < dim; d += kLanes) {
    StoreF32(y + d, dim - d, Div(Load(state.sum + d), Set(state.total)));
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

}  // namespace zqfp::kernels::neon
