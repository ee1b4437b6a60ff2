// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AMX_TILE_ATTENTION_H_
#define ZQFP_KERNELS_CPU_AMX_TILE_ATTENTION_H_

// Attention of a block of 64 queries that share one KV head, on tiles of BF16.
//
// Keys and values are BF16 or e4m3 and stay exact; a query, and a weight of the
// softmax, is the sum of three BF16 numbers, exactly: so products are those of
// f32, and three times as many. Queries are columns throughout,
//   scores  S[key][query] = K Q        weights P = softmax over keys
//   sums    O[dim][query] = V^T P
// so that the softmax of 16 queries runs in the lanes of a vector, and its
// result is a right factor as it stands. What a tile of BF16 cannot say, an
// infinity or a NaN among keys and values, is left to vectors.

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "kernels/core/ops.h"
#include "kernels/cpu/amx/tiles.h"
#include "kernels/cpu/avx512/attention_tile.h"
#include "kernels/cpu/avx512/gemm.h"
#include "kernels/cpu/avx512bf16/bf16_unit.h"

namespace zqfp::kernels::amx {
namespace {

using avx512::AttentionBlock;
using avx512::CeilDiv;
using avx512::Mask;

constexpr int64_t kBlockQueries = 64;
constexpr int64_t kQueryTiles = kBlockQueries / 16;
constexpr int64_t kTileKeys = 128;
constexpr int64_t kKeyTiles = kTileKeys / 16;
constexpr int64_t kKeySteps = kTileKeys / kTileK;
constexpr int64_t kPieces = 3;  // BF16 numbers that make an f32

// Tiles of one thread, in this order:
//   q       [steps of dims][query tiles][pieces]   right
//   k       [key tiles][steps of dims]             left
//   v       [key steps][dim tiles]                 left, transposed
//   scores  [key tiles][2]                         of two query tiles
//   p       [key steps][2][pieces]                 right
//   sums    [dim tiles][query tiles]
struct Tiles {
  Tiles(uint8_t* workspace, int64_t head_dim)
      : dim_steps(CeilDiv(head_dim, kTileK)),
        q(workspace),
        k(q + dim_steps * kQueryTiles * kPieces * kTileBytes),
        v(k + kKeyTiles * dim_steps * kTileBytes),
        scores(v + kKeySteps * 2 * dim_steps * kTileBytes),
        p(scores + kKeyTiles * 2 * kTileBytes),
        sums(p + kKeySteps * 2 * kPieces * kTileBytes) {}

  static int64_t Bytes(int64_t head_dim) {
    constexpr int64_t kOfDimStep =
        kQueryTiles * kPieces + kKeyTiles + 2 * kKeySteps + 2 * kQueryTiles;
    constexpr int64_t kOfKeys = 2 * kKeyTiles + 2 * kKeySteps * kPieces;
    return (CeilDiv(head_dim, kTileK) * kOfDimStep + kOfKeys) * kTileBytes;
  }

  int64_t dim_steps;  // of 32 dims, two dim tiles each
  uint8_t *q, *k, *v, *scores, *p, *sums;

  uint8_t* Query(int64_t step, int64_t tile) const {
    return q + (step * kQueryTiles + tile) * kPieces * kTileBytes;
  }
  uint8_t* Key(int64_t tile, int64_t step) const {
    return k + (tile * dim_steps + step) * kTileBytes;
  }
  uint8_t* Value(int64_t step, int64_t dim_tile) const {
    return v + (step * 2 * dim_steps + dim_tile) * kTileBytes;
  }
  float* Score(int64_t key_tile, int64_t i) const {
    return reinterpret_cast<float*>(scores + (key_tile * 2 + i) * kTileBytes);
  }
  uint8_t* Weight(int64_t step, int64_t i) const {
    return p + (step * 2 + i) * kPieces * kTileBytes;
  }
  float* Sum(int64_t dim_tile, int64_t query_tile) const {
    return reinterpret_cast<float*>(
        sums + (dim_tile * kQueryTiles + query_tile) * kTileBytes);
  }
};

// The block's queries: 16 in each vector.
struct Queries {
  int64_t count;
  alignas(64) int32_t first[kBlockQueries];  // positions a query sees
  alignas(64) int32_t last[kBlockQueries];
  alignas(64) float maximum[kBlockQueries];
  alignas(64) float total[kBlockQueries];
  int64_t at[kBlockQueries];  // of its head in q and y
};

// Keys of one round: their positions, rows and scales.
struct Keys {
  avx512::TileRows rows[2];  // of 64 keys
  int32_t first;
  int64_t count;
  int64_t steps;  // of 32 keys
  float k_scale[kTileKeys];
  float v_scale[kTileKeys];

