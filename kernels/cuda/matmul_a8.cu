// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kernels/core/check.h"
#include "kernels/cuda/hmma_tile.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/low_rank.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/matmul_fp8.h"
#include "kernels/cuda/matmul_tile.h"
#include "kernels/cuda/matmul_wgmma.h"
#include "kernels/cuda/multiprocessors.h"
#include "kernels/cuda/ops.h"

namespace zqfp::kernels::cuda {
namespace {

// One of the weights of a launch, which all have the tokens, the format and the
// chunks in common.
struct A8Matrix {
  TileOperands operands;
  TileOutput out;
};

struct A8Params {
  A8Matrix matrix[kMostGroupedMatmuls];
  int num_matrices;
  int token_tiles;  // of 8 tokens, in a tile
  OwnTokens own;    // where there are any; else tokens are the operands'
};

// Which weight's tile has this unit.
__device__ const A8Matrix& MatrixOf(const A8Params& params, int unit) {
  const int tile = unit / params.matrix[0].out.split.chunks_per_tile;
  int i = 0;
  while (i + 1 < params.num_matrices &&
         tile >= params.matrix[i + 1].out.first_tile) {
    ++i;
  }
  return params.matrix[i];
}

// Prefetches what `array` (or null) has of a segment's rows, `bytes` each: it
// is read after the last product, when nothing else is under way. Thread `i` of
// those that do.
template <class Tile>
__device__ void PrefetchRows(const void* array, int bytes, int64_t n,
                             const TileSegment& segment, int i) {
  const int64_t row = segment.first_row + int64_t{i} * (128 / bytes);
  if (array == nullptr || i >= (Tile::kRows * bytes + 127) / 128 || row >= n)
    return;
  PrefetchL2(static_cast<const uint8_t*>(array) + row * bytes);
}

// Of those, the scales and the second factor of a low-rank branch.
template <class Tile>
__device__ void PrefetchOutput(const MatmulOutput& output,
                               const TileSegment& segment) {
  const int thread = static_cast<int>(threadIdx.x);
  PrefetchRows<Tile>(output.row_scale, 4, output.n, segment, thread);
  const LorcView& lorc = output.lorc;
  if (lorc.rank == 0) return;
  PrefetchRows<Tile>(lorc.u_scale, 4, output.n, segment, thread);
  const int bytes = lorc.format == ValueFormat::kE4m3 ? 1 : 2;
  const int64_t r = thread / 4;  // a tile has up to four lines of one
  if (r >= lorc.rank) return;
  PrefetchRows<Tile>(static_cast<const uint8_t*>(lorc.u) + r * output.n * bytes,
                     bytes, output.n, segment, thread % 4);
}

template <class Tile>
__device__ HmmaWarp<Tile> StartSegment(const A8Matrix& matrix,
                                       const TileSegment& segment) {
  PrefetchOutput<Tile>(matrix.out.output, segment);
  if constexpr (Tile::kOwnTokens) {
    PrefetchFactor(matrix.out.output.lorc, matrix.operands.k,
                   segment.begin * kChunkColumns, segment.end * kChunkColumns);
  }
  HmmaWarp<Tile> warp(matrix.operands, segment);
  warp.FillFirstStages();
  return warp;
}

template <class Tile>
__global__ void __launch_bounds__(kMatmulThreads,
                                  BlocksPerMultiprocessor(Tile::kCodes,
                                                          Tile::kTokenTiles))
    MatmulA8Kernel(const __grid_constant__ A8Params params) {
  const WorkSplit& split = params.matrix[0].out.split;
  const int end = split.Begin(static_cast<int>(blockIdx.x) + 1);
  int unit = split.Begin(static_cast<int>(blockIdx.x));
  const A8Matrix* matrix = &MatrixOf(params, unit);
  TileSegment segment = SegmentAt<Tile>(matrix->out, unit, end);
  if constexpr (Tile::kOwnTokens) PrefetchNorm(params.own);
  HmmaWarp<Tile> warp = StartSegment<Tile>(*matrix, segment);
  if constexpr (Tile::kOwnTokens) {
    TakeOwnTokens(params.own, Tile::OwnShared());
  }
  while (true) {
    typename Tile::Sums sums;
    warp.Multiply(sums);
    __syncthreads();  // nobody reads the ring or the last sums any more
    warp.Store(sums);
    if constexpr (Tile::kOwnTokens) {
      OwnInner(matrix->out.output.lorc, params.own,
               segment.begin * kChunkColumns, segment.end * kChunkColumns,
               Tile::OwnShared());
    }
    const A8Matrix* const done = matrix;
    const TileSegment done_segment = segment;
    unit += segment.end - segment.begin;
    if (unit < end) {
      matrix = &MatrixOf(params, unit);
      segment = SegmentAt<Tile>(matrix->out, unit, end);
      warp = StartSegment<Tile>(*matrix, segment);
    }
    __syncthreads();  // all sums are there
    StoreTile<Tile>(done->out, done_segment, HmmaWarp<Tile>::SharedSums());
    if (unit >= end) return;
  }
}

template <CodeFormat kCodes, ScaleFormat kScales, bool kFine, int kTokenTiles,
          bool kOwn = false>
void LaunchTile(const A8Params& params, const Exec& exec) {
  using Tile = HmmaTile<kCodes, kScales, kFine, kTokenTiles, kOwn>;
  // Of the 228 kB of a multiprocessor a block takes two kB of its own besides.
  static_assert(BlocksPerMultiprocessor(kCodes, kTokenTiles) *
                    (Tile::kSharedBytes + (kOwn ? kMostOwnBytes : 0) + 2048) <=
                228 * 1024);
  Launch(exec,
         {.grid = dim3(
              static_cast<unsigned>(params.matrix[0].out.split.num_blocks)),
          .block = dim3(kMatmulThreads),
          .shared_bytes =
              Tile::kSharedBytes +
              (kOwn ? OwnTokens::CodesAt(params.own.m, params.own.k) : 0),
          .most_shared_bytes = Tile::kSharedBytes + (kOwn ? kMostOwnBytes : 0)},
         MatmulA8Kernel<Tile>, params);
}

template <CodeFormat kCodes, ScaleFormat kScales, bool kFine>
void LaunchFormat(const A8Params& params, const Exec& exec) {
  if (params.own.m > 0) {
    return LaunchTile<kCodes, kScales, kFine, 1, true>(params, exec);
  }
  switch (params.token_tiles) {
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
  const PackedWeight w = DescribePacked(args.weight, args.weight.packed);
  A8Matrix matrix = {};
  matrix.operands = OperandsOf(args, w);
  matrix.out.output = OutputOf(args, w, inner);
  return matrix;
}

// One launch for all of a group; inner[i] is V x of its i-th weight.
void LaunchGroup(const MatmulA8Args* group, int size, float* const* inner,
                 void* partial_sums, const OwnTokens& own, const Exec& exec) {
  A8Params params = {};
  params.own = own;
  params.num_matrices = size;
  const int64_t m = group[0].m;
  const bool is_own = own.m > 0;
  int64_t row_tiles = 0;
  for (int i = 0; i < size; ++i) {
    params.matrix[i] = MatrixFrom(group[i], inner[i]);
    row_tiles +=
        RowTiles(m, params.matrix[i].operands.weight.num_slabs, is_own);
  }
  const PackedWeight& weight = params.matrix[0].operands.weight;
  const MatmulPlan plan =
      PlanMatmul(weight.code_format, m, row_tiles, weight.num_chunks,
                 NumMultiprocessors(), is_own);
  ZQFP_CHECK(plan.fits);
  params.token_tiles = plan.token_tiles;
  row_tiles = 0;
  for (int i = 0; i < size; ++i) {
    TileOutput& out = params.matrix[i].out;
    out.split = plan.split;
    out.first_tile = static_cast<int>(row_tiles * plan.num_token_tiles);
    out.num_token_tiles = plan.num_token_tiles;
    out.partial_sums = static_cast<float*>(partial_sums);
    row_tiles +=
        RowTiles(m, params.matrix[i].operands.weight.num_slabs, is_own);
  }
  LaunchAny(params, exec);
}

// Whether two weights can be multiplied in one launch: by the same kernel.
bool HaveOneKernel(const WeightView& a, const WeightView& b) {
  return a.format == b.format && a.group_size == b.group_size && a.k == b.k;
}

// Whether one launch can multiply a group by tokens of its blocks' own.
bool TakesOwnTokens(const MatmulA8Args* group, int size) {
  const int64_t m = group[0].m;
  if (!FitsOwnTokens(m, group[0].weight.k) || IsForWgmma(m)) return false;
  return std::all_of(group, group + size, [&](const MatmulA8Args& args) {
    return HaveOneKernel(group[0].weight, args.weight) &&
           FitsOwnInner(args.weight);
  });
}

// Codes that the blocks of a group should have as their own, or none: where
// there is a low-rank branch, whose V x is then no launch more.
OwnTokens OwnCodesOf(const MatmulA8Args* group, int size) {
  const bool has_branch = std::any_of(
      group, group + size,
      [](const MatmulA8Args& args) { return args.weight.lorc.rank > 0; });
  const QuantizedTokensView& codes = group[0].x;
  if (!has_branch || !TakesOwnTokens(group, size) || !IsAligned16(codes.data)) {
    return {};
  }
  return {.m = group[0].m, .k = group[0].weight.k, .codes = codes};
}

void LaunchOwn(const MatmulA8Args* group, int size, const OwnTokens& own,
               const Exec& exec) {
  float* const no_inner[kMostGroupedMatmuls] = {};
  LaunchGroup(group, size, no_inner, exec.workspace, own, exec);
}

}  // namespace

void MatmulHmma(const MatmulA8Args& args, float* inner, uint8_t* workspace,
                const Exec& exec) {
  LaunchGroup(&args, 1, &inner, workspace, {}, exec);
}

void MatmulA8(const MatmulA8Args& args, const Exec& exec) noexcept {
  if (args.m == 0) return;
  ZQFP_CHECK(args.weight.packed != nullptr);
  const OwnTokens own = OwnCodesOf(&args, 1);
  if (own.m > 0) return LaunchOwn(&args, 1, own, exec);
  uint8_t* workspace = static_cast<uint8_t*>(exec.workspace);
  float* inner = reinterpret_cast<float*>(workspace);
  ComputeInner(args, inner, exec);
  uint8_t* const rest =
      workspace + LowRankInnerBytes(args.m, args.weight.lorc.rank);
  if (IsForWgmma(args.m) && HasWgmma(args.weight)) {
    return MatmulWgmma(args, ChooseWgmmaShape(args), inner, rest, exec);
  }
  const int64_t done = MatmulFp8(args, inner, rest, exec);
  if (done == args.m) return;
  if (done > 0) return MatmulA8(TokensFrom(args, done), exec);
  MatmulHmma(args, inner, rest, exec);
}

void MatmulA8Group(const MatmulA8Args* group, int size,
                   const Exec& exec) noexcept {
  ZQFP_CHECK(size >= 1 && size <= kMostGroupedMatmuls);
  const int64_t m = group[0].m;
  bool one_launch = m > 0 && m < kFp8LeastTokens && !IsForWgmma(m);
  for (int i = 1; i < size; ++i) {
    one_launch = one_launch && HaveOneKernel(group[0].weight, group[i].weight);
  }
  if (!one_launch) {
    for (int i = 0; i < size; ++i) MatmulA8(group[i], exec);
    return;
  }
  const OwnTokens own = OwnCodesOf(group, size);
  if (own.m > 0) return LaunchOwn(group, size, own, exec);
  uint8_t* workspace = static_cast<uint8_t*>(exec.workspace);
  float* inner[kMostGroupedMatmuls] = {};
  for (int i = 0; i < size; ++i) {
    ZQFP_CHECK(group[i].weight.packed != nullptr);
    inner[i] = reinterpret_cast<float*>(workspace);
    ComputeInner(group[i], inner[i], exec);
    workspace += LowRankInnerBytes(group[i].m, group[i].weight.lorc.rank);
  }
  LaunchGroup(group, size, inner, workspace, {}, exec);
}

bool TakesQuantizeMatmulA8(const RmsNormArgs& input, const MatmulA8Args* group,
                           int size) noexcept {
  return input.num_rows * input.dim <= kOwnTokenThreshold &&
         IsAligned16(input.x, input.weight) && TakesOwnTokens(group, size);
}

void QuantizeMatmulA8(const RmsNormArgs& input, const MatmulA8Args* group,
                      int size, const Exec& exec) noexcept {
  ZQFP_CHECK(size >= 1 && size <= kMostGroupedMatmuls);
  ZQFP_CHECK(TakesOwnTokens(group, size));
  LaunchOwn(group, size,
            {.m = input.num_rows,
             .k = input.dim,
             .x = input.x,
             .norm_weight = input.weight,
             .epsilon = input.epsilon,
             .codes = {}},
            exec);
}

int64_t MatmulWorkspaceBytes(const WorkspaceQuery& query) noexcept {
  const int64_t sums = PartialSumBytes(query.num_tokens, NumMultiprocessors());
  const int64_t fp8 = MatmulFp8WorkspaceBytes(query.num_tokens, query.k);
  const int64_t wgmma =  // a step may have fewer tokens than the query
      query.num_tokens >= kWgmmaLeastTokens && kWgmmaMostTokens > 0
          ? MatmulWgmmaWorkspaceBytes()
          : 0;
  const int64_t rank = query.lorc_rank;
  const int64_t alone = LowRankInnerBytes(query.num_tokens, rank);
  const int64_t group_tokens = std::min(query.num_tokens, kFp8LeastTokens);
  const int64_t group =
      kMostGroupedMatmuls * LowRankInnerBytes(group_tokens, rank);
  return std::max(alone, group) + std::max({sums, fp8, wgmma});
}

}  // namespace zqfp::kernels::cuda
