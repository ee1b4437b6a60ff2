// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_WGMMA_PLAN_H_
#define ZQFP_KERNELS_CUDA_WGMMA_PLAN_H_

// WgmmaPlan: the tile and the blocks of one MatmulA8 by wgmma, decided on the
// host.

#include <stdint.h>

#include "kernels/cuda/layout_e.h"
#include "kernels/cuda/matmul_plan.h"
#include "kernels/cuda/work_split.h"

namespace zqfp::kernels::cuda {

inline constexpr int kWarpgroupWarps = 4;
inline constexpr int kWarpgroupThreads = kWarpgroupWarps * 32;
inline constexpr int kWarpgroupRows = kWarpgroupWarps * kSlabRows;

// What a step of the loop multiplies: two chunks, a row of the swizzle.
inline constexpr int kStripColumns = 128;
inline constexpr int kStripChunks = kStripColumns / kChunkColumns;

// A tile: so many tokens, and 64 rows for each of the warpgroups of a block.
struct WgmmaShape {
  int tokens;
  int warpgroups;

  constexpr int rows() const { return warpgroups * kWarpgroupRows; }
  // That fit on a multiprocessor by their registers.
  constexpr int blocks_per_multiprocessor() const {
    return tokens <= 64 && warpgroups == 2 ? 2 : 1;
  }
  // Most blocks of a launch.
  constexpr int64_t MostBlocks(int64_t num_multiprocessors) const {
    const int64_t blocks = num_multiprocessors * blocks_per_multiprocessor();
    return blocks < kMaxBlocks ? blocks : kMaxBlocks;
  }
};

// Those there are kernels of. The warpgroups of a block share the tokens, which
// come from L2 once a block, but the last block of a tile adds up what all have
// left of it, and the more the larger the tile. Computed, not measured: at the
// memory's full rate 64 tokens for 256 rows make 25 bytes a clock and
// multiprocessor with the weights, for 128 rows 33, and L2 has less than 30.
// With 128 tokens a thread has 64 sums and 64 totals; three warpgroups leave it
// 168 registers.
inline constexpr WgmmaShape kWgmmaShapes[] = {
    {32, 2}, {64, 2}, {64, 4}, {128, 2}, {128, 3}};

// For m tokens: the wide one where two blocks and less share a tile.
constexpr WgmmaShape ChooseWgmmaShape(int64_t m, int64_t num_slabs,
                                      int64_t num_multiprocessors) {
  if (m <= 32) return {32, 2};
  const WgmmaShape wide = m <= 64 ? WgmmaShape{64, 4} : WgmmaShape{128, 3};
  const int64_t tiles =
      Pieces(num_slabs * kSlabRows, wide.rows()) * Pieces(m, wide.tokens);
  return tiles >= num_multiprocessors / 2 ? wide : WgmmaShape{wide.tokens, 2};
}

// Fewer strips than this are not worth a block of their own.
inline constexpr int64_t kFewestStrips = 4;

struct WgmmaPlan {
  WgmmaShape shape = {};
  int num_token_tiles = 0;
  WorkSplit split;  // of strips; tile = row tile * num_token_tiles + token tile
  bool fits = false;
};

// Of m tokens, m > 0, and a weight of so many slabs and chunks. A plan of 2^31
// units and more does not fit: no device holds its output.
constexpr WgmmaPlan PlanWgmma(WgmmaShape shape, int64_t m, int64_t num_slabs,
                              int64_t num_chunks, int64_t num_multiprocessors) {
  WgmmaPlan plan;
  plan.shape = shape;
  const int64_t row_tiles = Pieces(num_slabs * kSlabRows, shape.rows());
  const int64_t token_tiles = Pieces(m, shape.tokens);
  const int64_t strips = Pieces(num_chunks, kStripChunks);
  plan.fits = row_tiles <= INT32_MAX / strips / token_tiles;
  if (!plan.fits) return plan;
  plan.num_token_tiles = static_cast<int>(token_tiles);
  const int64_t num_tiles = row_tiles * token_tiles;
  const int64_t wanted = Pieces(num_tiles * strips, kFewestStrips);
  const int64_t most = shape.MostBlocks(num_multiprocessors);
  plan.split = SplitWork(static_cast<int>(num_tiles), static_cast<int>(strips),
                         static_cast<int>(wanted < most ? wanted : most));
  return plan;
}

// Bytes of the partial sums of any plan: every block may leave two.
constexpr int64_t WgmmaPartialSumBytes(int64_t num_multiprocessors) {
  int64_t bytes = 0;
  for (const WgmmaShape shape : kWgmmaShapes) {
    const int64_t all = 2 * shape.MostBlocks(num_multiprocessors) *
                        shape.rows() * shape.tokens * int64_t{sizeof(float)};
    bytes = bytes < all ? all : bytes;
  }
  return bytes;
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_WGMMA_PLAN_H_
