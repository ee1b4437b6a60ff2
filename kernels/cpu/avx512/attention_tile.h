// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AVX512_ATTENTION_TILE_H_
#define ZQFP_KERNELS_CPU_AVX512_ATTENTION_TILE_H_

// Attention of a block of queries that share one KV head, by tiles of 64 keys.
//
// A block walks the keys once: scores with 16 keys in the lanes (keys are
// transposed 16 x 16 on the way), online softmax, then values with dims in the
// lanes. All state lies on the stack, some 70 KB.

#include <immintrin.h>
#include <stdint.h>

#include "kernels/core/ops.h"
#include "kernels/cpu/avx512/attention_blocks.h"
#include "kernels/cpu/avx512/lanes.h"

namespace zqfp::kernels::avx512 {
namespace {

constexpr int kMaxQueries = 16;
constexpr int kTileKeys = 64;

// The block's queries and what they have summed so far.
struct BlockState {
  alignas(64) float q[kMaxHeadDim][kMaxQueries];  // scaled; unused ones zero
  alignas(64) float one[kMaxHeadDim];             // the only query, scaled
  alignas(64) float sum[kMaxQueries][kMaxHeadDim];
  alignas(64) float score[kMaxQueries][kTileKeys];
  float maximum[kMaxQueries];
  float total[kMaxQueries];
  int64_t first[kMaxQueries];  // positions a query sees
  int64_t last[kMaxQueries];
  int64_t at[kMaxQueries];  // of its head in q and y
  int64_t num_queries;
};

// Rows of the page arrays that hold the keys of one tile.
struct TileRows {
  int64_t row[kTileKeys];
  int64_t first;  // position of row[0]
  int64_t count;
};

// v[r] lane l  <->  v[l] lane r.
inline void Transpose(__m512 (&v)[16]) {
  __m512 t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    v[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
    v[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
    v[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    v[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_f32x4(v[i], v[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_f32x4(v[i], v[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_f32x4(v[i + 8], v[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_f32x4(v[i + 8], v[i + 12], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    v[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
    v[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
    v[i + 4] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
    v[i + 12] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

// The queries that a tile is compiled for: at least `count`.
inline int64_t TileQueries(int64_t count) {
  return count == 1 ? 1 : count <= 4 ? 4 : count <= 8 ? 8 : 16;
}

inline void LoadQueries(const AttentionArgs& args, const AttentionBlock& block,
                        BlockState& state) {
  const int64_t dim = args.pages.head_dim;
  state.num_queries = NumQueries(args, block);
  const int64_t tile_queries = TileQueries(state.num_queries);
  for (int64_t i = 0; i < tile_queries; ++i) {
    for (int64_t d = 0; d < dim; d += kLanes) {
      _mm512_store_ps(&state.sum[i][d], _mm512_setzero_ps());
    }
    if (i >= state.num_queries) {
      for (int64_t d = 0; d < dim; ++d) state.q[d][i] = 0;
      for (float& score : state.score[i]) score = 0;
      state.first[i] = state.last[i] = 0;
      continue;
    }
    const QueryPlace place = PlaceOf(args, block, i);
    state.first[i] = place.first;
    state.last[i] = place.last;
    state.at[i] = place.at;
    state.maximum[i] = -__builtin_inff();
    state.total[i] = 0;
    for (int64_t d = 0; d < dim; ++d) {
      state.q[d][i] = args.q[state.at[i] + d] * args.scale;
    }
    for (int64_t d = 0; tile_queries == 1 && d < dim; d += kLanes) {
      const __m512 query =
          _mm512_maskz_loadu_ps(Mask(dim - d), args.q + state.at[i] + d);
      _mm512_store_ps(state.one + d,
                      _mm512_mul_ps(query, _mm512_set1_ps(args.scale)));
    }
  }
}

inline void FindRows(const AttentionArgs& args, const AttentionBlock& block,
                     int64_t first, int64_t end, TileRows& tile) {
  const KvPagesView& pages = args.pages;
  const int32_t* page_table =
      args.batch.page_table + block.sequence * args.batch.page_table_stride;
  tile.first = first;
  tile.count = end - first < kTileKeys ? end - first : kTileKeys;
  int64_t page = first / pages.page_size;
  int64_t slot = first % pages.page_size;
  for (int64_t i = 0; i < tile.count; ++page, slot = 0) {
    const int64_t row =
        (page_table[page] * pages.num_kv_heads + block.kv_head) *
        pages.page_size;
    for (; slot < pages.page_size && i < tile.count; ++slot, ++i) {
      tile.row[i] = row + slot;
    }
  }
  // Lanes beyond the last key repeat it; their weight is zero.
  for (int64_t i = tile.count; i < kTileKeys; ++i) {
    tile.row[i] = tile.row[tile.count - 1];
  }
}

inline __m512 RowScales(const float* scale, const int64_t* row) {
  alignas(64) float scales[kLanes];
  for (int i = 0; i < kLanes; ++i) scales[i] = scale[row[i]];
  return _mm512_load_ps(scales);
}

// Asks for `count` dims of a key or value. The values of a tile are asked for
// while its scores are computed, the next tile's keys while values are added, a
// line at a time between multiplications: a burst of requests would wait for
// the memory (llama-1b at 2048 tokens: 37 % of attention, November 2026).
template <ValueFormat kFormat>
inline void Prefetch(const KvPagesView& pages, const void* rows, int64_t row,
                     int64_t d, int64_t count) {
  constexpr int64_t kBytes = kFormat == ValueFormat::kE4m3  ? 1
                             : kFormat == ValueFormat::kF32 ? 4
                                                            : 2;
  const char* at =
      static_cast<const char*>(rows) + (row * pages.head_dim + d) * kBytes;
  for (int64_t i = 0; i < count * kBytes; i += 64) {
    _mm_prefetch(at + i, _MM_HINT_T1);
  }
}

// Dims of 16 keys that are turned around at once: 16 loads of 64 bytes, but for
// e4m3.
template <ValueFormat kFormat>
constexpr int kTurnedDims = kFormat == ValueFormat::kBf16 ? 32 : 16;

// out[j] lane i: dim d + j of key i of the 16 from `key` on; zero beyond
// head_dim.
template <ValueFormat kFormat>
inline void TurnKeys(const KvPagesView& pages, const TileRows& tile,
                     int64_t key, int64_t d,
                     __m512 (&out)[kTurnedDims<kFormat>]) {
  const int64_t left = pages.head_dim - d;
  __m512 keys[16];
  if constexpr (kFormat == ValueFormat::kBf16) {
    // Pairs of dims are turned around as they are, then taken apart.
    const __mmask32 mask =
        left >= 32 ? ~__mmask32{0} : (__mmask32{1} << left) - 1;
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      keys[i] = _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(
          mask, static_cast<const uint16_t*>(pages.k) +
                    tile.row[key + i] * pages.head_dim + d));
    }
    Transpose(keys);
    const __m512i high = _mm512_set1_epi32(static_cast<int>(0xffff0000));
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      const __m512i pair = _mm512_castps_si512(keys[i]);
      out[2 * i] = _mm512_castsi512_ps(_mm512_slli_epi32(pair, 16));
      out[2 * i + 1] = _mm512_castsi512_ps(_mm512_and_si512(pair, high));
    }
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      out[i] = Load<kFormat>(pages.k, tile.row[key + i] * pages.head_dim + d,
                             Mask(left));
    }
    Transpose(out);
  }
}

// score[q][key ..] for kGroups * 16 keys and the first kQueries queries.
template <ValueFormat kFormat, int kQueries, int kGroups>
inline void Scores(const KvPagesView& pages, const TileRows& tile, int64_t key,
                   BlockState& state) {
  constexpr int kDims = kTurnedDims<kFormat>;
  __m512 sum[kGroups][kQueries];
#pragma GCC unroll 2
  for (int g = 0; g < kGroups; ++g) {
#pragma GCC unroll 16
    for (int i = 0; i < kQueries; ++i) sum[g][i] = _mm512_setzero_ps();
  }
  for (int64_t d = 0; d < pages.head_dim; d += kDims) {
    __m512 keys[kGroups][kDims];
#pragma GCC unroll 2
    for (int g = 0; g < kGroups; ++g) {
      TurnKeys<kFormat>(pages, tile, key + 16 * g, d, keys[g]);
    }
    const int64_t left = pages.head_dim - d;
    const int64_t dims = left < kDims ? left : kDims;
    for (int64_t j = 0; j < dims; ++j) {
      constexpr int kAhead =
          kGroups * 16 / kDims > 1 ? kGroups * 16 / kDims : 1;
      for (int64_t i = j * kAhead; i < (j + 1) * kAhead; ++i) {
        if (i >= 16 * kGroups) break;
        Prefetch<kFormat>(pages, pages.v, tile.row[key + i], d, kDims);
      }
#pragma GCC unroll 16
      for (int i = 0; i < kQueries; ++i) {
        const __m512 query = _mm512_set1_ps(state.q[d + j][i]);
#pragma GCC unroll 2
        for (int g = 0; g < kGroups; ++g) {
          sum[g][i] = _mm512_fmadd_ps(query, keys[g][j], sum[g][i]);
        }
      }
    }
  }
#pragma GCC unroll 2
  for (int g = 0; g < kGroups; ++g) {
    const int64_t at = key + 16 * g;
    const __m512 scale = kFormat == ValueFormat::kE4m3
                             ? RowScales(pages.k_scale, tile.row + at)
                             : _mm512_set1_ps(1.0f);
#pragma GCC unroll 16
    for (int i = 0; i < kQueries; ++i) {
      _mm512_store_ps(&state.score[i][at], _mm512_mul_ps(sum[g][i], scale));
    }
  }
}

// Lane i: the sum of the lanes of v[i].
inline __m512 SumEach(__m512 (&v)[16]) {
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    const __m512 a = v[2 * i], b = v[2 * i + 1];
    v[i] = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  }
  // v[i]: in each quarter a, b, a, b of the vectors 2i and 2i+1.
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512d a = _mm512_castps_pd(v[2 * i]);
    const __m512d b = _mm512_castps_pd(v[2 * i + 1]);
    v[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)),
                         _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
  }
  // v[i]: in each quarter those of the vectors 4i .. 4i+3.
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    const __m512 a = v[2 * i], b = v[2 * i + 1];
    v[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88),
                         _mm512_shuffle_f32x4(a, b, 0xdd));
  }
  return _mm512_add_ps(_mm512_shuffle_f32x4(v[0], v[1], 0x88),
                       _mm512_shuffle_f32x4(v[0], v[1], 0xdd));
}

// As Scores, for one query: a dot for each key is less work than turning the
// keys around.
template <ValueFormat kFormat>
inline void ScoresOfOne(const KvPagesView& pages, const TileRows& tile,
                        int64_t key, BlockState& state) {
  __m512 sum[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) sum[i] = _mm512_setzero_ps();
  for (int64_t d = 0; d < pages.head_dim; d += kLanes) {
    const __mmask16 mask = Mask(pages.head_dim - d);
    const __m512 query = _mm512_load_ps(state.one + d);
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      Prefetch<kFormat>(pages, pages.v, tile.row[key + i], d, kLanes);
      const __m512 value =
          Load<kFormat>(pages.k, tile.row[key + i] * pages.head_dim + d, mask);
      sum[i] = _mm512_fmadd_ps(query, value, sum[i]);
    }
  }
  const __m512 scale = kFormat == ValueFormat::kE4m3
                           ? RowScales(pages.k_scale, tile.row + key)
                           : _mm512_set1_ps(1.0f);
  _mm512_store_ps(&state.score[0][key], _mm512_mul_ps(SumEach(sum), scale));
}

// The keys of a tile that query i sees, from lane `key` on.
inline __mmask16 Visible(const BlockState& state, const TileRows& tile,
                         int64_t i, int64_t key) {
  const int64_t begin = state.first[i] - tile.first - key;
  const int64_t end = state.last[i] + 1 - tile.first - key;
  return static_cast<__mmask16>(Mask(end) & ~Mask(begin));
}

inline void CapScores(float softcap, const TileRows& tile, float* score) {
  for (int64_t key = 0; key < tile.count; key += kLanes) {
    _mm512_store_ps(score + key, Cap(_mm512_load_ps(score + key), softcap));
  }
}

// The largest score of query i in the tile.
template <bool kRagged>
inline float TileMaximum(const TileRows& tile, int64_t i,
                         const BlockState& state) {
  const __m512 lowest = _mm512_set1_ps(-__builtin_inff());
  __m512 largest = lowest;
  for (int64_t key = 0; key < tile.count; key += kLanes) {
    const __m512 score = _mm512_load_ps(&state.score[i][key]);
    largest = _mm512_max_ps(
        largest, kRagged ? _mm512_mask_mov_ps(
                               lowest, Visible(state, tile, i, key), score)
                         : score);
  }
  return _mm512_reduce_max_ps(largest);
}

// Scores to weights; what was summed so far shrinks where the maximum grew.
// Values' scales join the weights.
template <bool kRagged>
inline void Softmax(const AttentionArgs& args, const TileRows& tile,
                    BlockState& state) {
  const int64_t count = state.num_queries;
  alignas(64) float shift[kMaxQueries] = {};
  alignas(64) float shrink[kMaxQueries];
  for (int64_t i = 0; i < count; ++i) {
    if (args.softcap > 0) CapScores(args.softcap, tile, state.score[i]);
    shift[i] = TileMaximum<kRagged>(tile, i, state);
  }
  // Of all queries at once: maximum, what is subtracted, what sums shrink by.
  const __m512 lowest = _mm512_set1_ps(-__builtin_inff());
  const __mmask16 used = Mask(count);
  const __m512 before = _mm512_mask_loadu_ps(lowest, used, state.maximum);
  const __m512 maximum = _mm512_max_ps(before, _mm512_load_ps(shift));
  const __m512 subtracted = _mm512_mask_mov_ps(
      maximum, _mm512_cmp_ps_mask(maximum, lowest, _CMP_EQ_OQ),
      _mm512_setzero_ps());
  _mm512_mask_storeu_ps(state.maximum, used, maximum);
  _mm512_store_ps(shift, subtracted);
  _mm512_store_ps(shrink, Exp(_mm512_sub_ps(before, subtracted)));
  for (int64_t i = 0; i < count; ++i) {
    const __m512 largest = _mm512_set1_ps(shift[i]);
    __m512 total = _mm512_setzero_ps();
#pragma GCC unroll 4
    for (int64_t key = 0; key < kTileKeys; key += kLanes) {
      if (kRagged && key >= tile.count) break;
      const __mmask16 visible =
          kRagged ? Visible(state, tile, i, key) : __mmask16{0xffff};
      __m512 weight =
          Exp(_mm512_sub_ps(_mm512_load_ps(&state.score[i][key]), largest));
      weight = _mm512_maskz_mov_ps(visible, weight);
      total = _mm512_add_ps(total, weight);
      if (args.pages.format == ValueFormat::kE4m3) {
        const __m512 scale = RowScales(args.pages.v_scale, tile.row + key);
        weight = _mm512_maskz_mul_ps(visible, weight, scale);
      }
      _mm512_store_ps(&state.score[i][key], weight);
    }
    state.total[i] = state.total[i] * shrink[i] + _mm512_reduce_add_ps(total);
    if (shrink[i] == 1.0f) continue;
    for (int64_t d = 0; d < args.pages.head_dim; d += kLanes) {
      _mm512_store_ps(&state.sum[i][d],
                      _mm512_mul_ps(_mm512_load_ps(&state.sum[i][d]),
                                    _mm512_set1_ps(shrink[i])));
    }
  }
}

// sum[q] += weight[q][key] * V[key] for the first kQueries queries, kParts
// vectors of dims from d on. In a ragged tile not every query sees every key,
// and a weight of zero is not enough: what a query does not see may be NaN.
template <ValueFormat kFormat, int kQueries, int kParts, bool kRagged>
inline void AddValues(const KvPagesView& pages, const TileRows& tile,
                      const TileRows& next, int64_t d, BlockState& state) {
  __m512 sum[kParts][kQueries];
#pragma GCC unroll 2
  for (int p = 0; p < kParts; ++p) {
#pragma GCC unroll 16
    for (int i = 0; i < kQueries; ++i) {
      sum[p][i] = _mm512_load_ps(&state.sum[i][d + p * kLanes]);
    }
  }
  const __mmask16 dims = Mask(pages.head_dim - d);
  for (int64_t key = 0; key < tile.count; ++key) {
    Prefetch<kFormat>(pages, pages.k, next.row[key], d, kParts * kLanes);
    __m512 value[kParts];
#pragma GCC unroll 2
    for (int p = 0; p < kParts; ++p) {
      // Of two parts, both are whole.
      const int64_t at = tile.row[key] * pages.head_dim + d + p * kLanes;
      value[p] = Load<kFormat>(pages.v, at, kParts == 1 ? dims : 0xffff);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kQueries; ++i) {
      const __m512 weight = _mm512_set1_ps(state.score[i][key]);
      const int64_t position = tile.first + key;
      const bool sees =
          !kRagged || (state.first[i] <= position && position <= state.last[i]);
      const __mmask16 mask = static_cast<__mmask16>(-int{sees});
#pragma GCC unroll 2
      for (int p = 0; p < kParts; ++p) {
        sum[p][i] =
            kRagged ? _mm512_mask3_fmadd_ps(weight, value[p], sum[p][i], mask)
                    : _mm512_fmadd_ps(weight, value[p], sum[p][i]);
      }
    }
  }
#pragma GCC unroll 2
  for (int p = 0; p < kParts; ++p) {
#pragma GCC unroll 16
    for (int i = 0; i < kQueries; ++i) {
      _mm512_store_ps(&state.sum[i][d + p * kLanes], sum[p][i]);
    }
  }
}

// Softmax and values of a tile whose scores are there.
template <ValueFormat kFormat, int kQueries, bool kRagged>
inline void WeighTile(const AttentionArgs& args, const TileRows& tile,
                      const TileRows& next, BlockState& state) {
  Softmax<kRagged>(args, tile, state);
  // Two vectors of dims share the loads of weights, where sums of both fit in
  // registers.
  constexpr int64_t kStride = kQueries <= 8 ? 2 * kLanes : kLanes;
  const int64_t dim = args.pages.head_dim;
  int64_t d = 0;
  for (; d + kStride <= dim; d += kStride) {
    AddValues<kFormat, kQueries, kStride / kLanes, kRagged>(args.pages, tile,
                                                            next, d, state);
  }
  for (; d < dim; d += kLanes) {
    AddValues<kFormat, kQueries, 1, kRagged>(args.pages, tile, next, d, state);
  }
}

template <ValueFormat kFormat, int kQueries>
inline void AttendTile(const AttentionArgs& args, const TileRows& tile,
                       const TileRows& next, BlockState& state) {
  for (int64_t key = 0; key < tile.count; key += kLanes) {
    if constexpr (kQueries == 1) {
      ScoresOfOne<kFormat>(args.pages, tile, key, state);
    } else if (kQueries <= 8 && key % (2 * kLanes) == 0) {
      // Two groups of keys share the loads of queries.
      Scores<kFormat, kQueries, 2>(args.pages, tile, key, state);
    } else if (kQueries > 8) {
      Scores<kFormat, kQueries, 1>(args.pages, tile, key, state);
    }
  }
  bool ragged = tile.count < kTileKeys;
  for (int64_t i = 0; i < state.num_queries; ++i) {
    ragged |= state.first[i] > tile.first ||
              state.last[i] < tile.first + tile.count - 1;
  }
  if (ragged) {
    WeighTile<kFormat, kQueries, true>(args, tile, next, state);
  } else {
    WeighTile<kFormat, kQueries, false>(args, tile, next, state);
  }
}

template <ValueFormat kFormat>
inline void AttendBlock(const AttentionArgs& args,
                        const AttentionBlock& block) {
  BlockState state;
  LoadQueries(args, block, state);
  const int64_t count = state.num_queries;
  int64_t first = state.first[0];
  int64_t last = state.last[0];
  for (int64_t i = 1; i < count; ++i) {
    if (state.first[i] < first) first = state.first[i];
    if (state.last[i] > last) last = state.last[i];
  }
  TileRows tile, next;
  FindRows(args, block, first, last + 1, tile);
  for (; first <= last; first += kTileKeys, tile = next) {
    next = tile;
    if (first + kTileKeys <= last) {
      FindRows(args, block, first + kTileKeys, last + 1, next);
    }
    if (count == 1) {
      AttendTile<kFormat, 1>(args, tile, next, state);
    } else if (count <= 4) {
      AttendTile<kFormat, 4>(args, tile, next, state);
    } else if (count <= 8) {
      AttendTile<kFormat, 8>(args, tile, next, state);
    } else {
      AttendTile<kFormat, 16>(args, tile, next, state);
    }
  }
  for (int64_t i = 0; i < count; ++i) {
    const __m512 total = _mm512_set1_ps(state.total[i]);
    for (int64_t d = 0; d < args.pages.head_dim; d += kLanes) {
      _mm512_mask_storeu_ps(
          args.y + state.at[i] + d, Mask(args.pages.head_dim - d),
          _mm512_div_ps(_mm512_load_ps(&state.sum[i][d]), total));
    }
  }
}

}  // namespace
}  // namespace zqfp::kernels::avx512

#endif  // ZQFP_KERNELS_CPU_AVX512_ATTENTION_TILE_H_
