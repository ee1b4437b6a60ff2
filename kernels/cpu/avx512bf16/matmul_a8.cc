// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/avx512/blocked_matmul.h"
#include "kernels/cpu/avx512/multiply_loop.h"
#include "kernels/cpu/avx512bf16/avx512bf16.h"
#include "kernels/cpu/avx512bf16/bf16_unit.h"

namespace zqfp::kernels::avx512bf16 {

using Blocked = avx512::BlockedMatmul<Bf16Unit>;

int64_t WorkspaceBytes(const WorkspaceQuery& query) noexcept {
  const int64_t blocked = Blocked::WorkspaceBytes(query);
  const int64_t others = avx512::OtherFormatsBytes(query);
  return blocked > others ? blocked : others;
}

void MatmulA8(const MatmulA8Args& args, const Exec& exec) noexcept {
  if (avx512::IsBlocked(args.weight.format)) {
    Blocked::Run(args, exec);
  } else {
    avx512::OtherFormats(args, exec);
  }
}

int64_t Multiply(int64_t rounds) noexcept {
  return avx512::MultiplyLoop<Bf16Unit>(rounds);
}

}  // namespace zqfp::kernels::avx512bf16
