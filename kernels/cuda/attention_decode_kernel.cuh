// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_ATTENTION_DECODE_KERNEL_CUH_
#define ZQFP_KERNELS_CUDA_ATTENTION_DECODE_KERNEL_CUH_

// The decode kernel, and which of its shapes a plan takes. One source per
// format instantiates it: there are many shapes, which compile side by side.

#include "kernels/cuda/arrivals.h"
#include "kernels/cuda/attention_decode.cuh"
#include "kernels/cuda/attention_merge.cuh"
#include "kernels/cuda/attention_new_tokens.cuh"

namespace zqfp::kernels::cuda {

// How many blocks have left their partial results, by tile.
static __device__ unsigned arrivals[kMostSplitTiles];

// `rotated` [kQueries, kStride] are the tile's queries where it has new tokens.
template <typename Shape>
__device__ __forceinline__ void LoadQueries(const AttentionPlan& plan,
                                            const QueryTile& tile, int lane,
                                            const float* rotated,
                                            DecodeState<Shape>& state) {
  const int dim = static_cast<int>(plan.args.pages.head_dim);
  const auto row_of = [&](int q) {
    return Shape::kVectors && plan.new_tokens.k != nullptr
               ? rotated + q * Shape::kStride
               : plan.args.q + QueryRow(plan, tile, q) * dim;
  };
#pragma unroll
  for (int q = 0; q < Shape::kQueries; ++q) {
    const bool exists = q < tile.num_queries;
    const float* row = row_of(exists ? q : 0);
    if constexpr (!Shape::kTensorCores) {
#pragma unroll
      for (int s = 0; s < Shape::kSlices; ++s) {
        const auto values = LoadEight<ValueFormat::kF32, Shape::kVectors>(
            reinterpret_cast<const uint8_t*>(row), FirstDim<Shape>(lane, s),
            exists ? dim : 0);
        DecodeEight<ValueFormat::kF32>(values, &state.q[q][8 * s]);
      }
#pragma unroll
      for (int i = 0; i < Shape::kDims; ++i) state.sum[q][i] = 0;
    }
    state.maximum[q] = -INFINITY;
    state.total[q] = 0;
    state.last_key[q] = exists ? LastKey(plan, tile, q) : -1;
  }
  if constexpr (Shape::kTensorCores) {
    const int q = lane / 4;
    LoadScoreQueries(plan, q < tile.num_queries ? row_of(q) : nullptr, lane,
                     state.score_queries);
  }
}

// Keys or values on their way: a batch is loaded while the one before it is
// computed.
template <typename Shape>
using LoadedBatches =
    EightValues<Shape::kFormat>[2][Shape::kBatch][Shape::kSlices];

// q K^T of the warp's 32 keys, to its exchange; at the end the first batch of
// values is on its way, in loaded[kBatches % 2]. `values` is the page array
// from this lane's first dimension on.
template <typename Shape>
__device__ __forceinline__ void ScoreWarpKeys(const KvPagesView& pages,
                                              const uint8_t* values, int lane,
                                              DecodeExchange<Shape> exchange,
                                              const DecodeState<Shape>& state,
                                              LoadedBatches<Shape>& loaded) {
  const int dim = static_cast<int>(pages.head_dim);
  const uint8_t* keys = static_cast<const uint8_t*>(pages.k) +
                        FirstDim<Shape>(lane, 0) * kValueBytes<Shape::kFormat>;
  LoadBatch<Shape>(keys, exchange.row_offset, 0, lane, dim, loaded[0]);
#pragma unroll
  for (int batch = 0; batch < Shape::kBatches; ++batch) {
    const bool last = batch + 1 == Shape::kBatches;
    LoadBatch<Shape>(last ? values : keys, exchange.row_offset,
                     last ? 0 : batch + 1, lane, dim, loaded[(batch + 1) % 2]);
    ScoreBatch<Shape>(state, loaded[batch % 2], batch, lane, exchange);
  }
}

// A warp's 32 keys.
struct KeyRun {
  int32_t first_key;
  int32_t end_key;  // of the block
  int64_t row;      // of this lane's key, in the page arrays
  bool all_seen;    // by every query; none is behind the end
};

// What that lane's key and value are to be multiplied by.
template <typename Shape>
__device__ __forceinline__ float2 ScalesOf(const KvPagesView& pages,
                                           int64_t row) {
  if constexpr (Shape::kFormat != ValueFormat::kE4m3) return make_float2(1, 1);
  return make_float2(pages.k_scale[row], pages.v_scale[row]);
}

// Attends to a run, of which all lanes' offsets are in the exchange.
template <typename Shape>
__device__ __forceinline__ void AttendOnTensorCores(
    const AttentionPlan& plan, const QueryTile& tile, const KeyRun& run,
    int lane, DecodeExchange<Shape> exchange, DecodeState<Shape>& state) {
  const KvPagesView& pages = plan.args.pages;
  const int dim = static_cast<int>(pages.head_dim);
  const auto* keys = static_cast<const uint8_t*>(pages.k);
  const auto* values = static_cast<const uint8_t*>(pages.v);
  const float2 scales = ScalesOf<Shape>(pages, run.row);
  KeyPieces key_pieces[kRunTiles];
  ValuePieces value_pieces[kRunTiles];
#pragma unroll
  for (int i = 0; i < kRunTiles; ++i) {
    key_pieces[i] =
        LoadKeyPieces(keys, exchange.row_offset, i * kTileKeys, lane, dim);
  }
#pragma unroll
  for (int i = 0; i < kRunTiles; ++i) {
    value_pieces[i] =
        LoadValuePieces(values, exchange.row_offset, i * kTileKeys, lane, dim);
  }
#pragma unroll
  for (int i = 0; i < kRunTiles; ++i) {
    ScoreKeys(key_pieces[i], state.score_queries, lane,
              exchange.weight + i * kTileKeys);
  }
  __syncwarp();
  WeighKeys<Shape>(plan, run.first_key + lane, run.end_key, scales.x, scales.y,
                   lane, exchange.weight[lane], state);
  __syncwarp();
  // Queries of one token see the same keys. The others of such a run are copies
  // of the last one, which its token sees.
  const bool one_token =
      LastKey(plan, tile, 0) == LastKey(plan, tile, tile.num_queries - 1);
  if (one_token || run.all_seen) {
    AddValues(value_pieces, WeightsOfValues(exchange.weight, lane),
              state.value_sums);
  } else {
    AddSeenValues(values, exchange.row_offset, exchange.weight, lane, dim,
                  state.value_sums);
  }
  __syncwarp();  // before the exchange is used again
}

// The same in plain f32.
template <typename Shape>
__device__ __forceinline__ void Attend(const AttentionPlan& plan,
                                       const KeyRun& run, int lane,
                                       DecodeExchange<Shape> exchange,
                                       DecodeState<Shape>& state) {
  const KvPagesView& pages = plan.args.pages;
  const int dim = static_cast<int>(pages.head_dim);
  const float2 scales = ScalesOf<Shape>(pages, run.row);
  const auto* values = static_cast<const uint8_t*>(pages.v) +
                       FirstDim<Shape>(lane, 0) * kValueBytes<Shape::kFormat>;
  // The first values are loaded while the scores become weights.
  LoadedBatches<Shape> loaded;
  ScoreWarpKeys<Shape>(pages, values, lane, exchange, state, loaded);
  __syncwarp();
  WeighKeys<Shape>(plan, run.first_key + lane, run.end_key, scales.x, scales.y,
                   lane, exchange.weight[lane], state);
  __syncwarp();
#pragma unroll
  for (int batch = 0; batch < Shape::kBatches; ++batch) {
    const int buffer = (Shape::kBatches + batch) % 2;
    if (batch + 1 < Shape::kBatches) {
      LoadBatch<Shape>(values, exchange.row_offset, batch + 1, lane, dim,
                       loaded[1 - buffer]);
    }
    if (run.all_seen) {
      AddBatch<Shape, false>(loaded[buffer], batch, lane, exchange, state);
    } else {
      AddBatch<Shape, true>(loaded[buffer], batch, lane, exchange, state);
    }
  }
  __syncwarp();  // before the exchange is used again
}

// The runs of a warp, of the block's keys [begin, end).
template <typename Shape>
__device__ __forceinline__ void AttendWarp(const AttentionPlan& plan,
                                           const QueryTile& tile, int32_t begin,
                                           int32_t end, int warp, int lane,
                                           DecodeExchange<Shape> exchange,
                                           DecodeState<Shape>& state) {
  const int64_t row_bytes =
      plan.args.pages.head_dim * kValueBytes<Shape::kFormat>;
  // Keys behind the end are the last one again, which nothing sees there.
  int32_t key = begin + warp * kWarpKeys + lane;
  int64_t key_row = KeyRow(plan, tile, key < end ? key : end - 1);
  for (int32_t first = begin + warp * kWarpKeys; first < end;
       first += kDecodeWarps * kWarpKeys) {
    const int32_t behind = first + kWarpKeys;
    const KeyRun run = {first, end, key_row,
                        behind <= end && AllSeen(plan, tile, first, behind)};
    exchange.row_offset[lane] = key_row * row_bytes;
    __syncwarp();
    // Where the next keys lie is on its way while these are attended to.
    key += kDecodeWarps * kWarpKeys;
    key_row = KeyRow(plan, tile, key < end ? key : end - 1);
    if constexpr (Shape::kTensorCores) {
      AttendOnTensorCores<Shape>(plan, tile, run, lane, exchange, state);
    } else {
      Attend<Shape>(plan, run, lane, exchange, state);
    }
  }
}

// Sums what the lanes and groups of lanes of a warp have; all lanes get totals,
// and of the sums those of their own dimensions, which on the tensor cores they
// have already.
template <typename Shape>
__device__ __forceinline__ void JoinLanes(DecodeState<Shape>& state) {
#pragma unroll
  for (int q = 0; q < Shape::kQueries; ++q) {
#pragma unroll
    for (int offset = 1; offset < 32; offset *= 2) {
      state.total[q] += __shfl_xor_sync(kAllLanes, state.total[q], offset);
    }
    if constexpr (!Shape::kTensorCores) {
#pragma unroll
      for (int offset = Shape::kLanes; offset < 32; offset *= 2) {
#pragma unroll
        for (int i = 0; i < Shape::kDims; ++i) {
          state.sum[q][i] +=
              __shfl_xor_sync(kAllLanes, state.sum[q][i], offset);
        }
      }
    }
  }
}

// The results of a block's warps.
template <typename Shape>
struct DecodeResults {
  float (*sum)[Shape::kQueries][Shape::kStride];  // [kDecodeWarps, ..]
  float (*maximum)[Shape::kQueries];              // [kDecodeWarps, ..]
  float (*total)[Shape::kQueries];                // [kDecodeWarps, ..]
};

template <typename Shape>
__device__ __forceinline__ void LeaveResults(const DecodeState<Shape>& state,
                                             int warp, int lane,
                                             DecodeResults<Shape> results) {
#pragma unroll
  for (int q = 0; q < Shape::kQueries; ++q) {
    if (lane == 0) {
      results.maximum[warp][q] = state.maximum[q];
      results.total[warp][q] = state.total[q];
    }
    if constexpr (!Shape::kTensorCores) {
      if (lane >= Shape::kLanes) continue;
#pragma unroll
      for (int i = 0; i < Shape::kDims; ++i) {
        results.sum[warp][q][FirstDim<Shape>(lane, i / 8) + i % 8] =
            state.sum[q][i];
      }
    }
  }
  if constexpr (Shape::kTensorCores) {
    if (lane / 4 < Shape::kQueries) {
      StoreValueSums(state.value_sums, lane, results.sum[warp][lane / 4]);
    }
  }
}

// Merges the warps, in their order: to y, or where other blocks share the
// tile to the partial results.
template <typename Shape>
__device__ __forceinline__ void MergeWarps(const AttentionPlan& plan,
                                           const QueryTile& tile,
                                           DecodeResults<Shape> results) {
  const int dim = static_cast<int>(plan.args.pages.head_dim);
  const bool whole = SplitsOf(plan, tile) == 1;
  for (int i = static_cast<int>(threadIdx.x); i < tile.num_queries * dim;
       i += kDecodeWarps * 32) {
    const int q = i / dim, d = i % dim;
    float maximum = -INFINITY, sum = 0, total = 0;
    for (int w = 0; w < kDecodeWarps; ++w) {
      maximum = fmaxf(maximum, results.maximum[w][q]);
    }
    for (int w = 0; w < kDecodeWarps; ++w) {
      const float shrink = expf(results.maximum[w][q] - Subtrahend(maximum));
      sum = fmaf(results.sum[w][q][d], shrink, sum);
      total = fmaf(results.total[w][q], shrink, total);
    }
    if (whole) {
      plan.args.y[QueryRow(plan, tile, q) * dim + d] = sum / total;
      continue;
    }
    const int64_t at = PartialIndex(plan, blockIdx.x, blockIdx.y, q);
    plan.partial_sum[at * PartialStride(dim) + d] = sum;
    if (d != 0) continue;
    plan.partial_maximum[at] = maximum;
    plan.partial_total[at] = total;
  }
}

// Block (tile, split). Blocks behind the tile's last split have nothing to do
// and do not arrive: nobody counts them either.
template <typename Shape>
__global__ void __launch_bounds__(kDecodeWarps * 32, Shape::kBlocks)
    AttentionDecode(const AttentionPlan plan) {
  AwaitInputs();
  constexpr int kQueries = Shape::kQueries;
  __align__(16) __shared__ float weight[kDecodeWarps][kWarpKeys][kQueries];
  __shared__ int64_t row_offset[kDecodeWarps][kWarpKeys];
  __align__(16) __shared__ float sum[kDecodeWarps][kQueries][Shape::kStride];
  __shared__ float maximum[kDecodeWarps][kQueries];
  __shared__ float total[kDecodeWarps][kQueries];
  const int lane = static_cast<int>(threadIdx.x % 32);
  // The same in all lanes, of which the shuffle tells the compiler.
  const int warp =
      __shfl_sync(kAllLanes, static_cast<int>(threadIdx.x / 32), 0);
  const QueryTile tile = FindTile(plan, blockIdx.x);
  const auto [begin, end] = KeysOfBlock(plan, tile);
  if (end <= begin) return;  // the whole block

  DecodeState<Shape> state;
  if constexpr (Shape::kVectors) {
    __shared__ NewRows<Shape> rows;
    if (plan.new_tokens.k != nullptr) {
      TakeNewToken<Shape>(plan, tile, end == tile.end_key, warp, rows);
    }
    LoadQueries<Shape>(plan, tile, lane, rows.query[0], state);
  } else {
    LoadQueries<Shape>(plan, tile, lane, nullptr, state);
  }
  AttendWarp<Shape>(plan, tile, begin, end, warp, lane,
                    {weight[warp], row_offset[warp]}, state);
  JoinLanes<Shape>(state);
  const DecodeResults<Shape> results = {sum, maximum, total};
  LeaveResults<Shape>(state, warp, lane, results);
  __syncthreads();
  MergeWarps<Shape>(plan, tile, results);
  const int32_t splits = SplitsOf(plan, tile);
  if (splits > 1 && IsLastToArrive(&arrivals[blockIdx.x], splits)) {
    MergeSplits(plan, tile, warp, kDecodeWarps, lane);
  }
}

template <ValueFormat kFormat, int kLanes, int kSlices, int kQueries,
          bool kVectors, bool kTensorCores = false>
void LaunchDecodeShape(const AttentionPlan& plan, const Exec& exec) {
  using Shape =
      DecodeShape<kFormat, kLanes, kSlices, kQueries, kVectors, kTensorCores>;
  Launch(exec,
         {.grid = dim3(static_cast<unsigned>(plan.blocks()),
                       static_cast<unsigned>(plan.splits)),
          .block = dim3(kDecodeWarps * 32)},
         AttentionDecode<Shape>, plan);
}

// As PlanDecode chooses them.
template <ValueFormat kFormat, int kLanes, int kSlices>
void LaunchDecodeLanes(const AttentionPlan& plan, const Exec& exec) {
  constexpr int kSome = 4 / kSlices;
  if constexpr (kFormat == ValueFormat::kE4m3 && kLanes == 16) {
    if (plan.vectors && plan.tile_queries >= kSome &&
        plan.args.pages.head_dim % 16 == 0) {
      return plan.tile_queries == kSome
                 ? LaunchDecodeShape<kFormat, kLanes, kSlices, kSome, true,
                                     true>(plan, exec)
                 : LaunchDecodeShape<kFormat, kLanes, kSlices, 8, true, true>(
                       plan, exec);
    }
  }
  if (!plan.vectors) {
    LaunchDecodeShape<kFormat, kLanes, kSlices, kSome, false>(plan, exec);
  } else if (plan.tile_queries == 1) {
    LaunchDecodeShape<kFormat, kLanes, kSlices, 1, true>(plan, exec);
  } else if (plan.tile_queries == kSome) {
    LaunchDecodeShape<kFormat, kLanes, kSlices, kSome, true>(plan, exec);
  } else if constexpr (kSlices == 1) {
    LaunchDecodeShape<kFormat, kLanes, kSlices, 8, true>(plan, exec);
  }
}

template <ValueFormat kFormat>
void LaunchDecodeOf(const AttentionPlan& plan, const Exec& exec) {
  const int64_t dim = plan.args.pages.head_dim;
  if (dim <= 16) {
    LaunchDecodeLanes<kFormat, 2, 1>(plan, exec);
  } else if (dim <= 64) {
    LaunchDecodeLanes<kFormat, 8, 1>(plan, exec);
  } else if (dim <= 128) {
    LaunchDecodeLanes<kFormat, 16, 1>(plan, exec);
  } else if (dim <= 256) {
    LaunchDecodeLanes<kFormat, 32, 1>(plan, exec);
  } else {
    LaunchDecodeLanes<kFormat, 32, 2>(plan, exec);
  }
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_ATTENTION_DECODE_KERNEL_CUH_
