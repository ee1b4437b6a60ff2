// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_WORK_SPLIT_H_
#define ZQFP_KERNELS_CUDA_WORK_SPLIT_H_

// WorkSplit: the chunks of K of all tiles of an output, dealt evenly to the
// blocks of a launch.
//
// Chunk c of tile i is unit i * chunks_per_tile + c; a block takes consecutive
// units. It therefore works on the end of one tile, on whole tiles, and on the
// begin of another: no block has more than one unit more than another, however
// few the tiles. A tile of several blocks is summed in the order of the blocks,
// so that the same input gives the same bits.

#include <stdint.h>

namespace zqfp::kernels::cuda {

struct WorkSplit {
  int num_tiles = 0;
  int chunks_per_tile = 1;
  int num_blocks = 1;
  // The first `num_longer` blocks have one unit more than `shorter`, which is
  // at least one. No 64-bit division: it is what a block would begin with.
  int shorter = 0;
  int num_longer = 0;

  constexpr int num_units() const { return num_tiles * chunks_per_tile; }

  // First unit of a block; of block num_blocks: num_units().
  constexpr int Begin(int block) const {
    return block * shorter + (block < num_longer ? block : num_longer);
  }
  constexpr int BlockOf(int unit) const {
    const int first_shorter = num_longer * (shorter + 1);
    return unit < first_shorter ? unit / (shorter + 1)
                                : num_longer + (unit - first_shorter) / shorter;
  }
  constexpr int FirstBlock(int tile) const {
    return BlockOf(tile * chunks_per_tile);
  }
  constexpr int LastBlock(int tile) const {
    return BlockOf((tile + 1) * chunks_per_tile - 1);
  }
  // Which of its two partial sums a block made of this tile: that of its begin
  // (0) or that of its end (1).
  constexpr int PartOf(int block, int tile) const {
    return Begin(block) >= tile * chunks_per_tile ? 0 : 1;
  }
};

// Fewer than 2^31 units, dealt to at most as many blocks.
constexpr WorkSplit SplitWork(int num_tiles, int chunks_per_tile,
                              int num_blocks) {
  WorkSplit split = {num_tiles, chunks_per_tile, num_blocks};
  split.shorter = split.num_units() / num_blocks;
  split.num_longer = split.num_units() % num_blocks;
  return split;
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_WORK_SPLIT_H_
