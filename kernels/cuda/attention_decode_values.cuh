// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_ATTENTION_DECODE_VALUES_CUH_
#define ZQFP_KERNELS_CUDA_ATTENTION_DECODE_VALUES_CUH_

// The weighted values of a decode block on the tensor cores, where its scores
// are (attention_decode_scores.cuh).
//
// Values are exact in f16. The weights of a query's run of 32 keys are divided
// by a power of two, so that the largest is just below 2^15, and are then the
// sum of two f16 numbers, hi + lo: each up to 2^-22 of it, or 2^-39 of the
// largest. hi stands in one row of the left factor and lo in the row eight
// below, so that one product has both. Every run begins its sums anew and adds
// them to those of the runs before.
//
// Values are the right factor, 16 keys times 8 dimensions. Lane 4 g + t loads
// the 16 dimensions from 16 g on of keys 2 t, 2 t + 1, 2 t + 8 and 2 t + 9, in
// whole pieces, and hands product j dimension 16 g + j: of the result it has
// query g and, from 16 products, dimensions 32 t .. 32 t + 31.
//
// A key that a query does not see has the weight zero, which a NaN does not
// care for: where not all queries see the same keys, the run goes without the
// tensor cores.

#include "kernels/cuda/attention_decode_scores.cuh"
#include "kernels/cuda/kv_values.cuh"

namespace zqfp::kernels::cuda {

// This lane's dimensions of four keys.
struct ValuePieces {
  uint4 piece[4];
};

// Of query lane / 4: its weights of a run, divided by `unit`.
struct ValueWeights {
  uint32_t fragment[kRunTiles][4];
  float unit;
};

// The sums of query lane / 4 over its keys so far, dimensions 32 (lane % 4) ..,
// and what they are to be multiplied by before the next run is added.
struct ValueSums {
  float sum[2][16] = {};
  float shrink = 0;
};

// Which of a tile's keys is this lane's i-th one.
__device__ __forceinline__ int KeyOfLane(int lane, int i) {
  return lane % 4 * 2 + i % 2 + i / 2 * 8;
}

// Starts loading this lane's part of keys first .. first + 15 of the warp's;
// `values` is the page array.
__device__ __forceinline__ ValuePieces
LoadValuePieces(const uint8_t* __restrict__ values, const int64_t* row_offset,
                int first, int lane, int dim) {
  ValuePieces loaded = {};
  const int at = lane / 4 * 16;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (at >= dim) continue;
    loaded.piece[i] = *reinterpret_cast<const uint4*>(
        values + row_offset[first + KeyOfLane(lane, i)] + at);
  }
  return loaded;
}

// 2^-14 of the power of two of the largest magnitude in the four lanes of a
// query; 1 where that is no number, and the smallest there is where that would
// be less.
__device__ __forceinline__ float UnitOfWeights(
    const float (&x)[4 * kRunTiles]) {
  constexpr uint32_t kStep = 1u << 23;  // of the exponent
  const uint32_t exponent = LargestOfQuery(x) & 0x7f800000u;
  if (exponent == 0x7f800000u) return 1.0f;
  const uint32_t least = 15 * kStep;
  return __uint_as_float((exponent > least ? exponent : least) - 14 * kStep);
}

// `weight` is the exchange's, [32, kQueries].
template <int kQueries>
__device__ __forceinline__ ValueWeights
WeightsOfValues(const float (*weight)[kQueries], int lane) {
  const int query = lane / 4;
  float x[4 * kRunTiles];
#pragma unroll
  for (int i = 0; i < 4 * kRunTiles; ++i) {
    const int key = i / 4 * kTileKeys + KeyOfLane(lane, i % 4);
    const float of_key = query < kQueries ? weight[key][query] : kUnseen;
    x[i] = of_key == kUnseen ? 0 : of_key;
  }
  ValueWeights weights;
  weights.unit = UnitOfWeights(x);
  const float inverse = 1 / weights.unit;
#pragma unroll
  for (int tile = 0; tile < kRunTiles; ++tile) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      uint32_t hi_lo[2];
      const int at = 4 * tile + 2 * half;
      SplitF16(x[at] * inverse, x[at + 1] * inverse, hi_lo);
      weights.fragment[tile][2 * half] = hi_lo[0];
      weights.fragment[tile][2 * half + 1] = hi_lo[1];
    }
  }
  return weights;
}

// Adds the values of a run, times their weights.
__device__ __forceinline__ void AddValues(
    const ValuePieces (&values)[kRunTiles], const ValueWeights& weights,
    ValueSums& sums) {
#pragma unroll
  for (int j = 0; j < 16; ++j) {
    // Byte j of two keys' pieces are the two halves of a register.
    const uint32_t selector = j % 4 < 2 ? 0x5140 : 0x7362;
    float d[4] = {};
#pragma unroll
    for (int tile = 0; tile < kRunTiles; ++tile) {
      uint32_t b[2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        uint32_t word[2];
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          word[i] = WordOf(values[tile].piece[2 * half + i], j / 4);
        }
        const uint32_t pairs = Prmt(word[0], word[1], selector);
        b[half] = F16x2FromE4m3x2(static_cast<uint16_t>(pairs >> j % 2 * 16));
      }
      MmaF16(d, weights.fragment[tile], b);
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float added = (d[i] + d[2 + i]) * weights.unit;
      sums.sum[i][j] = fmaf(sums.sum[i][j], sums.shrink, added);
    }
  }
}

// The same in plain f32, of the keys that the query sees.
template <int kQueries>
__device__ __forceinline__ void AddSeenValues(
    const uint8_t* __restrict__ values, const int64_t* row_offset,
    const float (*weight)[kQueries], int lane, int dim, ValueSums& sums) {
#pragma unroll
  for (auto& half : sums.sum) {
#pragma unroll
    for (float& sum : half) sum *= sums.shrink;
  }
  const int query = lane / 4;
#pragma unroll 1
  for (int key = 0; key < kWarpKeys; ++key) {
    const float of_key = query < kQueries ? weight[key][query] : kUnseen;
    if (of_key == kUnseen) continue;
    const uint8_t* row = values + row_offset[key];
#pragma unroll
    for (int eight = 0; eight < 4; ++eight) {
      const auto loaded = LoadEight<ValueFormat::kE4m3, true>(
          row, lane % 4 * 32 + eight * 8, dim);
      float value[8];
      DecodeEight<ValueFormat::kE4m3>(loaded, value);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        float& sum = sums.sum[eight / 2][eight % 2 * 8 + i];
        sum = fmaf(of_key, value[i], sum);
      }
    }
  }
}

// To a query's row, `to` [128].
__device__ __forceinline__ void StoreValueSums(const ValueSums& sums, int lane,
                                               float* to) {
#pragma unroll
  for (int i = 0; i < 32; i += 4) {
    const float* from = &sums.sum[i / 16][i % 16];
    *reinterpret_cast<float4*>(to + lane % 4 * 32 + i) =
        make_float4(from[0], from[1], from[2], from[3]);
  }
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_ATTENTION_DECODE_VALUES_CUH_
