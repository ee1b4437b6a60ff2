// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AMX_TOKEN_TILES_H_
#define ZQFP_KERNELS_CPU_AMX_TOKEN_TILES_H_

// The tokens of a matmul as right factors of tiles, one a column, and what is
// done with their sums in the end.
//   tokens  [chunks of k][token tiles][steps of a chunk][16][16][2]
// A step is 32 elements of k, in the order of the weights (decode_weights.h).

#include <immintrin.h>
#include <stdint.h>

#include "kernels/core/ops.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/amx/decode_weights.h"
#include "kernels/cpu/amx/tiles.h"
#include "kernels/cpu/avx512/gemm.h"
#include "kernels/cpu/avx512bf16/bf16_unit.h"

namespace zqfp::kernels::amx {
namespace {

constexpr int64_t kChunk = 256;  // elements of k
constexpr int64_t kChunkSteps = kChunk / kTileK;
// Of a token tile in a chunk; of a strip of weights, too.
constexpr int64_t kStripBytes = kChunkSteps * kTileBytes;

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

}  // namespace
}  // namespace zqfp::kernels::amx

#endif  // ZQFP_KERNELS_CPU_AMX_TOKEN_TILES_H_
