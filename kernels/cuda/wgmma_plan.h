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

// Warpgroups of a block, each with 64 rows of its own; they share the tokens,
// which come from L2 once a block. Computed, not measured: at the memory's full
// rate 64 tokens for 256 rows make 25 bytes a clock and multiprocessor with the
// weights, for 128 rows 33, and L2 has less than 30. With 128 tokens a thread
// has 64 sums and 64 totals; three warpgroups leave it 168 registers.
constexpr int Warpgroups(int tokens) {
  return tokens <= 32 ? 2 : tokens <= 64 ? 4 : 3;
}
constexpr int WgmmaRows(int tokens) {
  return Warpgroups(tokens) * kWarpgroupRows;
}

// Blocks that fit on a multiprocessor by their registers.
constexpr int WgmmaBlocksPerMultiprocessor(int tokens) {
  return tokens <= 32 ? 2 : 1;
}

// Fewer strips than this are not worth a block of their own.
inline constexpr int64_t kFewestStrips = 4;

struct WgmmaPlan {
  int tokens = 32;  // of a tile: 32, 64 or 128
  int num_token_tiles = 0;
  WorkSplit split;  // of strips; tile = row tile * num_token_tiles + token tile
  bool fits = false;
};

constexpr int64_t MostWgmmaBlocks(int tokens, int64_t num_multiprocessors) {
  const int64_t blocks =
      num_multiprocessors * WgmmaBlocksPerMultiprocessor(tokens);
  return blocks < kMaxBlocks ? blocks : kMaxBlocks;
}

// Of m tokens, m > 0, and a weight of so many slabs and chunks. A plan of 2^31
// units and more does not fit: no device holds its output.
constexpr WgmmaPlan PlanWgmma(int64_t m, int64_t num_slabs, int64_t num_chunks,
                              int64_t num_multiprocessors) {
  WgmmaPlan plan;
  plan.tokens = m <= 32 ? 32 : m <= 64 ? 64 : 128;
  const int64_t row_tiles =
      Pieces(num_slabs * kSlabRows, WgmmaRows(plan.tokens));
  const int64_t token_tiles = Pieces(m, plan.tokens);
  const int64_t strips = Pieces(num_chunks, kStripChunks);
  plan.fits = row_tiles <= INT32_MAX / strips / token_tiles;
  if (!plan.fits) return plan;
  plan.num_token_tiles = static_cast<int>(token_tiles);
  const int64_t num_tiles = row_tiles * token_tiles;
  const int64_t wanted = Pieces(num_tiles * strips, kFewestStrips);
  const int64_t most = MostWgmmaBlocks(plan.tokens, num_multiprocessors);
  plan.split = SplitWork(static_cast<int>(num_tiles), static_cast<int>(strips),
                         static_cast<int>(wanted < most ? wanted : most));
  return plan;
}

// Bytes of the partial sums of any plan: every block may leave two.
constexpr int64_t WgmmaPartialSumBytes(int64_t num_multiprocessors) {
  int64_t bytes = 0;
  for (int tokens = 32; tokens <= 128; tokens *= 2) {
    const int64_t all = 2 * MostWgmmaBlocks(tokens, num_multiprocessors) *
                        WgmmaRows(tokens) * tokens * int64_t{sizeof(float)};
    bytes = bytes < all ? all : bytes;
  }
  return bytes;
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_WGMMA_PLAN_H_
