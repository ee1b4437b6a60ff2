// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_ATTENTION_TENSOR_CUH_
#define ZQFP_KERNELS_CUDA_ATTENTION_TENSOR_CUH_

// The steps of a prefill block on the tensor cores, for pages of bf16 and e4m3:
// FlashAttention's running softmax                         [arXiv:2307.08691]
//
// Keys and values are exact in bf16. A query, and a weight of the softmax, is
// the sum of two bf16 numbers, hi + lo, up to 2^-18 of it: twice the products,
// both with the same fragment of keys or values and into the same f32 sum.
// Nothing else is rounded to less than f32; scales of e4m3 join the scores and
// the weights, the factor of the scores and log2(e) the queries.
//
// A warp has 16 queries and goes through the block's tiles of keys with scores
// and sums in registers. In the accumulators of [16 queries, 8 keys] lane
// 4 g + t has the queries g and g + 8 and the keys 2 t and 2 t + 1; two of them
// side by side are, element by element, the left factor that the product with
// 16 values takes. So weights never leave the registers, and a query's maximum
// and total are those of four neighbouring lanes.
//
// An infinity or a NaN among the keys and values would show where it should
// not: a weight of zero times a NaN is one, and so is an infinity times hi + lo
// where lo is zero or of the other sign. But it always shows: a result that is
// finite is right. The loop therefore does not look for them, and queries whose
// result is not finite are attended to once more, one by one (AttendQuery).

#include "kernels/cuda/attention_query.cuh"
#include "kernels/cuda/attention_tile.cuh"
#include "kernels/cuda/kv_values.cuh"
#include "kernels/cuda/ptx.h"

namespace zqfp::kernels::cuda {

// The compile-time side: heads of up to kDims dimensions, a multiple of 16.
template <ValueFormat kFormatValue, int kDimsValue>
struct TensorShape {
  static constexpr ValueFormat kFormat = kFormatValue;
  static constexpr int kDims = kDimsValue;
  static constexpr bool kScaled = kFormat == ValueFormat::kE4m3;

  static constexpr int kWarps = kTensorTileQueries / 16;
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kTileKeys = kDims <= 128 ? 64 : 32;
  static constexpr int kSteps = kDims / 16;         // of products for a score
  static constexpr int kKeyPairs = kTileKeys / 16;  // two mma's keys each
  static constexpr int kDimPairs = kDims / 16;      // two mma's dims each
  // Blocks that share a multiprocessor: what the registers allow.
  static constexpr int kBlocks = kDims <= 64 ? 2 : 1;
  // Of the queries' fragments, hi and lo, so many are kept in registers, the
  // others in shared memory: what scores and sums leave room for.
  static constexpr int kPartsKept = kDims <= 64 ? 0 : kDims <= 128 ? 2 : 0;

  // A row of keys or values in bf16: 16 bytes more than its dimensions, so that
  // eight rows are in different banks, at whichever 16 bytes of them.
  static constexpr int kStride = 2 * kDims + 16;
  // While one tile is used the next one is copied; of e4m3 as it is, into a
  // place of its own, from where it is widened.
  static constexpr int kStages = kScaled ? 1 : 2;
  static constexpr int kStageBytes = kTileKeys * kStride;
  static constexpr int kCodeBytes = kScaled ? kTileKeys * kDims : 0;
  static constexpr int kCopyStride = kScaled ? kDims : kStride;
  static constexpr int kPieces = kDims * kValueBytes<kFormat> / 16;  // of a row
  static constexpr int kScales = kScaled ? 2 * kTileKeys : 0;
  static constexpr int kQueryBytes =
      kWarps * kSteps * (2 - kPartsKept) * 32 * 16;
  static constexpr int64_t kSharedBytes =
      32 + 2 * kTileKeys * 8 + 2 * kScales * 4 + 2 * kStages * kStageBytes +
      2 * kCodeBytes + kQueryBytes;
};

// The shared memory of a block. What is there twice is of tiles in turn.
template <class Shape>
struct TensorShared {
  QueryTile* tile;     // here, so that it takes no registers
  int64_t* row;        // [2][kTileKeys], of the page arrays
  float* key_scale;    // [2][kTileKeys], e4m3 only
  float* value_scale;  // [2][kTileKeys], e4m3 only
  uint8_t* keys;       // [kStages][kTileKeys], rows of kStride bytes
  uint8_t* values;     // the same
  uint8_t* key_codes;  // [kTileKeys][kDims], e4m3 only
  uint8_t* value_codes;
  uint4* queries;  // [kWarps][kSteps][2 - kPartsKept][lane], fragments

