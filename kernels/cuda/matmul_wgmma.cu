// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/check.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/low_rank.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/matmul_tile.h"
#include "kernels/cuda/matmul_wgmma.h"
#include "kernels/cuda/multiprocessors.h"
#include "kernels/cuda/wgmma_plan.h"
#include "kernels/cuda/wgmma_tile.h"

namespace zqfp::kernels::cuda {
namespace {

struct WgmmaParams {
  WgmmaOperands operands;
  TileOutput out;
  WgmmaShape shape;
};

template <class Tile>
__device__ void RunSegment(const WgmmaParams& params,
                           const TileSegment& segment) {
  float* shared = reinterpret_cast<float*>(DynamicShared());
  WgmmaThread<Tile> thread(params.operands, segment);
  typename Tile::Sums sums;
  thread.Multiply(sums);
  __syncthreads();  // nobody reads the ring any more
  thread.Store(sums, shared);
  __syncthreads();
  StoreTile<Tile>(params.out, segment, shared);
}

template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads,
                                  Tile::kShape.blocks_per_multiprocessor())
    MatmulWgmmaKernel(const __grid_constant__ WgmmaParams params) {
  AwaitInputs();
  __shared__ TileSegment segment;  // a product leaves no registers for it
  const WorkSplit& split = params.out.split;
  const int block = static_cast<int>(blockIdx.x);
  for (int unit = split.Begin(block); unit < split.Begin(block + 1);) {
    if (threadIdx.x == 0) {
      segment = SegmentAt<Tile>(params.out, unit, split.Begin(block + 1));
    }
    __syncthreads();
    RunSegment<Tile>(params, segment);
    unit = segment.tile * split.chunks_per_tile + segment.end;
    __syncthreads();  // before the next one and what it fills the ring with
  }
}

template <CodeFormat kCodes, ScaleFormat kScales, int kTokens, int kWarpgroups>
void LaunchTile(const WgmmaParams& params, const Exec& exec) {
  using Tile = WgmmaTile<kCodes, kScales, kTokens, kWarpgroups>;
  Launch(exec,
         {.grid = dim3(static_cast<unsigned>(params.out.split.num_blocks)),
          .block = dim3(Tile::kThreads),
          .shared_bytes = Tile::kSharedBytes},
         MatmulWgmmaKernel<Tile>, params);
}

template <CodeFormat kCodes, ScaleFormat kScales>
void LaunchFormat(const WgmmaParams& params, const Exec& exec) {
  const bool is_wide = params.shape.warpgroups > 2;
  switch (params.shape.tokens) {
    case 32:
      return LaunchTile<kCodes, kScales, 32, 2>(params, exec);
    case 64:
      return is_wide ? LaunchTile<kCodes, kScales, 64, 4>(params, exec)
                     : LaunchTile<kCodes, kScales, 64, 2>(params, exec);
    default:
      return is_wide ? LaunchTile<kCodes, kScales, 128, 3>(params, exec)
                     : LaunchTile<kCodes, kScales, 128, 2>(params, exec);
  }
}

void LaunchAny(const WgmmaParams& params, const Exec& exec) {
  const PackedWeight& w = params.operands.read.weight;
  const bool has_f32 = w.scale_format == ScaleFormat::kF32;
  if (w.code_format == CodeFormat::kE2m1) {
    return has_f32 ? LaunchFormat<CodeFormat::kE2m1, ScaleFormat::kF32>(params,
                                                                        exec)
                   : LaunchFormat<CodeFormat::kE2m1, ScaleFormat::kE4m3>(params,
                                                                         exec);
  }
  return has_f32
             ? LaunchFormat<CodeFormat::kE4m3, ScaleFormat::kF32>(params, exec)
             : LaunchFormat<CodeFormat::kE4m3, ScaleFormat::kNone>(params,
                                                                   exec);
}

}  // namespace

bool HasWgmma(const WeightView& weight) {
  return HasPackedForm(weight.format) && weight.packed != nullptr &&
         (!HasGroups(weight.format) || weight.group_size >= kChunkColumns);
}

WgmmaShape ChooseWgmmaShape(const MatmulA8Args& args) {
  const int64_t slabs = Pieces(args.weight.n, kSlabRows);
  return ChooseWgmmaShape(args.m, slabs, NumMultiprocessors());
}

void MatmulWgmma(const MatmulA8Args& args, WgmmaShape shape, const float* inner,
                 uint8_t* workspace, const Exec& exec) {
  const PackedWeight w = DescribePacked(args.weight, args.weight.packed);
  const WgmmaPlan plan =
      PlanWgmma(shape, args.m, w.num_slabs, w.num_chunks, NumMultiprocessors());
  ZQFP_CHECK(plan.fits);
  LaunchAny({.operands = DescribeOperands(OperandsOf(args, w)),
             .out = {.output = OutputOf(args, w, inner),
                     .split = plan.split,
                     .first_tile = 0,
                     .num_token_tiles = plan.num_token_tiles,
                     .partial_sums = reinterpret_cast<float*>(workspace)},
             .shape = shape},
            exec);
}

int64_t MatmulWgmmaWorkspaceBytes() {
  return WgmmaPartialSumBytes(NumMultiprocessors());
}

bool MatmulA8Wgmma(const MatmulA8Args& args, int shape_index,
                   const Exec& exec) {
  const WeightView& weight = args.weight;
  if (!HasWgmma(weight)) return false;
  if (args.m == 0) return true;
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
  const WgmmaShape shape = shape_index == kChosenShape
                               ? ChooseWgmmaShape(args)
                               : kWgmmaShapes[shape_index];
  MatmulWgmma(args, shape, inner,
              workspace + LowRankInnerBytes(args.m, weight.lorc.rank), exec);
  return true;
}

int64_t MatmulA8WgmmaWorkspaceBytes(const WorkspaceQuery& query) {
  return LowRankInnerBytes(query.num_tokens, query.lorc_rank) +
         MatmulWgmmaWorkspaceBytes();
}

}  // namespace zqfp::kernels::cuda
