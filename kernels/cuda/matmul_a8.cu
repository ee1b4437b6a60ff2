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
#include "kernels/cuda/ops.h"

namespace zqfp::kernels::cuda {
namespace {

struct A8Params {
  TileOperands operands;
  TileOutput out;
  int token_tiles;  // of 8 tokens, in a tile
};

template <class Tile>
__device__ void RunSegment(const A8Params& params, const TileSegment& segment) {
  float* shared = reinterpret_cast<float*>(DynamicShared());
  HmmaWarp<Tile> warp(params.operands, segment);
  typename Tile::Sums sums;
  warp.Multiply(sums);
  __syncthreads();  // nobody reads the ring any more
  warp.Store(sums, shared);
  __syncthreads();
  StoreTile<Tile>(params.out, segment, shared);
  __syncthreads();  // before the next segment fills the ring
}

template <class Tile>
__global__ void __launch_bounds__(kMatmulThreads,
                                  BlocksPerMultiprocessor(Tile::kTokenTiles))
    MatmulA8Kernel(const __grid_constant__ A8Params params) {
  const WorkSplit& split = params.out.split;
  const int end = split.Begin(static_cast<int>(blockIdx.x) + 1);
  for (int unit = split.Begin(static_cast<int>(blockIdx.x)); unit < end;) {
    const TileSegment segment = SegmentAt<Tile>(params.out, unit, end);
    RunSegment<Tile>(params, segment);
    unit += segment.end - segment.begin;
  }
}

template <CodeFormat kCodes, ScaleFormat kScales, bool kFine, int kTokenTiles>
void LaunchTile(const A8Params& params, const Exec& exec) {
  using Tile = HmmaTile<kCodes, kScales, kFine, kTokenTiles>;
  Launch(exec,
         {.grid = dim3(static_cast<unsigned>(params.out.split.num_blocks)),
          .block = dim3(kMatmulThreads),
          .shared_bytes = Tile::kSharedBytes},
         MatmulA8Kernel<Tile>, params);
}

template <CodeFormat kCodes, ScaleFormat kScales, bool kFine>
void LaunchFormat(const A8Params& params, const Exec& exec) {
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
  if (params.operands.weight.group_size < kChunkColumns) {
    LaunchFormat<kCodes, kScales, true>(params, exec);
  } else {
    LaunchFormat<kCodes, kScales, false>(params, exec);
  }
}

void LaunchAny(const A8Params& params, const Exec& exec) {
  const PackedWeight& w = params.operands.weight;
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

}  // namespace

int64_t NumMultiprocessors() {
  static const int64_t count = [] {
    cudaDeviceProp properties = {};
    const bool known = cudaGetDeviceProperties(&properties, 0) == cudaSuccess;
    return known ? int64_t{properties.multiProcessorCount} : 132;
  }();
  return count;
}

void MatmulA8(const MatmulA8Args& args, const Exec& exec) noexcept {
  if (args.m == 0) return;
  const WeightView& weight = args.weight;
  ZQFP_CHECK(weight.packed != nullptr);
  uint8_t* workspace = static_cast<uint8_t*>(exec.workspace);
  float* inner = reinterpret_cast<float*>(workspace);
  if (weight.lorc.rank > 0) {
    LowRankInner({.m = args.m,
                  .k = weight.k,
                  .lorc = weight.lorc,
                  .codes = args.x.data,
                  .inner = inner},
                 exec);
  }
  uint8_t* const rest = workspace + LowRankInnerBytes(args.m, weight.lorc.rank);
  if (IsForWgmma(args.m) && HasWgmma(weight)) {
    return MatmulWgmma(args, ChooseWgmmaShape(args), inner, rest, exec);
  }
  const int64_t done = MatmulFp8(args, inner, rest, exec);
  if (done == args.m) return;
  if (done > 0) return MatmulA8(TokensFrom(args, done), exec);
  const PackedWeight w = DescribePacked(weight, weight.packed);
  const bool whole_pieces =
      weight.k % 16 == 0 && reinterpret_cast<uintptr_t>(args.x.data) % 16 == 0;
  const MatmulPlan plan =
      PlanMatmul(args.m, w.num_slabs, w.num_chunks, NumMultiprocessors());
  ZQFP_CHECK(plan.fits);
  LaunchAny({.operands = {.weight = w,
                          .tokens = args.x.data,
                          .m = args.m,
                          .k = weight.k,
                          .whole_pieces = whole_pieces},
             .out = {.output = {.m = args.m,
                                .n = weight.n,
                                .row_scale = w.row_scale,
                                .token_scale = args.x.scale,
                                .lorc = weight.lorc,
                                .inner = inner,
                                .bias = args.bias,
                                .residual = args.residual,
                                .y = args.y},
                     .split = plan.split,
                     .num_token_tiles = plan.num_token_tiles,
                     .partial_sums = reinterpret_cast<float*>(rest)},
             .token_tiles = plan.token_tiles},
            exec);
}

int64_t MatmulWorkspaceBytes(const WorkspaceQuery& query) noexcept {
  const int64_t sums = PartialSumBytes(query.num_tokens, NumMultiprocessors());
  const int64_t fp8 = MatmulFp8WorkspaceBytes(query.num_tokens, query.k);
  const int64_t wgmma =  // a step may have fewer tokens than the query
      query.num_tokens >= kWgmmaLeastTokens && kWgmmaMostTokens > 0
          ? MatmulWgmmaWorkspaceBytes()
          : 0;
  return LowRankInnerBytes(query.num_tokens, query.lorc_rank) +
         std::max({sums, fp8, wgmma});
}

}  // namespace zqfp::kernels::cuda
