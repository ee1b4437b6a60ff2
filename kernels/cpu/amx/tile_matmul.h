// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AMX_TILE_MATMUL_H_
#define ZQFP_KERNELS_CPU_AMX_TILE_MATMUL_H_

// MatmulA8 on tiles of BF16, of which e2m1 times a power of two and e4m3 are
// subsets: products are exact, sums f32.
//
// A slab of 64 rows times a chunk of k is decoded once, in rows as they lie in
// the file, and met with every token. Tokens stand on the right, as columns.
//   slab    [4 strips][steps of a chunk][16 rows][32]         weights
//   tokens  [chunks][token tiles][steps of a chunk][16][16][2]
//   totals  [slabs of a block][token tiles][4 strips][16 rows][16 tokens]
// A step is 32 elements of k. Of a block of 128 with shift scales the four are
// what shifts of a 64-byte load give (Bf16Unit::BlockOrder), of others they
// follow each other.
//
// A block is some slabs whose chunks take turns, so that the tokens of a chunk
// are read from the second-level cache.

#include <immintrin.h>
#include <string.h>

#include "kernels/core/ops.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/amx/tiles.h"
#include "kernels/cpu/avx512/f32x16.h"
#include "kernels/cpu/avx512/gemm.h"
#include "kernels/cpu/avx512/packed_rows.h"
#include "kernels/cpu/avx512bf16/bf16_unit.h"
#include "kernels/cpu/low_rank.h"

namespace zqfp::kernels::amx {
namespace {

using avx512::CeilDiv;
using avx512::kBlock;
using avx512::kVectors;
using avx512::LowBits64;
using avx512::Mask;

// Tokens that one pass over the weights serves; bounds the workspace.
constexpr int64_t kMaxTokens = 512;
constexpr int64_t kStrips = 4;
constexpr int64_t kSlabRows = kStrips * kTileRows;
constexpr int64_t kBlockSlabs = 4;
constexpr int64_t kChunk = 256;  // elements of k
constexpr int64_t kChunkSteps = kChunk / kTileK;
constexpr int64_t kStripBytes =
    kChunkSteps * kTileBytes;  // also a token tile's
constexpr int64_t kSlabBytes = kStrips * kStripBytes;

struct TokenTiles {
  const uint8_t* data;
  const float* scale;  // [count]
  int64_t count;
  int64_t tiles;  // of 16 tokens
  int64_t first;  // of the matmul's tokens

  const uint8_t* at(int64_t chunk, int64_t tile) const {
    return data + (chunk * tiles + tile) * kStripBytes;
  }
};

inline int64_t TokenBytes(int64_t tokens, int64_t k) {
  return CeilDiv(k, kChunk) * CeilDiv(tokens, kTileRows) * kStripBytes;
}
inline int64_t TotalsBytes(int64_t tokens) {
  return kBlockSlabs * kStrips * CeilDiv(tokens, kTileRows) * kTileBytes;
}
inline int64_t ThreadBytes(int64_t tokens) {
  return kSlabBytes + TotalsBytes(tokens);
}

// BF16 of the e2m1 codes, -0 as 0: a saturating subtraction from the exponent
// then leaves zeros alone.
inline __m512i UnsignedZeroTable() {
  const __m512i table = avx512::Bf16OfE2m1();
  return _mm512_maskz_mov_epi16(
      _mm512_test_epi16_mask(table, _mm512_set1_epi16(0x7fff)), table);
}

// A block of e4m3 codes, `left` of them there, to BF16 as they lie there.
inline void DecodeInOrder(const uint8_t* codes, int64_t left,
                          __m512i (&out)[kVectors]) {
  const __m512i subnormals = avx512bf16::E4m3SubnormalTable();
#pragma GCC unroll 4
  for (int64_t i = 0; i < kVectors; ++i) {
    const __m256i v = _mm256_maskz_loadu_epi8(
        static_cast<__mmask32>(LowBits64(left - kTileK * i)),
        codes + kTileK * i);
    out[i] = avx512bf16::DecodeE4m3(_mm512_cvtepu8_epi16(v), subnormals);
  }
}

inline const uint8_t* RowAt(const WeightView& w, int64_t n, int64_t k) {
  const int64_t codes_a_byte = w.format == WeightFormat::kE4m3 ? 1 : 2;
  return static_cast<const uint8_t*>(w.data) + n * avx512::RowBytes(w) +
         k / codes_a_byte;
}

// Decodes the rows of a block, the 128 elements from k on: four vectors of
// weights each, one for each step.
template <WeightFormat kFormat>
class BlockDecoder;

// In the order of shifts: a group is the same lanes of all four.
template <>
class BlockDecoder<WeightFormat::kE2m1Shift> {
 public:
  BlockDecoder(const WeightView& w, int64_t k) {
    const int64_t first = k / w.group_size;
    const int64_t in_block =
        w.group_size < kBlock ? kBlock / w.group_size : int64_t{1};
    num_groups_ = NumGroups(w.k, w.group_size);
    shift_ = w.shift + first;
    groups_ =
        Mask(in_block < num_groups_ - first ? in_block : num_groups_ - first);
    codes_ = LowBits64(CeilDiv(w.k - k, 2));
    alignas(64) uint16_t group[32];
    for (int64_t j = 0; j < 32; ++j) {
      group[j] = static_cast<uint16_t>(4 * j * in_block / kBlock);
    }
    group_of_lane_ = _mm512_load_si512(group);
  }

