// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AVX512BF16_MATMUL_A8_GEMM_H_
#define ZQFP_KERNELS_CPU_AVX512BF16_MATMUL_A8_GEMM_H_

// MatmulA8 for many tokens, at the speed of the BF16 units: a slab of up to 64
// rows is decoded once into BF16 and then met with every token.
//
// A slab is made of strips of 16 rows. One 32-bit lane is one row and holds a
// pair of k, so a register tile of strips x tokens needs no sum across lanes,
// row scales are plain vectors and results are stored as they stand. Pairs lie
// in the order p = (block, l, i): lane l of vector i in decode.h's order, so
// that a group of G elements is G / 2 pairs in a row.
//   slab [num_pairs][strips][16 rows][2]
// Shifts are folded into the BF16 weights, which is exact; free group scales
// stay apart, one multiplication and addition per group:
//   scales [num_groups][strips][16 rows]

#include <immintrin.h>

#include "kernels/core/ops.h"
#include "kernels/cpu/avx512bf16/decode.h"
#include "kernels/cpu/avx512bf16/matmul_a8_gemv.h"

namespace zqfp::kernels::avx512bf16 {
namespace {

constexpr int64_t kStripRows = 16;
constexpr int64_t kMaxStrips = 4;
constexpr int64_t kSlabRows = kStripRows * kMaxStrips;
constexpr int64_t kPairsPerBlock = kBlock / 2;

struct Slab {
  uint16_t* weights;
  float* scales;  // free scales only
  int64_t strips;
};

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
inline void LoadTransposed(const WeightView& w, int64_t n, int64_t row_bytes,
                           int64_t at, __m512i (&v)[16]) {
  const __mmask64 mask = LowBits64(row_bytes - at);
  const uint8_t* data = static_cast<const uint8_t*>(w.data);
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) {
    v[r] = n + r < w.n
               ? _mm512_maskz_loadu_epi8(mask, data + (n + r) * row_bytes + at)
               : _mm512_setzero_si512();
  }
  Transpose(v);
}

// Lane r: the shift of row n + r in one group, as BF16 exponents of a pair.
inline __m512i PairShifts(const WeightView& w, int64_t n, int64_t group,
                          int64_t num_groups) {
  alignas(64) uint32_t shifts[16];
  for (int r = 0; r < 16; ++r) {
    const uint32_t shift =
        n + r < w.n ? w.shift[(n + r) * num_groups + group] : 0;
    shifts[r] = shift * 0x00800080u;
  }
  return _mm512_load_si512(shifts);
}

// weight * 2^-shift; zeros have no exponent to lower.
inline __m512i FoldShift(__m512i weights, __m512i shifts) {
  const __mmask32 nonzero =
      _mm512_test_epi16_mask(weights, _mm512_set1_epi16(0x7fff));
  return _mm512_mask_sub_epi16(weights, nonzero, weights, shifts);
}

inline void DecodeE2m1Strip(const WeightView& w, int64_t n, int64_t strip,
                            const Slab& slab) {
  const int64_t num_groups = CeilDiv(w.k, w.group_size);
  const int64_t vector_step = slab.strips * 32;
  const bool folds = w.format == WeightFormat::kE2m1Shift;
  const __m512i table = E2m1Table();
  uint16_t* out = slab.weights + strip * 32;
  __m512i shifts = _mm512_setzero_si512();
  for (int64_t begin = 0; begin < w.k; begin += kBlock) {
    __m512i v[16];
    LoadTransposed(w, n, CeilDiv(w.k, 2), begin / 2, v);
    for (int l = 0; l < 16; ++l) {
      const int64_t k = begin + 8 * l;
      if (folds && k % w.group_size == 0 && k < w.k) {
        shifts = PairShifts(w, n, k / w.group_size, num_groups);
      }
      __m512i codes = v[l];
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) {
        const __m512i weights = _mm512_permutexvar_epi16(codes, table);
        _mm512_store_si512(out, FoldShift(weights, shifts));
        codes = _mm512_srli_epi16(codes, 4);
        out += vector_step;
      }
    }
  }
  if (folds) return;
  for (int64_t g = 0; g < num_groups; ++g) {
    float* scales = slab.scales + (g * slab.strips + strip) * 16;
    for (int r = 0; r < 16; ++r) {
      scales[r] = n + r < w.n ? w.group_scale[(n + r) * num_groups + g] : 0.0f;
    }
  }
}

