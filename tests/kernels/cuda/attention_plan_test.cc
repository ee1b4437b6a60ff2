// SPDX-License-Identifier: Apache-2.0
// Which kernel a step's attention takes, and whether its workspace holds what
// the blocks leave.
#include <gtest/gtest.h>

#include "kernels/cuda/attention.h"

namespace zqfp::kernels::cuda {
namespace {

alignas(16) float memory[8];

// One prompt of 100 tokens; nothing of it is read.
AttentionArgs Prompt(ValueFormat format, int64_t head_dim) {
  return {.batch = {.num_sequences = 1,
                    .num_tokens = 100,
                    .most_tokens = 100,
                    .longest_context = 5000},
          .num_heads = 4,
          .scale = 1,
          .q = memory,
          .pages = {.format = format,
                    .num_kv_heads = 2,
                    .page_size = 16,
                    .head_dim = head_dim,
                    .k = memory,
                    .v = memory},
          .y = memory};
}

TEST(AttentionPlanTest, TensorCoresServeTheHeadsThatFitThem) {
  for (const ValueFormat format :
       {ValueFormat::kF32, ValueFormat::kBf16, ValueFormat::kE4m3}) {
    for (const int64_t head_dim : {8, 16, 64, 72, 80, 128, 256, 272, 512}) {
      const AttentionPlan plan = PlanPrefill(Prompt(format, head_dim), memory);
      EXPECT_EQ(plan.tensor_cores, format != ValueFormat::kF32 &&
                                       head_dim % 16 == 0 && head_dim <= 256)
          << static_cast<int>(format) << " " << head_dim;
      EXPECT_EQ(plan.tile_queries == kTensorTileQueries, plan.tensor_cores);
    }
  }
}

// Copies are of 16 bytes, results are written two at once.
TEST(AttentionPlanTest, TensorCoresWantAlignedArrays) {
  for (int i = 0; i < 4; ++i) {
    AttentionArgs args = Prompt(ValueFormat::kBf16, 64);
    if (i == 0) args.q += 1;
    if (i == 1) args.pages.k = memory + 1;
    if (i == 2) args.pages.v = memory + 2;
    if (i == 3) args.y += 1;
    EXPECT_FALSE(PlanPrefill(args, memory).tensor_cores) << i;
  }
}

TEST(AttentionPlanTest, PartialResultsFitTheWorkspace) {
  for (const ValueFormat format : {ValueFormat::kF32, ValueFormat::kE4m3}) {
    for (const int64_t head_dim : {64, 67, 72, 256, 512}) {
      for (const int64_t num_tokens : {1, 40, 100, 700, 3000}) {
        AttentionArgs args = Prompt(format, head_dim);
        args.batch.num_tokens = args.batch.most_tokens = num_tokens;
        const int64_t bytes =
            AttentionWorkspaceBytes({.num_tokens = num_tokens,
                                     .num_heads = args.num_heads,
                                     .head_dim = head_dim});
        for (const AttentionPlan& plan :
             {PlanDecode(args, memory), PlanPrefill(args, memory)}) {
          if (plan.splits == 1) continue;
          EXPECT_LE(plan.blocks(), kMostSplitTiles);
          EXPECT_LE(plan.blocks() * plan.splits * plan.tile_queries *
                        (PartialStride(head_dim) + 2) * 4,
                    bytes)
              << static_cast<int>(format) << " " << head_dim << " "
              << num_tokens;
        }
      }
    }
  }
}

}  // namespace
}  // namespace zqfp::kernels::cuda
