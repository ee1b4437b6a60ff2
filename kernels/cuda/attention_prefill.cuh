// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_ATTENTION_PREFILL_CUH_
#define ZQFP_KERNELS_CUDA_ATTENTION_PREFILL_CUH_

// The steps of a prefill block: a tile of queries against one tile of keys
// after the other, FlashAttention's running softmax        [arXiv:2307.08691]
//
// 128 threads, 16 x 8: thread (y, x) has the queries y, y + 16, .. and the keys
// x, x + 8, .. of the scores, and of the output the same queries and the
// dimensions 4 x .. 4 x + 3, 4 x + 32, .. . So all threads that share a query
// are neighbours in one warp, and reads of shared memory, whose rows are 4
// floats longer than a multiple of 32, hit every bank once.

#include "kernels/cuda/attention_tile.cuh"
#include "kernels/cuda/kv_values.cuh"

namespace zqfp::kernels::cuda {

inline constexpr int kPrefillThreads = 128;
inline constexpr int kThreadsX = 8;
inline constexpr int kThreadsY = 16;

// The compile-time side of a prefill kernel: heads of up to 32 kChunks dims.
template <int kChunksValue, int kTileQueriesValue, int kTileKeysValue>
struct PrefillShape {
  static constexpr int kChunks = kChunksValue;
  static constexpr int kTileQueries = kTileQueriesValue;
  static constexpr int kTileKeys = kTileKeysValue;

  static constexpr int kQueries = kTileQueries / kThreadsY;  // of a thread
  static constexpr int kKeys = kTileKeys / kThreadsX;        // of a thread
  static constexpr int kStride = 32 * kChunks + 4;           // floats
  static constexpr int kWeightStride = kTileKeys + 4;        // floats
  // Blocks that share a multiprocessor: what the registers and the shared
  // memory allow.
  static constexpr int kBlocks = kChunks <= 8 ? 2 : 1;
  static constexpr int kMostRows =
      kTileQueries > kTileKeys ? kTileQueries : kTileKeys;
  static constexpr int64_t kSharedBytes =
      4 * (kTileQueries * kStride + kTileKeys * kStride +
           kTileQueries * kWeightStride + 2 * kTileKeys) +
      8 * kMostRows;
};

// The shared memory of a block.
template <typename Shape>
struct PrefillShared {
  int64_t* row;      // [kMostRows] of q, then of the page arrays
  float* q;          // [kTileQueries, kStride]
  float* kv;         // [kTileKeys, kStride], keys, then values
  float* weight;     // [kTileQueries, kWeightStride]
  float* key_scale;  // [kTileKeys]
  float* value_scale;

  __device__ __forceinline__ explicit PrefillShared(uint8_t* memory) {
    row = reinterpret_cast<int64_t*>(memory);
    q = reinterpret_cast<float*>(row + Shape::kMostRows);
    kv = q + Shape::kTileQueries * Shape::kStride;
    weight = kv + Shape::kTileKeys * Shape::kStride;
    key_scale = weight + Shape::kTileQueries * Shape::kWeightStride;
    value_scale = key_scale + Shape::kTileKeys;
  }
};

// What a thread has of its queries.
template <typename Shape>
struct PrefillState {
  float sum[Shape::kQueries][4 * Shape::kChunks];
  float maximum[Shape::kQueries];
  float total[Shape::kQueries];       // of this thread's keys
  int32_t last_key[Shape::kQueries];  // -1: no such query
};

// Copies kRows rows of an array [.., dim] to shared memory as f32; dimensions
// that are not there become zeros.
template <typename Shape, ValueFormat kFormat, bool kVectors, int kRows>
__device__ __forceinline__ void StageRows(const void* __restrict__ data,
                                          const int64_t* row, int dim,
                                          float* staged) {
  constexpr int kEights = 4 * Shape::kChunks;  // of a row
  constexpr int kRounds = kRows * kEights / kPrefillThreads;
  constexpr int kBatch = kRounds % 4 == 0 ? 4 : kRounds % 3 == 0 ? 3 : 2;
  static_assert(kRows * kEights % (kBatch * kPrefillThreads) == 0);
#pragma unroll 1
  for (int round = 0; round < kRounds; round += kBatch) {
    EightValues<kFormat> loaded[kBatch];
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      const int i =
          (round + b) * kPrefillThreads + static_cast<int>(threadIdx.x);
      loaded[b] = LoadEight<kFormat, kVectors>(
          static_cast<const uint8_t*>(data) +
              row[i / kEights] * dim * kValueBytes<kFormat>,
          i % kEights * 8, dim);
    }
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      const int i =
          (round + b) * kPrefillThreads + static_cast<int>(threadIdx.x);
      float decoded[8];
      DecodeEight<kFormat>(loaded[b], decoded);
      float* to = staged + i / kEights * Shape::kStride + i % kEights * 8;
      *reinterpret_cast<float4*>(to) =
          make_float4(decoded[0], decoded[1], decoded[2], decoded[3]);
      *reinterpret_cast<float4*>(to + 4) =
          make_float4(decoded[4], decoded[5], decoded[6], decoded[7]);
    }
  }
}

