// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_MATMUL_TILE_H_
#define ZQFP_KERNELS_CUDA_MATMUL_TILE_H_

// What the tiles of a MatmulA8 have in common, whichever instruction
// multiplies: what they read, which part of a tile a block does, and how sums
// become outputs, also those of a tile that several blocks share.
//
// A Tile has kThreads, kRows, kTokens, kUnit (what a sum is short of), and in
// shared memory kDepthWarps sums of every output, [kTokens][kSumStride] each;
// and kPartialFloats in the workspace. With kOwnTokens also OwnShared(), where
// own_tokens.h has them.

#include <cuda_runtime.h>
#include <stdint.h>

#include "kernels/core/ops.h"
#include "kernels/cuda/arrivals.h"
#include "kernels/cuda/matmul_output.h"
#include "kernels/cuda/matmul_plan.h"
#include "kernels/cuda/own_tokens.h"
#include "kernels/cuda/packed_weight.h"
#include "kernels/cuda/ptx.h"
#include "kernels/cuda/work_split.h"

namespace zqfp::kernels::cuda {

// What a tile reads.
struct TileOperands {
  PackedWeight weight;
  const uint8_t* tokens;  // [m, k] e4m3
  int64_t m;
  int64_t k;
  bool whole_pieces;  // rows of tokens are made of aligned 16 byte pieces
};

// Which part of it: units [begin, end) of K of one tile.
struct TileSegment {
  int tile;
  int64_t first_row;
  int64_t first_token;
  int begin;
  int end;
};

// Of one weight; a launch may have several, whose tiles follow one another.
struct TileOutput {
  MatmulOutput output;
  WorkSplit split;      // of all the launch's tiles: its own ones begin with
  int first_tile;       // first_tile + row tile * num_token_tiles + token tile
  int num_token_tiles;  // of a row tile
  float* partial_sums;  // [num_blocks, 2, kPartialFloats]: [tokens, rows], V x
};

// Of a MatmulA8 whose weight is `w`; `inner` is V x of a low-rank branch.
inline TileOperands OperandsOf(const MatmulA8Args& args,
                               const PackedWeight& w) {
  const int64_t k = args.weight.k;
  return {.weight = w,
          .tokens = args.x.data,
          .m = args.m,
          .k = k,
          .whole_pieces = k % 16 == 0 &&
                          reinterpret_cast<uintptr_t>(args.x.data) % 16 == 0};
}
inline MatmulOutput OutputOf(const MatmulA8Args& args, const PackedWeight& w,
                             const float* inner) {
  return {.m = args.m,
          .n = args.weight.n,
          .row_scale = w.row_scale,
          .token_scale = args.x.scale,
          .lorc = args.weight.lorc,
          .inner = inner,
          .bias = args.bias,
          .residual = args.residual,
          .y = args.y};
}

// The group scales of two rows that a lane has, which lie side by side.
template <ScaleFormat kScales>
__device__ __forceinline__ float2 LoadScalePair(const uint8_t* scales) {
  if constexpr (kScales == ScaleFormat::kF32) {
    return *reinterpret_cast<const float2*>(scales);
  }
  const uint32_t pair =
      F16x2FromE4m3x2(*reinterpret_cast<const uint16_t*>(scales));
  return make_float2(F32FromF16(static_cast<uint16_t>(pair)),
                     F32FromF16(static_cast<uint16_t>(pair >> 16)));
}

// How many blocks have left their partial sum of a tile, by the first of them.
static __device__ unsigned arrivals[kMaxBlocks];

// The segment that begins with `unit` of a block whose units end with `end`.
template <class Tile>
__device__ inline TileSegment SegmentAt(const TileOutput& out, int unit,
                                        int end) {
  const int per_tile = out.split.chunks_per_tile;
  const int tile = unit / per_tile;
  const int tile_begin = tile * per_tile, tile_end = tile_begin + per_tile;
  // Own tokens are one tile.
  const int num_token_tiles = Tile::kOwnTokens ? 1 : out.num_token_tiles;
  const int64_t row_tile = (tile - out.first_tile) / num_token_tiles;
  const int64_t token_tile = (tile - out.first_tile) % num_token_tiles;
  return {.tile = tile,
          .first_row = row_tile * Tile::kRows,
          .first_token = token_tile * Tile::kTokens,
          .begin = unit - tile_begin,
          .end = (tile_end < end ? tile_end : end) - tile_begin};
}

// The sum of all depth groups.
template <class Tile>
__device__ float DepthSum(const float* shared, int at) {
  const float* from =
      shared + at / Tile::kRows * Tile::kSumStride + at % Tile::kRows;
  float sum = from[0];
  for (int depth = 1; depth < Tile::kDepthWarps; ++depth) {
    sum += from[depth * Tile::kTokens * Tile::kSumStride];
  }
  return sum;
}

template <class Tile>
__device__ float* PartialSums(const TileOutput& out, int block, int part) {
  return out.partial_sums +
         (int64_t{block} * 2 + part) * int64_t{Tile::kPartialFloats};
}

// The sum of what all blocks of a tile have left in the workspace, in their
// order. Several are on their way at once.
template <class Tile>
__device__ float BlockSum(const TileOutput& out, int tile, int at) {
  constexpr int kBatch = 8;
  const WorkSplit& split = out.split;
  const int first = split.FirstBlock(tile);
  const int last = split.LastBlock(tile);
  float sum = PartialSums<Tile>(out, first, split.PartOf(first, tile))[at];
#pragma unroll 1
  for (int block = first + 1; block <= last; block += kBatch) {
    const float* from = PartialSums<Tile>(out, block, 0) + at;
    float part[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      part[i] = block + i <= last ? from[i * 2 * Tile::kPartialFloats] : 0;
    }
#pragma unroll
    for (int i = 0; i < kBatch; ++i) sum += part[i];
  }
  return sum;
}

// V x of this block's columns, where its tokens are its own.
template <class Tile>
__device__ float* OwnInnerOf() {
  return reinterpret_cast<float*>(Tile::OwnShared() + OwnTokens::kInnerAt);
}

// Leaves the sums of this block in the workspace. True in the last block of the
// tile: all sums are there.
template <class Tile>
__device__ bool LeavePartialSums(const TileOutput& out, int tile,
                                 int num_outputs, const float* shared) {
  const WorkSplit& split = out.split;
  const int block = static_cast<int>(blockIdx.x);
  float* mine = PartialSums<Tile>(out, block, split.PartOf(block, tile));
#pragma unroll 1
  for (int at = static_cast<int>(threadIdx.x); at < num_outputs;
       at += Tile::kThreads) {
    mine[at] = DepthSum<Tile>(shared, at);
  }
  if constexpr (Tile::kOwnTokens) {
    const int num_inner = static_cast<int>(out.output.m * out.output.lorc.rank);
    for (int i = static_cast<int>(threadIdx.x); i < num_inner;
         i += Tile::kThreads) {
      mine[Tile::kTokens * Tile::kRows + i] = OwnInnerOf<Tile>()[i];
    }
  }
  const int first = split.FirstBlock(tile);
  return IsLastToArrive(&arrivals[first], split.LastBlock(tile) - first + 1);
}

// V x of all columns instead, where the other blocks of the tile have left
// theirs.
template <class Tile>
__device__ void JoinInner(const TileOutput& out, int tile) {
  const int num_inner = static_cast<int>(out.output.m * out.output.lorc.rank);
  if (num_inner == 0) return;
  for (int i = static_cast<int>(threadIdx.x); i < num_inner;
       i += Tile::kThreads) {
    OwnInnerOf<Tile>()[i] =
        BlockSum<Tile>(out, tile, Tile::kTokens * Tile::kRows + i);
  }
  __syncthreads();
}

// Stores the outputs of a segment whose sums are in shared memory, where this
// block has all of K; or those of its tile from the workspace, where the others
// have left theirs already.
template <class Tile>
__device__ void StoreTile(const TileOutput& out, const TileSegment& segment,
                          const float* shared) {
  const bool has_all = segment.end - segment.begin == out.split.chunks_per_tile;
  MatmulOutput output = out.output;
  if constexpr (Tile::kOwnTokens) {
    output.token_scale = reinterpret_cast<const float*>(Tile::OwnShared());
    output.inner = OwnInnerOf<Tile>();
  }
  const int64_t rest = out.output.m - segment.first_token;
  const int num_outputs =
      (rest < Tile::kTokens ? static_cast<int>(rest) : Tile::kTokens) *
      Tile::kRows;
  if (!has_all &&
      !LeavePartialSums<Tile>(out, segment.tile, num_outputs, shared)) {
    return;
  }
  if constexpr (Tile::kOwnTokens) {
    if (!has_all) JoinInner<Tile>(out, segment.tile);
  }
#pragma unroll 1
  for (int at = static_cast<int>(threadIdx.x); at < num_outputs;
       at += Tile::kThreads) {
    const int64_t row = segment.first_row + at % Tile::kRows;
    if (row >= output.n) continue;
    const float sum = has_all ? DepthSum<Tile>(shared, at)
                              : BlockSum<Tile>(out, segment.tile, at);
    StoreOutput(output, segment.first_token + at / Tile::kRows, row,
                sum * Tile::kUnit);
  }
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_MATMUL_TILE_H_
