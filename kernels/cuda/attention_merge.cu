// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/attention_tile.cuh"

// Merges what the blocks of one tile left, in the order of their keys.

namespace zqfp::kernels::cuda {
namespace {

constexpr int kMergeThreads = 128;

// Block (tile, query of the tile); threads over the dimensions.
__global__ void __launch_bounds__(kMergeThreads)
    AttentionMerge(const AttentionPlan plan) {
  AwaitInputs();
  const QueryTile tile = FindTile(plan, blockIdx.x);
  const int query = static_cast<int>(blockIdx.y);
  const int32_t splits = SplitsOf(plan, tile);
  if (query >= tile.num_queries || splits <= 1) return;
  const int64_t first = PartialIndex(plan, blockIdx.x, 0, query);
  float maximum = -INFINITY;
  for (int32_t s = 0; s < splits; ++s) {
    maximum =
        fmaxf(maximum, plan.partial_maximum[first + s * plan.tile_queries]);
  }
  const int64_t dim = plan.args.pages.head_dim;
  float* y = plan.args.y + QueryRow(plan, tile, query) * dim;
  for (int64_t d = threadIdx.x; d < dim; d += kMergeThreads) {
    float sum = 0, total = 0;
    for (int32_t s = 0; s < splits; ++s) {
      const int64_t at = first + s * plan.tile_queries;
      const float shrink = expf(plan.partial_maximum[at] - Subtrahend(maximum));
      sum = fmaf(plan.partial_sum[at * dim + d], shrink, sum);
      total = fmaf(plan.partial_total[at], shrink, total);
    }
    y[d] = sum / total;
  }
}

}  // namespace

void LaunchMerge(const AttentionPlan& plan, const Exec& exec) {
  if (plan.splits == 1) return;
  Launch(exec,
         {.grid = dim3(static_cast<unsigned>(plan.blocks()),
                       static_cast<unsigned>(plan.tile_queries)),
          .block = dim3(kMergeThreads)},
         AttentionMerge, plan);
}

}  // namespace zqfp::kernels::cuda