template <typename Shape, bool kVectors>
__device__ __forceinline__ void StageKv(const KvPagesView& pages,
                                        const void* data, const int64_t* row,
                                        float* staged) {
  const int dim = static_cast<int>(pages.head_dim);
  constexpr int kRows = Shape::kTileKeys;
  if (pages.format == ValueFormat::kF32) {
    StageRows<Shape, ValueFormat::kF32, kVectors, kRows>(data, row, dim,
                                                         staged);
  } else if (pages.format == ValueFormat::kBf16) {
    StageRows<Shape, ValueFormat::kBf16, kVectors, kRows>(data, row, dim,
                                                          staged);
  } else {
    StageRows<Shape, ValueFormat::kE4m3, kVectors, kRows>(data, row, dim,
                                                          staged);
  }
}

__device__ __forceinline__ float Element(const float4& four, int i) {
  return i == 0 ? four.x : i == 1 ? four.y : i == 2 ? four.z : four.w;
}

// q K^T of the thread's queries and keys.
template <typename Shape>
__device__ __forceinline__ void ScoreTile(
    const PrefillShared<Shape>& shared, int dim, int x, int y,
    float (&score)[Shape::kQueries][Shape::kKeys]) {
#pragma unroll
  for (int i = 0; i < Shape::kQueries; ++i) {
#pragma unroll
    for (int j = 0; j < Shape::kKeys; ++j) score[i][j] = 0;
  }
  const float* q_row = shared.q + y * Shape::kStride;
  const float* k_row = shared.kv + x * Shape::kStride;
#pragma unroll 2
  for (int d = 0; d < dim; d += 4) {
    float4 q[Shape::kQueries];
#pragma unroll
    for (int i = 0; i < Shape::kQueries; ++i) {
      q[i] = *reinterpret_cast<const float4*>(
          q_row + i * kThreadsY * Shape::kStride + d);
    }
#pragma unroll
    for (int j = 0; j < Shape::kKeys; ++j) {
      const float4 key = *reinterpret_cast<const float4*>(
          k_row + j * kThreadsX * Shape::kStride + d);
#pragma unroll
      for (int i = 0; i < Shape::kQueries; ++i) {
        score[i][j] = fmaf(q[i].x, key.x, score[i][j]);
        score[i][j] = fmaf(q[i].y, key.y, score[i][j]);
        score[i][j] = fmaf(q[i].z, key.z, score[i][j]);
        score[i][j] = fmaf(q[i].w, key.w, score[i][j]);
      }
    }
  }
}