  __device__ __forceinline__ explicit TensorShared(uint8_t* memory) {
    static_assert(sizeof(QueryTile) == 32);
    tile = reinterpret_cast<QueryTile*>(memory);
    row = reinterpret_cast<int64_t*>(tile + 1);
    key_scale = reinterpret_cast<float*>(row + 2 * Shape::kTileKeys);
    value_scale = key_scale + Shape::kScales;
    keys = reinterpret_cast<uint8_t*>(value_scale + Shape::kScales);
    values = keys + Shape::kStages * Shape::kStageBytes;
    key_codes = values + Shape::kStages * Shape::kStageBytes;
    value_codes = key_codes + Shape::kCodeBytes;
    queries = reinterpret_cast<uint4*>(value_codes + Shape::kCodeBytes);
  }

  // Where copies go.
  __device__ __forceinline__ uint8_t* KeyTarget(int slot) const {
    return Shape::kScaled ? key_codes : keys + slot * Shape::kStageBytes;
  }
  __device__ __forceinline__ uint8_t* ValueTarget(int slot) const {
    return Shape::kScaled ? value_codes : values + slot * Shape::kStageBytes;
  }
  // Where a tile is in bf16.
  __device__ __forceinline__ static int StageOffset(int slot) {
    return Shape::kStages == 1 ? 0 : slot * Shape::kStageBytes;
  }
};

// What a lane has of the warp's queries; those that do not exist are the
// tile's last one again.
template <class Shape>
struct TensorState {
  uint32_t q[Shape::kSteps][Shape::kPartsKept > 0 ? Shape::kPartsKept : 1][4];
  float sum[2 * Shape::kDimPairs][4];
  float maximum[2];  // of queries g and g + 8; in units of log2, as the scores
  float total[2];    // of this lane's keys
  int32_t last_key[2];
};

// Which keys the queries of a warp see: all of them those in [all_begin,
// all_end), and none one outside of [begin, end).
struct WarpKeys {
  int32_t begin = 0;
  int32_t end = 0;
  int32_t all_begin = 0;
  int32_t all_end = 0;
};

__device__ __forceinline__ WarpKeys KeysOfWarp(const AttentionPlan& plan,
                                               const QueryTile& tile,
                                               int warp) {
  const int first = warp * 16;
  if (first >= tile.num_queries) return {};
  const int last =
      first + 15 < tile.num_queries ? first + 15 : tile.num_queries - 1;
  const int32_t first_last_key = LastKey(plan, tile, first);
  const int32_t last_last_key = LastKey(plan, tile, last);
  return {FirstKey(plan, first_last_key), last_last_key + 1,
          FirstKey(plan, last_last_key), first_last_key + 1};
}

// --- Keys and values to shared memory ---------------------------------------

// The pieces of dimensions that are not there: zeros, which stay.
template <class Shape>
__device__ __forceinline__ void ClearPadding(const TensorShared<Shape>& shared,
                                             int dim) {
  constexpr int kPieceDims = 16 / kValueBytes<Shape::kFormat>;
  const int missing = Shape::kPieces - dim / kPieceDims;
  if (missing == 0) return;
  for (int i = static_cast<int>(threadIdx.x);
       i < Shape::kStages * Shape::kTileKeys * missing; i += Shape::kThreads) {
    const int at = i / missing * Shape::kCopyStride +
                   (Shape::kPieces - 1 - i % missing) * 16;
    *reinterpret_cast<uint4*>(shared.KeyTarget(0) + at) = uint4{};
    *reinterpret_cast<uint4*>(shared.ValueTarget(0) + at) = uint4{};
  }
}

// This thread's key of the tile that begins at first_key. Keys behind the end
// are the last one again, which nothing sees there.
__device__ __forceinline__ int32_t KeyOfThread(int32_t first_key,
                                               int32_t end_key) {
  const int32_t key = first_key + static_cast<int32_t>(threadIdx.x);
  return key < end_key ? key : end_key - 1;
}

// Starts copying the tile whose rows are in `slot`: a thread the same piece of
// a few rows.
template <class Shape>
__device__ __forceinline__ void StartCopies(const KvPagesView& pages,
                                            const TensorShared<Shape>& shared,
                                            int slot) {
  constexpr int kRowsAtOnce = Shape::kThreads / Shape::kPieces;
  const int row_bytes =
      static_cast<int>(pages.head_dim) * kValueBytes<Shape::kFormat>;
  const int64_t* rows = shared.row + slot * Shape::kTileKeys;
  const int thread = static_cast<int>(Opaque(threadIdx.x));
  const int first = thread / Shape::kPieces;
  const int at = thread % Shape::kPieces * 16;
  if (first < kRowsAtOnce && at < row_bytes) {
    const int to = first * Shape::kCopyStride + at;
    uint8_t* to_key = shared.KeyTarget(slot) + to;
    uint8_t* to_value = shared.ValueTarget(slot) + to;
#pragma unroll
    for (int i = 0; i < Shape::kTileKeys; i += kRowsAtOnce) {
      if (first + i >= Shape::kTileKeys) continue;  // in the last round
      const int64_t from = rows[first + i] * row_bytes + at;
      CopyAsync16(to_key + i * Shape::kCopyStride,
                  static_cast<const uint8_t*>(pages.k) + from);
      CopyAsync16(to_value + i * Shape::kCopyStride,
                  static_cast<const uint8_t*>(pages.v) + from);
    }
  }
  if constexpr (Shape::kScaled) {
    const int key = thread;
    if (key < Shape::kTileKeys) {
      const int to = slot * Shape::kTileKeys + key;
      CopyAsync4(shared.key_scale + to, pages.k_scale + rows[key]);
      CopyAsync4(shared.value_scale + to, pages.v_scale + rows[key]);
    }
  }
  CopyAsyncCommit();
}

// Eight e4m3 codes in bf16.
__device__ __forceinline__ uint4 WidenEight(const uint8_t* codes) {
  const EightValues<ValueFormat::kE4m3> eight =
      LoadEight<ValueFormat::kE4m3, true>(codes, 0, 8);
  float value[8];
  DecodeEight<ValueFormat::kE4m3>(eight, value);
  uint4 wide;
  wide.x = Bf16x2FromF32(value[1], value[0]);
  wide.y = Bf16x2FromF32(value[3], value[2]);
  wide.z = Bf16x2FromF32(value[5], value[4]);
  wide.w = Bf16x2FromF32(value[7], value[6]);
  return wide;
}

// The codes that were copied, as bf16.
template <class Shape>
__device__ __forceinline__ void WidenTile(const TensorShared<Shape>& shared) {
  constexpr int kEights = Shape::kDims / 8;  // of a row
  constexpr int kCount = Shape::kTileKeys * kEights;
  const int thread = static_cast<int>(Opaque(threadIdx.x));
#pragma unroll 2
  for (int round = 0; round < kCount; round += Shape::kThreads) {
    const int i = round + thread;
    if (kCount % Shape::kThreads != 0 && i >= kCount) continue;
    const int to = i / kEights * Shape::kStride + i % kEights * 16;
    *reinterpret_cast<uint4*>(shared.keys + to) =
        WidenEight(shared.key_codes + i * 8);
    *reinterpret_cast<uint4*>(shared.values + to) =
        WidenEight(shared.value_codes + i * 8);
  }
}

// --- Queries ----------------------------------------------------------------

// Both numbers as hi + lo, the first of each pair in the low half.
__device__ __forceinline__ void SplitPair(float first, float second,
                                          uint32_t& hi, uint32_t& lo) {
  hi = Bf16x2FromF32(second, first);
  lo = Bf16x2FromF32(second - std::bit_cast<float>(hi & 0xffff0000u),
                     first - std::bit_cast<float>(hi << 16));
}

// Where a lane has what it keeps in shared memory of its queries.
template <class Shape>
__device__ __forceinline__ uint4* QueryFragment(
    const TensorShared<Shape>& shared, int step, int part) {
  constexpr int kParts = 2 - Shape::kPartsKept;
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int index = warp * Shape::kSteps + step;
  return shared.queries + (index * kParts + part - Shape::kPartsKept) * 32 +
         lane;
}

// The left factors of the warp's queries, times the factor of their scores.
template <class Shape>
__device__ __forceinline__ void LoadQueries(const AttentionPlan& plan,
                                            const QueryTile& tile,
                                            const TensorShared<Shape>& shared,
                                            TensorState<Shape>& state) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int dim = static_cast<int>(plan.args.pages.head_dim);
  const float* q[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int wanted =
        static_cast<int>(threadIdx.x / 32) * 16 + lane / 4 + 8 * i;
    const int query = wanted < tile.num_queries ? wanted : tile.num_queries - 1;
    q[i] = plan.args.q + QueryRow(plan, tile, query) * dim + lane % 4 * 2;
    state.last_key[i] = LastKey(plan, tile, query);
    state.maximum[i] = -INFINITY;
    state.total[i] = 0;
  }
#pragma unroll
  for (int step = 0; step < Shape::kSteps; ++step) {
    uint32_t fragment[2][4];
#pragma unroll
    for (int r = 0; r < 4; ++r) {  // registers of the fragment
      const int at = step * 16 + r / 2 * 8;
      float2 pair = make_float2(0, 0);
      if (step * 16 < dim) {
        pair = *reinterpret_cast<const float2*>(q[r % 2] + at);
      }
      const float factor = plan.factor;
      SplitPair(pair.x * factor, pair.y * factor, fragment[0][r],
                fragment[1][r]);
    }
#pragma unroll
    for (int part = 0; part < 2; ++part) {
      const uint32_t(&words)[4] = fragment[part];
      if (part >= Shape::kPartsKept) {
        *QueryFragment(shared, step, part) =
            uint4{words[0], words[1], words[2], words[3]};
        continue;
      }
#pragma unroll
      for (int r = 0; r < 4; ++r) state.q[step][part][r] = words[r];
    }
  }
#pragma unroll
  for (int n = 0; n < 2 * Shape::kDimPairs; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) state.sum[n][i] = 0;
  }
}

