// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/wgmma_plan.h"

#include <gtest/gtest.h>

namespace zqfp::kernels::cuda {
namespace {

TEST(WgmmaPlan, CoversTheOutputAndHasRoom) {
  for (const int64_t processors : {2, 78, 132, 1000}) {
    const int64_t room = WgmmaPartialSumBytes(processors);
    for (const int64_t m : {1, 32, 33, 64, 65, 128, 129, 4096}) {
      for (const int64_t slabs : {1, 2, 33, 768}) {
        for (const int64_t chunks : {1, 2, 9, 172}) {
          const WgmmaPlan plan = PlanWgmma(m, slabs, chunks, processors);
          ASSERT_TRUE(plan.fits);
          const int64_t rows = WgmmaRows(plan.tokens);
          EXPECT_GE(plan.num_token_tiles * plan.tokens, m);
          EXPECT_GE(plan.split.num_tiles / plan.num_token_tiles * rows,
                    slabs * kSlabRows);
          EXPECT_GE(plan.split.chunks_per_tile * kStripChunks, chunks);
          EXPECT_LE(plan.split.num_blocks, kMaxBlocks);
          EXPECT_LE(plan.split.num_blocks, plan.split.num_units());
          EXPECT_LE(2 * plan.split.num_blocks * rows * plan.tokens * 4, room);
        }
      }
    }
  }
}

TEST(WgmmaPlan, RefusesMoreThanAnyDeviceHolds) {
  EXPECT_FALSE(PlanWgmma(int64_t{1} << 30, 1 << 26, 1 << 24, 132).fits);
  EXPECT_TRUE(PlanWgmma(65536, 106496 / 16, 16384 / 64, 132).fits);
}

}  // namespace
}  // namespace zqfp::kernels::cuda
