// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/wgmma_plan.h"

#include <gtest/gtest.h>

namespace zqfp::kernels::cuda {
namespace {

TEST(WgmmaPlan, CoversTheOutputAndHasRoom) {
  for (const WgmmaShape shape : kWgmmaShapes) {
    for (const int64_t processors : {2, 78, 132, 1000}) {
      const int64_t room = WgmmaPartialSumBytes(processors);
      for (const int64_t m : {1, 32, 33, 64, 65, 128, 129, 4096}) {
        for (const int64_t slabs : {1, 2, 33, 768}) {
          for (const int64_t chunks : {1, 2, 9, 172}) {
            const WgmmaPlan plan =
                PlanWgmma(shape, m, slabs, chunks, processors);
            const WorkSplit& split = plan.split;
            ASSERT_TRUE(plan.fits);
            EXPECT_GE(plan.num_token_tiles * shape.tokens, m);
            EXPECT_GE(split.num_tiles / plan.num_token_tiles * shape.rows(),
                      slabs * kSlabRows);
            EXPECT_GE(split.chunks_per_tile * kStripChunks, chunks);
            EXPECT_LE(split.num_blocks, kMaxBlocks);
            EXPECT_LE(split.num_blocks, split.num_units());
            EXPECT_LE(2 * split.num_blocks * shape.rows() * shape.tokens * 4,
                      room);
          }
        }
      }
    }
  }
}

bool IsKernel(WgmmaShape shape) {
  for (const WgmmaShape& known : kWgmmaShapes) {
    if (known.tokens == shape.tokens && known.warpgroups == shape.warpgroups) {
      return true;
    }
  }
  return false;
}

// Wide tiles where there are enough of them, tokens as few as will do.
TEST(WgmmaPlan, ChoosesAKernelThatThereIs) {
  for (const int64_t m : {1, 32, 33, 64, 65, 1000}) {
    for (const int64_t slabs : {1, 256, 1376, 3584}) {
      const WgmmaShape shape = ChooseWgmmaShape(m, slabs, 132);
      EXPECT_TRUE(IsKernel(shape)) << m << " " << slabs;
      EXPECT_TRUE(shape.tokens == 128 || shape.tokens >= m);
    }
  }
  EXPECT_EQ(ChooseWgmmaShape(64, 4096 / 16, 132).warpgroups, 2);
  EXPECT_EQ(ChooseWgmmaShape(64, 22016 / 16, 132).warpgroups, 4);
  EXPECT_EQ(ChooseWgmmaShape(128, 4096 / 16, 132).warpgroups, 2);
  EXPECT_EQ(ChooseWgmmaShape(512, 4096 / 16, 132).warpgroups, 3);
}

TEST(WgmmaPlan, RefusesMoreThanAnyDeviceHolds) {
  for (const WgmmaShape shape : kWgmmaShapes) {
    EXPECT_FALSE(
        PlanWgmma(shape, int64_t{1} << 30, 1 << 26, 1 << 24, 132).fits);
    EXPECT_TRUE(PlanWgmma(shape, 65536, 106496 / 16, 16384 / 64, 132).fits);
  }
}

}  // namespace
}  // namespace zqfp::kernels::cuda
