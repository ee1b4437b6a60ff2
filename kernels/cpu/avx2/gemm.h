// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AVX2_GEMM_H_
#define ZQFP_KERNELS_CPU_AVX2_GEMM_H_

// MatmulA8 of e2m1 weights for many tokens on 16-bit integers: as
// avx512/gemm.h, 16 rows in two strips of 8.
//   weights [steps of a chunk][strips][8 rows][2]
//   scales  [groups of a chunk][strips][8 rows]
//   totals  [tokens][strips][8 rows]

#include <immintrin.h>
#include <string.h>

#include "kernels/core/ops.h"
#include "kernels/cpu/avx2/lanes.h"
#include "kernels/cpu/int16_tokens.h"

namespace zqfp::kernels::avx2 {
namespace {

constexpr int64_t kStrips = 2;
constexpr int64_t kSlabRows = kStrips * kLanes;
constexpr int64_t kTileTokens = 4;
constexpr int64_t kChunkGroups = 8;  // the most: 256 elements in groups of 32

struct Slab {
  alignas(32) int32_t weights[kChunkSteps * kSlabRows];
  alignas(32) float scales[kChunkGroups * kSlabRows];
};

// A chunk of k, of the rows n .. n + 15.
struct Job {
  const MatmulA8Args& args;
  const Int16Tokens& x;
  Slab& slab;
  float* totals;
  int64_t n;
  int64_t k;
  int64_t steps;
  int64_t groups;
};

// v[r] lane l  <->  v[l] lane r, 32-bit lanes.
inline void Transpose(__m256i (&v)[8]) {
  __m256i t[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_epi32(v[i], v[i + 1]);
    t[i + 1] = _mm256_unpackhi_epi32(v[i], v[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    v[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
    v[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
    v[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
    v[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm256_permute2x128_si256(v[i], v[i + 4], 0x20);
    t[i + 4] = _mm256_permute2x128_si256(v[i], v[i + 4], 0x31);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) v[i] = t[i];
}

// 32 bytes of each of 8 rows from byte `at` on. Rows beyond the last one and
// bytes beyond the row are zero codes, which are zero weights.
inline void LoadTransposed(const WeightView& w, int64_t n, int64_t at,
                           __m256i (&v)[8]) {
  const int64_t row_bytes = (w.k + 1) / 2;
  for (int r = 0; r < 8; ++r) {
    v[r] = _mm256_setzero_si256();
    if (n + r >= w.n || at >= row_bytes) continue;
    const uint8_t* from =
        static_cast<const uint8_t*>(w.data) + (n + r) * row_bytes + at;
    if (row_bytes - at >= 32) {
      v[r] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    } else {
      alignas(32) uint8_t copy[32] = {};
      memcpy(copy, from, static_cast<size_t>(row_bytes - at));
      v[r] = _mm256_load_si256(reinterpret_cast<const __m256i*>(copy));
    }
  }
  Transpose(v);
}

// Twice the values of the codes i and i + 4 of each 32-bit lane, as a pair of
// 16-bit integers.
inline __m256i DecodePair(__m256i codes, int i) {
  const __m256i table =
      _mm256_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12,
                       0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);
  // The code becomes the upper byte's index; 0x80 makes the lower byte zero.
  const __m256i moved = i < 2 ? _mm256_slli_epi16(codes, 8 - 4 * i)
                              : _mm256_srli_epi16(codes, 4 * i - 8);
  const __m256i index =
      _mm256_or_si256(_mm256_and_si256(moved, _mm256_set1_epi16(0x0f00)),
                      _mm256_set1_epi16(0x0080));
  return _mm256_srai_epi16(_mm256_shuffle_epi8(table, index), 8);
}

inline void DecodeStrip(const Job& job, int64_t strip) {
  int32_t* out = job.slab.weights + strip * kLanes;
  const int64_t end = job.k + 2 * job.steps;
  for (int64_t k = job.k; k < end; k += 64) {
    __m256i v[8];
    LoadTransposed(job.args.weight, job.n + strip * kLanes, k / 2, v);
    for (int l = 0; l < 8; ++l) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        _mm256_store_si256(reinterpret_cast<__m256i*>(out),
                           DecodePair(v[l], i));
        out += kSlabRows;
      }
    }
  }
}

inline void LoadScales(const Job& job) {
  const WeightView& w = job.args.weight;
  const int64_t num_groups = NumGroups(w.k, w.group_size);
  for (int64_t g = 0; g < job.groups; ++g) {
    for (int64_t r = 0; r < kSlabRows; ++r) {
      float& scale = job.slab.scales[g * kSlabRows + r];
      scale = 0;
      const int64_t group = job.k / w.group_size + g;
      if (job.n + r >= w.n || group >= num_groups) continue;
      const int64_t at = (job.n + r) * num_groups + group;
      if (w.format == WeightFormat::kE2m1Free) {
        scale = w.group_scale[at];
      } else {
        const uint32_t bits = (127u - w.shift[at]) << 23;
        __builtin_memcpy(&scale, &bits, sizeof(bits));
      }
    }
  }
}

// Products of the pairs of a step, summed.
inline __m256i Dot(__m256i sum, __m256i w, __m256i x) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(w, x));
}

inline __m256i LoadPairs(const int32_t* pairs) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(pairs));
}

// totals += the chunk's product for the tokens from `token` on.
template <int kTokens>
void Tile(const Job& job, int64_t token) {
  const int32_t* x = job.x.steps(job.k / kChunkElements, token);
  float* totals = job.totals + token * kSlabRows;
  const int64_t group_steps = job.steps / job.groups;
  const int32_t* weights = job.slab.weights;
  for (int64_t g = 0; g < job.groups; ++g) {
    __m256i sum[kStrips][kTokens];
#pragma GCC unroll 2
    for (int s = 0; s < kStrips; ++s) {
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) sum[s][t] = _mm256_setzero_si256();
    }
    const int64_t begin = g * group_steps;
    for (int64_t step = begin; step < begin + group_steps; step += 2) {
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) {
        const __m256i w0 = LoadPairs(weights + i * kSlabRows);
        const __m256i w1 = LoadPairs(weights + i * kSlabRows + kLanes);
#pragma GCC unroll 4
        for (int t = 0; t < kTokens; ++t) {
          const __m256i pair = _mm256_set1_epi32(x[t * kChunkSteps + step + i]);
          sum[0][t] = Dot(sum[0][t], w0, pair);
          sum[1][t] = Dot(sum[1][t], w1, pair);
        }
      }
      weights += 2 * kSlabRows;
    }
#pragma GCC unroll 2
    for (int s = 0; s < kStrips; ++s) {
      const __m256 scale =
          _mm256_load_ps(job.slab.scales + g * kSlabRows + s * kLanes);
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        float* total = totals + t * kSlabRows + s * kLanes;
        _mm256_store_ps(total, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[s][t]),
                                               scale, _mm256_load_ps(total)));
      }
    }
  }
}
using TileBody = void (*)(const Job&, int64_t token);
constexpr TileBody kTiles[kTileTokens] = {Tile<1>, Tile<2>, Tile<3>, Tile<4>};