  void Decode(const uint8_t* codes, int64_t n, __m512i (&out)[kVectors]) const {
    const __m512i v = _mm512_maskz_loadu_epi8(codes_, codes);
    // Shifts to their lanes, where BF16 has its exponent.
    const __m128i shifts =
        _mm_maskz_loadu_epi8(groups_, shift_ + n * num_groups_);
    const __m512i exponents = _mm512_slli_epi16(
        _mm512_permutexvar_epi16(
            group_of_lane_, _mm512_castsi128_si512(_mm_cvtepu8_epi16(shifts))),
        7);
#pragma GCC unroll 4
    for (unsigned i = 0; i < kVectors; ++i) {
      const __m512i weights =
          _mm512_permutexvar_epi16(_mm512_srli_epi16(v, 4 * i), table_);
      out[i] = _mm512_subs_epu16(weights, exponents);
    }
  }

 private:
  int64_t num_groups_;
  const uint8_t* shift_;
  __mmask16 groups_;
  __mmask64 codes_;
  __m512i group_of_lane_;
  __m512i table_ = UnsignedZeroTable();
};

// As they lie there: a group is one step or some.
template <>
class BlockDecoder<WeightFormat::kE2m1Free> {
 public:
  BlockDecoder(const WeightView& w, int64_t k) : left_(CeilDiv(w.k - k, 2)) {}

  void Decode(const uint8_t* codes, int64_t, __m512i (&out)[kVectors]) const {
#pragma GCC unroll 4
    for (int64_t i = 0; i < kVectors; ++i) {
      // A byte to each 32-bit lane, its upper code to the upper half.
      const __m512i v = _mm512_cvtepu8_epi32(
          _mm_maskz_loadu_epi8(Mask(left_ - 16 * i), codes + 16 * i));
      out[i] = _mm512_permutexvar_epi16(
          _mm512_or_si512(v, _mm512_slli_epi32(v, 12)), table_);
    }
  }

 private:
  int64_t left_;
  __m512i table_ = avx512::Bf16OfE2m1();
};

template <>
class BlockDecoder<WeightFormat::kE4m3> {
 public:
  BlockDecoder(const WeightView& w, int64_t k) : left_(w.k - k) {}

  void Decode(const uint8_t* codes, int64_t, __m512i (&out)[kVectors]) const {
    DecodeInOrder(codes, left_, out);
  }

 private:
  int64_t left_;
};

// The order in which the slabs of some rows are decoded.
struct SlabOrder {
  const WeightView* weight;
  int64_t end;    // of the rows
  int64_t block;  // its first row
  int64_t k = 0;  // first element of the chunk
  int64_t slab = 0;

  int64_t n() const { return block + slab * kSlabRows; }
  int64_t slabs() const {
    const int64_t left = CeilDiv(end - block, kSlabRows);
    return left < kBlockSlabs ? left : kBlockSlabs;
  }
  void Next() {
    if (++slab < slabs()) return;
    slab = 0;
    k += kChunk;
    if (k < weight->k) return;
    k = 0;
    block += kBlockSlabs * kSlabRows;
  }
};

// The block of a strip, the rows from n on: four tiles, one for each step. Rows
// beyond the last one are zero, and so are codes beyond a row's end. `codes`
// and `ahead` belong to row n; the latter, what is to be decoded later, is
// asked for.
template <WeightFormat kFormat>
inline void DecodeStrip(const WeightView& w,
                        const BlockDecoder<kFormat>& decoder, int64_t n,
                        const uint8_t* codes, const uint8_t* ahead,
                        uint8_t* out) {
  constexpr int64_t kLoad = kFormat == WeightFormat::kE4m3 ? 128 : 64;  // bytes
  const int64_t row_bytes = avx512::RowBytes(w);
  for (int64_t r = 0; r < kTileRows; ++r) {
    for (int64_t i = 0; i < kLoad; i += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(ahead) + r * row_bytes + i,
                   _MM_HINT_T0);
    }
    __m512i weights[kVectors] = {};
    if (n + r < w.n) decoder.Decode(codes + r * row_bytes, n + r, weights);
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      _mm512_store_si512(out + i * kTileBytes + r * kRowBytes, weights[i]);
    }
  }
}

