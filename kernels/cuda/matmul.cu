// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/check.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/low_rank.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/matmul_output.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/row_reduction.h"
#include "kernels/cuda/weight_rows.h"

namespace zqfp::kernels::cuda {
namespace {

constexpr int kThreads = 256;

// --- Few tokens: a warp has four rows of W and reads each once ---------------

constexpr int kWarpOutputRows = 4;
constexpr int kBlockOutputRows = kThreads / 32 * kWarpOutputRows;

template <int kTokens>
using RowSums = float[kWarpOutputRows][kTokens];

template <class Rows, int kTokens>
__device__ void SumRows(const Rows& rows, const MatmulArgs& args,
                        int64_t first_row, bool whole, RowSums<kTokens>& sums) {
  const int64_t k = args.weight.k;
  const int64_t last_row = args.weight.n - 1;
  const int64_t num_quads = (k + 3) / 4;
#pragma unroll 2
  for (int64_t i = threadIdx.x % 32; i < Rows::PaddedQuads(num_quads);
       i += 32) {
    const int64_t column = Rows::ColumnOfQuad(i);
    float4 w[kWarpOutputRows];
    for (int r = 0; r < kWarpOutputRows; ++r) {
      const int64_t row = first_row + r;
      w[r] = rows.Quad(row < last_row ? row : last_row, column);
    }
    for (int t = 0; t < kTokens; ++t) {
      if (t >= args.m) break;
      const float4 x = ReadQuad<ValueFormat::kF32>(args.x, t, k, column, whole);
      for (int r = 0; r < kWarpOutputRows; ++r) {
        sums[r][t] = AddDot(w[r], x, sums[r][t]);
      }
    }
  }
}

template <class Rows, int kTokens>
__global__ void __launch_bounds__(kThreads)
    MatmulRowsKernel(const __grid_constant__ Rows rows,
                     const __grid_constant__ MatmulArgs args,
                     const __grid_constant__ MatmulOutput output, bool whole) {
  AwaitInputs();
  const int64_t first_row = int64_t{blockIdx.x} * kBlockOutputRows +
                            threadIdx.x / 32 * kWarpOutputRows;
  RowSums<kTokens> sums = {};
  SumRows<Rows, kTokens>(rows, args, first_row, whole, sums);
  const int lane = static_cast<int>(threadIdx.x % 32);
  float mine = 0;  // of row lane / kTokens and token lane % kTokens
  for (int r = 0; r < kWarpOutputRows; ++r) {
    for (int t = 0; t < kTokens; ++t) {
      const float sum = ReduceWarp<Sum>(sums[r][t]);
      if (lane == r * kTokens + t) mine = sum;
    }
  }
  const int64_t row = first_row + lane / kTokens;
  const int64_t token = lane % kTokens;
  if (lane < kWarpOutputRows * kTokens && row < output.n && token < args.m) {
    StoreOutput(output, token, row, mine);
  }
}

// --- More tokens: tiles of 64 x 64 outputs, 32 columns of K at a time --------

constexpr int kTile = 64;
constexpr int kDepth = 32;
constexpr int kStride = kTile + 4;  // keeps the quads of a column aligned
constexpr int kSide = 4;            // outputs of a thread: 4 x 4
constexpr int kTileLoads = kTile * kDepth / 4 / kThreads;

__device__ void StoreColumn(float (&tile)[kDepth][kStride], int line, int k,
                            float4 quad) {
  tile[k][line] = quad.x;
  tile[k + 1][line] = quad.y;
  tile[k + 2][line] = quad.z;
  tile[k + 3][line] = quad.w;
}

__device__ void AddOuter(float4 w, float4 x, float (&sums)[kSide][kSide]) {
  const float a[kSide] = {x.x, x.y, x.z, x.w};
  const float b[kSide] = {w.x, w.y, w.z, w.w};
  for (int i = 0; i < kSide; ++i) {
    for (int j = 0; j < kSide; ++j) sums[i][j] = fmaf(a[i], b[j], sums[i][j]);
  }
}

template <class Rows>
__global__ void __launch_bounds__(kThreads)
    MatmulTilesKernel(const __grid_constant__ Rows rows,
                      const __grid_constant__ MatmulArgs args,
                      const __grid_constant__ MatmulOutput output, bool whole) {
  AwaitInputs();
  alignas(16) __shared__ float w_tile[kDepth][kStride];
  alignas(16) __shared__ float x_tile[kDepth][kStride];
  const int64_t first_row = int64_t{blockIdx.x} * kTile;
  const int64_t first_token = int64_t{blockIdx.y} * kTile;
  const int thread = static_cast<int>(threadIdx.x);
  const int row = thread % 16 * kSide, token = thread / 16 * kSide;
  float sums[kSide][kSide] = {};  // [token][row]
  for (int64_t k = 0; k < args.weight.k; k += kDepth) {
    for (int i = 0; i < kTileLoads; ++i) {
      const int at = thread + i * kThreads;
      const int line = at / (kDepth / 4), column = at % (kDepth / 4) * 4;
      // Lines beyond the matrix repeat its last one, and are not stored.
      const int64_t n = first_row + line, t = first_token + line;
      StoreColumn(w_tile, line, column,
                  k + column < args.weight.k
                      ? rows.Quad(n < output.n ? n : output.n - 1, k + column)
                      : make_float4(0, 0, 0, 0));
      StoreColumn(
          x_tile, line, column,
          ReadQuad<ValueFormat::kF32>(args.x, t < args.m ? t : args.m - 1,
                                      args.weight.k, k + column, whole));
    }
    __syncthreads();
    for (int i = 0; i < kDepth; ++i) {
      AddOuter(*reinterpret_cast<const float4*>(&w_tile[i][row]),
               *reinterpret_cast<const float4*>(&x_tile[i][token]), sums);
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kSide; ++i) {
#pragma unroll
    for (int j = 0; j < kSide; ++j) {
      const int64_t t = first_token + token + i, n = first_row + row + j;
      if (t < args.m && n < output.n) StoreOutput(output, t, n, sums[i][j]);
    }
  }
}

// --- Launches ---------------------------------------------------------------

template <class Rows>
void LaunchMatmul(const Rows& rows, const MatmulArgs& args,
                  const MatmulOutput& output, const Exec& exec) {
  const bool whole = HasWholeQuads(ValueFormat::kF32, args.x, args.weight.k);
  const auto blocks = [](int64_t count, int64_t size) {
    return static_cast<unsigned>((count + size - 1) / size);
  };
  const LaunchShape few = {
      .grid = dim3(blocks(args.weight.n, kBlockOutputRows)),
      .block = dim3(kThreads)};
  if (args.m == 1) {
    Launch(exec, few, MatmulRowsKernel<Rows, 1>, rows, args, output, whole);
  } else if (args.m <= 8) {
    Launch(exec, few, MatmulRowsKernel<Rows, 8>, rows, args, output, whole);
  } else {
    Launch(exec,
           {.grid = dim3(blocks(args.weight.n, kTile), blocks(args.m, kTile)),
            .block = dim3(kThreads)},
           MatmulTilesKernel<Rows>, rows, args, output, whole);
  }
}

template <ValueFormat kFormat>
void LaunchFloats(const MatmulArgs& args, const MatmulOutput& output,
                  const Exec& exec) {
  const WeightView& w = args.weight;
  LaunchMatmul(
      FloatRows<kFormat>{w.data, w.k, HasWholeQuads(kFormat, w.data, w.k)},
      args, output, exec);
}

void LaunchPacked(const PackedWeight& w, const MatmulArgs& args,
                  const MatmulOutput& output, const Exec& exec) {
  if (w.code_format == CodeFormat::kE2m1) {
    LaunchMatmul(PackedRows<CodeFormat::kE2m1>{w}, args, output, exec);
  } else {
    LaunchMatmul(PackedRows<CodeFormat::kE4m3>{w}, args, output, exec);
  }
}

}  // namespace

void Matmul(const MatmulArgs& args, const Exec& exec) noexcept {
  if (args.m == 0) return;
  const WeightView& weight = args.weight;
  float* inner = static_cast<float*>(exec.workspace);
  if (weight.lorc.rank > 0) {
    LowRankInner({.m = args.m,
                  .k = weight.k,
                  .lorc = weight.lorc,
                  .x = args.x,
                  .inner = inner},
                 exec);
  }
  MatmulOutput output = {.m = args.m,
                         .n = weight.n,
                         .lorc = weight.lorc,
                         .inner = inner,
                         .bias = args.bias,
                         .residual = args.residual,
                         .y = args.y};
  switch (weight.format) {
    case WeightFormat::kF32:
      return LaunchFloats<ValueFormat::kF32>(args, output, exec);
    case WeightFormat::kBf16:
      return LaunchFloats<ValueFormat::kBf16>(args, output, exec);
    case WeightFormat::kF16:
      return LaunchFloats<ValueFormat::kF16>(args, output, exec);
    default:
      break;
  }
  ZQFP_CHECK(weight.packed != nullptr);
  const PackedWeight w = DescribePacked(weight, weight.packed);
  output.row_scale = w.row_scale;
  LaunchPacked(w, args, output, exec);
}

}  // namespace zqfp::kernels::cuda
