// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/parallel.h"
#include "kernels/cpu/avx512/attention_tile.h"
#include "kernels/cpu/avx512/avx512.h"

namespace zqfp::kernels::avx512 {
namespace {

// Blocks of one sequence: kv heads x runs of block_size queries.
int64_t NumBlocks(const AttentionArgs& args, int64_t rows, int64_t block_size) {
  const int64_t queries = rows * (args.num_heads / args.pages.num_kv_heads);
  return args.pages.num_kv_heads * CeilDiv(queries, block_size);
}

int64_t Rows(const RaggedBatchView& batch, int64_t s) {
  return batch.token_begin[s + 1] - batch.token_begin[s];
}

// The largest block of queries that still gives every thread work: queries of
// a block share the loads of keys and values.
int64_t BlockSize(const AttentionArgs& args, int num_threads) {
  int64_t size = kMaxQueries;
  while (size > 1) {
    int64_t blocks = 0;
    for (int64_t s = 0; s < args.batch.num_sequences; ++s) {
      blocks += NumBlocks(args, Rows(args.batch, s), size);
    }
    if (blocks >= num_threads) break;
    size /= 2;
  }
  return size;
}

template <ValueFormat kFormat>
void Run(const AttentionArgs& args, const Exec& exec) {
  const int num_threads = exec.parallel.num_threads;
  const int64_t block_size = BlockSize(args, num_threads);
  // Later rows of a prompt see more keys: threads take blocks in turn.
  ParallelFor(exec, num_threads, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t slot = begin; slot < end; ++slot) {
      int64_t turn = 0;
      for (int64_t s = 0; s < args.batch.num_sequences; ++s) {
        const int64_t blocks = NumBlocks(args, Rows(args.batch, s), block_size);
        for (int64_t block = 0; block < blocks; ++block) {
          if (turn++ % num_threads != slot) continue;
          AttendBlock<kFormat>(
              args,
              {.sequence = s,
               .kv_head = block % args.pages.num_kv_heads,
               .first_query = block / args.pages.num_kv_heads * block_size,
               .max_queries = block_size});
        }
      }
    }
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
