// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AMX_FEW_TOKENS_H_
#define ZQFP_KERNELS_CPU_AMX_FEW_TOKENS_H_

// MatmulA8 for up to 32 tokens, near the speed of memory: their sums, four
// tiles, stay in the tile registers along all of k, and the products of a
// strip's block are under way while the next block is decoded.

#include <immintrin.h>
#include <stdint.h>

#include "kernels/core/ops.h"
#include "kernels/cpu/amx/decode_weights.h"
#include "kernels/cpu/amx/tiles.h"
#include "kernels/cpu/amx/token_tiles.h"

namespace zqfp::kernels::amx {
namespace {

template <WeightFormat kFormat, int kTokenTiles>
struct FewTokens {
  static constexpr int kStrips = 4 / kTokenTiles;  // of 16 rows
  static constexpr int64_t kRows = kStrips * kTileRows;
  // How far ahead of decoding codes are asked for.
  static constexpr int64_t kAheadBlocks = 2;

  // The sums of strip kStrip grow by a block.
  template <int kStrip>
  static void Multiply(const uint8_t* w, const uint8_t* x) {
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i, w += kTileBytes, x += kTileBytes) {
      _tile_loadd(4, w, kRowBytes);
      _tile_loadd(6, x, kRowBytes);
      if constexpr (kTokenTiles == 2) {
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
    alignas(64) uint8_t ring[kStrips][kVectors * kTileBytes];
    for (int64_t n = begin; n < end; n += kRows) {
      ZeroSums();
      const uint8_t* tokens = nullptr;  // of the block before this one
      for (int64_t k = 0; k < padded; k += kBlock) {
        const int64_t later = k + kAheadBlocks * kBlock;
        const uint8_t* ahead = later < padded
                                   ? RowAt(w, n, later)
                                   : RowAt(w, n + kRows, later - padded);
        const BlockDecoder<kFormat> decoder(w, k);
        const auto decode = [&](int64_t strip) {
          const int64_t row = strip * kTileRows;
          TileFence();
          DecodeStrip(w, decoder, n + row, RowAt(w, n + row, k),
                      ahead + row * avx512::RowBytes(w), ring[strip]);
          TileFence();
        };
        const uint8_t* before = tokens;
        tokens = x.at(k / kChunk, 0) + k % kChunk / kTileK * kTileBytes;
        decode(0);
        if (k > 0) Multiply<kStrips - 1>(ring[kStrips - 1], before);
        decode(1);
        Multiply<0>(ring[0], tokens);
        if constexpr (kStrips == 4) {
          decode(2);
          Multiply<1>(ring[1], tokens);
          decode(3);
          Multiply<2>(ring[2], tokens);
        }
      }
      Multiply<kStrips - 1>(ring[kStrips - 1], tokens);
      alignas(64) float sums[4][kTileRows * 16];
      StoreSums(sums[0], sums[1], sums[2], sums[3]);
      TileFence();
      for (int64_t i = 0; i < 4; ++i) {
        StoreTile(args, x, sums[i], n + i / kTokenTiles * kTileRows,
                  i % kTokenTiles);
      }
    }
  }
};

}  // namespace
}  // namespace zqfp::kernels::amx

#endif  // ZQFP_KERNELS_CPU_AMX_FEW_TOKENS_H_
