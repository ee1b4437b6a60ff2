// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AMX_TILES_H_
#define ZQFP_KERNELS_CPU_AMX_TILES_H_

// The tile registers, in the one shape used here: 16 rows of 64 bytes.
//   sums      C[16][16] f32
//   left      A[16][32] BF16
//   right     B[16][16][2] BF16: row p holds the elements 2p and 2p+1 of k
// and C += A B. Products are exact in f32; a denormal is zero on both sides.

#include <immintrin.h>
#include <stdint.h>

namespace zqfp::kernels::amx {
namespace {

constexpr int64_t kTileRows = 16;
constexpr int64_t kTileK = 32;        // elements of k in a tile of BF16
constexpr int64_t kTileBytes = 1024;  // of every tile
constexpr int64_t kRowBytes = 64;

struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

// The tile registers of this thread, while it lives.
class TileRegisters {
 public:
  TileRegisters() {
    static constexpr TileConfig kConfig;
    _tile_loadconfig(&kConfig);
  }
  ~TileRegisters() { _tile_release(); }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;
};

// Between plain accesses and those of tiles, which GCC 12 does not know to
// read and write memory.
inline void TileFence() { __asm__ volatile("" ::: "memory"); }

// The four tiles of sums that every kernel here has: registers 0 to 3.
inline void ZeroSums() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}
inline void LoadSums(const float* a, const float* b, const float* c,
                     const float* d) {
  _tile_loadd(0, a, kRowBytes);
  _tile_loadd(1, b, kRowBytes);
  _tile_loadd(2, c, kRowBytes);
  _tile_loadd(3, d, kRowBytes);
}
inline void StoreSums(float* a, float* b, float* c, float* d) {
  _tile_stored(0, a, kRowBytes);
  _tile_stored(1, b, kRowBytes);
  _tile_stored(2, c, kRowBytes);
  _tile_stored(3, d, kRowBytes);
}

}  // namespace
}  // namespace zqfp::kernels::amx

#endif  // ZQFP_KERNELS_CPU_AMX_TILES_H_