// What is left to be done to products before they are compared.
template <typename Shape>
__device__ __forceinline__ void ScaleScores(
    const AttentionPlan& plan, const PrefillShared<Shape>& shared, int x,
    float (&score)[Shape::kQueries][Shape::kKeys]) {
  const float softcap = plan.args.softcap;
#pragma unroll
  for (int j = 0; j < Shape::kKeys; ++j) {
    const float key_scale = shared.key_scale[x + j * kThreadsX];
#pragma unroll
    for (int i = 0; i < Shape::kQueries; ++i) {
      score[i][j] = score[i][j] * key_scale * plan.args.scale;
    }
  }
  if (softcap <= 0) return;
#pragma unroll
  for (int j = 0; j < Shape::kKeys; ++j) {
#pragma unroll
    for (int i = 0; i < Shape::kQueries; ++i) {
      score[i][j] = Cap(score[i][j], softcap);
    }
  }
}

// Scores become weights, in shared memory; sums shrink to the new maximum.
template <typename Shape>
__device__ __forceinline__ void WeighTile(
    const AttentionPlan& plan, const PrefillShared<Shape>& shared,
    int32_t first_key, int32_t end_key, int x, int y,
    float (&score)[Shape::kQueries][Shape::kKeys], PrefillState<Shape>& state) {
#pragma unroll
  for (int i = 0; i < Shape::kQueries; ++i) {
    const int32_t last = state.last_key[i];
    const int32_t first = FirstKey(plan, last);
    float maximum = state.maximum[i];
    bool seen[Shape::kKeys];
#pragma unroll
    for (int j = 0; j < Shape::kKeys; ++j) {
      const int32_t key = first_key + x + j * kThreadsX;
      seen[j] = key < end_key && key <= last && key >= first;
      score[i][j] = seen[j] ? score[i][j] : -INFINITY;
      maximum = fmaxf(maximum, score[i][j]);
    }
#pragma unroll
    for (int offset = 1; offset < kThreadsX; offset *= 2) {
      maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, offset));
    }
    const float subtrahend = Subtrahend(maximum);
    const float shrink = expf(state.maximum[i] - subtrahend);
    state.maximum[i] = maximum;
    state.total[i] *= shrink;
#pragma unroll
    for (int d = 0; d < 4 * Shape::kChunks; ++d) state.sum[i][d] *= shrink;
    float* weight =
        shared.weight + (y + i * kThreadsY) * Shape::kWeightStride + x;
#pragma unroll
    for (int j = 0; j < Shape::kKeys; ++j) {
      const float exponential = expf(score[i][j] - subtrahend);
      state.total[i] += exponential;
      weight[j * kThreadsX] =
          seen[j] ? exponential * shared.value_scale[x + j * kThreadsX]
                  : kUnseen;
    }
  }
}

// Adds the tile's weighted values. With kMasked, keys that a query does not
// see are left out; else there are none.
template <typename Shape, bool kMasked>
__device__ __forceinline__ void AddTile(const PrefillShared<Shape>& shared,
                                        int x, int y,
                                        PrefillState<Shape>& state) {
  const float* weight_row = shared.weight + y * Shape::kWeightStride;
  const float* v_row = shared.kv + 4 * x;
#pragma unroll 1
  for (int key = 0; key < Shape::kTileKeys; key += 4) {
    float4 weight[Shape::kQueries];
#pragma unroll
    for (int i = 0; i < Shape::kQueries; ++i) {
      weight[i] = *reinterpret_cast<const float4*>(
          weight_row + i * kThreadsY * Shape::kWeightStride + key);
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      float4 value[Shape::kChunks];
#pragma unroll
      for (int c = 0; c < Shape::kChunks; ++c) {
        value[c] = *reinterpret_cast<const float4*>(
            v_row + (key + k) * Shape::kStride + 32 * c);
      }
#pragma unroll
      for (int i = 0; i < Shape::kQueries; ++i) {
        const float w = Element(weight[i], k);
        if (kMasked && w == kUnseen) continue;
#pragma unroll
        for (int c = 0; c < Shape::kChunks; ++c) {
          float* sum = &state.sum[i][4 * c];
          sum[0] = fmaf(w, value[c].x, sum[0]);
          sum[1] = fmaf(w, value[c].y, sum[1]);
          sum[2] = fmaf(w, value[c].z, sum[2]);
          sum[3] = fmaf(w, value[c].w, sum[3]);
        }
      }
    }
  }
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_ATTENTION_PREFILL_CUH_
