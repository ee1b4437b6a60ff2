// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AMX_TILE_MATMUL_H_
#define ZQFP_KERNELS_CPU_AMX_TILE_MATMUL_H_

// MatmulA8 on tiles of BF16: products are exact, sums f32.
//
// For many tokens a slab of 64 rows times a chunk of k is decoded once and met
// with every token:
//   slab    [4 strips][steps of a chunk][16 rows][32]
//   totals  [slabs of a block][token tiles][4 strips][16 rows][16 tokens]
// A block is some slabs whose chunks take turns, so that the tokens of a chunk
// are read from the second-level cache.

#include <immintrin.h>
#include <string.h>

#include "kernels/core/ops.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/amx/decode_weights.h"
#include "kernels/cpu/amx/few_tokens.h"
#include "kernels/cpu/amx/tiles.h"
#include "kernels/cpu/amx/token_tiles.h"
#include "kernels/cpu/avx512/f32x16.h"
#include "kernels/cpu/low_rank.h"

namespace zqfp::kernels::amx {
namespace {

// Tokens that one pass over the weights serves; bounds the workspace.
constexpr int64_t kMaxTokens = 512;
constexpr int64_t kStrips = 4;
constexpr int64_t kSlabRows = kStrips * kTileRows;
constexpr int64_t kBlockSlabs = 4;
constexpr int64_t kSlabBytes = kStrips * kStripBytes;

inline int64_t TotalsBytes(int64_t tokens) {
  return kBlockSlabs * kStrips * CeilDiv(tokens, kTileRows) * kTileBytes;
}
inline int64_t ThreadBytes(int64_t tokens) {
  return kSlabBytes + TotalsBytes(tokens);
}

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
    ZeroSums();
  } else {
    LoadSums(t[0], t[1], t[2], t[3]);
  }
  Shape::Multiply(job.slab + strip * kStripBytes,
                  job.x.at(job.k / kChunk, tile), job.steps);
  StoreSums(t[0], t[1], t[2], t[3]);
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
    ZeroSums();
    Shape::Multiply(job.slab + strip * kStripBytes + begin * kTileBytes,
                    job.x.at(job.k / kChunk, tile) + begin * kTileBytes,
                    left < group_steps ? left : group_steps);
    StoreSums(sums[0][0], sums[1][0], sums[2][0], sums[3][0]);
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
                      FewTokens<kFormat, 1>::Run(args, x, begin, end);
                    } else {
                      FewTokens<kFormat, 2>::Run(args, x, begin, end);
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