// `steps` steps of the slab at `at`; the one at `next` is asked for.
template <WeightFormat kFormat>
inline void DecodeSlab(const SlabOrder& at, int64_t steps,
                       const SlabOrder& next, uint8_t* slab) {
  const WeightView& w = *at.weight;
  for (int64_t block = 0; block < steps / kVectors; ++block) {
    const int64_t k = block * kBlock;
    const BlockDecoder<kFormat> decoder(w, at.k + k);
    for (int64_t s = 0; s < kStrips; ++s) {
      const int64_t row = s * kTileRows;
      DecodeStrip(w, decoder, at.n() + row, RowAt(w, at.n() + row, at.k + k),
                  RowAt(w, next.n() + row, next.k + k),
                  slab + s * kStripBytes + block * kVectors * kTileBytes);
    }
  }
}

// Four tiles of sums, registers 0 to 3: two strips times two token tiles, or
// four strips times one.
struct Pairs {
  static constexpr int64_t kStrips = 2;
  static constexpr int64_t kTokenTiles = 2;
  static void Multiply(const uint8_t* w, const uint8_t* x, int64_t steps) {
    for (int64_t i = 0; i < steps; ++i, w += kTileBytes, x += kTileBytes) {
      _tile_loadd(4, w, kRowBytes);
      _tile_loadd(6, x, kRowBytes);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, x + kStripBytes, kRowBytes);
      _tile_dpbf16ps(1, 4, 7);
      _tile_loadd(5, w + kStripBytes, kRowBytes);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
};
struct Singles {
  static constexpr int64_t kStrips = 4;
  static constexpr int64_t kTokenTiles = 1;
  static void Multiply(const uint8_t* w, const uint8_t* x, int64_t steps) {
    for (int64_t i = 0; i < steps; ++i, w += kTileBytes, x += kTileBytes) {
      _tile_loadd(6, x, kRowBytes);
      _tile_loadd(4, w, kRowBytes);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(5, w + kStripBytes, kRowBytes);
      _tile_dpbf16ps(1, 5, 6);
      _tile_loadd(4, w + 2 * kStripBytes, kRowBytes);
      _tile_dpbf16ps(2, 4, 6);
      _tile_loadd(5, w + 3 * kStripBytes, kRowBytes);
      _tile_dpbf16ps(3, 5, 6);
    }
  }
};

// Scales, bias and residual of one tile of sums: 16 tokens of the rows from n
// on.
inline void StoreTile(const MatmulA8Args& args, const TokenTiles& x,
                      const float* total, int64_t n, int64_t tile) {
  const WeightView& w = args.weight;
  if (n >= w.n) return;
  const __mmask16 mask = Mask(w.n - n);
  const __m512 row_scale = w.format == WeightFormat::kE2m1Free
                               ? _mm512_set1_ps(1.0f)
                               : _mm512_maskz_loadu_ps(mask, w.row_scale + n);
  const __m512 bias = args.bias == nullptr
                          ? _mm512_setzero_ps()
                          : _mm512_maskz_loadu_ps(mask, args.bias + n);
  __m512i v[16];
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) v[r] = _mm512_load_si512(total + 16 * r);
  avx512::Transpose(v);
  const int64_t left = x.count - tile * kTileRows;
  for (int64_t t = 0; t < left && t < kTileRows; ++t) {
    const int64_t token = tile * kTileRows + t;
    const int64_t at = (x.first + token) * w.n + n;
    __m512 y = _mm512_mul_ps(_mm512_castsi512_ps(v[t]), row_scale);
    y = _mm512_fmadd_ps(y, _mm512_set1_ps(x.scale[token]), bias);
    if (args.residual != nullptr) {
      y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(mask, args.residual + at));
    }
    _mm512_mask_storeu_ps(args.y + at, mask, y);
  }
}