inline void DecodeE4m3Strip(const WeightView& w, int64_t n, int64_t strip,
                            const Slab& slab) {
  const int64_t vector_step = slab.strips * 32;
  const __m512i subnormals = E4m3SubnormalTable();
  for (int64_t begin = 0; begin < w.k; begin += kBlock) {
    for (int half = 0; half < 2; ++half) {
      __m512i v[16];
      LoadTransposed(w, n, w.k, begin + 64 * half, v);
      uint16_t* out =
          slab.weights + strip * 32 + (begin / 2 + 2 * half) * vector_step;
      for (int l = 0; l < 16; ++l) {
        _mm512_store_si512(out, DecodeE4m3(v[l], subnormals));
        _mm512_store_si512(out + vector_step,
                           DecodeE4m3(_mm512_srli_epi16(v[l], 8), subnormals));
        out += 4 * vector_step;
      }
    }
  }
}

// A register tile: sum[s][t] over the quads [begin, end) of pairs.
template <int kStrips, int kTokens>
inline void DotQuads(const uint16_t* weights, Bf16Tokens x, int64_t begin,
                     int64_t end, __m512 (&sum)[kStrips][kTokens]) {
  weights += begin * 4 * kStrips * 32;
  for (int64_t quad = begin; quad < end; ++quad) {
    const uint16_t* pair = x.data + quad / 16 * kBlock + quad % 16 * 2;
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      __m512i w[kStrips];
#pragma GCC unroll 4
      for (int s = 0; s < kStrips; ++s) {
        w[s] = _mm512_load_si512(weights + s * 32);
      }
#pragma GCC unroll 12
      for (int t = 0; t < kTokens; ++t) {
        int32_t both;
        __builtin_memcpy(&both, pair + t * x.stride + 32 * i, sizeof(both));
        const __m512bh token = AsBf16(_mm512_set1_epi32(both));
#pragma GCC unroll 4
        for (int s = 0; s < kStrips; ++s) {
          sum[s][t] = _mm512_dpbf16_ps(sum[s][t], AsBf16(w[s]), token);
        }
      }
      weights += kStrips * 32;
    }
  }
}

template <int kStrips, int kTokens>
inline void Clear(__m512 (&sum)[kStrips][kTokens]) {
#pragma GCC unroll 4
  for (int s = 0; s < kStrips; ++s) {
#pragma GCC unroll 12
    for (int t = 0; t < kTokens; ++t) sum[s][t] = _mm512_setzero_ps();
  }
}

// Scales, bias and residual of a tile whose first row and token are n, first.
template <int kStrips, int kTokens>
inline void StoreTile(const MatmulA8Args& args, int64_t n, int64_t first,
                      const __m512 (&sum)[kStrips][kTokens]) {
  const WeightView& w = args.weight;
#pragma GCC unroll 4
  for (int s = 0; s < kStrips; ++s) {
    const int64_t row = n + s * kStripRows;
    const __mmask16 mask = LowBits16(w.n - row);
    const __m512 row_scale =
        w.format == WeightFormat::kE2m1Free
            ? _mm512_set1_ps(1.0f)
            : _mm512_maskz_loadu_ps(mask, w.row_scale + row);
    const __m512 bias = args.bias == nullptr
                            ? _mm512_setzero_ps()
                            : _mm512_maskz_loadu_ps(mask, args.bias + row);
#pragma GCC unroll 12
    for (int t = 0; t < kTokens; ++t) {
      const int64_t at = (first + t) * w.n + row;
      __m512 y = _mm512_mul_ps(sum[s][t], row_scale);
      y = _mm512_fmadd_ps(y, _mm512_set1_ps(args.x.scale[first + t]), bias);
      if (args.residual != nullptr) {
        y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(mask, args.residual + at));
      }
      _mm512_mask_storeu_ps(args.y + at, mask, y);
    }
  }
}

// What a slab needs to know of its place.
struct SlabJob {
  const MatmulA8Args& args;
  Slab slab;
  Bf16Tokens x;         // of the tokens from first_token on
  int64_t first_token;  // of x
  int64_t n;            // first row
};

// Weights without group scales: one sum over all of k.
template <int kStrips, int kTokens>
void PlainTile(const SlabJob& job, int64_t token) {
  const int64_t quads = CeilDiv(job.args.weight.k, kBlock) * 16;
  __m512 sum[kStrips][kTokens];
  Clear(sum);
  DotQuads<kStrips, kTokens>(job.slab.weights,
                             {job.x.data + token * job.x.stride, job.x.stride},
                             0, quads, sum);
  StoreTile<kStrips, kTokens>(job.args, job.n, job.first_token + token, sum);
}

