// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_ATTENTION_QUERY_CUH_
#define ZQFP_KERNELS_CUDA_ATTENTION_QUERY_CUH_

// One query of a tile, attended to by one warp in plain f32 from the pages as
// they are: for queries whose result is no number, where it matters in which
// way a key or value is none. Rare, and written to be short.

#include "kernels/cuda/attention_tile.cuh"
#include "kernels/cuda/kv_values.cuh"

namespace zqfp::kernels::cuda {

// Where a block leaves the result of a query: whole in y, or where other blocks
// share the tile its part, not yet divided, in the partial results.
struct ResultPlace {
  float* sum;     // [head_dim]
  int64_t index;  // in partial_maximum and partial_total; -1: whole
};

__device__ __forceinline__ ResultPlace PlaceOfResult(const AttentionPlan& plan,
                                                     const QueryTile& tile,
                                                     int query) {
  const int64_t dim = plan.args.pages.head_dim;
  if (SplitsOf(plan, tile) == 1) {
    return {plan.args.y + QueryRow(plan, tile, query) * dim, -1};
  }
  const int64_t at = PartialIndex(plan, blockIdx.x, blockIdx.y, query);
  return {plan.partial_sum + at * PartialStride(dim), at};
}

// What a warp has of its query: lane l the dimensions 8 l .. 8 l + 7, of up to
// 256, and the total of its own keys.
struct LoneQuery {
  float sum[8] = {};
  float maximum = -INFINITY;
  float total = 0;
};

// q K^T of this lane's key.
template <ValueFormat kFormat>
__device__ __forceinline__ float DotOfKey(const float* q,
                                          const KvPagesView& pages,
                                          int64_t key_row) {
  const int dim = static_cast<int>(pages.head_dim);
  const auto* q_row = reinterpret_cast<const uint8_t*>(q);
  const auto* k_row = static_cast<const uint8_t*>(pages.k) +
                      key_row * dim * kValueBytes<kFormat>;
  float sum = 0;
#pragma unroll 1
  for (int d = 0; d < dim; d += 8) {
    float x[8], key[8];
    DecodeEight<ValueFormat::kF32>(
        LoadEight<ValueFormat::kF32, true>(q_row, d, dim), x);
    DecodeEight<kFormat>(LoadEight<kFormat, true>(k_row, d, dim), key);
#pragma unroll
    for (int i = 0; i < 8; ++i) sum = fmaf(x[i], key[i], sum);
  }
  return sum;
}

// Adds the values of `count` keys, of which each lane has the row and the
// weight of one.
template <ValueFormat kFormat>
__device__ __forceinline__ void AddValues(const KvPagesView& pages, int64_t row,
                                          float weight, int count, int lane,
                                          LoneQuery& state) {
  const int dim = static_cast<int>(pages.head_dim);
#pragma unroll 1
  for (int i = 0; i < count; ++i) {
    const float w = __shfl_sync(kAllLanes, weight, i);
    const auto* v_row =
        static_cast<const uint8_t*>(pages.v) +
        __shfl_sync(kAllLanes, row, i) * dim * kValueBytes<kFormat>;
    float value[8];
    DecodeEight<kFormat>(LoadEight<kFormat, true>(v_row, lane * 8, dim), value);
#pragma unroll
    for (int d = 0; d < 8; ++d) {
      state.sum[d] = fmaf(w, value[d], state.sum[d]);
    }
  }
}

// The query's keys first_key + lane, `count` of them, at most 32.
template <ValueFormat kFormat>
__device__ __forceinline__ void AttendLanes(const AttentionPlan& plan,
                                            const QueryTile& tile,
                                            const float* q, int32_t first_key,
                                            int count, int lane,
                                            LoneQuery& state) {
  const KvPagesView& pages = plan.args.pages;
  const bool exists = lane < count;
  const int64_t row =
      KeyRow(plan, tile, first_key + (exists ? lane : count - 1));
  float score = DotOfKey<kFormat>(q, pages, row) * plan.args.scale;
  float value_scale = 1;
  if constexpr (kFormat == ValueFormat::kE4m3) {
    score *= pages.k_scale[row];
    value_scale = pages.v_scale[row];
  }
  score = exists ? Cap(score, plan.args.softcap) : -INFINITY;
  float maximum = fmaxf(score, state.maximum);
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    maximum = fmaxf(maximum, __shfl_xor_sync(kAllLanes, maximum, offset));
  }
  const float subtrahend = Subtrahend(maximum);
  const float shrink = expf(state.maximum - subtrahend);
  const float exponential = expf(score - subtrahend);
  state.maximum = maximum;
  state.total = fmaf(state.total, shrink, exponential);
#pragma unroll
  for (int d = 0; d < 8; ++d) state.sum[d] *= shrink;
  AddValues<kFormat>(pages, row, exponential * value_scale, count, lane, state);
}

// The query against those of the block's keys [begin, end) that it sees. All
// lanes of the warp together.
template <ValueFormat kFormat>
__device__ __forceinline__ void AttendQuery(const AttentionPlan& plan,
                                            const QueryTile& tile, int query,
                                            int32_t begin, int32_t end,
                                            int lane) {
  const int64_t dim = plan.args.pages.head_dim;
  const float* q = plan.args.q + QueryRow(plan, tile, query) * dim;
  const int32_t last = LastKey(plan, tile, query);
  const int32_t seen_end = last < end ? last + 1 : end;
  int32_t first = FirstKey(plan, last);
  if (first < begin) first = begin;
  LoneQuery state;
#pragma unroll 1
  for (; first < seen_end; first += 32) {
    const int32_t left = seen_end - first;
    AttendLanes<kFormat>(plan, tile, q, first, left < 32 ? left : 32, lane,
                         state);
  }
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    state.total += __shfl_xor_sync(kAllLanes, state.total, offset);
  }
  const ResultPlace place = PlaceOfResult(plan, tile, query);
  const bool whole = place.index < 0;
#pragma unroll
  for (int d = 0; d < 8; ++d) {
    if (lane * 8 + d >= dim) continue;
    place.sum[lane * 8 + d] = whole ? state.sum[d] / state.total : state.sum[d];
  }
  if (whole || lane != 0) return;
  plan.partial_maximum[place.index] = state.maximum;
  plan.partial_total[place.index] = state.total;
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_ATTENTION_QUERY_CUH_