// Up to two token tiles: their sums stay in the tile registers along all of k,
// and the products of a strip's block are under way while the next is decoded.
template <WeightFormat kFormat, typename Shape>
struct FewTokens {
  static constexpr int64_t kRows = Shape::kStrips * kTileRows;
  // How far ahead of decoding codes are asked for.
  static constexpr int64_t kAheadBlocks = 2;

  // The sums of strip kStrip grow by a block.
  template <int kStrip>
  static void Multiply(const uint8_t* w, const uint8_t* x) {
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i, w += kTileBytes, x += kTileBytes) {
      _tile_loadd(4, w, kRowBytes);
      _tile_loadd(6, x, kRowBytes);
      if constexpr (Shape::kTokenTiles == 2) {
        _tile_loadd(7, x + kStripBytes, kRowBytes);
        if constexpr (kStrip == 0) {
          _tile_dpbf16ps(0, 4, 6);
          _tile_dpbf16ps(1, 4, 7);
        } else {
          _tile_dpbf16ps(2, 4, 6);
          _tile_dpbf16ps(3, 4, 7);
        }
      } else if constexpr (kStrip == 0) {
        _tile_dpbf16ps(0, 4, 6);
      } else if constexpr (kStrip == 1) {
        _tile_dpbf16ps(1, 4, 6);
      } else if constexpr (kStrip == 2) {
        _tile_dpbf16ps(2, 4, 6);
      } else {
        _tile_dpbf16ps(3, 4, 6);
      }
    }
  }

  static void Run(const MatmulA8Args& args, const TokenTiles& x, int64_t begin,
                  int64_t end) {
    const WeightView& w = args.weight;
    const TileRegisters registers;
    const int64_t padded = avx512::PaddedK(w.k);
    alignas(64) uint8_t ring[Shape::kStrips][kVectors * kTileBytes];
    for (int64_t n = begin; n < end; n += kRows) {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
      const uint8_t* tokens = nullptr;  // of the block before this one
      for (int64_t k = 0; k < padded; k += kBlock) {
        const int64_t later = k + kAheadBlocks * kBlock;
        const uint8_t* ahead = later < padded
                                   ? RowAt(w, n, later)
                                   : RowAt(w, n + kRows, later - padded);
        const BlockDecoder<kFormat> decoder(w, k);
        const auto decode = [&](int64_t strip) {
          const int64_t row = strip * kTileRows;
          DecodeStrip(w, decoder, n + row, RowAt(w, n + row, k),
                      ahead + row * avx512::RowBytes(w), ring[strip]);
          TileFence();
        };
        constexpr int kLast = Shape::kStrips - 1;
        const uint8_t* before = tokens;
        tokens = x.at(k / kChunk, 0) + k % kChunk / kTileK * kTileBytes;
        decode(0);
        if (k > 0) Multiply<kLast>(ring[kLast], before);
        decode(1);
        Multiply<0>(ring[0], tokens);
        if constexpr (Shape::kStrips == 4) {
          decode(2);
          Multiply<1>(ring[1], tokens);
          decode(3);
          Multiply<2>(ring[2], tokens);
        }
      }
      Multiply<Shape::kStrips - 1>(ring[Shape::kStrips - 1], tokens);
      alignas(64) float sums[4][kTileRows * 16];
      _tile_stored(0, sums[0], kRowBytes);
      _tile_stored(1, sums[1], kRowBytes);
      _tile_stored(2, sums[2], kRowBytes);
      _tile_stored(3, sums[3], kRowBytes);
      TileFence();
      for (int64_t i = 0; i < 4; ++i) {
        StoreTile(args, x, sums[i], n + i / Shape::kTokenTiles * kTileRows,
                  i % Shape::kTokenTiles);
      }
    }
  }
};

struct Job {
  const MatmulA8Args& args;
  const TokenTiles& x;
  uint8_t* slab;
  float* totals;  // of the slab
  int64_t n;      // first row
  int64_t k;      // first element of the chunk
  int64_t steps;  // of the chunk

  // The tile of sums of one strip and token tile.
  float* total(int64_t token_tile, int64_t strip) const {
    return totals + (token_tile * kStrips + strip) * (kTileBytes / 4);
  }
};

