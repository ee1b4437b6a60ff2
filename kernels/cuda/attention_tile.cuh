// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_ATTENTION_TILE_CUH_
#define ZQFP_KERNELS_CUDA_ATTENTION_TILE_CUH_

// What the attention kernels share: which queries a block serves, which keys
// those see, where keys lie, and the pieces of a running softmax.

#include <math.h>
#include <stdint.h>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/launch.h"

namespace zqfp::kernels::cuda {

inline constexpr unsigned kAllLanes = 0xffffffffu;

// The weight of a key that a query does not see. Its value may be a NaN, which
// times zero would still be one: it has to be left out.
inline constexpr float kUnseen = -1.0f;

// A block's queries, and the keys [first_key, end_key) that any of them sees;
// none where the block has nothing to do.
struct QueryTile {
  int32_t sequence = 0;
  int32_t kv_head = 0;
  int32_t first_query = 0;
  int32_t num_queries = 0;
  int32_t first_row = 0;     // of the sequence in q and y
  int32_t row_position = 0;  // absolute, of that row
  int32_t first_key = 0;
  int32_t end_key = 0;
};

// The last key that a query of the tile sees: its own position.
__device__ __forceinline__ int32_t LastKey(const AttentionPlan& plan,
                                           const QueryTile& tile, int query) {
  return tile.row_position + (tile.first_query + query) / plan.group;
}

// The first key that a query with this last key sees.
__device__ __forceinline__ int32_t FirstKey(const AttentionPlan& plan,
                                            int32_t last_key) {
  return last_key >= plan.window ? last_key - plan.window + 1 : 0;
}

// The tiles with most keys, the last of a sequence, come first.
__device__ __forceinline__ QueryTile FindTile(const AttentionPlan& plan,
                                              uint32_t block) {
  const RaggedBatchView& batch = plan.args.batch;
  const auto num_sequences = static_cast<uint32_t>(batch.num_sequences);
  const auto num_kv_heads = static_cast<uint32_t>(plan.args.pages.num_kv_heads);
  const uint32_t head_block = block / num_sequences;
  const int32_t index =
      plan.tiles - 1 - static_cast<int32_t>(head_block / num_kv_heads);
  QueryTile tile;
  tile.sequence = static_cast<int32_t>(block % num_sequences);
  tile.kv_head = static_cast<int32_t>(head_block % num_kv_heads);
  tile.first_row = batch.token_begin[tile.sequence];
  const int32_t rows = batch.token_begin[tile.sequence + 1] - tile.first_row;
  const int32_t queries = rows * plan.group;
  tile.first_query = index * plan.tile_queries;
  if (queries < plan.least_queries || queries > plan.most_queries ||
      tile.first_query >= queries) {
    return tile;
  }
  const int32_t left = queries - tile.first_query;
  tile.num_queries = left < plan.tile_queries ? left : plan.tile_queries;
  tile.row_position = batch.context_len[tile.sequence] - rows;
  tile.first_key = FirstKey(plan, LastKey(plan, tile, 0));
  tile.end_key = LastKey(plan, tile, tile.num_queries - 1) + 1;
  return tile;
}

// How many blocks share the keys of the tile.
__device__ __forceinline__ int32_t SplitsOf(const AttentionPlan& plan,
                                            const QueryTile& tile) {
  return (tile.end_key - tile.first_key + plan.split_keys - 1) /
         plan.split_keys;
}

// Of the tile's keys those of this block, which is of split blockIdx.y; none,
// end <= begin, behind the tile's last split.
struct KeyRange {
  int32_t begin;
  int32_t end;
};
__device__ __forceinline__ KeyRange KeysOfBlock(const AttentionPlan& plan,
                                                const QueryTile& tile) {
  const int32_t begin =
      tile.first_key + static_cast<int32_t>(blockIdx.y) * plan.split_keys;
  const int32_t left = tile.end_key - begin;
  return {begin, begin + (left < plan.split_keys ? left : plan.split_keys)};
}

// Whether every query of the tile sees all keys [first_key, end_key).
__device__ __forceinline__ bool AllSeen(const AttentionPlan& plan,
                                        const QueryTile& tile,
                                        int32_t first_key, int32_t end_key) {
  const int32_t last = LastKey(plan, tile, tile.num_queries - 1);
  return end_key <= LastKey(plan, tile, 0) + 1 &&
         first_key >= FirstKey(plan, last);
}

// Row of q and y, [num_tokens * num_heads, head_dim], of a query of the tile.
__device__ __forceinline__ int64_t QueryRow(const AttentionPlan& plan,
                                            const QueryTile& tile, int query) {
  const int32_t index = tile.first_query + query;
  const int64_t token = tile.first_row + index / plan.group;
  return token * plan.args.num_heads +
         static_cast<int64_t>(tile.kv_head) * plan.group + index % plan.group;
}

// The page of a key of the tile's sequence.
__device__ __forceinline__ int32_t PageOf(const AttentionPlan& plan,
                                          const QueryTile& tile, int32_t key) {
  const RaggedBatchView& batch = plan.args.batch;
  const uint32_t entry = static_cast<uint32_t>(key) /
                         static_cast<uint32_t>(plan.args.pages.page_size);
  return batch.page_table[tile.sequence * batch.page_table_stride + entry];
}

// Row of the page arrays, [.., head_dim], of that key, which is in `page`.
__device__ __forceinline__ int64_t RowInPage(const AttentionPlan& plan,
                                             const QueryTile& tile,
                                             int64_t page, int32_t key) {
  const KvPagesView& pages = plan.args.pages;
  return (page * pages.num_kv_heads + tile.kv_head) * pages.page_size +
         static_cast<uint32_t>(key) % static_cast<uint32_t>(pages.page_size);
}

__device__ __forceinline__ int64_t KeyRow(const AttentionPlan& plan,
                                          const QueryTile& tile, int32_t key) {
  return RowInPage(plan, tile, PageOf(plan, tile, key), key);
}

// cap(score), AttentionArgs.
__device__ __forceinline__ float Cap(float score, float softcap) {
  return softcap > 0 ? softcap * tanhf(score / softcap) : score;
}

// What scores are compared with: -infinity while no key was seen. Then every
// exponential must be zero, not that of a NaN.
__device__ __forceinline__ float Subtrahend(float maximum) {
  return maximum == -INFINITY ? 0.0f : maximum;
}

// Where a query of a block that shares its tile leaves its partial result.
__device__ __forceinline__ int64_t PartialIndex(const AttentionPlan& plan,
                                                uint32_t block, uint32_t split,
                                                int query) {
  return (static_cast<int64_t>(block) * plan.splits + split) *
             plan.tile_queries +
         query;
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_ATTENTION_TILE_CUH_
