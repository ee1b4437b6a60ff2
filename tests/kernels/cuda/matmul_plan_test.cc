// SPDX-License-Identifier: Apache-2.0
// The split of a matmul: every unit has one block, and every partial sum room.
#include "kernels/cuda/matmul_plan.h"

#include <gtest/gtest.h>

#include <set>
#include <utility>

namespace zqfp::kernels::cuda {
namespace {

void ExpectEvenSplit(const WorkSplit& split) {
  EXPECT_EQ(split.Begin(0), 0);
  EXPECT_EQ(split.Begin(split.num_blocks), split.num_units());
  for (int block = 0; block < split.num_blocks; ++block) {
    const int units = split.Begin(block + 1) - split.Begin(block);
    EXPECT_GE(units, split.num_units() / split.num_blocks);
    EXPECT_LE(units, split.num_units() / split.num_blocks + 1);
    EXPECT_EQ(split.BlockOf(split.Begin(block)), block);
    EXPECT_EQ(split.BlockOf(split.Begin(block + 1) - 1), block);
  }
}

// A block that has only a part of a tile leaves it where no other one does.
void ExpectPlacesOfTheirOwn(const WorkSplit& split) {
  std::set<std::pair<int, int>> places;
  std::set<int> counters;
  for (int tile = 0; tile < split.num_tiles; ++tile) {
    const int first = split.FirstBlock(tile), last = split.LastBlock(tile);
    ASSERT_LE(first, last);
    if (first == last) continue;
    EXPECT_TRUE(counters.insert(first).second);
    for (int block = first; block <= last; ++block) {
      const int part = split.PartOf(block, tile);
      EXPECT_TRUE(block == first || part == 0);
      EXPECT_TRUE(places.insert({block, part}).second);
    }
  }
}

TEST(WorkSplit, EveryUnitHasOneBlock) {
  for (const int tiles : {1, 2, 3, 7, 128, 384}) {
    for (const int chunks : {1, 2, 5, 43, 64}) {
      for (const int blocks : {1, 2, 6, 131, 132, 264, 396}) {
        if (blocks > tiles * chunks) continue;
        const WorkSplit split = SplitWork(tiles, chunks, blocks);
        ExpectEvenSplit(split);
        ExpectPlacesOfTheirOwn(split);
      }
    }
  }
}

void ExpectRoomForPartialSums(CodeFormat codes, bool own) {
  for (const int64_t processors : {2, 78, 132, 1000}) {
    int64_t before = 0;
    for (const int64_t m : {1, 8, 9, 16, 17, 32, 33, 64, 65, 4096}) {
      if (own && m > kTileTokens) break;
      const int64_t room = PartialSumBytes(m, processors);
      EXPECT_GE(room, before);  // a step of fewer tokens fits, too
      before = room;
      for (const int64_t slabs : {1, 2, 33, 768}) {
        for (const int64_t chunks : {1, 9, 172}) {
          const MatmulPlan plan = PlanMatmul(codes, m, RowTiles(m, slabs, own),
                                             chunks, processors, own);
          ASSERT_TRUE(plan.fits);
          EXPECT_GE(plan.num_token_tiles * plan.tokens(), m);
          EXPECT_GE(plan.split.num_tiles / plan.num_token_tiles *
                        TileRows(plan.token_tiles, own),
                    slabs * kSlabRows);
          EXPECT_LE(plan.split.num_blocks, kMaxBlocks);
          EXPECT_LE(plan.split.num_blocks, plan.split.num_units());
          EXPECT_LE(2 * plan.split.num_blocks *
                        PartialSumFloats(plan.token_tiles, own) * 4,
                    room);
        }
      }
    }
  }
}

TEST(MatmulPlan, PartialSumsHaveRoom) {
  for (const bool own : {false, true}) {
    ExpectRoomForPartialSums(CodeFormat::kE2m1, own);
    ExpectRoomForPartialSums(CodeFormat::kE4m3, own);
  }
}

// By their ring, two blocks of e4m3 codes are on a multiprocessor at once.
TEST(MatmulPlan, NoBlockWaitsForAnother) {
  const auto blocks = [](CodeFormat codes, int64_t m) {
    return PlanMatmul(codes, m, RowTiles(m, 768), 172, 132).split.num_blocks;
  };
  EXPECT_EQ(blocks(CodeFormat::kE2m1, 1), 3 * 132);
  EXPECT_EQ(blocks(CodeFormat::kE4m3, 1), 2 * 132);
  EXPECT_EQ(blocks(CodeFormat::kE4m3, 9), 2 * 132);
  EXPECT_EQ(blocks(CodeFormat::kE4m3, 64), 132);
}

MatmulPlan PlanOf(int64_t m, int64_t slabs, int64_t chunks) {
  return PlanMatmul(CodeFormat::kE2m1, m, RowTiles(m, slabs), chunks, 132);
}

TEST(MatmulPlan, RefusesMoreThanAnyDeviceHolds) {
  EXPECT_FALSE(PlanOf(int64_t{1} << 30, 1 << 26, 1 << 24).fits);
  EXPECT_FALSE(PlanOf(1, int64_t{1} << 26, 1 << 24).fits);
  // The largest linear of a 405 B model, 64k tokens at once.
  EXPECT_TRUE(PlanOf(65536, 106496 / 16, 16384 / 64).fits);
}

}  // namespace
}  // namespace zqfp::kernels::cuda