// The totals of Shape's tiles, from `strip` and `tile` on, grow by the chunk.
template <typename Shape>
inline void AddChunk(const Job& job, int64_t strip, int64_t tile) {
  float* t[4];
  for (int64_t i = 0; i < 4; ++i) {
    t[i] = job.total(tile + i % Shape::kTokenTiles,
                     strip + i / Shape::kTokenTiles);
  }
  if (job.k == 0) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, t[0], kRowBytes);
    _tile_loadd(1, t[1], kRowBytes);
    _tile_loadd(2, t[2], kRowBytes);
    _tile_loadd(3, t[3], kRowBytes);
  }
  Shape::Multiply(job.slab + strip * kStripBytes,
                  job.x.at(job.k / kChunk, tile), job.steps);
  _tile_stored(0, t[0], kRowBytes);
  _tile_stored(1, t[1], kRowBytes);
  _tile_stored(2, t[2], kRowBytes);
  _tile_stored(3, t[3], kRowBytes);
}

// The same where groups have scales of their own: sums of a group, scaled, are
// added by hand.
template <typename Shape>
inline void AddScaledChunk(const Job& job, int64_t strip, int64_t tile) {
  const WeightView& w = job.args.weight;
  const int64_t num_groups = NumGroups(w.k, w.group_size);
  const int64_t group_steps = w.group_size / kTileK;
  alignas(64) float sums[4][kTileRows][16];
  for (int64_t begin = 0; begin < job.steps; begin += group_steps) {
    const int64_t left = job.steps - begin;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    Shape::Multiply(job.slab + strip * kStripBytes + begin * kTileBytes,
                    job.x.at(job.k / kChunk, tile) + begin * kTileBytes,
                    left < group_steps ? left : group_steps);
    _tile_stored(0, sums[0], kRowBytes);
    _tile_stored(1, sums[1], kRowBytes);
    _tile_stored(2, sums[2], kRowBytes);
    _tile_stored(3, sums[3], kRowBytes);
    TileFence();
    const int64_t group = (job.k + begin * kTileK) / w.group_size;
    if (group >= num_groups) break;  // what rounds k up
    for (int64_t i = 0; i < 4; ++i) {
      const int64_t s = strip + i / Shape::kTokenTiles;
      const int64_t n = job.n + s * kTileRows;
      const int64_t rows = w.n - n < kTileRows ? w.n - n : kTileRows;
      const float* scale = w.group_scale + n * num_groups + group;
      float* total = job.total(tile + i % Shape::kTokenTiles, s);
      for (int64_t r = 0; r < rows; ++r, total += 16) {
        _mm512_store_ps(total,
                        _mm512_fmadd_ps(_mm512_load_ps(sums[i][r]),
                                        _mm512_set1_ps(scale[r * num_groups]),
                                        _mm512_load_ps(total)));
      }
    }
  }
}

template <typename Shape, WeightFormat kFormat>
inline void AddTiles(const Job& job, int64_t tile) {
  for (int64_t strip = 0; strip < kStrips; strip += Shape::kStrips) {
    if constexpr (kFormat == WeightFormat::kE2m1Free) {
      AddScaledChunk<Shape>(job, strip, tile);
    } else {
      AddChunk<Shape>(job, strip, tile);
    }
  }
}

// Rows [begin, end) of all tokens of the pass.
template <WeightFormat kFormat>
inline void Rows(const MatmulA8Args& args, const TokenTiles& x, int64_t begin,
                 int64_t end, uint8_t* workspace) {
  const WeightView& w = args.weight;
  const TileRegisters registers;
  const int64_t padded = avx512::PaddedK(w.k);
  const int64_t slab_totals = x.tiles * kStrips * (kTileBytes / 4);
  float* totals = reinterpret_cast<float*>(workspace + kSlabBytes);
  Job job = {args, x, workspace, totals, 0, 0, 0};
  SlabOrder at = {&w, end, begin};
  while (at.block < end) {
    SlabOrder next = at;
    next.Next();
    job.n = at.n();
    job.k = at.k;
    job.steps = (padded - at.k < kChunk ? padded - at.k : kChunk) / kTileK;
    job.totals = totals + at.slab * slab_totals;
    if (kFormat == WeightFormat::kE2m1Free && at.k == 0) {
      memset(job.totals, 0, static_cast<size_t>(slab_totals * 4));
    }
    DecodeSlab<kFormat>(at, job.steps, next, job.slab);
    TileFence();
    int64_t tile = 0;
    for (; tile + 2 <= x.tiles; tile += 2) {
      AddTiles<Pairs, kFormat>(job, tile);
    }
    if (tile < x.tiles) AddTiles<Singles, kFormat>(job, tile);
    TileFence();
    const SlabOrder done = at;
    at = next;
    if (at.block == done.block) continue;
    // Of a token all rows of the block: they are neighbours in y.
    for (tile = 0; tile < x.tiles; ++tile) {
      for (int64_t strip = 0; strip < done.slabs() * kStrips; ++strip) {
        job.totals = totals + strip / kStrips * slab_totals;
        StoreTile(args, x, job.total(tile, strip % kStrips),
                  done.block + strip * kTileRows, tile);
      }
    }
  }
}

