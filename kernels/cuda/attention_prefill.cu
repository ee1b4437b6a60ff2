// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_prefill.cuh"

namespace zqfp::kernels::cuda {
namespace {

// Queries to shared memory, and the thread's part of them.
template <typename Shape, bool kVectors>
__device__ __forceinline__ void StageQueries(const AttentionPlan& plan,
                                             const QueryTile& tile, int y,
                                             const PrefillShared<Shape>& shared,
                                             PrefillState<Shape>& state) {
  for (int i = static_cast<int>(threadIdx.x); i < Shape::kTileQueries;
       i += kPrefillThreads) {
    // Queries that do not exist are the last one again, and see no key.
    const int last = tile.num_queries - 1;
    shared.row[i] = QueryRow(plan, tile, i < last ? i : last);
  }
  __syncthreads();
  StageRows<Shape, ValueFormat::kF32, kVectors, Shape::kTileQueries>(
      plan.args.q, shared.row, static_cast<int>(plan.args.pages.head_dim),
      shared.q);
#pragma unroll
  for (int i = 0; i < Shape::kQueries; ++i) {
    const int query = y + i * kThreadsY;
#pragma unroll
    for (int d = 0; d < 4 * Shape::kChunks; ++d) state.sum[i][d] = 0;
    state.maximum[i] = -INFINITY;
    state.total[i] = 0;
    state.last_key[i] =
        query < tile.num_queries ? LastKey(plan, tile, query) : -1;
  }
}

// Where the keys of a tile lie, and their scales.
template <typename Shape>
__device__ __forceinline__ void LocateKeys(const AttentionPlan& plan,
                                           const QueryTile& tile,
                                           int32_t first_key, int32_t end_key,
                                           const PrefillShared<Shape>& shared) {
  const int i = static_cast<int>(threadIdx.x);
  if (i >= Shape::kTileKeys) return;
  const KvPagesView& pages = plan.args.pages;
  // Keys behind the end are the last one again, which nothing sees there.
  const int32_t key = first_key + i < end_key ? first_key + i : end_key - 1;
  const int64_t row = KeyRow(plan, tile, key);
  const bool scaled = pages.format == ValueFormat::kE4m3;
  shared.row[i] = row;
  shared.key_scale[i] = scaled ? pages.k_scale[row] : 1;
  shared.value_scale[i] = scaled ? pages.v_scale[row] : 1;
}

// The tile's keys [first_key, end_key), those of one step of the loop.
template <typename Shape, bool kVectors>
__device__ __forceinline__ void AttendTile(const AttentionPlan& plan,
                                           const QueryTile& tile,
                                           int32_t first_key, int32_t end_key,
                                           int x, int y,
                                           const PrefillShared<Shape>& shared,
                                           PrefillState<Shape>& state) {
  const KvPagesView& pages = plan.args.pages;
  __syncthreads();  // the values before were read
  LocateKeys<Shape>(plan, tile, first_key, end_key, shared);
  __syncthreads();
  StageKv<Shape, kVectors>(pages, pages.k, shared.row, shared.kv);
  __syncthreads();
  float score[Shape::kQueries][Shape::kKeys];
  ScoreTile<Shape>(shared, static_cast<int>(pages.head_dim), x, y, score);
  ScaleScores<Shape>(plan, shared, x, score);
  WeighTile<Shape>(plan, shared, first_key, end_key, x, y, score, state);
  __syncthreads();  // the keys were read
  StageKv<Shape, kVectors>(pages, pages.v, shared.row, shared.kv);
  __syncthreads();
  if (end_key - first_key == Shape::kTileKeys &&
      AllSeen(plan, tile, first_key, end_key)) {
    AddTile<Shape, false>(shared, x, y, state);
  } else {
    AddTile<Shape, true>(shared, x, y, state);
  }
}

// To y, or where other blocks share the tile to the partial results.
template <typename Shape>
__device__ __forceinline__ void WriteResults(const AttentionPlan& plan,
                                             const QueryTile& tile, int x,
                                             int y,
                                             PrefillState<Shape>& state) {
  const int dim = static_cast<int>(plan.args.pages.head_dim);
  const bool whole = SplitsOf(plan, tile) == 1;
#pragma unroll
  for (int i = 0; i < Shape::kQueries; ++i) {
    const int query = y + i * kThreadsY;
    float total = state.total[i];
#pragma unroll
    for (int offset = 1; offset < kThreadsX; offset *= 2) {
      total += __shfl_xor_sync(0xffffffffu, total, offset);
    }
    if (query >= tile.num_queries) continue;
    const int64_t at = PartialIndex(plan, blockIdx.x, blockIdx.y, query);
    float* to = whole ? plan.args.y + QueryRow(plan, tile, query) * dim
                      : plan.partial_sum + at * PartialStride(dim);
#pragma unroll
    for (int j = 0; j < 4 * Shape::kChunks; ++j) {
      const int d = j / 4 * 32 + 4 * x + j % 4;
      if (d >= dim) continue;
      to[d] = whole ? state.sum[i][j] / total : state.sum[i][j];
    }
    if (whole || x != 0) continue;
    plan.partial_maximum[at] = state.maximum[i];
    plan.partial_total[at] = total;
  }
}

// Block (tile, split).
template <typename Shape, bool kVectors>
__global__ void __launch_bounds__(kPrefillThreads, Shape::kBlocks)
    AttentionPrefill(const AttentionPlan plan) {
  AwaitInputs();
  const PrefillShared<Shape> shared(DynamicShared());
  const int x = static_cast<int>(threadIdx.x % kThreadsX);
  const int y = static_cast<int>(threadIdx.x / kThreadsX);
  const QueryTile tile = FindTile(plan, blockIdx.x);
  const auto [begin, end] = KeysOfBlock(plan, tile);
  if (end <= begin) return;  // the whole block

  PrefillState<Shape> state;
  StageQueries<Shape, kVectors>(plan, tile, y, shared, state);
  for (int32_t first = begin; first < end; first += Shape::kTileKeys) {
    const int32_t tile_end =
        end - first < Shape::kTileKeys ? end : first + Shape::kTileKeys;
    AttendTile<Shape, kVectors>(plan, tile, first, tile_end, x, y, shared,
                                state);
  }
  WriteResults<Shape>(plan, tile, x, y, state);
}

template <typename Shape>
void LaunchKernel(const AttentionPlan& plan, const Exec& exec) {
  const LaunchShape shape = {.grid = dim3(static_cast<unsigned>(plan.blocks()),
                                          static_cast<unsigned>(plan.splits)),
                             .block = dim3(kPrefillThreads),
                             .shared_bytes = Shape::kSharedBytes};
  if (plan.vectors) {
    Launch(exec, shape, AttentionPrefill<Shape, true>, plan);
  } else {
    Launch(exec, shape, AttentionPrefill<Shape, false>, plan);
  }
}

}  // namespace

void LaunchPrefillF32(const AttentionPlan& plan, const Exec& exec) {
  // Tiles of keys such that two blocks share a multiprocessor, but for the
  // largest heads.
  const int64_t dim = plan.args.pages.head_dim;
  if (dim <= 32) {
    LaunchKernel<PrefillShape<1, 64, 64>>(plan, exec);
  } else if (dim <= 64) {
    LaunchKernel<PrefillShape<2, 64, 64>>(plan, exec);
  } else if (dim <= 96) {
    LaunchKernel<PrefillShape<3, 64, 64>>(plan, exec);
  } else if (dim <= 128) {
    LaunchKernel<PrefillShape<4, 64, 64>>(plan, exec);
  } else if (dim <= 256) {
    LaunchKernel<PrefillShape<8, 64, 32>>(plan, exec);
  } else {
    LaunchKernel<PrefillShape<16, 32, 32>>(plan, exec);
  }
}

}  // namespace zqfp::kernels::cuda
