// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>

#include "kernels/core/check.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/row_vectors.h"

namespace zqfp::kernels::cuda {
namespace {

// A block of fewer keys would spend its time on starting and merging. Both are
// multiples of the keys a block handles at once.
constexpr int64_t kLeastDecodeKeys = 128;
constexpr int64_t kLeastPrefillKeys = 256;

constexpr int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Lanes read 8 values at once: 8 bytes of e4m3, 16 of bf16, 32 of f32.
bool CanReadVectors(const AttentionArgs& args) {
  return args.pages.head_dim % 8 == 0 &&
         IsAligned16(args.q, args.pages.k, args.pages.v);
}

// Products of 16 dimensions, rows in pieces of 16 bytes, values that are bf16.
// Heads of more dimensions leave no registers for sums.
constexpr bool FitsTensorCores(int64_t head_dim) {
  return head_dim % 16 == 0 && head_dim <= 256;
}

bool CanUseTensorCores(const AttentionArgs& args) {
  return args.pages.format != ValueFormat::kF32 &&
         FitsTensorCores(args.pages.head_dim) && CanReadVectors(args) &&
         IsAligned16(args.y);
}

// What both kinds of plans share; they still have to choose tiles and splits.
AttentionPlan MakePlan(const AttentionArgs& args) {
  constexpr int64_t kAll = std::numeric_limits<int32_t>::max();
  return {
      .args = args,
      .new_tokens = {},
      .group = static_cast<int32_t>(args.num_heads / args.pages.num_kv_heads),
      .window = static_cast<int32_t>(
          args.window > 0 ? std::min(args.window, kAll) : kAll),
      .vectors = CanReadVectors(args),
      .factor = static_cast<float>(args.scale * kLog2E),
      .cap = static_cast<float>(args.softcap * kLog2E),
      .cap_inverse = args.softcap > 0
                         ? static_cast<float>(1 / (args.softcap * kLog2E))
                         : 0};
}

// Splits the keys so that the longest sequence alone fills the chip; shorter
// ones then have fewer splits of the same length.
void SplitKeys(int64_t least_keys, void* workspace, AttentionPlan& plan) {
  const int64_t tile_rows = plan.tile_queries / plan.group + 2;
  const int64_t keys =
      std::min(plan.args.batch.longest_context, plan.window + tile_rows);
  const int64_t blocks = std::max<int64_t>(1, plan.blocks());
  const int64_t splits =
      std::clamp<int64_t>(kAttentionBlocks / blocks, 1, kMaxSplits);
  const int64_t split_keys =
      std::max<int64_t>(1, CeilDivide(CeilDivide(keys, splits), least_keys)) *
      least_keys;
  plan.split_keys = static_cast<int32_t>(split_keys);
  plan.splits =
      static_cast<int32_t>(std::max<int64_t>(1, CeilDivide(keys, split_keys)));
  if (plan.splits == 1) return;
  const int64_t partials = blocks * plan.splits * plan.tile_queries;
  plan.partial_sum = static_cast<float*>(workspace);
  plan.partial_maximum =
      plan.partial_sum + partials * PartialStride(plan.args.pages.head_dim);
  plan.partial_total = plan.partial_maximum + partials;
}

// As many as LaunchDecodeLanes has kernels for, and as fit the registers.
int32_t DecodeTileQueries(const AttentionPlan& plan, int64_t queries) {
  const bool large_heads = plan.args.pages.head_dim > 256;
  if (!plan.vectors) return large_heads ? 2 : 4;
  if (queries == 1) return 1;
  if (large_heads) return 2;
  return queries <= 4 ? 4 : kMostDecodeTileQueries;
}

void LaunchDecode(const AttentionPlan& plan, const Exec& exec) {
  switch (plan.args.pages.format) {
    case ValueFormat::kF32:
      return LaunchDecodeOf<ValueFormat::kF32>(plan, exec);
    case ValueFormat::kBf16:
      return LaunchDecodeOf<ValueFormat::kBf16>(plan, exec);
    default:
      return LaunchDecodeOf<ValueFormat::kE4m3>(plan, exec);
  }
}

void LaunchPrefill(const AttentionPlan& plan, const Exec& exec) {
  if (!plan.tensor_cores) {
    LaunchPrefillF32(plan, exec);
  } else if (plan.args.pages.format == ValueFormat::kBf16) {
    LaunchTensorOf<ValueFormat::kBf16>(plan, exec);
  } else {
    LaunchTensorOf<ValueFormat::kE4m3>(plan, exec);
  }
}

}  // namespace

AttentionPlan PlanDecode(const AttentionArgs& args, void* workspace) {
  AttentionPlan plan = MakePlan(args);
  const RaggedBatchView& batch = args.batch;
  const int64_t most = batch.most_tokens * plan.group;
  const bool one_prompt =
      most > kDecodeQueries && batch.num_tokens == batch.most_tokens;
  if (most == 0 || plan.group > kDecodeQueries || one_prompt) return plan;
  const int64_t queries = std::min<int64_t>(most, kDecodeQueries);
  plan.most_queries = kDecodeQueries;
  plan.tile_queries = DecodeTileQueries(plan, queries);
  plan.tiles = static_cast<int32_t>(CeilDivide(queries, plan.tile_queries));
  SplitKeys(kLeastDecodeKeys, workspace, plan);
  return plan;
}

AttentionPlan PlanPrefill(const AttentionArgs& args, void* workspace) {
  AttentionPlan plan = MakePlan(args);
  const int64_t queries = args.batch.most_tokens * plan.group;
  if (queries <= kDecodeQueries) return plan;
  plan.least_queries = kDecodeQueries + 1;
  plan.most_queries = std::numeric_limits<int32_t>::max();
  plan.tensor_cores = CanUseTensorCores(args);
  plan.tile_queries = plan.tensor_cores            ? kTensorTileQueries
                      : args.pages.head_dim <= 256 ? kMostTileQueries
                                                   : 32;
  plan.tiles = static_cast<int32_t>(CeilDivide(queries, plan.tile_queries));
  SplitKeys(kLeastPrefillKeys, workspace, plan);
  return plan;
}

int64_t AttentionWorkspaceBytes(const WorkspaceQuery& query) noexcept {
  if (query.num_heads == 0) return 0;
  // SplitKeys never makes more blocks than that, unless none is split. A step
  // of few queries cannot hold a prompt, whose tiles are the larger ones.
  const bool prompts = query.num_tokens * query.num_heads > kDecodeQueries;
  const int64_t queries = !prompts ? kMostDecodeTileQueries
                          : FitsTensorCores(query.head_dim) ? kTensorTileQueries
                                                            : kMostTileQueries;
  return kAttentionBlocks * queries * (PartialStride(query.head_dim) + 2) *
         static_cast<int64_t>(sizeof(float));
}

void Attention(const AttentionArgs& args, const Exec& exec) noexcept {
  // One after the other on the stream: the plans share the workspace.
  const AttentionPlan decode = PlanDecode(args, exec.workspace);
  LaunchDecode(decode, exec);
  const AttentionPlan prefill = PlanPrefill(args, exec.workspace);
  LaunchPrefill(prefill, exec);
  LaunchPrefillMerge(prefill, exec);
}

bool TakesRopeStoreAttention(const HeadNorms& norms, const RopeArgs& queries,
                             const RopeArgs& keys, const StoreKvArgs& store,
                             const AttentionArgs& attention) noexcept {
  return attention.batch.most_tokens == 1 &&
         attention.num_heads / attention.pages.num_kv_heads <= kDecodeQueries &&
         queries.rotary_dim % 8 == 0 && queries.cos == keys.cos &&
         queries.sin == keys.sin && CanReadVectors(attention) &&
         IsAligned16(store.k, store.v, queries.cos, queries.sin, norms.q_weight,
                     norms.k_weight);
}

void RopeStoreAttention(const HeadNorms& norms, const RopeArgs& queries,
                        const RopeArgs& keys, const StoreKvArgs& store,
                        const AttentionArgs& attention,
                        const Exec& exec) noexcept {
  ZQFP_CHECK(TakesRopeStoreAttention(norms, queries, keys, store, attention));
  AttentionPlan plan = PlanDecode(attention, exec.workspace);
  plan.new_tokens = {.k = store.k,
                     .v = store.v,
                     .cos = queries.cos,
                     .sin = queries.sin,
                     .half = static_cast<int32_t>(queries.rotary_dim / 2),
                     .norms = norms};
  LaunchDecode(plan, exec);
}

}  // namespace zqfp::kernels::cuda