// The tokens first .. first + count - 1, decoded into tiles.
inline TokenTiles PrepareTokens(const MatmulA8Args& args, int64_t first,
                                int64_t count, const Exec& exec,
                                uint8_t* data) {
  const int64_t k = args.weight.k;
  const bool shifts = args.weight.format == WeightFormat::kE2m1Shift;
  const TokenTiles x = {.data = data,
                        .scale = args.x.scale + first,
                        .count = count,
                        .tiles = CeilDiv(count, kTileRows),
                        .first = first};
  const int64_t blocks = CeilDiv(k, kBlock);
  ParallelFor(exec, x.tiles * blocks, 8, [&](int64_t begin, int64_t end, int) {
    alignas(64) uint16_t tokens[kTileRows][kBlock];
    for (int64_t item = begin; item < end; ++item) {
      const int64_t tile = item / blocks;
      const int64_t at = item % blocks * kBlock;
      for (int64_t t = 0; t < kTileRows; ++t) {
        const int64_t token = tile * kTileRows + t;
        const int64_t left = token < count ? k - at : 0;
        const uint8_t* codes =
            args.x.data + (first + (left > 0 ? token : 0)) * k + at;
        if (shifts) {
          avx512bf16::Bf16Unit::BlockOrder(codes, left, false, tokens[t]);
          continue;
        }
        __m512i values[kVectors];
        DecodeInOrder(codes, left, values);
        for (int i = 0; i < kVectors; ++i) {
          _mm512_store_si512(tokens[t] + i * kTileK, values[i]);
        }
      }
      uint8_t* out = data + (at / kChunk * x.tiles + tile) * kStripBytes +
                     at % kChunk / kTileK * kTileBytes;
      for (int i = 0; i < kVectors; ++i) {
        __m512i v[16];
#pragma GCC unroll 16
        for (int t = 0; t < 16; ++t) {
          v[t] = _mm512_load_si512(tokens[t] + i * kTileK);
        }
        avx512::Transpose(v);
#pragma GCC unroll 16
        for (int t = 0; t < 16; ++t) {
          _mm512_store_si512(out + t * kRowBytes, v[t]);
        }
        out += kTileBytes;
      }
    }
  });
  return x;
}

inline int64_t TileMatmulBytes(const WorkspaceQuery& query) {
  const int64_t tokens =
      query.num_tokens < kMaxTokens ? query.num_tokens : kMaxTokens;
  const int64_t matmul =
      TokenBytes(tokens, query.k) + query.num_threads * ThreadBytes(tokens);
  const int64_t low_rank = LowRankBytes(query);
  return matmul > low_rank ? matmul : low_rank;
}

template <WeightFormat kFormat>
inline void TileMatmul(MatmulA8Args args, const Exec& exec) {
  AddLowRank<avx512::F32x16>(args, exec);
  uint8_t* workspace = static_cast<uint8_t*>(exec.workspace);
  for (int64_t first = 0; first < args.m; first += kMaxTokens) {
    const int64_t left = args.m - first;
    const int64_t count = left < kMaxTokens ? left : kMaxTokens;
    const TokenTiles x = PrepareTokens(args, first, count, exec, workspace);
    if (kFormat != WeightFormat::kE2m1Free && x.tiles <= 2) {
      ParallelFor(exec, args.weight.n, kSlabRows,
                  [&](int64_t begin, int64_t end, int) {
                    if (x.tiles == 1) {
                      FewTokens<kFormat, Singles>::Run(args, x, begin, end);
                    } else {
                      FewTokens<kFormat, Pairs>::Run(args, x, begin, end);
                    }
                  });
      continue;
    }
    uint8_t* threads = workspace + TokenBytes(count, args.weight.k);
    ParallelFor(exec, args.weight.n, kSlabRows,
                [&](int64_t begin, int64_t end, int thread) {
                  Rows<kFormat>(args, x, begin, end,
                                threads + thread * ThreadBytes(count));
                });
  }
}

}  // namespace
}  // namespace zqfp::kernels::amx

#endif  // ZQFP_KERNELS_CPU_AMX_TILE_MATMUL_H_
