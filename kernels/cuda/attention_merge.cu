// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/attention_merge.cuh"

namespace zqfp::kernels::cuda {
namespace {

constexpr int kMergeWarps = 4;

// Block (tile, share of its queries).
__global__ void __launch_bounds__(kMergeWarps * 32)
    AttentionMerge(const AttentionPlan plan) {
  AwaitInputs();
  const QueryTile tile = FindTile(plan, blockIdx.x);
  if (SplitsOf(plan, tile) <= 1) return;
  const int warp = static_cast<int>(threadIdx.x / 32);
  MergeSplits(plan, tile, static_cast<int>(blockIdx.y) * kMergeWarps + warp,
              static_cast<int>(gridDim.y) * kMergeWarps,
              static_cast<int>(threadIdx.x % 32));
}

}  // namespace

void LaunchPrefillMerge(const AttentionPlan& plan, const Exec& exec) {
  if (plan.splits == 1) return;
  Launch(exec,
         {.grid = dim3(static_cast<unsigned>(plan.blocks()),
                       static_cast<unsigned>(plan.tile_queries / kMergeWarps)),
          .block = dim3(kMergeWarps * 32)},
         AttentionMerge, plan);
}

}  // namespace zqfp::kernels::cuda