// --- One tile of keys, one warp ---------------------------------------------

template <class Shape>
using TensorScores = float[2 * Shape::kKeyPairs][4];

// d[0] and d[1] += a times the two right factors side by side in b.
__device__ __forceinline__ void MultiplyPair(const uint32_t (&a)[4],
                                             const uint32_t (&b)[4],
                                             float (*d)[4]) {
  const uint32_t left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
  MmaBf16(d[0], a, left);
  MmaBf16(d[1], a, right);
}

// q K^T; `keys` is the tile in bf16.
template <class Shape>
__device__ __forceinline__ void ScoreTile(const TensorShared<Shape>& shared,
                                          const uint8_t* keys, int lane,
                                          const TensorState<Shape>& state,
                                          TensorScores<Shape>& score) {
#pragma unroll
  for (int n = 0; n < 2 * Shape::kKeyPairs; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) score[n][i] = 0;
  }
  // Matrices: the lower and upper 8 dims of 8 keys, then of the next 8.
  const uint8_t* from =
      keys + (lane / 16 * 8 + lane % 8) * Shape::kStride + lane / 8 % 2 * 16;
#pragma unroll
  for (int step = 0; step < Shape::kSteps; ++step) {
    uint32_t key[Shape::kKeyPairs][4];
#pragma unroll
    for (int n = 0; n < Shape::kKeyPairs; ++n) {
      LoadMatrices(key[n], from + n * 16 * Shape::kStride + step * 32);
    }
#pragma unroll
    for (int part = 0; part < 2; ++part) {
      uint32_t q[4];
      if (part < Shape::kPartsKept) {
#pragma unroll
        for (int r = 0; r < 4; ++r) q[r] = state.q[step][part][r];
      } else {
        const uint4 four = *QueryFragment(shared, step, part);
        q[0] = four.x, q[1] = four.y, q[2] = four.z, q[3] = four.w;
      }
#pragma unroll
      for (int n = 0; n < Shape::kKeyPairs; ++n) {
        MultiplyPair(q, key[n], &score[2 * n]);
      }
    }
  }
}

