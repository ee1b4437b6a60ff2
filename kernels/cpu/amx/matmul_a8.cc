// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/amx/amx.h"
#include "kernels/cpu/amx/tile_matmul.h"
#include "kernels/cpu/avx512vnni/avx512vnni.h"

namespace zqfp::kernels::amx {
namespace {

// No more tokens than these are left to vector registers.
constexpr int64_t kMaxFew = 3;

}  // namespace

int64_t WorkspaceBytes(const WorkspaceQuery& query) noexcept {
  const int64_t matmul = TileMatmulBytes(query);
  const int64_t attention = AttentionBytes(query);
  return matmul > attention ? matmul : attention;
}

void MatmulA8(const MatmulA8Args& args, const Exec& exec) noexcept {
  if (args.m <= kMaxFew) return avx512vnni::MatmulA8(args, exec);
  switch (args.weight.format) {
    case WeightFormat::kE2m1Free:
      return TileMatmul<WeightFormat::kE2m1Free>(args, exec);
    case WeightFormat::kE2m1Shift:
      return TileMatmul<WeightFormat::kE2m1Shift>(args, exec);
    case WeightFormat::kE4m3:
      return TileMatmul<WeightFormat::kE4m3>(args, exec);
    default:
      return avx512vnni::MatmulA8(args, exec);
  }
}

int64_t Multiply(int64_t rounds) noexcept {
  // Codes of all bits: a core is slower with them than with zeros.
  alignas(64) uint16_t values[kTileRows * kTileK];
  for (uint32_t i = 0; i < kTileRows * kTileK; ++i) {
    values[i] = static_cast<uint16_t>(0x3f80 | (i * 2654435761u >> 9 & 0x80ff));
  }
  const TileRegisters registers;
  TileFence();
  ZeroSums();
  _tile_loadd(4, values, kRowBytes);
  _tile_loadd(5, values, kRowBytes);
  for (int64_t i = 0; i < rounds; ++i) {
    _tile_dpbf16ps(0, 4, 5);
    _tile_dpbf16ps(1, 4, 5);
    _tile_dpbf16ps(2, 4, 5);
    _tile_dpbf16ps(3, 4, 5);
  }
  return rounds * 4 * kTileRows * 16 * kTileK * 2;
}

}  // namespace zqfp::kernels::amx
