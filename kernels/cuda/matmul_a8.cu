// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/check.h"
#include "kernels/cuda/hmma_tile.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/low_rank.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/matmul_fp8.h"
#include "kernels/cuda/matmul_output.h"
#include "kernels/cuda/ops.h"

namespace zqfp::kernels::cuda {
namespace {

// How many blocks have left their partial sum of a tile, by the first of them.
// Zero between launches: the last block to arrive resets it. Launches follow
// one another on the one stream of the process.
__device__ unsigned arrivals[kMaxBlocks];

// One of the weights of a launch, which all have the tokens, the format and the
// chunks in common. Its tiles come behind those of the ones before it.
struct A8Matrix {
  HmmaOperands operands;
  MatmulOutput output;
  int first_tile;
};

struct A8Params {
  A8Matrix matrix[kMostGroupedMatmuls];
  int num_matrices;
  MatmulPlan plan;
  float* partial_sums;  // [num_blocks, 2, tokens, rows]
};

__device__ const A8Matrix& MatrixOf(const A8Params& params, int tile) {
  int i = 0;
  while (i + 1 < params.num_matrices &&
         tile >= params.matrix[i + 1].first_tile) {
    ++i;
  }
  return params.matrix[i];
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
__device__ float* PartialSums(const A8Params& params, int block, int part) {
  return params.partial_sums +
         (int64_t{block} * 2 + part) * int64_t{Tile::kTokens * Tile::kRows};
}

// The sum of what all blocks of a tile have left in the workspace, in their
// order.
template <class Tile>
__device__ float BlockSum(const A8Params& params, int tile, int at) {
  const WorkSplit& split = params.plan.split;
  const int first = split.FirstBlock(tile);
  const int last = split.LastBlock(tile);
  float sum = PartialSums<Tile>(params, first, split.PartOf(first, tile))[at];
  for (int block = first + 1; block <= last; ++block) {
    sum += PartialSums<Tile>(params, block, 0)[at];
  }
  return sum;
}

// True in all threads of the last of the blocks that have written their partial
// sums of a tile.
__device__ bool IsLastToArrive(int first_block, int last_block) {
  __shared__ bool is_last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    const unsigned before = atomicAdd(&arrivals[first_block], 1u);
    is_last = before == static_cast<unsigned>(last_block - first_block);
    if (is_last) arrivals[first_block] = 0;
  }
  __syncthreads();
  __threadfence();
  return is_last;
}

// Leaves the sums of this block in the workspace. True in the last block of the
// tile: all sums are there.
template <class Tile>
__device__ bool LeavePartialSums(const A8Params& params, int tile,
                                 int num_outputs, const float* shared) {
  const WorkSplit& split = params.plan.split;
  const int block = static_cast<int>(blockIdx.x);
  float* mine = PartialSums<Tile>(params, block, split.PartOf(block, tile));
#pragma unroll 1
  for (int at = static_cast<int>(threadIdx.x); at < num_outputs;
       at += kMatmulThreads) {
    mine[at] = DepthSum<Tile>(shared, at);
  }
  return IsLastToArrive(split.FirstBlock(tile), split.LastBlock(tile));
}

// Stores the outputs of a tile, from the sums in shared memory where this block
// has all of K, or from those in the workspace.
template <class Tile>
__device__ void StoreTile(const A8Params& params, const MatmulOutput& output,
                          const HmmaSegment& segment, int tile, int num_outputs,
                          bool has_all, const float* shared) {
#pragma unroll 1
  for (int at = static_cast<int>(threadIdx.x); at < num_outputs;
       at += kMatmulThreads) {
    const int64_t row = segment.first_row + at % Tile::kRows;
    if (row >= output.n) continue;
    const float sum =
        has_all ? DepthSum<Tile>(shared, at) : BlockSum<Tile>(params, tile, at);
    StoreOutput(output, segment.first_token + at / Tile::kRows, row,
                sum * Tile::kUnit);
  }
}

template <class Tile>
__device__ void RunSegment(const A8Params& params, const A8Matrix& matrix,
                           const HmmaSegment& segment, int tile) {
  float* shared = reinterpret_cast<float*>(DynamicShared());
  HmmaWarp<Tile> warp(matrix.operands, segment);
  typename Tile::Sums sums;
  warp.Multiply(sums);
  __syncthreads();  // nobody reads the ring any more
  warp.Store(sums, shared);
  __syncthreads();
  const bool has_all =
      segment.end - segment.begin == params.plan.split.chunks_per_tile;
  const int64_t rest = matrix.output.m - segment.first_token;
  const int num_outputs =
      (rest < Tile::kTokens ? static_cast<int>(rest) : Tile::kTokens) *
      Tile::kRows;
  if (has_all || LeavePartialSums<Tile>(params, tile, num_outputs, shared)) {
    StoreTile<Tile>(params, matrix.output, segment, tile, num_outputs, has_all,
                    shared);
  }
  __syncthreads();  // before the next segment fills the ring
}

template <class Tile>
__global__ void __launch_bounds__(kMatmulThreads,
                                  BlocksPerMultiprocessor(Tile::kTokenTiles))
    MatmulA8Kernel(const __grid_constant__ A8Params params) {
  const WorkSplit& split = params.plan.split;
  const int end = split.Begin(static_cast<int>(blockIdx.x) + 1);
  for (int unit = split.Begin(static_cast<int>(blockIdx.x)); unit < end;) {
    const int tile = unit / split.chunks_per_tile;
    const int tile_begin = tile * split.chunks_per_tile;
    const int tile_end = tile_begin + split.chunks_per_tile;
    const int unit_end = tile_end < end ? tile_end : end;
    const A8Matrix& matrix = MatrixOf(params, tile);
    const int own_tile = tile - matrix.first_tile;
    const int64_t row_tile = own_tile / params.plan.num_token_tiles;
    const int64_t token_tile = own_tile % params.plan.num_token_tiles;
    RunSegment<Tile>(params, matrix,
                     {.first_row = row_tile * Tile::kRows,
                      .first_token = token_tile * Tile::kTokens,
                      .begin = unit - tile_begin,
                      .end = unit_end - tile_begin},
                     tile);
    unit = unit_end;
  }
}

template <CodeFormat kCodes, ScaleFormat kScales, bool kFine, int kTokenTiles>
void LaunchTile(const A8Params& params, const Exec& exec) {
  using Tile = HmmaTile<kCodes, kScales, kFine, kTokenTiles>;
  Launch(exec,
         {.grid = dim3(static_cast<unsigned>(params.plan.split.num_blocks)),
          .block = dim3(kMatmulThreads),
          .shared_bytes = Tile::kSharedBytes},
         MatmulA8Kernel<Tile>, params);
}

template <CodeFormat kCodes, ScaleFormat kScales, bool kFine>
void LaunchFormat(const A8Params& params, const Exec& exec) {
  switch (params.plan.token_tiles) {
    case 1:
      return LaunchTile<kCodes, kScales, kFine, 1>(params, exec);
    case 2:
      return LaunchTile<kCodes, kScales, kFine, 2>(params, exec);
    case 4:
      return LaunchTile<kCodes, kScales, kFine, 4>(params, exec);
    default:
      return LaunchTile<kCodes, kScales, kFine, 8>(params, exec);
  }
}

template <CodeFormat kCodes, ScaleFormat kScales>
void LaunchGroups(const A8Params& params, const Exec& exec) {
  if (params.matrix[0].operands.weight.group_size < kChunkColumns) {
    LaunchFormat<kCodes, kScales, true>(params, exec);
  } else {
    LaunchFormat<kCodes, kScales, false>(params, exec);
  }
}

void LaunchAny(const A8Params& params, const Exec& exec) {
  const PackedWeight& w = params.matrix[0].operands.weight;
  const bool has_f32 = w.scale_format == ScaleFormat::kF32;
  if (w.code_format == CodeFormat::kE2m1) {
    return has_f32 ? LaunchGroups<CodeFormat::kE2m1, ScaleFormat::kF32>(params,
                                                                        exec)
                   : LaunchGroups<CodeFormat::kE2m1, ScaleFormat::kE4m3>(params,
                                                                         exec);
  }
  return has_f32
             ? LaunchGroups<CodeFormat::kE4m3, ScaleFormat::kF32>(params, exec)
             : LaunchFormat<CodeFormat::kE4m3, ScaleFormat::kNone, false>(
                   params, exec);
}

int64_t NumMultiprocessors() {
  static const int64_t count = [] {
    cudaDeviceProp properties = {};
    const bool known = cudaGetDeviceProperties(&properties, 0) == cudaSuccess;
    return known ? int64_t{properties.multiProcessorCount} : 132;
  }();
  return count;
}

// The tokens of `args` from `first` on.
MatmulA8Args TokensFrom(MatmulA8Args args, int64_t first) {
  const int64_t outputs = first * args.weight.n;
  args.m -= first;
  args.x.data += first * args.weight.k;
  args.x.scale += first;
  if (args.residual != nullptr) args.residual += outputs;
  args.y += outputs;
  return args;
}

// V x of one weight's low-rank branch.
void ComputeInner(const MatmulA8Args& args, float* inner, const Exec& exec) {
  if (args.weight.lorc.rank == 0) return;
  LowRankInner({.m = args.m,
                .k = args.weight.k,
                .lorc = args.weight.lorc,
                .codes = args.x.data,
                .inner = inner},
               exec);
}

A8Matrix MatrixFrom(const MatmulA8Args& args, const float* inner) {
  const WeightView& weight = args.weight;
  const PackedWeight w = DescribePacked(weight, weight.packed);
  const bool whole_pieces =
      weight.k % 16 == 0 && reinterpret_cast<uintptr_t>(args.x.data) % 16 == 0;
  return {.operands = {.weight = w,
                       .tokens = args.x.data,
                       .m = args.m,
                       .k = weight.k,
                       .whole_pieces = whole_pieces},
          .output = {.m = args.m,
                     .n = weight.n,
                     .row_scale = w.row_scale,
                     .token_scale = args.x.scale,
                     .lorc = weight.lorc,
                     .inner = inner,
                     .bias = args.bias,
                     .residual = args.residual,
                     .y = args.y},
          .first_tile = 0};
}

// One launch for all of a group; inner[i] is V x of its i-th weight.
void LaunchGroup(const MatmulA8Args* group, int size, float* const* inner,
                 void* partial_sums, const Exec& exec) {
  A8Params params = {};
  params.num_matrices = size;
  params.partial_sums = static_cast<float*>(partial_sums);
  const int64_t m = group[0].m;
  const int64_t token_tiles = Pieces(m, TokenTiles(m) * kTileTokens);
  int64_t row_tiles = 0;
  for (int i = 0; i < size; ++i) {
    params.matrix[i] = MatrixFrom(group[i], inner[i]);
    params.matrix[i].first_tile = static_cast<int>(row_tiles * token_tiles);
    row_tiles += RowTiles(m, params.matrix[i].operands.weight.num_slabs);
  }
  params.plan =
      PlanMatmul(m, row_tiles, params.matrix[0].operands.weight.num_chunks,
                 NumMultiprocessors());
  ZQFP_CHECK(params.plan.fits);
  LaunchAny(params, exec);
}

// Whether two weights can be multiplied in one launch: by the same kernel.
bool HaveOneKernel(const WeightView& a, const WeightView& b) {
  return a.format == b.format && a.group_size == b.group_size && a.k == b.k;
}

}  // namespace

void MatmulHmma(const MatmulA8Args& args, float* inner, uint8_t* workspace,
                const Exec& exec) {
  LaunchGroup(&args, 1, &inner, workspace, exec);
}

void MatmulA8(const MatmulA8Args& args, const Exec& exec) noexcept {
  if (args.m == 0) return;
  ZQFP_CHECK(args.weight.packed != nullptr);
  uint8_t* workspace = static_cast<uint8_t*>(exec.workspace);
  float* inner = reinterpret_cast<float*>(workspace);
  ComputeInner(args, inner, exec);
  uint8_t* const rest =
      workspace + LowRankInnerBytes(args.m, args.weight.lorc.rank);
  const int64_t done = MatmulFp8(args, inner, rest, exec);
  if (done == args.m) return;
  if (done > 0) return MatmulA8(TokensFrom(args, done), exec);
  MatmulHmma(args, inner, rest, exec);
}

void MatmulA8Group(const MatmulA8Args* group, int size,
                   const Exec& exec) noexcept {
  ZQFP_CHECK(size >= 1 && size <= kMostGroupedMatmuls);
  bool one_launch = group[0].m > 0 && group[0].m < kFp8LeastTokens;
  for (int i = 1; i < size; ++i) {
    one_launch = one_launch && HaveOneKernel(group[0].weight, group[i].weight);
  }
  if (!one_launch) {
    for (int i = 0; i < size; ++i) MatmulA8(group[i], exec);
    return;
  }
  uint8_t* workspace = static_cast<uint8_t*>(exec.workspace);
  float* inner[kMostGroupedMatmuls] = {};
  for (int i = 0; i < size; ++i) {
    ZQFP_CHECK(group[i].weight.packed != nullptr);
    inner[i] = reinterpret_cast<float*>(workspace);
    ComputeInner(group[i], inner[i], exec);
    workspace += LowRankInnerBytes(group[i].m, group[i].weight.lorc.rank);
  }
  LaunchGroup(group, size, inner, workspace, exec);
}

int64_t MatmulWorkspaceBytes(const WorkspaceQuery& query) noexcept {
  const int64_t sums = PartialSumBytes(query.num_tokens, NumMultiprocessors());
  const int64_t fp8 = MatmulFp8WorkspaceBytes(query.num_tokens, query.k);
  const int64_t rank = query.lorc_rank;
  const int64_t alone = LowRankInnerBytes(query.num_tokens, rank);
  const int64_t group_tokens =
      query.num_tokens < kFp8LeastTokens ? query.num_tokens : kFp8LeastTokens;
  const int64_t group =
      kMostGroupedMatmuls * LowRankInnerBytes(group_tokens, rank);
  return (alone > group ? alone : group) + (sums > fp8 ? sums : fp8);
}

}  // namespace zqfp::kernels::cuda
