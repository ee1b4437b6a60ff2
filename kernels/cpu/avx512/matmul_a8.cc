// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/avx512/avx512.h"
#include "kernels/cpu/avx512/blocked_matmul.h"
#include "kernels/cpu/avx512/f32_unit.h"
#include "kernels/cpu/avx512/multiply_loop.h"

namespace zqfp::kernels::avx512 {

using Blocked = BlockedMatmul<F32Unit>;

int64_t WorkspaceBytes(const WorkspaceQuery& query) noexcept {
  const int64_t blocked = Blocked::WorkspaceBytes(query);
  const int64_t others = OtherFormatsBytes(query);
  return blocked > others ? blocked : others;
}

void MatmulA8(const MatmulA8Args& args, const Exec& exec) noexcept {
  if (IsBlocked(args.weight.format)) {
    Blocked::Run(args, exec);
  } else {
    OtherFormats(args, exec);
  }
}

void QuantizedMatmul(const MatmulArgs& args, const Exec& exec) noexcept {
  QuantizedMatmulF32<F32x16>::Run({.m = args.m,
                                   .rows = {.x = args.x},
                                   .weight = args.weight,
                                   .bias = args.bias,
                                   .residual = args.residual,
                                   .y = args.y},
                                  exec);
}

int64_t Multiply(int64_t rounds) noexcept {
  return MultiplyLoop<F32Unit>(rounds);
}

}  // namespace zqfp::kernels::avx512
