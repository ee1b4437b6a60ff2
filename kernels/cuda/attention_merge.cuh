// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_ATTENTION_MERGE_CUH_
#define ZQFP_KERNELS_CUDA_ATTENTION_MERGE_CUH_

// Merges what the blocks of one tile left, in the order of their keys, so that
// the same input gives the same bits.
//
// A warp takes one query and 128 of its dimensions, four a lane. What the
// splits count for it computes once, a lane a split, and passes on by shuffles.

#include "kernels/cuda/attention_tile.cuh"

namespace zqfp::kernels::cuda {

inline constexpr int kMergeDims = 128;
// Splits whose sums are loaded together: enough bytes in flight to hide the
// memory, for a few warps read all that many blocks have written.
inline constexpr int kMergeBatch = 16;
static_assert(kMaxSplits == 64 && 32 % kMergeBatch == 0);

// Of one query, lane l has those of splits l and l + 32.
struct SplitWeights {
  float shrink[2];  // what a split's sum and total are to be multiplied with
  float total[2];
};

// `first` is the query's partial result of split 0.
__device__ __forceinline__ SplitWeights WeighSplits(const AttentionPlan& plan,
                                                    int64_t first,
                                                    int32_t splits, int lane) {
  SplitWeights weights;
  float of_split[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int32_t split = i * 32 + lane;
    const int64_t at = first + split * plan.tile_queries;
    of_split[i] = split < splits ? plan.partial_maximum[at] : -INFINITY;
    weights.total[i] = split < splits ? plan.partial_total[at] : 0;
  }
  float maximum = fmaxf(of_split[0], of_split[1]);
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    maximum = fmaxf(maximum, __shfl_xor_sync(kAllLanes, maximum, offset));
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    weights.shrink[i] = expf(of_split[i] - Subtrahend(maximum));
  }
  return weights;
}

// This lane's four sums of some splits, `from` the first one's, of which only
// the first `count` exist.
__device__ __forceinline__ void LoadSums(const float* from, int64_t step,
                                         int count,
                                         float4 (&sums)[kMergeBatch]) {
#pragma unroll
  for (int i = 0; i < kMergeBatch; ++i, from += step) {
    if (i < count) sums[i] = *reinterpret_cast<const float4*>(from);
  }
}

// What a query's splits have in common, as far as a lane has it.
struct MergedQuery {
  float sum[4] = {};
  float total = 0;
};

// Adds the splits that begin with `begin`, a multiple of kMergeBatch.
__device__ __forceinline__ void AddSums(const SplitWeights& weights,
                                        int32_t begin, int32_t splits,
                                        const float4 (&sums)[kMergeBatch],
                                        MergedQuery& merged) {
  // Not by index: that would be an array in memory.
  const float shrink = begin < 32 ? weights.shrink[0] : weights.shrink[1];
  const float total = begin < 32 ? weights.total[0] : weights.total[1];
#pragma unroll
  for (int i = 0; i < kMergeBatch; ++i) {
    const float factor = __shfl_sync(kAllLanes, shrink, begin % 32 + i);
    const float of_split = __shfl_sync(kAllLanes, total, begin % 32 + i);
    if (begin + i >= splits) continue;
    merged.sum[0] = fmaf(sums[i].x, factor, merged.sum[0]);
    merged.sum[1] = fmaf(sums[i].y, factor, merged.sum[1]);
    merged.sum[2] = fmaf(sums[i].z, factor, merged.sum[2]);
    merged.sum[3] = fmaf(sums[i].w, factor, merged.sum[3]);
    merged.total = fmaf(of_split, factor, merged.total);
  }
}

// y of the query's dimensions first_dim + 4 lane ... All lanes of the warp
// together.
__device__ __forceinline__ void MergeQuery(const AttentionPlan& plan,
                                           const QueryTile& tile, int query,
                                           int first_dim, int lane) {
  const int32_t splits = SplitsOf(plan, tile);
  const int64_t first = PartialIndex(plan, blockIdx.x, 0, query);
  const int dim = static_cast<int>(plan.args.pages.head_dim);
  const int d = first_dim + 4 * lane;
  const int64_t stride = PartialStride(dim);
  const int64_t step = plan.tile_queries * stride;
  const float* from = plan.partial_sum + first * stride + d;
  const int32_t count = d < dim ? splits : 0;
  float4 sums[kMergeBatch];
  LoadSums(from, step, count, sums);  // while the splits are weighed
  const SplitWeights weights = WeighSplits(plan, first, splits, lane);
  MergedQuery merged;
#pragma unroll 1
  for (int32_t begin = 0; begin < splits; begin += kMergeBatch) {
    if (begin > 0) LoadSums(from + begin * step, step, count - begin, sums);
    AddSums(weights, begin, splits, sums, merged);
  }
  float* y = plan.args.y + QueryRow(plan, tile, query) * dim;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (d + i < dim) y[d + i] = merged.sum[i] / merged.total;
  }
}

// y of the tile that the blocks (blockIdx.x, ..) share: of `num_warps` warps,
// the work of one.
__device__ __forceinline__ void MergeSplits(const AttentionPlan& plan,
                                            const QueryTile& tile, int warp,
                                            int num_warps, int lane) {
  const int dim = static_cast<int>(plan.args.pages.head_dim);
  const int pieces = (dim + kMergeDims - 1) / kMergeDims;  // of a query
#pragma unroll 1
  for (int i = warp; i < tile.num_queries * pieces; i += num_warps) {
    MergeQuery(plan, tile, i / pieces, i % pieces * kMergeDims, lane);
  }
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_ATTENTION_MERGE_CUH_
