// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_ATTENTION_DECODE_SCORES_CUH_
#define ZQFP_KERNELS_CUDA_ATTENTION_DECODE_SCORES_CUH_

// The scores of a decode block on the tensor cores, for several queries that
// share keys of e4m3 and up to 128 dimensions, a multiple of 16: in plain f32
// every query more is a product more for each value, and with eight of them the
// arithmetic takes longer than the memory. The values are weighted there, too
// (attention_decode_values.cuh).
//
// Keys are exact in f16. A query is divided by the power of two of its largest
// magnitude and is then the sum of two f16 numbers, hi + lo, up to 2^-22 of
// that; its scores are multiplied by the same power.
//
// Keys are the left factor, 16 of them to a product, queries the right one.
// Which dimension stands where does not matter as long as both agree: lane
// 4 g + t has of keys g and g + 8 the dimensions of two whole pieces of 16
// bytes, 16 t .. and 64 + 16 t .., in place of those that a fragment's lane
// would have.

#include "kernels/cuda/attention_tile.cuh"
#include "kernels/cuda/ptx.h"
#include "kernels/cuda/quads.h"

namespace zqfp::kernels::cuda {

inline constexpr int kScoreSteps = 8;  // products over 128 dimensions
inline constexpr int kWarpKeys = 32;   // that a warp handles at once: a run
inline constexpr int kTileKeys = 16;   // of a product
inline constexpr int kRunTiles = kWarpKeys / kTileKeys;

// This lane's dimensions of two keys, 16 to a piece.
struct KeyPieces {
  uint4 piece[2][2];  // [key g or g + 8][dimensions from 0 or from 64 on]
};

// What a lane has of the queries: the right factors of query g, and what the
// scores of queries 2 t and 2 t + 1 are to be multiplied by.
struct ScoreQueries {
  uint32_t fragment[kScoreSteps][2][2];  // [step][hi, lo][register]
  float factor[2];
};

// Both numbers as hi + lo, the first of each pair in the low half.
__device__ __forceinline__ void SplitF16(float first, float second,
                                         uint32_t (&hi_lo)[2]) {
  const uint32_t hi = F16x2FromF32(second, first);
  hi_lo[0] = hi;
  hi_lo[1] = F16x2FromF32(second - F32FromF16(static_cast<uint16_t>(hi >> 16)),
                          first - F32FromF16(static_cast<uint16_t>(hi)));
}

// The bits of the largest magnitude in the four lanes of a query.
template <int kCount>
__device__ __forceinline__ uint32_t LargestOfQuery(const float (&x)[kCount]) {
  uint32_t most = 0;
#pragma unroll
  for (const float value : x) {
    const uint32_t magnitude = __float_as_uint(value) & 0x7fffffffu;
    most = magnitude > most ? magnitude : most;
  }
#pragma unroll
  for (int offset = 1; offset < 4; offset *= 2) {
    const uint32_t other = __shfl_xor_sync(kAllLanes, most, offset);
    most = other > most ? other : most;
  }
  return most;
}

// The power of two of the largest magnitude in the four lanes of a query; 1
// where that is no number or too small.
__device__ __forceinline__ float UnitOfQuery(const float (&x)[32]) {
  const uint32_t exponent = LargestOfQuery(x) & 0x7f800000u;
  const bool is_normal = exponent != 0 && exponent != 0x7f800000u;
  return is_normal ? __uint_as_float(exponent) : 1.0f;
}

// Of query lane / 4 of the tile, zeros where there is none.
__device__ __forceinline__ void LoadScoreQueries(const AttentionPlan& plan,
                                                 const float* row, int lane,
                                                 ScoreQueries& queries) {
  const int dim = static_cast<int>(plan.args.pages.head_dim);
  float x[32];
#pragma unroll
  for (int i = 0; i < 32; i += 4) {
    const int first = i / 16 * 64 + lane % 4 * 16 + i % 16;
    float4 four = make_float4(0, 0, 0, 0);
    if (row != nullptr && first < dim) {
      four = *reinterpret_cast<const float4*>(row + first);
    }
    x[i] = four.x, x[i + 1] = four.y, x[i + 2] = four.z, x[i + 3] = four.w;
  }
  const float unit = UnitOfQuery(x);
  const float inverse = 1 / unit;
#pragma unroll
  for (int step = 0; step < kScoreSteps; ++step) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int at = 4 * step + 2 * r;
      uint32_t hi_lo[2];
      SplitF16(x[at] * inverse, x[at + 1] * inverse, hi_lo);
      queries.fragment[step][0][r] = hi_lo[0];
      queries.fragment[step][1][r] = hi_lo[1];
    }
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    queries.factor[i] =
        __shfl_sync(kAllLanes, unit, (lane % 4 * 2 + i) * 4 % 32);
  }
}

// Starts loading this lane's part of keys first .. first + 15 of the warp's;
// `keys` is the page array.
__device__ __forceinline__ KeyPieces
LoadKeyPieces(const uint8_t* __restrict__ keys, const int64_t* row_offset,
              int first, int lane, int dim) {
  KeyPieces loaded = {};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const uint8_t* key = keys + row_offset[first + lane / 4 + 8 * i];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int at = half * 64 + lane % 4 * 16;
      if (at < dim) {
        loaded.piece[i][half] = *reinterpret_cast<const uint4*>(key + at);
      }
    }
  }
  return loaded;
}

// q K^T of those keys, `weight` [16][kQueries] of the warp's exchange.
template <int kQueries>
__device__ __forceinline__ void ScoreKeys(const KeyPieces& keys,
                                          const ScoreQueries& queries, int lane,
                                          float (*weight)[kQueries]) {
  float d[4] = {};
#pragma unroll
  for (int step = 0; step < kScoreSteps; ++step) {
    uint32_t a[4];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const uint32_t word = WordOf(keys.piece[i][step / 4], step % 4);
      a[i] = F16x2FromE4m3x2(static_cast<uint16_t>(word));
      a[2 + i] = F16x2FromE4m3x2(static_cast<uint16_t>(word >> 16));
    }
#pragma unroll
    for (int part = 0; part < 2; ++part) {
      MmaF16(d, a, queries.fragment[step][part]);
    }
  }
  const int query = lane % 4 * 2;
  if (query < kQueries) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      *reinterpret_cast<float2*>(&weight[lane / 4 + 8 * i][query]) =
          make_float2(d[2 * i] * queries.factor[0],
                      d[2 * i + 1] * queries.factor[1]);
    }
  }
  __syncwarp();  // the whole warp goes on to the next product
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_ATTENTION_DECODE_SCORES_CUH_