  int64_t row(int64_t key) const {
    return rows[key / avx512::kTileKeys].row[key % avx512::kTileKeys];
  }
};

// Rows `even` and `odd` of a right factor, which share a row of its tiles, in
// three pieces: each holds the 8 bits that those before it leave.
inline void StorePieces(__m512 even, __m512 odd, uint8_t* out) {
  const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
#pragma GCC unroll 3
  for (int i = 0; i < kPieces; ++i, out += kTileBytes) {
    const __m512i a = _mm512_and_si512(_mm512_castps_si512(even), upper);
    const __m512i b = _mm512_and_si512(_mm512_castps_si512(odd), upper);
    _mm512_store_si512(out, _mm512_or_si512(_mm512_srli_epi32(a, 16), b));
    even = _mm512_sub_ps(even, _mm512_castsi512_ps(a));
    odd = _mm512_sub_ps(odd, _mm512_castsi512_ps(b));
  }
}

inline void LoadQueries(const AttentionArgs& args, const AttentionBlock& block,
                        const Tiles& tiles, Queries& queries) {
  const int64_t dim = args.pages.head_dim;
  queries.count = avx512::NumQueries(args, block);
  for (int64_t i = 0; i < kBlockQueries; ++i) {
    queries.maximum[i] = -__builtin_inff();
    queries.total[i] = 0;
    // One that is not there sees all, so that no mask is made for it.
    queries.first[i] = 0;
    queries.last[i] = INT32_MAX;
    if (i >= queries.count) continue;
    const avx512::QueryPlace place = avx512::PlaceOf(args, block, i);
    queries.first[i] = static_cast<int32_t>(place.first);
    queries.last[i] = static_cast<int32_t>(place.last);
    queries.at[i] = place.at;
  }
  const __m512 scale = _mm512_set1_ps(args.scale);
  for (int64_t tile = 0; tile < kQueryTiles; ++tile) {
    for (int64_t d = 0; d < tiles.dim_steps * kTileK; d += 16) {
      __m512 v[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        const int64_t query = tile * 16 + i;
        v[i] = query < queries.count
                   ? _mm512_mul_ps(scale, _mm512_maskz_loadu_ps(
                                              Mask(dim - d),
                                              args.q + queries.at[query] + d))
                   : _mm512_setzero_ps();
      }
      avx512::Transpose(v);
      uint8_t* out = tiles.Query(d / kTileK, tile) + d % kTileK / 2 * kRowBytes;
#pragma GCC unroll 8
      for (int i = 0; i < 16; i += 2, out += kRowBytes) {
        StorePieces(v[i], v[i + 1], out);
      }
    }
  }
  memset(tiles.sums, 0,
         static_cast<size_t>(2 * tiles.dim_steps * kQueryTiles * kTileBytes));
}

inline void FindKeys(const AttentionArgs& args, const AttentionBlock& block,
                     int64_t first, int64_t end, Keys& keys) {
  keys.first = static_cast<int32_t>(first);
  keys.count = end - first < kTileKeys ? end - first : kTileKeys;
  keys.steps = CeilDiv(keys.count, kTileK);
  for (int64_t half = 0; half < 2; ++half) {
    const int64_t from = first + half * avx512::kTileKeys;
    if (from < end) {
      avx512::FindRows(args, block, from, end, keys.rows[half]);
    }
  }
  if (args.pages.format != ValueFormat::kE4m3) return;
  for (int64_t i = 0; i < keys.steps * kTileK; ++i) {
    const bool there = i < keys.count;
    keys.k_scale[i] = there ? args.pages.k_scale[keys.row(i)] : 0;
    keys.v_scale[i] = there ? args.pages.v_scale[keys.row(i)] : 0;
  }
}

// 32 dims of one key or value, from d on, as BF16; zero beyond head_dim.
template <ValueFormat kFormat>
inline __m512i LoadDims(const KvPagesView& pages, const void* data, int64_t row,
                        int64_t d) {
  const auto mask =
      static_cast<__mmask32>(avx512::LowBits64(pages.head_dim - d));
  const int64_t at = row * pages.head_dim + d;
  if constexpr (kFormat == ValueFormat::kBf16) {
    return _mm512_maskz_loadu_epi16(mask,
                                    static_cast<const uint16_t*>(data) + at);
  } else {
    const __m256i codes =
        _mm256_maskz_loadu_epi8(mask, static_cast<const uint8_t*>(data) + at);
    return avx512bf16::DecodeE4m3(_mm512_cvtepu8_epi16(codes),
                                  avx512bf16::E4m3SubnormalTable());
  }
}

inline bool IsFinite(__m512i bf16) {
  const __m512i exponent = _mm512_set1_epi16(0x7f80);
  return _mm512_cmpeq_epi16_mask(_mm512_and_si512(bf16, exponent), exponent) ==
         0;
}

// Keys as they are, values transposed. False where one is no finite number.
template <ValueFormat kFormat>
inline bool LoadKeys(const KvPagesView& pages, const Keys& keys,
                     const Tiles& tiles) {
  bool finite = true;
  for (int64_t key = 0; key < keys.steps * kTileK; ++key) {
    for (int64_t step = 0; step < tiles.dim_steps; ++step) {
      const __m512i v =
          key < keys.count
              ? LoadDims<kFormat>(pages, pages.k, keys.row(key), step * kTileK)
              : _mm512_setzero_si512();
      finite &= IsFinite(v);
      _mm512_store_si512(tiles.Key(key / 16, step) + key % 16 * kRowBytes, v);
    }
  }
  for (int64_t step = 0; step < keys.steps; ++step) {
    for (int64_t d = 0; d < tiles.dim_steps; ++d) {
      // Lane j: two keys of a dim, of eight dims the first four or the others.
      __m512i low[16], high[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        const int64_t key = step * kTileK + 2 * i;
        __m512i pair[2];
        for (int64_t j = 0; j < 2; ++j) {
          pair[j] = key + j < keys.count
                        ? LoadDims<kFormat>(pages, pages.v, keys.row(key + j),
                                            d * kTileK)
                        : _mm512_setzero_si512();
          finite &= IsFinite(pair[j]);
        }
        low[i] = _mm512_unpacklo_epi16(pair[0], pair[1]);
        high[i] = _mm512_unpackhi_epi16(pair[0], pair[1]);
      }
      avx512::Transpose(low);
      avx512::Transpose(high);
      uint8_t* out = tiles.Value(step, 2 * d);
#pragma GCC unroll 16
      for (int j = 0; j < 16; ++j) {
        uint8_t* row = out + (j / 4 * 8 + j % 4) * kRowBytes;
        _mm512_store_si512(row, low[j]);
        _mm512_store_si512(row + 4 * kRowBytes, high[j]);
      }
    }
  }
  return finite;
}

// The left factors in the registers 4 and 5 times two right ones in pieces, to
// the sums 0 to 3.
inline void MultiplyPieces(const uint8_t* a, const uint8_t* b) {
#pragma GCC unroll 3
  for (int i = 0; i < kPieces; ++i) {
    _tile_loadd(6, a + i * kTileBytes, kRowBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + i * kTileBytes, kRowBytes);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}

// The scores of query tiles `tile` and `tile + 1`.
inline void Scores(const Tiles& tiles, const Keys& keys, int64_t tile) {
  for (int64_t key = 0; key < 2 * keys.steps; key += 2) {
    ZeroSums();
    for (int64_t step = 0; step < tiles.dim_steps; ++step) {
      _tile_loadd(4, tiles.Key(key, step), kRowBytes);
      _tile_loadd(5, tiles.Key(key + 1, step), kRowBytes);
      MultiplyPieces(tiles.Query(step, tile), tiles.Query(step, tile + 1));
    }
    StoreSums(tiles.Score(key, 0), tiles.Score(key, 1), tiles.Score(key + 1, 0),
              tiles.Score(key + 1, 1));
  }
}

// Which of 16 queries see a position.
struct Visible {
  __m512i first, last;
  __mmask16 operator()(int32_t position) const {
    const __m512i here = _mm512_set1_epi32(position);
    return _mm512_cmple_epi32_mask(first, here) &
           _mm512_cmple_epi32_mask(here, last);
  }
};

// Scales, caps and masks the scores of query tile `tile`, the i-th of two;
// returns the largest of each query.
template <ValueFormat kFormat, bool kRagged>
inline __m512 FinishScores(const AttentionArgs& args, const Tiles& tiles,
                           const Keys& keys, int64_t tile, int64_t i,
                           const Queries& queries) {
  constexpr bool kE4m3 = kFormat == ValueFormat::kE4m3;
  const __m512 lowest = _mm512_set1_ps(-__builtin_inff());
  const Visible visible = {_mm512_load_si512(queries.first + tile * 16),
                           _mm512_load_si512(queries.last + tile * 16)};
  __m512 largest = lowest;
  for (int64_t key = 0; key < keys.steps * kTileK; ++key) {
    float* at = tiles.Score(key / 16, i) + key % 16 * 16;
    __m512 score = _mm512_load_ps(at);
    if (kE4m3) {
      score = _mm512_mul_ps(score, _mm512_set1_ps(keys.k_scale[key]));
    }
    if (args.softcap > 0) score = avx512::Cap(score, args.softcap);
    if (kRagged) {
      const __mmask16 sees =
          key < keys.count ? visible(keys.first + static_cast<int32_t>(key))
                           : __mmask16{0};
      score = _mm512_mask_mov_ps(lowest, sees, score);
    }
    if (kE4m3 || kRagged || args.softcap > 0) _mm512_store_ps(at, score);
    largest = _mm512_max_ps(largest, score);
  }
  return largest;
}

// Scores of query tile `tile`, the i-th of two, to weights; what was summed so
// far shrinks where the maximum grew. Values' scales join the weights.
template <ValueFormat kFormat, bool kRagged>
inline void Softmax(const AttentionArgs& args, const Tiles& tiles,
                    const Keys& keys, int64_t tile, int64_t i,
                    Queries& queries) {
  const __m512 lowest = _mm512_set1_ps(-__builtin_inff());
  const __m512 largest =
      FinishScores<kFormat, kRagged>(args, tiles, keys, tile, i, queries);
  const __m512 before = _mm512_load_ps(queries.maximum + tile * 16);
  const __m512 maximum = _mm512_max_ps(before, largest);
  const __m512 subtracted = _mm512_mask_mov_ps(
      maximum, _mm512_cmp_ps_mask(maximum, lowest, _CMP_EQ_OQ),
      _mm512_setzero_ps());
  const __m512 shrink = avx512::Exp(_mm512_sub_ps(before, subtracted));
  _mm512_store_ps(queries.maximum + tile * 16, maximum);
  __m512 total =
      _mm512_mul_ps(_mm512_load_ps(queries.total + tile * 16), shrink);
  for (int64_t key = 0; key < keys.steps * kTileK; key += 2) {
    __m512 weight[2];
#pragma GCC unroll 2
    for (int64_t j = 0; j < 2; ++j) {
      const float* at = tiles.Score((key + j) / 16, i) + (key + j) % 16 * 16;
      const __m512 score = _mm512_load_ps(at);
      weight[j] = avx512::Exp(_mm512_sub_ps(score, subtracted));
      total = _mm512_add_ps(total, weight[j]);
      if (kFormat == ValueFormat::kE4m3) {
        // Nothing of what a query does not see, its scale neither.
        const __mmask16 sees = _mm512_cmp_ps_mask(score, lowest, _CMP_NEQ_UQ);
        weight[j] = _mm512_maskz_mul_ps(sees, weight[j],
                                        _mm512_set1_ps(keys.v_scale[key + j]));
      }
    }
    StorePieces(weight[0], weight[1],
                tiles.Weight(key / kTileK, i) + key % kTileK / 2 * kRowBytes);
  }
  _mm512_store_ps(queries.total + tile * 16, total);
  const __m512 one = _mm512_set1_ps(1.0f);
  if (_mm512_cmp_ps_mask(shrink, one, _CMP_NEQ_UQ) == 0) return;
  for (int64_t d = 0; d < 2 * tiles.dim_steps; ++d) {
    float* sum = tiles.Sum(d, tile);
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r, sum += 16) {
      _mm512_store_ps(sum, _mm512_mul_ps(_mm512_load_ps(sum), shrink));
    }
  }
}

// The sums of query tiles `tile` and `tile + 1` grow by weights times values.
inline void AddValues(const Tiles& tiles, const Keys& keys, int64_t tile) {
  for (int64_t d = 0; d < 2 * tiles.dim_steps; d += 2) {
    LoadSums(tiles.Sum(d, tile), tiles.Sum(d, tile + 1), tiles.Sum(d + 1, tile),
             tiles.Sum(d + 1, tile + 1));
    for (int64_t step = 0; step < keys.steps; ++step) {
      _tile_loadd(4, tiles.Value(step, d), kRowBytes);
      _tile_loadd(5, tiles.Value(step, d + 1), kRowBytes);
      MultiplyPieces(tiles.Weight(step, 0), tiles.Weight(step, 1));
    }
    StoreSums(tiles.Sum(d, tile), tiles.Sum(d, tile + 1),
              tiles.Sum(d + 1, tile), tiles.Sum(d + 1, tile + 1));
  }
}

inline void StoreResult(const AttentionArgs& args, const Tiles& tiles,
                        const Queries& queries) {
  const int64_t dim = args.pages.head_dim;
  for (int64_t tile = 0; tile * 16 < queries.count; ++tile) {
    const __m512 total = _mm512_load_ps(queries.total + tile * 16);
    for (int64_t d = 0; d < dim; d += 16) {
      const float* sum = tiles.Sum(d / 16, tile);
      __m512 v[16];
#pragma GCC unroll 16
      for (int r = 0; r < 16; ++r) {
        v[r] = _mm512_div_ps(_mm512_load_ps(sum + r * 16), total);
      }
      avx512::Transpose(v);
      for (int64_t i = 0; i < 16 && tile * 16 + i < queries.count; ++i) {
        _mm512_mask_storeu_ps(args.y + queries.at[tile * 16 + i] + d,
                              Mask(dim - d), v[i]);
      }
    }
  }
}

template <ValueFormat kFormat>
inline void AttendTwo(const AttentionArgs& args, const Tiles& tiles,
                      const Keys& keys, int64_t tile, Queries& queries) {
  int32_t first = 0, last = INT32_MAX, lowest = INT32_MAX, highest = 0;
  for (int64_t i = tile * 16; i < tile * 16 + 32 && i < queries.count; ++i) {
    if (queries.first[i] > first) first = queries.first[i];
    if (queries.first[i] < lowest) lowest = queries.first[i];
    if (queries.last[i] < last) last = queries.last[i];
    if (queries.last[i] > highest) highest = queries.last[i];
  }
  const int32_t end = keys.first + static_cast<int32_t>(keys.count);
  if (lowest >= end || highest < keys.first) return;
  TileFence();
  Scores(tiles, keys, tile);
  TileFence();
  const bool ragged =
      keys.count % kTileK != 0 || first > keys.first || last < end - 1;
  for (int64_t i = 0; i < 2; ++i) {
    if (ragged) {
      Softmax<kFormat, true>(args, tiles, keys, tile + i, i, queries);
    } else {
      Softmax<kFormat, false>(args, tiles, keys, tile + i, i, queries);
    }
  }
  TileFence();
  AddValues(tiles, keys, tile);
  TileFence();
}

// False, and nothing is stored, where a key or value is no finite number.
template <ValueFormat kFormat>
inline bool AttendBlock(const AttentionArgs& args, const AttentionBlock& block,
                        uint8_t* workspace) {
  const Tiles tiles(workspace, args.pages.head_dim);
  Queries queries;
  LoadQueries(args, block, tiles, queries);
  // Queries are rows in order: the last one sees the last key, the first one
  // the first.
  const int64_t end = queries.last[queries.count - 1] + 1;
  for (int64_t first = queries.first[0]; first < end; first += kTileKeys) {
    Keys keys;
    FindKeys(args, block, first, end, keys);
    if (!LoadKeys<kFormat>(args.pages, keys, tiles)) return false;
    for (int64_t tile = 0; tile * 16 < queries.count; tile += 2) {
      AttendTwo<kFormat>(args, tiles, keys, tile, queries);
    }
  }
  StoreResult(args, tiles, queries);
  return true;
}

}  // namespace
}  // namespace zqfp::kernels::amx

#endif  // ZQFP_KERNELS_CPU_AMX_TILE_ATTENTION_H_