// Multiplies the columns, keys, of scores or weights by their scales.
template <class Shape>
__device__ __forceinline__ void ScaleColumns(const float* scale, int lane,
                                             TensorScores<Shape>& score) {
#pragma unroll
  for (int n = 0; n < 2 * Shape::kKeyPairs; ++n) {
    const float2 pair =
        *reinterpret_cast<const float2*>(scale + n * 8 + lane % 4 * 2);
    score[n][0] *= pair.x;
    score[n][1] *= pair.y;
    score[n][2] *= pair.x;
    score[n][3] *= pair.y;
  }
}

// cap(score), both in units of log2.
template <class Shape>
__device__ __forceinline__ void CapScores(const AttentionPlan& plan,
                                          TensorScores<Shape>& score) {
#pragma unroll
  for (int n = 0; n < 2 * Shape::kKeyPairs; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      score[n][i] = plan.cap * tanhf(score[n][i] * plan.cap_inverse);
    }
  }
}

// Scores of keys that a query does not see become -infinity.
template <class Shape>
__device__ __forceinline__ void MaskScores(const AttentionPlan& plan,
                                           int32_t first_key, int32_t end_key,
                                           int lane,
                                           const TensorState<Shape>& state,
                                           TensorScores<Shape>& score) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int32_t last = state.last_key[i];
    const int32_t lane_key = first_key + lane % 4 * 2;
    const int32_t begin = FirstKey(plan, last) - lane_key;
    const int32_t end = (last < end_key ? last + 1 : end_key) - lane_key;
