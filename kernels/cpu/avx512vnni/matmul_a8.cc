// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/avx512/blocked_matmul.h"
#include "kernels/cpu/avx512/f32_unit.h"
#include "kernels/cpu/avx512/multiply_loop.h"
#include "kernels/cpu/avx512vnni/avx512vnni.h"
#include "kernels/cpu/avx512vnni/int16_unit.h"

namespace zqfp::kernels::avx512vnni {
namespace {

using avx512::BlockedMatmul;
using avx512::F32Unit;

}  // namespace

int64_t WorkspaceBytes(const WorkspaceQuery& query) noexcept {
  const int64_t integers = BlockedMatmul<Int16Unit>::WorkspaceBytes(query);
  const int64_t floats = BlockedMatmul<F32Unit>::WorkspaceBytes(query);
  const int64_t others = avx512::OtherFormatsBytes(query);
  const int64_t larger = integers > floats ? integers : floats;
  return larger > others ? larger : others;
}

void MatmulA8(const MatmulA8Args& args, const Exec& exec) noexcept {
  const WeightFormat format = args.weight.format;
  if (!avx512::IsBlocked(format)) {
    avx512::OtherFormats(args, exec);
  } else if (format == WeightFormat::kE4m3) {
    // Products of e4m3 and e4m3 are too long for sums in 32 bits.
    BlockedMatmul<F32Unit>::Run(args, exec);
  } else {
    BlockedMatmul<Int16Unit>::Run(args, exec);
  }
}

int64_t Multiply(int64_t rounds) noexcept {
  return avx512::MultiplyLoop<Int16Unit>(rounds);
}

}  // namespace zqfp::kernels::avx512vnni
