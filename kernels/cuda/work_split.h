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
  int64_t num_tiles = 0;
  int64_t chunks_per_tile = 1;
  int64_t num_blocks = 1;  // at most num_units()

  constexpr int64_t num_units() const { return num_tiles * chunks_per_tile; }

  // First unit of a block; of block num_blocks: num_units().
  constexpr int64_t Begin(int64_t block) const {
    return num_units() * block / num_blocks;
  }
  constexpr int64_t BlockOf(int64_t unit) const {
    return ((unit + 1) * num_blocks - 1) / num_units();
  }
  constexpr int64_t FirstBlock(int64_t tile) const {
    return BlockOf(tile * chunks_per_tile);
  }
  constexpr int64_t LastBlock(int64_t tile) const {
    return BlockOf((tile + 1) * chunks_per_tile - 1);
  }
  // Which of its two partial sums a block made of this tile: that of its begin
  // (0) or that of its end (1).
  constexpr int64_t PartOf(int64_t block, int64_t tile) const {
    return Begin(block) >= tile * chunks_per_tile ? 0 : 1;
  }
};

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_WORK_SPLIT_H_