#pragma unroll
    for (int n = 0; n < 2 * Shape::kKeyPairs; ++n) {
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const int key = n * 8 + j;
        const bool seen = key >= begin && key < end;
        if (!seen) score[n][2 * i + j] = -INFINITY;
      }
    }
  }
}

// Scores become weights; sums shrink to the new maximum.
template <class Shape>
__device__ __forceinline__ void WeighTile(TensorScores<Shape>& score,
                                          TensorState<Shape>& state) {
  float shrink[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    float maximum = state.maximum[i];
#pragma unroll
    for (int n = 0; n < 2 * Shape::kKeyPairs; ++n) {
      maximum = fmaxf(maximum, fmaxf(score[n][2 * i], score[n][2 * i + 1]));
    }
#pragma unroll
    for (int offset = 1; offset < 4; offset *= 2) {
      maximum = fmaxf(maximum, __shfl_xor_sync(kAllLanes, maximum, offset));
    }
    const float subtrahend = Subtrahend(maximum);
    shrink[i] = Exp2(state.maximum[i] - subtrahend);
    state.maximum[i] = maximum;
    float total = 0;
#pragma unroll
    for (int n = 0; n < 2 * Shape::kKeyPairs; ++n) {
#pragma unroll
      for (int j = 2 * i; j < 2 * i + 2; ++j) {
        score[n][j] = Exp2(score[n][j] - subtrahend);
        total += score[n][j];
      }
    }
    state.total[i] = fmaf(state.total[i], shrink[i], total);
  }
  // In most tiles no query of a warp meets a new maximum.
  if (!__any_sync(kAllLanes, shrink[0] != 1 || shrink[1] != 1)) return;
#pragma unroll
  for (int n = 0; n < 2 * Shape::kDimPairs; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) state.sum[n][i] *= shrink[i / 2];
  }
}

// Adds the weighted values; `values` is the tile in bf16.
template <class Shape>
__device__ __forceinline__ void AddTile(const uint8_t* values, int lane,
                                        const TensorScores<Shape>& weight,
                                        TensorState<Shape>& state) {
  // Matrices: 8 dims of the lower and upper 8 keys, then the next 8 dims.
  const uint8_t* from =
      values + (lane / 8 % 2 * 8 + lane % 8) * Shape::kStride + lane / 16 * 16;
#pragma unroll
  for (int k = 0; k < Shape::kKeyPairs; ++k) {
    uint32_t p[2][4];
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const float* pair = &weight[2 * k + r / 2][r % 2 * 2];
      SplitPair(pair[0], pair[1], p[0][r], p[1][r]);
    }
#pragma unroll
    for (int n = 0; n < Shape::kDimPairs; ++n) {
      uint32_t value[4];
      LoadMatricesTrans(value, from + k * 16 * Shape::kStride + n * 32);
      MultiplyPair(p[0], value, &state.sum[2 * n]);
      MultiplyPair(p[1], value, &state.sum[2 * n]);
    }
  }
}

