// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_MATMUL_PLAN_H_
#define ZQFP_KERNELS_CUDA_MATMUL_PLAN_H_

// MatmulPlan: the tile and the blocks of one launch of MatmulA8, decided on the
// host.

#include <stdint.h>

#include "kernels/core/views.h"
#include "kernels/cuda/layout_e.h"
#include "kernels/cuda/packed_weight.h"
#include "kernels/cuda/work_split.h"

namespace zqfp::kernels::cuda {

inline constexpr int kMatmulWarps = 8;
inline constexpr int kMatmulThreads = kMatmulWarps * 32;

// Slabs of a warp: the tokens that it reads serve 32 rows.
inline constexpr int kWarpSlabs = 2;
inline constexpr int kWarpRows = kWarpSlabs * kSlabRows;

inline constexpr int kTileTokens = 8;  // columns of one m16n8k16 product

// Warps of a block along the rows; the others split K. The more tokens, the
// more of what is read are tokens, and the more rows should share them.
constexpr int RowWarps(int token_tiles) {
  return token_tiles < 2 ? 1 : token_tiles < 4 ? 2 : 4;
}

// The same where the tokens are the block's own (own_tokens.h), which all of
// its warps read anyhow. Of more rows a block has fewer chunks, and so less of
// the low-rank factor that goes with them, but more blocks share a tile's sums.
inline constexpr int kOwnRowWarps = 4;

// Blocks that fit on a multiprocessor by their registers and shared memory.
constexpr int BlocksPerMultiprocessor(CodeFormat codes, int token_tiles) {
  if (token_tiles < 2 && codes == CodeFormat::kE2m1) return 3;
  return token_tiles < 8 ? 2 : 1;
}

// Most blocks of a launch: as many have a counter of arrivals.
inline constexpr int64_t kMaxBlocks = 1024;

// Fewer chunks than this are not worth a block of their own.
inline constexpr int64_t kFewestChunks = kMatmulWarps;
inline constexpr int64_t kFewestOwnChunks = kMatmulWarps / kOwnRowWarps;

struct MatmulPlan {
  int token_tiles = 1;  // of 8 tokens, in a tile: 1, 2, 4 or 8
  int num_token_tiles = 0;
  WorkSplit split;  // tile = row tile * num_token_tiles + token tile
  bool fits = false;

  constexpr int64_t tokens() const { return token_tiles * kTileTokens; }
};

// Rows of a tile.
constexpr int64_t TileRows(int token_tiles, bool own) {
  return (own ? kOwnRowWarps : RowWarps(token_tiles)) * kWarpRows;
}

constexpr int64_t Pieces(int64_t count, int64_t size) {
  return (count + size - 1) / size;
}

constexpr int64_t MostBlocks(CodeFormat codes, int token_tiles,
                             int64_t num_multiprocessors) {
  const int64_t blocks =
      num_multiprocessors * BlocksPerMultiprocessor(codes, token_tiles);
  return blocks < kMaxBlocks ? blocks : kMaxBlocks;
}

constexpr int TokenTiles(int64_t m) {
  return m <= 8 ? 1 : m <= 16 ? 2 : m <= 32 ? 4 : 8;
}

// Tiles of m tokens and a weight of so many slabs, along its rows.
constexpr int64_t RowTiles(int64_t m, int64_t num_slabs, bool own = false) {
  return Pieces(num_slabs * kSlabRows, TileRows(TokenTiles(m), own));
}

// Of m tokens, m > 0, and weights of so many RowTiles together and so many
// chunks, all with such codes. A plan of 2^31 units and more does not fit: no
// device holds its output.
constexpr MatmulPlan PlanMatmul(CodeFormat codes, int64_t m, int64_t row_tiles,
                                int64_t num_chunks, int64_t num_multiprocessors,
                                bool own = false) {
  MatmulPlan plan;
  plan.token_tiles = TokenTiles(m);
  const int64_t token_tiles = Pieces(m, plan.tokens());
  const int64_t most_tiles = INT32_MAX / num_chunks;
  plan.fits = row_tiles <= most_tiles / token_tiles;
  if (!plan.fits) return plan;
  plan.num_token_tiles = static_cast<int>(token_tiles);
  const int64_t num_tiles = row_tiles * token_tiles;
  const int64_t fewest = own ? kFewestOwnChunks : kFewestChunks;
  const int64_t wanted = Pieces(num_tiles * num_chunks, fewest);
  const int64_t most = MostBlocks(codes, plan.token_tiles, num_multiprocessors);
  plan.split =
      SplitWork(static_cast<int>(num_tiles), static_cast<int>(num_chunks),
                static_cast<int>(wanted < most ? wanted : most));
  return plan;
}

// Floats of one partial sum. Of own tokens the low-rank branch's V x is beside
// it, of those columns that the block had.
constexpr int64_t PartialSumFloats(int token_tiles, bool own) {
  const int64_t tokens = int64_t{token_tiles} * kTileTokens;
  return tokens * (TileRows(token_tiles, own) + (own ? kMaxLorcRank : 0));
}

// Bytes of the partial sums of any plan for up to m tokens: every block may
// leave two. Of no codes there are more blocks than of e2m1.
constexpr int64_t PartialSumBytes(int64_t m, int64_t num_multiprocessors) {
  const int64_t most_own =
      MostBlocks(CodeFormat::kE2m1, 1, num_multiprocessors);
  int64_t bytes =
      2 * most_own * PartialSumFloats(1, /*own=*/true) * int64_t{sizeof(float)};
  for (int tiles = 1; tiles <= 8; tiles *= 2) {
    if (tiles > 1 && m <= tiles / 2 * kTileTokens) break;
    const int64_t floats = PartialSumFloats(tiles, /*own=*/false);
    const int64_t blocks =
        MostBlocks(CodeFormat::kE2m1, tiles, num_multiprocessors);
    const int64_t all = 2 * blocks * floats * int64_t{sizeof(float)};
    bytes = bytes < all ? all : bytes;
  }
  return bytes;
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_MATMUL_PLAN_H_
