// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/amx/amx.h"
#include "kernels/cpu/amx/tile_attention.h"
#include "kernels/cpu/avx512/avx512.h"

namespace zqfp::kernels::amx {
namespace {

using avx512::ForEachBlock;
using avx512::NumQueries;

// Fewer queries of a KV head are left to vectors.
constexpr int64_t kMinQueries = 32;

// A block on vectors, in blocks as they take them.
template <ValueFormat kFormat>
void AttendOnVectors(const AttentionArgs& args, AttentionBlock block) {
  const int64_t end = block.first_query + NumQueries(args, block);
  for (; block.first_query < end; block.first_query += block.max_queries) {
    const int64_t rest = end - block.first_query;
    block.max_queries =
        rest < avx512::kMaxQueries ? rest : int64_t{avx512::kMaxQueries};
    avx512::AttendBlock<kFormat>(args, block);
  }
}

template <ValueFormat kFormat>
void Run(const AttentionArgs& args, const Exec& exec) {
  const int64_t few =
      avx512::BlockSize(args, avx512::kMaxQueries, exec.parallel.num_threads);
  const int64_t bytes = Tiles::Bytes(args.pages.head_dim);
  const auto on_tiles = [&](int64_t s) {
    return NumQueries(args, s) >= kMinQueries;
  };
  ForEachBlock(
      args, exec, [&](int64_t s) { return on_tiles(s) ? kBlockQueries : few; },
      [&](const AttentionBlock& block, int thread) {
        if (on_tiles(block.sequence)) {
          const TileRegisters registers;
          uint8_t* workspace =
              static_cast<uint8_t*>(exec.workspace) + thread * bytes;
          if (AttendBlock<kFormat>(args, block, workspace)) return;
        }
        AttendOnVectors<kFormat>(args, block);
      });
}

}  // namespace

int64_t AttentionBytes(const WorkspaceQuery& query) {
  return query.num_threads * Tiles::Bytes(query.head_dim);
}

void Attention(const AttentionArgs& args, const Exec& exec) noexcept {
  switch (args.pages.format) {
    case ValueFormat::kBf16:
      return Run<ValueFormat::kBf16>(args, exec);
    case ValueFormat::kE4m3:
      return Run<ValueFormat::kE4m3>(args, exec);
    default:
      return avx512::Attention(args, exec);
  }
}

}  // namespace zqfp::kernels::amx