// The warp's queries and the keys [first_key, end_key), a whole tile or less,
// which is in `slot`.
template <class Shape>
__device__ __forceinline__ void AttendTile(const AttentionPlan& plan,
                                           const WarpKeys& seen,
                                           int32_t first_key, int32_t end_key,
                                           int slot,
                                           const TensorShared<Shape>& shared,
                                           TensorState<Shape>& state) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int stage = TensorShared<Shape>::StageOffset(slot);
  TensorScores<Shape> score;
  ScoreTile<Shape>(shared, shared.keys + stage, lane, state, score);
  if constexpr (Shape::kScaled) {
    ScaleColumns<Shape>(shared.key_scale + slot * Shape::kTileKeys, lane,
                        score);
  }
  if (plan.args.softcap > 0) CapScores<Shape>(plan, score);
  const int32_t all_end = seen.all_end < end_key ? seen.all_end : end_key;
  if (first_key < seen.all_begin || first_key + Shape::kTileKeys > all_end) {
    MaskScores<Shape>(plan, first_key, end_key, lane, state, score);
  }
  WeighTile<Shape>(score, state);
  if constexpr (Shape::kScaled) {
    ScaleColumns<Shape>(shared.value_scale + slot * Shape::kTileKeys, lane,
                        score);
  }
  AddTile<Shape>(shared.values + stage, lane, score, state);
}

// --- Results ----------------------------------------------------------------

// Stores query g + 8 i of the warp unless it is no number; which ones are not,
// as bits g.
template <class Shape>
__device__ __forceinline__ uint32_t StoreQuery(const AttentionPlan& plan,
                                               const QueryTile& tile, int i,
                                               TensorState<Shape>& state) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int query = static_cast<int>(threadIdx.x / 32) * 16 + lane / 4 + 8 * i;
  const int dim = static_cast<int>(plan.args.pages.head_dim);
  float total = state.total[i];
#pragma unroll
  for (int offset = 1; offset < 4; offset *= 2) {
    total += __shfl_xor_sync(kAllLanes, total, offset);
  }
  float nothing = total * 0;  // a NaN if any is no number
#pragma unroll
  for (int n = 0; n < 2 * Shape::kDimPairs; ++n) {
    nothing = fmaf(state.sum[n][2 * i], 0.0f, nothing);
    nothing = fmaf(state.sum[n][2 * i + 1], 0.0f, nothing);
  }
  const bool exists = query < tile.num_queries;
  uint32_t bad = __ballot_sync(kAllLanes, exists && nothing != nothing);
  bad = (bad | bad >> 1 | bad >> 2 | bad >> 3) & 0x11111111u;
  if (!exists || (bad >> lane / 4 * 4 & 1) != 0) return bad;
  const ResultPlace place = PlaceOfResult(plan, tile, query);
  const float factor = place.index < 0 ? 1 / total : 1.0f;
#pragma unroll
  for (int n = 0; n < 2 * Shape::kDimPairs; ++n) {
    const int d = n * 8 + lane % 4 * 2;
    if (d >= dim) continue;
    *reinterpret_cast<float2*>(place.sum + d) = make_float2(
        state.sum[n][2 * i] * factor, state.sum[n][2 * i + 1] * factor);
  }
  if (place.index >= 0 && lane % 4 == 0) {
    plan.partial_maximum[place.index] =
        state.maximum[i] * static_cast<float>(1 / kLog2E);
    plan.partial_total[place.index] = total;
  }
  return bad;
}

// To y, or where other blocks share the tile to the partial results.
template <class Shape>
__device__ __forceinline__ void StoreResults(const AttentionPlan& plan,
                                             const QueryTile& tile,
                                             TensorState<Shape>& state) {
  const auto [begin, end] = KeysOfBlock(plan, tile);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int warp = static_cast<int>(threadIdx.x / 32);
  const uint32_t lower = StoreQuery<Shape>(plan, tile, 0, state);
  const uint32_t upper = StoreQuery<Shape>(plan, tile, 1, state);
  if ((lower | upper) == 0) return;
#pragma unroll 1
  for (int query = 0; query < 16; ++query) {
    const uint32_t bad = query < 8 ? lower : upper;
    if ((bad >> query % 8 * 4 & 1) == 0) continue;
    AttendQuery<Shape::kFormat>(plan, tile, warp * 16 + query, begin, end,
                                lane);
  }
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_ATTENTION_TENSOR_CUH_
