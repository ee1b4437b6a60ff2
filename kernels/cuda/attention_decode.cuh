// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_ATTENTION_DECODE_CUH_
#define ZQFP_KERNELS_CUDA_ATTENTION_DECODE_CUH_

// The steps of a decode block: four warps, each of which takes every fourth
// run of 32 keys, with a running softmax of its own over all queries of the
// tile.
//
// A key is read by `kLanes` neighbouring lanes, 8 dimensions each (or twice 8,
// `kSlices`), so 32 / kLanes keys at once. Scores pass through shared memory:
// there a lane is a key, and caps, masks and exponentials are computed once.

#include "kernels/cuda/attention_decode_scores.cuh"
#include "kernels/cuda/attention_decode_values.cuh"
#include "kernels/cuda/attention_tile.cuh"
#include "kernels/cuda/kv_values.cuh"

namespace zqfp::kernels::cuda {

inline constexpr int kDecodeWarps = 4;

// The compile-time side of a decode kernel.
template <ValueFormat kFormatValue, int kLanesValue, int kSlicesValue,
          int kQueriesValue, bool kVectorsValue, bool kTensorCoresValue>
struct DecodeShape {
  static constexpr ValueFormat kFormat = kFormatValue;
  static constexpr int kLanes = kLanesValue;
  static constexpr int kSlices = kSlicesValue;
  static constexpr int kQueries = kQueriesValue;
  static constexpr bool kVectors = kVectorsValue;
  // Of several queries and e4m3: attention_decode_scores.cuh, _values.cuh.
  static constexpr bool kTensorCores = kTensorCoresValue;

  static constexpr int kKeysAtOnce = 32 / kLanes;
  static constexpr int kDims = 8 * kSlices;       // of a lane
  static constexpr int kStride = kLanes * kDims;  // of a row in shared memory
  // Rounds of keys loaded together: enough bytes in flight to hide memory, few
  // enough registers. A round of e4m3 is half as many bytes.
  static constexpr bool kFewQueries = kQueries * kSlices == 1;
  static constexpr int kWantedBatch = !kFewQueries                    ? 4
                                      : kFormat == ValueFormat::kE4m3 ? 16
                                                                      : 8;
  static constexpr int kBatch = kLanes < kWantedBatch ? kLanes : kWantedBatch;
  static constexpr int kBatches = kLanes / kBatch;
  // Blocks that share a multiprocessor: what leaves enough registers.
  static constexpr int kBlocks =
      kFormat == ValueFormat::kF32 || kSlices > 1 || !kVectors ? 2
      : kFewQueries                                            ? 4
      : kQueries <= 4 && !kTensorCores                         ? 3
                                                               : 2;
};

// What a lane knows of the tile's queries.
template <typename Shape>
struct DecodeState {
  float q[Shape::kTensorCores ? 1 : Shape::kQueries][Shape::kDims];
  // Of this lane's dims and keys.
  float sum[Shape::kTensorCores ? 1 : Shape::kQueries][Shape::kDims];
  ScoreQueries score_queries;         // on the tensor cores instead of q,
  ValueSums value_sums;               // and of sum
  float maximum[Shape::kQueries];     // of the warp
  float total[Shape::kQueries];       // of this lane's keys
  int32_t last_key[Shape::kQueries];  // -1: no such query
};

// What the lanes of a warp tell each other about 32 keys.
template <typename Shape>
struct DecodeExchange {
  float (*weight)[Shape::kQueries];  // [32, kQueries]: scores, then weights
  int64_t* row_offset;               // [32], bytes in the page arrays
};

// The first dimension of a lane's slice.
template <typename Shape>
__device__ __forceinline__ int FirstDim(int lane, int slice) {
  return (slice * Shape::kLanes + lane % Shape::kLanes) * 8;
}

// Starts loading the batch's keys or values; `data` is theirs from the lane's
// first dimension on.
template <typename Shape>
__device__ __forceinline__ void LoadBatch(
    const uint8_t* __restrict__ data, const int64_t* row_offset, int batch,
    int lane, int dim,
    EightValues<Shape::kFormat> (&loaded)[Shape::kBatch][Shape::kSlices]) {
  constexpr int kStep = 8 * Shape::kLanes;  // dims from slice to slice
  const int first = FirstDim<Shape>(lane, 0);
#pragma unroll
  for (int b = 0; b < Shape::kBatch; ++b) {
    const int64_t offset =
        row_offset[(batch * Shape::kBatch + b) * Shape::kKeysAtOnce +
                   lane / Shape::kLanes];
#pragma unroll
    for (int s = 0; s < Shape::kSlices; ++s) {
      loaded[b][s] = LoadEight<Shape::kFormat, Shape::kVectors>(
          data + offset, s * kStep, dim - first);
    }
  }
}

// Sums each of `kCount` values over kLanes neighbouring lanes. Halves change
// hands, so that a lane ends with the sums it is to pass on, in value[0..]:
// those from index FirstSum() of max(1, kCount / kLanes).
template <int kCount, int kLanes>
__device__ __forceinline__ void SumOverLanes(int lane, float (&value)[kCount]) {
  int count = kCount;  // constant, once this is unrolled
#pragma unroll
  for (int offset = kLanes / 2; offset > 0; offset /= 2) {
    if (count == 1) {
      value[0] += __shfl_xor_sync(kAllLanes, value[0], offset);
      continue;
    }
    count /= 2;
    const bool upper = (lane & offset) != 0;
#pragma unroll
    for (int i = 0; i < kCount / 2; ++i) {
      if (i >= count) continue;
      const float sent = upper ? value[i] : value[i + count];
      const float kept = upper ? value[i + count] : value[i];
      value[i] = kept + __shfl_xor_sync(kAllLanes, sent, offset);
    }
  }
}

// q K^T of a batch, to the warp's exchange.
template <typename Shape>
__device__ __forceinline__ void ScoreBatch(
    const DecodeState<Shape>& state,
    const EightValues<Shape::kFormat> (&keys)[Shape::kBatch][Shape::kSlices],
    int batch, int lane, DecodeExchange<Shape> exchange) {
  constexpr int kCount = Shape::kBatch * Shape::kQueries;
  float dot[kCount] = {};
#pragma unroll
  for (int b = 0; b < Shape::kBatch; ++b) {
#pragma unroll
    for (int s = 0; s < Shape::kSlices; ++s) {
      float key[8];
      DecodeEight<Shape::kFormat>(keys[b][s], key);
#pragma unroll
      for (int q = 0; q < Shape::kQueries; ++q) {
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          float& sum = dot[b * Shape::kQueries + q];
          sum = fmaf(state.q[q][8 * s + i], key[i], sum);
        }
      }
    }
  }
  SumOverLanes<kCount, Shape::kLanes>(lane, dot);
  constexpr int kKept = kCount > Shape::kLanes ? kCount / Shape::kLanes : 1;
  constexpr int kShare = kCount < Shape::kLanes ? Shape::kLanes / kCount : 1;
  if (lane % kShare != 0) return;
#pragma unroll
  for (int i = 0; i < kKept; ++i) {
    const int index = lane % Shape::kLanes / kShare * kKept + i;
    const int round = batch * Shape::kBatch + index / Shape::kQueries;
    const int key = round * Shape::kKeysAtOnce + lane / Shape::kLanes;
    exchange.weight[key][index % Shape::kQueries] = dot[i];
  }
}

