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

}  // namespace zqfp::kernels::amx
