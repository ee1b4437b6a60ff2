// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AVX512_GEMM_H_
#define ZQFP_KERNELS_CPU_AVX512_GEMM_H_

// MatmulA8 for many tokens, at the speed of the multipliers: 64 rows times a
// chunk of k are decoded once, into 32 KB that stay in the first-level cache,
// and then met with every token.
//
// The rows are four strips of 16. One 32-bit lane is one row and holds a step:
// the one or two neighbours in k that Unit multiplies at once. So a register
// tile of strips x tokens needs no sum across lanes, and scales are plain
// vectors. Tokens are steps in the same order, each broadcast to all rows.
//   tokens  [chunks][tokens][steps of a chunk]
//   weights [steps of a chunk][strips][16 rows]
//   scales  [groups of a chunk][strips][16 rows]
//   totals  [tokens][strips][16 rows]
//
// Unit is what multiplies (blocked_matmul.h).

#include <immintrin.h>
#include <string.h>

#include "kernels/core/ops.h"
#include "kernels/cpu/avx512/packed_rows.h"
#include "kernels/cpu/int16_tokens.h"

namespace zqfp::kernels::avx512 {
namespace {

constexpr int64_t kStripRows = 16;
constexpr int64_t kMaxStrips = 4;
constexpr int64_t kSlabRows = kStripRows * kMaxStrips;
constexpr int64_t kChunkGroups = 8;  // the most: 256 elements in groups of 32
// 4 strips x 4 tokens: 16 sums, 4 weights and a token in registers. With 4 x 6
// an Emerald Rapids core does 4.5 G vpdpwssd a second, with these 5.9 (November
// 2026).
constexpr int64_t kTileTokens = 4;

// v[r] lane l  <->  v[l] lane r, 32-bit lanes.
inline void Transpose(__m512i (&v)[16]) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    v[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(v[i], v[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(v[i], v[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    v[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    v[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    v[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    v[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

// 64 bytes of each of 16 rows from byte `at` on, transposed. Rows beyond the
// last one and bytes beyond the row are zero codes, which are zero weights.
// `ahead` bytes further on in a row, or in that of the next slab, lies what
// will be loaded a chunk later: few tokens do not hide the way to memory.
inline void LoadTransposed(const WeightView& w, int64_t n, int64_t at,
                           int64_t ahead, __m512i (&v)[16]) {
  const int64_t row_bytes = RowBytes(w);
  const __mmask64 mask = LowBits64(row_bytes - at);
  const uint8_t* data = static_cast<const uint8_t*>(w.data);
  const char* next = reinterpret_cast<const char*>(data) + at + ahead +
                     (at + ahead < row_bytes ? n : n + kSlabRows) * row_bytes -
                     (at + ahead < row_bytes ? 0 : row_bytes);
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) {
    _mm_prefetch(next + r * row_bytes, _MM_HINT_T0);
    v[r] = n + r < w.n
               ? _mm512_maskz_loadu_epi8(mask, data + (n + r) * row_bytes + at)
               : _mm512_setzero_si512();
  }
  Transpose(v);
}

template <typename Unit>
struct Gemm {
  using Tokens = typename Unit::Tokens;
  using Sum = typename Unit::Sum;
  static constexpr int64_t kChunk = kChunkSteps * Unit::kStep;  // elements of k

  struct Slab {
    alignas(64) int32_t weights[kChunkSteps * kSlabRows];
    alignas(64) float scales[kChunkGroups * kSlabRows];
  };

  struct Job {
    const MatmulA8Args& args;
    const Tokens& x;
    Slab& slab;
    float* totals;
    int64_t n;       // first row
    int64_t strips;  // of 16 rows
    int64_t k;       // first element of the chunk
    int64_t steps;   // of the chunk
    int64_t groups;  // of the chunk, 1 where no scales are to be applied
  };

  static int64_t WorkspaceBytes(int64_t num_tokens) {
    return int64_t{sizeof(Slab)} + num_tokens * kSlabRows * 4;
  }

  static bool HasScales(const WeightView& w) {
    return w.format == WeightFormat::kE2m1Free ||
           (w.format == WeightFormat::kE2m1Shift && !Unit::kFoldsShift);
  }

  static void DecodeStrip(const Job& job, int64_t strip) {
    const WeightView& w = job.args.weight;
    const int64_t n = job.n + strip * kStripRows;
    const int64_t vector_step = job.strips * kStripRows;
    const bool e4m3 = w.format == WeightFormat::kE4m3;
    const bool folds =
        Unit::kFoldsShift && w.format == WeightFormat::kE2m1Shift;
    const int64_t num_groups = folds ? NumGroups(w.k, w.group_size) : 0;
    const int64_t load = e4m3 ? 64 : 128;  // elements
    const int64_t end = job.k + job.steps * Unit::kStep;
    int32_t* out = job.slab.weights + strip * kStripRows;
    typename Unit::Decoder decoder;
    for (int64_t begin = job.k; begin < end; begin += load) {
      __m512i v[16];
      LoadTransposed(w, n, e4m3 ? begin : begin / 2, e4m3 ? kChunk : kChunk / 2,
                     v);
      for (int64_t l = 0; l < 16; ++l) {
        const int64_t k = begin + l * load / 16;
        if constexpr (Unit::kFoldsShift) {
          if (folds && k % w.group_size == 0 && k < w.k) {
            decoder.SetShift(
                GatherBytes(w.shift + n * num_groups + k / w.group_size,
                            num_groups, w.n - n));
          }
        }
        const int steps = static_cast<int>(load / 16 / Unit::kStep);
        for (int i = 0; i < steps; ++i) {
          __m512i lanes = v[l];
          if (e4m3) {
            if constexpr (Unit::kKnowsE4m3) lanes = decoder.E4m3(v[l], i);
          } else if constexpr (Unit::kKnowsE2m1) {
            lanes = decoder.E2m1(v[l], i);
          }
          _mm512_store_si512(out, lanes);
          out += vector_step;
        }
      }
    }
  }

  static void LoadScales(const Job& job) {
    const WeightView& w = job.args.weight;
    for (int64_t s = 0; s < job.strips; ++s) {
      float* out = job.slab.scales + s * kStripRows;
      if (!HasScales(w)) {
        _mm512_store_ps(out, _mm512_set1_ps(1.0f));
        continue;
      }
      const int64_t n = job.n + s * kStripRows;
      const int64_t num_groups = NumGroups(w.k, w.group_size);
      for (int64_t g = 0; g < job.groups; ++g) {
        const int64_t at = n * num_groups + job.k / w.group_size + g;
        _mm512_store_ps(
            out,
            w.format == WeightFormat::kE2m1Free
                ? GatherFloats(w.group_scale + at, num_groups, w.n - n)
                : PowerOfTwo(GatherBytes(w.shift + at, num_groups, w.n - n)));
        out += job.strips * kStripRows;
      }
    }
  }

  // sum[s][t] over the steps [begin, end) of the chunk.
  template <int kStrips, int kTokens>
  static inline void DotSteps(const int32_t* weights, const int32_t* x,
                              int64_t begin, int64_t end,
                              Sum (&sum)[kStrips][kTokens]) {
#pragma GCC unroll 4
    for (int s = 0; s < kStrips; ++s) {
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) sum[s][t] = Unit::Zero();
    }
    weights += begin * kStrips * kStripRows;
    // Spans are groups or blocks: at least 16 steps.
    for (int64_t step = begin; step < end; step += 4) {
      // The tokens of the next tile, a cache line at a time.
      _mm_prefetch(reinterpret_cast<const char*>(x + kTileTokens * kChunkSteps +
                                                 step * kTileTokens),
                   _MM_HINT_T0);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        __m512i w[kStrips];
#pragma GCC unroll 4
        for (int s = 0; s < kStrips; ++s) {
          w[s] = _mm512_load_si512(weights + (i * kStrips + s) * kStripRows);
        }
#pragma GCC unroll 4
        for (int t = 0; t < kTokens; ++t) {
          const __m512i token =
              _mm512_set1_epi32(x[t * kChunkSteps + step + i]);
#pragma GCC unroll 4
          for (int s = 0; s < kStrips; ++s) {
            sum[s][t] = Unit::Dot(sum[s][t], w[s], token);
          }
        }
      }
      weights += 4 * kStrips * kStripRows;
    }
  }

  // Steps that share scales.
  static int64_t GroupSteps(const Job& job) {
    return job.groups > 1 ? job.args.weight.group_size / Unit::kStep
                          : job.steps;
  }

  // totals += the chunk's product for the tokens from `token` on.
  template <int kStrips, int kTokens>
  static void Tile(const Job& job, int64_t token) {
    const int32_t* x = job.x.steps(job.k / kChunk, token);
    float* totals = job.totals + token * kStrips * kStripRows;
    const int64_t group_steps = GroupSteps(job);
#pragma GCC unroll 16
    for (int i = 0; i < kStrips * kTokens; ++i) {
      _mm_prefetch(reinterpret_cast<const char*>(totals + i * kStripRows),
                   _MM_HINT_T0);
    }
    for (int64_t g = 0; g < job.groups; ++g) {
      Sum sum[kStrips][kTokens];
      const int64_t begin = g * group_steps;
      const int64_t end =
          begin + group_steps < job.steps ? begin + group_steps : job.steps;
      DotSteps<kStrips, kTokens>(job.slab.weights, x, begin, end, sum);
#pragma GCC unroll 4
      for (int s = 0; s < kStrips; ++s) {
        const __m512 scale =
            _mm512_load_ps(job.slab.scales + (g * kStrips + s) * kStripRows);
#pragma GCC unroll 4
        for (int t = 0; t < kTokens; ++t) {
          float* total = totals + (t * kStrips + s) * kStripRows;
          _mm512_store_ps(total, _mm512_fmadd_ps(Unit::ToF32(sum[s][t]), scale,
                                                 _mm512_load_ps(total)));
        }
      }
    }
  }

  using TileBody = void (*)(const Job&, int64_t token);
  static constexpr TileBody kTiles[kMaxStrips][kTileTokens] = {
      {Tile<1, 1>, Tile<1, 2>, Tile<1, 3>, Tile<1, 4>},
      {Tile<2, 1>, Tile<2, 2>, Tile<2, 3>, Tile<2, 4>},
      {Tile<3, 1>, Tile<3, 2>, Tile<3, 3>, Tile<3, 4>},
      {Tile<4, 1>, Tile<4, 2>, Tile<4, 3>, Tile<4, 4>}};

  // What tiles leave out, of all tokens.
  template <int kStrips>
  static void Rest(const Job& job) {
    Unit::template AddRest<kStrips>(job, GroupSteps(job));
  }
  using RestBody = void (*)(const Job&);
  static constexpr RestBody kRests[kMaxStrips] = {Rest<1>, Rest<2>, Rest<3>,
                                                  Rest<4>};

  // Scales, bias and residual of all tokens.
  template <int kStrips>
  static void Store(const Job& job, int64_t num_tokens) {
    const MatmulA8Args& args = job.args;
    const WeightView& w = args.weight;
    __m512 row_scale[kStrips], bias[kStrips];
    __mmask16 mask[kStrips];
#pragma GCC unroll 4
    for (int s = 0; s < kStrips; ++s) {
      const int64_t row = job.n + s * kStripRows;
      mask[s] = Mask(w.n - row);
      row_scale[s] = _mm512_set1_ps(Unit::kFactor);
      if (w.format != WeightFormat::kE2m1Free) {
        row_scale[s] = _mm512_mul_ps(
            row_scale[s], _mm512_maskz_loadu_ps(mask[s], w.row_scale + row));
      }
      bias[s] = args.bias == nullptr
                    ? _mm512_setzero_ps()
                    : _mm512_maskz_loadu_ps(mask[s], args.bias + row);
    }
    for (int64_t t = 0; t < num_tokens; ++t) {
      const float* total = job.totals + t * kStrips * kStripRows;
      const int64_t at = (job.x.first + t) * w.n + job.n;
      const __m512 scale = _mm512_set1_ps(job.x.scale[t]);
#pragma GCC unroll 4
      for (int s = 0; s < kStrips; ++s) {
        const int64_t strip = s * kStripRows;
        __m512 y = _mm512_mul_ps(_mm512_load_ps(total + strip), row_scale[s]);
        y = _mm512_fmadd_ps(y, scale, bias[s]);
        if (args.residual != nullptr) {
          y = _mm512_add_ps(
              y, _mm512_maskz_loadu_ps(mask[s], args.residual + at + strip));
        }
        _mm512_mask_storeu_ps(args.y + at + strip, mask[s], y);
      }
    }
  }
  using StoreBody = void (*)(const Job&, int64_t num_tokens);
  static constexpr StoreBody kStores[kMaxStrips] = {Store<1>, Store<2>,
                                                    Store<3>, Store<4>};

  // Rows [begin, end) for num_tokens tokens.
  static void Run(const MatmulA8Args& args, const Tokens& x, int64_t num_tokens,
                  int64_t begin, int64_t end, void* workspace) {
    const WeightView& w = args.weight;
    Slab& slab = *static_cast<Slab*>(workspace);
    float* totals = reinterpret_cast<float*>(&slab + 1);
    Job job = {args, x, slab, totals, 0, 0, 0, 0, 0};
    // Tiles of nearly equal size: the sums of a small one wait for each other.
    const int64_t tiles = CeilDiv(num_tokens, kTileTokens);
    const int64_t tile_tokens = CeilDiv(num_tokens, tiles);
    for (job.n = begin; job.n < end; job.n += job.strips * kStripRows) {
      const int64_t strips = CeilDiv(end - job.n, kStripRows);
      job.strips = strips < kMaxStrips ? strips : kMaxStrips;
      memset(totals, 0,
             static_cast<size_t>(num_tokens * job.strips * kStripRows * 4));
      for (job.k = 0; job.k < w.k; job.k += kChunk) {
        const int64_t left = PaddedK(w.k) - job.k;
        const int64_t elements = left < kChunk ? left : kChunk;
        job.steps = elements / Unit::kStep;
        job.groups =
            HasScales(w)
                ? CeilDiv(elements < w.k - job.k ? elements : w.k - job.k,
                          w.group_size)
                : 1;
        for (int64_t s = 0; s < job.strips; ++s) DecodeStrip(job, s);
        LoadScales(job);
        for (int64_t t = 0; t < num_tokens; t += tile_tokens) {
          const int64_t tokens =
              num_tokens - t < tile_tokens ? num_tokens - t : tile_tokens;
          kTiles[job.strips - 1][tokens - 1](job, t);
        }
        kRests[job.strips - 1](job);
      }
      kStores[job.strips - 1](job, num_tokens);
    }
  }
};

}  // namespace
}  // namespace zqfp::kernels::avx512

#endif  // ZQFP_KERNELS_CPU_AVX512_GEMM_H_
