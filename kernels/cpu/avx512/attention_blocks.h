// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AVX512_ATTENTION_BLOCKS_H_
#define ZQFP_KERNELS_CPU_AVX512_ATTENTION_BLOCKS_H_

// How the queries of a step are cut into blocks, and blocks shared out.
//
// The queries of a KV head are its query heads in each row, rows first.

#include <stdint.h>

#include "kernels/core/ops.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/avx512/lanes.h"

namespace zqfp::kernels::avx512 {
namespace {

struct AttentionBlock {
  int64_t sequence;
  int64_t kv_head;
  int64_t first_query;
  int64_t max_queries;
};

// Queries of each KV head in sequence s.
inline int64_t NumQueries(const AttentionArgs& args, int64_t s) {
  const int64_t rows =
      args.batch.token_begin[s + 1] - args.batch.token_begin[s];
  return rows * (args.num_heads / args.pages.num_kv_heads);
}

// Those of a block.
inline int64_t NumQueries(const AttentionArgs& args,
                          const AttentionBlock& block) {
  const int64_t left = NumQueries(args, block.sequence) - block.first_query;
  return left < block.max_queries ? left : block.max_queries;
}

// One query of a block.
struct QueryPlace {
  int64_t first, last;  // positions that it sees
  int64_t at;           // of its head in q and y
};
inline QueryPlace PlaceOf(const AttentionArgs& args,
                          const AttentionBlock& block, int64_t i) {
  const RaggedBatchView& batch = args.batch;
  const int64_t begin = batch.token_begin[block.sequence];
  const int64_t rows = batch.token_begin[block.sequence + 1] - begin;
  const int64_t group = args.num_heads / args.pages.num_kv_heads;
  const int64_t row = (block.first_query + i) / group;
  const int64_t head = block.kv_head * group + (block.first_query + i) % group;
  const int64_t position = batch.context_len[block.sequence] - (rows - row);
  const int64_t start = position - args.window + 1;
  return {.first = args.window > 0 && start > 0 ? start : 0,
          .last = position,
          .at = ((begin + row) * args.num_heads + head) * args.pages.head_dim};
}

// The largest block of queries, up to `most`, that still gives every thread
// work: queries of a block share the loads of keys and values.
inline int64_t BlockSize(const AttentionArgs& args, int64_t most,
                         int num_threads) {
  int64_t size = most;
  while (size > 1) {
    int64_t blocks = 0;
    for (int64_t s = 0; s < args.batch.num_sequences; ++s) {
      blocks += args.pages.num_kv_heads * CeilDiv(NumQueries(args, s), size);
    }
    if (blocks >= num_threads) break;
    size /= 2;
  }
  return size;
}

// body(block, thread) for all blocks, of block_size(s) queries in sequence s.
template <typename Size, typename Body>
inline void ForEachBlock(const AttentionArgs& args, const Exec& exec,
                         const Size& block_size, const Body& body) {
  const int64_t kv_heads = args.pages.num_kv_heads;
  // Later rows of a prompt see more keys: blocks are dealt out in turn.
  const int64_t hands = int64_t{4} * exec.parallel.num_threads;
  ParallelFor(exec, hands, 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t hand = begin; hand < end; ++hand) {
      int64_t turn = 0;
      for (int64_t s = 0; s < args.batch.num_sequences; ++s) {
        const int64_t size = block_size(s);
        const int64_t blocks = kv_heads * CeilDiv(NumQueries(args, s), size);
        for (int64_t block = 0; block < blocks; ++block) {
          if (turn++ % hands != hand) continue;
          body({.sequence = s,
                .kv_head = block % kv_heads,
                .first_query = block / kv_heads * size,
                .max_queries = size},
               thread);
        }
      }
    }
  });
}

}  // namespace
}  // namespace zqfp::kernels::avx512

#endif  // ZQFP_KERNELS_CPU_AVX512_ATTENTION_BLOCKS_H_
