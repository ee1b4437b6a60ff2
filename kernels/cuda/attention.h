// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_ATTENTION_H_
#define ZQFP_KERNELS_CUDA_ATTENTION_H_

// How the attention of one step is cut into blocks, and the launches it takes.
//
// The queries of one sequence and KV head are numbered row by row, the heads of
// the group within a row: query m is row m / group, head m % group. A tile is
// `tile_queries` of them that one block serves with one pass over their keys;
// where there are too few tiles to fill the chip, the keys of each are split
// over several blocks, which leave partial results. In decode the last of a
// tile's blocks merges them, for in a step of few tokens one launch more
// counts. In prefill a second kernel does: 128 queries of 128 dims leave 64 KB
// a split, of which one multiprocessor reads some 64 bytes a clock. From about
// seven splits on that would take longer than a launch (computed, not
// measured).
//
// Sequences with few queries (decode) are bound by memory, those with many
// (prefill) by arithmetic: two kernels, and a batch that mixes them runs both,
// each of which leaves out the sequences of the other.

#include <stdint.h>

#include "kernels/core/ops.h"

namespace zqfp::kernels::cuda {

// Sequences with at most so many queries per KV head count as decode.
inline constexpr int32_t kDecodeQueries = 32;

// Splitting stops at about so many blocks: two for each of the 132
// multiprocessors of an H100 or H200.
inline constexpr int64_t kAttentionBlocks = 264;
inline constexpr int64_t kMaxSplits = 64;
// The most tiles that are split: more have less than two blocks each.
inline constexpr int64_t kMostSplitTiles = kAttentionBlocks / 2;

inline constexpr double kLog2E = 1.4426950408889634;

// Queries of one tile, at most: of prompts in f32 and on the tensor cores, and
// of decode.
inline constexpr int32_t kMostTileQueries = 64;
inline constexpr int32_t kTensorTileQueries = 128;
inline constexpr int32_t kMostDecodeTileQueries = 8;

// Floats from one partial sum to the next: whole pieces of 16 bytes.
constexpr int64_t PartialStride(int64_t head_dim) {
  return (head_dim + 3) / 4 * 4;
}

// What a decode launch does before it attends, where `k` is given: every
// sequence has one new token at most, whose queries it norms and rotates, and
// whose key, treated alike, and value it stores (attention_new_tokens.cuh).
struct NewTokens {
  const float* k = nullptr;  // [num_tokens, num_kv_heads, head_dim]
  const float* v = nullptr;
  const float* cos = nullptr;  // [num_tokens, half]
  const float* sin = nullptr;
  int32_t half = 0;  // rotary_dim / 2
  HeadNorms norms;
};

// One launch of an attention kernel; what its blocks are handed.
struct AttentionPlan {
  AttentionArgs args;
  NewTokens new_tokens;
  int32_t group = 1;          // query heads per KV head
  int32_t window = 0;         // keys; INT32_MAX for all
  int32_t tile_queries = 1;   // queries of a tile
  int32_t tiles = 0;          // of one sequence and KV head, at most
  int32_t split_keys = 0;     // keys of one block
  int32_t splits = 1;         // blocks of one tile, at most
  int32_t least_queries = 1;  // sequences with fewer are another launch's
  int32_t most_queries = 0;   // or with more
  bool vectors = false;       // rows of q, k and v can be read 16 bytes at once
  // Prefill with attention_tensor.cuh, whose scores are in units of log2:
  bool tensor_cores = false;
  float factor = 0;       // of q K^T
  float cap = 0;          // of scores
  float cap_inverse = 0;  // one through it
  // Of blocks whose tile has several, by (block, query of the tile):
  float* partial_sum = nullptr;      // [.., PartialStride], not yet divided
  float* partial_maximum = nullptr;  // [..]
  float* partial_total = nullptr;    // [..]

  int64_t blocks() const {
    return args.batch.num_sequences * args.pages.num_kv_heads * tiles;
  }
};

// The plans of a step's decode and prefill sequences; without tiles where the
// batch cannot have such a sequence.
AttentionPlan PlanDecode(const AttentionArgs& args, void* workspace);
AttentionPlan PlanPrefill(const AttentionArgs& args, void* workspace);

// Bytes of workspace that any of these plans needs.
int64_t AttentionWorkspaceBytes(const WorkspaceQuery& query) noexcept;

// The decode kernels of pages in one format, attention_decode_*.cu.
template <ValueFormat kFormat>
void LaunchDecodeOf(const AttentionPlan& plan, const Exec& exec);
// The prefill kernels: on the tensor cores for pages in one format, bf16 or
// e4m3, attention_tensor_*.cu; in plain f32 for everything, attention_prefill.
template <ValueFormat kFormat>
void LaunchTensorOf(const AttentionPlan& plan, const Exec& exec);
void LaunchPrefillF32(const AttentionPlan& plan, const Exec& exec);
// Joins the partial results of a prefill plan with several splits.
void LaunchPrefillMerge(const AttentionPlan& plan, const Exec& exec);

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_ATTENTION_H_