// Free group scales: a sum per group, scaled as it joins the total.
template <int kStrips, int kTokens>
void ScaledTile(const SlabJob& job, int64_t token) {
  const WeightView& w = job.args.weight;
  const int64_t quads = CeilDiv(w.k, kBlock) * 16;
  const int64_t step = w.group_size / 8;
  const float* scales = job.slab.scales;
  __m512 total[kStrips][kTokens];
  Clear(total);
  for (int64_t begin = 0; begin * 8 < w.k; begin += step) {
    __m512 sum[kStrips][kTokens];
    Clear(sum);
    const int64_t end = begin + step < quads ? begin + step : quads;
    DotQuads<kStrips, kTokens>(
        job.slab.weights, {job.x.data + token * job.x.stride, job.x.stride},
        begin, end, sum);
#pragma GCC unroll 4
    for (int s = 0; s < kStrips; ++s) {
      const __m512 scale = _mm512_load_ps(scales + s * 16);
#pragma GCC unroll 12
      for (int t = 0; t < kTokens; ++t) {
        total[s][t] = _mm512_fmadd_ps(sum[s][t], scale, total[s][t]);
      }
    }
    scales += kStrips * 16;
  }
  StoreTile<kStrips, kTokens>(job.args, job.n, job.first_token + token, total);
}

using Tile = void (*)(const SlabJob&, int64_t token);

// Tiles of 4 strips x 6 tokens: 24 sums, 4 weights and a token in registers.
constexpr int kPlainTokens = 6;
constexpr Tile kPlainTiles[kMaxStrips][kPlainTokens] = {
    {PlainTile<1, 1>, PlainTile<1, 2>, PlainTile<1, 3>, PlainTile<1, 4>,
     PlainTile<1, 5>, PlainTile<1, 6>},
    {PlainTile<2, 1>, PlainTile<2, 2>, PlainTile<2, 3>, PlainTile<2, 4>,
     PlainTile<2, 5>, PlainTile<2, 6>},
    {PlainTile<3, 1>, PlainTile<3, 2>, PlainTile<3, 3>, PlainTile<3, 4>,
     PlainTile<3, 5>, PlainTile<3, 6>},
    {PlainTile<4, 1>, PlainTile<4, 2>, PlainTile<4, 3>, PlainTile<4, 4>,
     PlainTile<4, 5>, PlainTile<4, 6>}};
// With group scales each sum needs a total next to it: 2 strips x 7 tokens.
constexpr int kScaledTokens = 7;
constexpr int64_t kScaledStrips = 2;
constexpr Tile kScaledTiles[kScaledStrips][kScaledTokens] = {
    {ScaledTile<1, 1>, ScaledTile<1, 2>, ScaledTile<1, 3>, ScaledTile<1, 4>,
     ScaledTile<1, 5>, ScaledTile<1, 6>, ScaledTile<1, 7>},
    {ScaledTile<2, 1>, ScaledTile<2, 2>, ScaledTile<2, 3>, ScaledTile<2, 4>,
     ScaledTile<2, 5>, ScaledTile<2, 6>, ScaledTile<2, 7>}};

// Rows [begin, end) for num_tokens tokens from job.first_token on.
inline void Gemm(SlabJob job, int64_t num_tokens, int64_t begin, int64_t end) {
  const WeightView& w = job.args.weight;
  const bool scaled = w.format == WeightFormat::kE2m1Free;
  const int64_t most_strips = scaled ? kScaledStrips : kMaxStrips;
  const int64_t most_tokens = scaled ? kScaledTokens : kPlainTokens;
  for (job.n = begin; job.n < end; job.n += job.slab.strips * kStripRows) {
    const int64_t strips = CeilDiv(end - job.n, kStripRows);
    job.slab.strips = strips < most_strips ? strips : most_strips;
    for (int64_t s = 0; s < job.slab.strips; ++s) {
      const int64_t n = job.n + s * kStripRows;
      if (w.format == WeightFormat::kE4m3) {
        DecodeE4m3Strip(w, n, s, job.slab);
      } else {
        DecodeE2m1Strip(w, n, s, job.slab);
      }
    }
    for (int64_t t = 0; t < num_tokens; t += most_tokens) {
      const int64_t tokens =
          num_tokens - t < most_tokens ? num_tokens - t : most_tokens;
      const Tile tile = scaled ? kScaledTiles[job.slab.strips - 1][tokens - 1]
                               : kPlainTiles[job.slab.strips - 1][tokens - 1];
      tile(job, t);
    }
  }
}

}  // namespace
}  // namespace zqfp::kernels::avx512bf16

#endif  // ZQFP_KERNELS_CPU_AVX512BF16_MATMUL_A8_GEMM_H_