// The low parts of all tokens in the chunk.
inline void AddLow(const Job& job) {
  const int64_t group_steps = job.steps / job.groups;
  const __m256 eighth = _mm256_set1_ps(0.125f);
  job.x.ForEachLowPair(
      job.k / kChunkElements, [&](int64_t token, int64_t step, int32_t pair) {
        const int64_t group = step / group_steps;
#pragma GCC unroll 2
        for (int64_t s = 0; s < kSlabRows; s += kLanes) {
          const __m256i sum = _mm256_madd_epi16(
              LoadPairs(job.slab.weights + step * kSlabRows + s),
              _mm256_set1_epi32(pair));
          const __m256 scale = _mm256_mul_ps(
              _mm256_load_ps(job.slab.scales + group * kSlabRows + s), eighth);
          float* total = job.totals + token * kSlabRows + s;
          _mm256_store_ps(total, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), scale,
                                                 _mm256_load_ps(total)));
        }
      });
}

// Scales, bias and residual of all tokens.
inline void StoreTotals(const Job& job) {
  const MatmulA8Args& args = job.args;
  const WeightView& w = args.weight;
  for (int64_t s = 0; s < kSlabRows; s += kLanes) {
    const int64_t row = job.n + s;
    const int64_t left = w.n - row;
    __m256 row_scale = _mm256_set1_ps(kInt16Factor);
    if (w.format != WeightFormat::kE2m1Free) {
      row_scale = _mm256_mul_ps(row_scale, LoadF32(w.row_scale + row, left));
    }
    const __m256 bias = args.bias != nullptr ? LoadF32(args.bias + row, left)
                                             : _mm256_setzero_ps();
    for (int64_t t = 0; t < job.x.count; ++t) {
      const int64_t at = (job.x.first + t) * w.n + row;
      __m256 y = _mm256_mul_ps(_mm256_load_ps(job.totals + t * kSlabRows + s),
                               row_scale);
      y = _mm256_fmadd_ps(y, _mm256_set1_ps(job.x.scale[t]), bias);
      if (args.residual != nullptr) {
        y = _mm256_add_ps(y, LoadF32(args.residual + at, left));
      }
      StoreF32(args.y + at, left, y);
    }
  }
}

inline int64_t GemmBytes(int64_t num_tokens) {
  return int64_t{sizeof(Slab)} + num_tokens * kSlabRows * 4;
}

// Rows [begin, end) for all of x; begin is a multiple of 16.
inline void Gemm(const MatmulA8Args& args, const Int16Tokens& x, int64_t begin,
                 int64_t end, void* workspace) {
  const WeightView& w = args.weight;
  Slab& slab = *static_cast<Slab*>(workspace);
  Job job = {args, x, slab, reinterpret_cast<float*>(&slab + 1), 0, 0, 0, 0};
  for (job.n = begin; job.n < end; job.n += kSlabRows) {
    memset(job.totals, 0, static_cast<size_t>(x.count * kSlabRows * 4));
    for (job.k = 0; job.k < w.k; job.k += kChunkElements) {
      // Whole groups, at least of 64 elements: what a load of weights holds.
      const int64_t unit = w.group_size > 64 ? w.group_size : 64;
      const int64_t left = (w.k - job.k + unit - 1) / unit * unit;
      job.steps = (left < kChunkElements ? left : kChunkElements) / 2;
      job.groups = 2 * job.steps / w.group_size;
      for (int64_t s = 0; s < kStrips; ++s) DecodeStrip(job, s);
      LoadScales(job);
      for (int64_t t = 0; t < x.count; t += kTileTokens) {
        const int64_t tokens =
            x.count - t < kTileTokens ? x.count - t : kTileTokens;
        kTiles[tokens - 1](job, t);
      }
      AddLow(job);
    }
    StoreTotals(job);
  }
}

}  // namespace
}  // namespace zqfp::kernels::avx2

#endif  // ZQFP_KERNELS_CPU_AVX2_GEMM_H_
