// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/avx512/attention_blocks.h"
#include "kernels/cpu/avx512/attention_tile.h"
#include "kernels/cpu/avx512/avx512.h"

namespace zqfp::kernels::avx512 {
namespace {

template <ValueFormat kFormat>
void Run(const AttentionArgs& args, const Exec& exec) {
  const int64_t size = BlockSize(args, kMaxQueries, exec.parallel.num_threads);
  ForEachBlock(
      args, exec, [size](int64_t) { return size; },
      [&](const AttentionBlock& block, int) {
        AttendBlock<kFormat>(args, block);
      });
}

}  // namespace

void Attention(const AttentionArgs& args, const Exec& exec) noexcept {
  switch (args.pages.format) {
    case ValueFormat::kBf16:
      return Run<ValueFormat::kBf16>(args, exec);
    case ValueFormat::kE4m3:
      return Run<ValueFormat::kE4m3>(args, exec);
    default:
      return Run<ValueFormat::kF32>(args, exec);
  }
}

}  // namespace zqfp::kernels::avx512