// Scores become weights, a lane a key; sums shrink to the new maximum.
template <typename Shape>
__device__ __forceinline__ void WeighKeys(const AttentionPlan& plan,
                                          int32_t key, int32_t end_key,
                                          float key_scale, float value_scale,
                                          int lane, float* weight,
                                          DecodeState<Shape>& state) {
#pragma unroll
  for (int q = 0; q < Shape::kQueries; ++q) {
    const int32_t last = state.last_key[q];
    const bool seen =
        key < end_key && key <= last && key >= FirstKey(plan, last);
    const float score =
        seen ? Cap(weight[q] * key_scale * plan.args.scale, plan.args.softcap)
             : -INFINITY;
    float maximum = fmaxf(score, state.maximum[q]);
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
      maximum = fmaxf(maximum, __shfl_xor_sync(kAllLanes, maximum, offset));
    }
    const float subtrahend = Subtrahend(maximum);
    const float shrink = expf(state.maximum[q] - subtrahend);
    const float exponential = expf(score - subtrahend);
    state.maximum[q] = maximum;
    state.total[q] = fmaf(state.total[q], shrink, exponential);
    weight[q] = seen ? exponential * value_scale : kUnseen;
    if constexpr (Shape::kTensorCores) {
      if (lane / 4 == q) state.value_sums.shrink = shrink;
    } else {
#pragma unroll
      for (int i = 0; i < Shape::kDims; ++i) state.sum[q][i] *= shrink;
    }
  }
}

// Adds a batch's weighted values. With kMasked, keys that a query does not see
// are left out; else there are none.
template <typename Shape, bool kMasked>
__device__ __forceinline__ void AddBatch(
    const EightValues<Shape::kFormat> (&values)[Shape::kBatch][Shape::kSlices],
    int batch, int lane, DecodeExchange<Shape> exchange,
    DecodeState<Shape>& state) {
#pragma unroll
  for (int b = 0; b < Shape::kBatch; ++b) {
    const int key =
        (batch * Shape::kBatch + b) * Shape::kKeysAtOnce + lane / Shape::kLanes;
    float weight[Shape::kQueries];
#pragma unroll
    for (int q = 0; q < Shape::kQueries; ++q) {
      weight[q] = exchange.weight[key][q];
    }
#pragma unroll
    for (int s = 0; s < Shape::kSlices; ++s) {
      float value[8];
      DecodeEight<Shape::kFormat>(values[b][s], value);
#pragma unroll
      for (int q = 0; q < Shape::kQueries; ++q) {
        if (kMasked && weight[q] == kUnseen) continue;
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          float& sum = state.sum[q][8 * s + i];
          sum = fmaf(weight[q], value[i], sum);
        }
      }
    }
  }
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_ATTENTION_DECODE_CUH_
