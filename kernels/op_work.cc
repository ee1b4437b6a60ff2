// SPDX-License-Identifier: Apache-2.0
#include "kernels/op_work.h"

#include <algorithm>

namespace zqfp::kernels {
namespace {

constexpr int64_t kFloat = 4;  // bytes of an f32

int64_t LorcBytes(const WeightView& weight) {
  const LorcView& lorc = weight.lorc;
  if (lorc.rank == 0) return 0;
  const int64_t scales =
      lorc.format == ValueFormat::kE4m3 ? kFloat * (weight.n + lorc.rank) : 0;
  return lorc.rank * (weight.n + weight.k) * ValueBytes(lorc.format) + scales;
}

// Keys and values of one token, all heads, with their scales.
int64_t TokenKvBytes(const KvPagesView& pages) {
  const int64_t scale = pages.format == ValueFormat::kE4m3 ? kFloat : 0;
  return 2 * pages.num_kv_heads *
         (pages.head_dim * ValueBytes(pages.format) + scale);
}

// A matmul of m rows whose inputs take `x_bytes`.
OpWork MatmulWork(int64_t m, int64_t x_bytes, const WeightView& weight,
                  const float* bias, const float* residual) {
  const int64_t outputs = m * weight.n;
  const int64_t rank = weight.lorc.rank;
  return {.bytes = x_bytes + WeightBytes(weight) +
                   (bias != nullptr ? kFloat * weight.n : 0) +
                   kFloat * outputs * (residual != nullptr ? 2 : 1),
          .flop = 2 * m * (weight.n * weight.k + rank * (weight.n + weight.k))};
}

// Sum of min(length, most) over the lengths first..last; most 0: no limit.
int64_t SumOfLengths(int64_t first, int64_t last, int64_t most) {
  const auto sum = [](int64_t n) { return n * (n + 1) / 2; };
  if (most == 0 || last <= most) return sum(last) - sum(first - 1);
  if (first > most) return (last - first + 1) * most;
  return sum(most) - sum(first - 1) + (last - most) * most;
}

}  // namespace

int64_t WeightBytes(const WeightView& weight) {
  const int64_t n = weight.n, k = weight.k;
  const int64_t groups = HasGroups(weight.format) && weight.group_size > 0
                             ? NumGroups(k, weight.group_size)
                             : 0;
  const int64_t lorc = LorcBytes(weight);
  switch (weight.format) {
    case WeightFormat::kF32:
      return lorc + n * k * 4;
    case WeightFormat::kBf16:
    case WeightFormat::kF16:
      return lorc + n * k * 2;
    case WeightFormat::kE4m3:
      return lorc + n * (k + kFloat);
    case WeightFormat::kE4m3Groups:
      return lorc + n * k + kFloat * groups * NumGroups(n, weight.scale_rows);
    case WeightFormat::kE2m1E4m3:
      return lorc + n * ((k + 1) / 2 + groups);
    case WeightFormat::kE2m1Free:
      return lorc + n * ((k + 1) / 2 + kFloat * groups);
    case WeightFormat::kE2m1Shift:
      return lorc + n * ((k + 1) / 2 + groups + kFloat);
  }
  return lorc;
}

OpWork Work(const EmbedArgs& args) {
  const int64_t read =
      kFloat + args.model_dim * ValueBytes(args.table_format);  // id, row
  return {.bytes = args.num_tokens * (read + kFloat * args.model_dim)};
}

OpWork Work(const GatherRowsArgs& args) {
  return {.bytes = args.num_rows * kFloat * (1 + 2 * args.dim)};
}

OpWork Work(const AddPositionsArgs& args) {
  const int64_t read =
      kFloat + args.model_dim * ValueBytes(args.table_format);  // position, row
  return {.bytes = args.num_tokens * (read + 2 * kFloat * args.model_dim)};
}

OpWork Work(const RmsNormArgs& args) {
  const int64_t arrays = args.residual != nullptr ? 3 : 2;
  return {.bytes = kFloat * args.dim * (args.num_rows * arrays + 1)};
}

OpWork Work(const LayerNormArgs& args) {
  return {.bytes = kFloat * args.dim * (args.num_rows * 2 + 2)};
}

OpWork Work(const QuantizeTokensArgs& args) {
  return {.bytes = args.num_tokens * (args.dim * (kFloat + 1) + kFloat)};
}

OpWork Work(const MatmulArgs& args) {
  return MatmulWork(args.m, kFloat * args.m * args.weight.k, args.weight,
                    args.bias, args.residual);
}

OpWork Work(const MatmulA8Args& args) {
  return MatmulWork(args.m, args.m * (args.weight.k + kFloat), args.weight,
                    args.bias, args.residual);
}

OpWork Work(const RopeArgs& args) {
  const int64_t turned = args.num_heads * args.rotary_dim;  // read and written
  return {.bytes = kFloat * args.num_tokens * (2 * turned + args.rotary_dim)};
}

OpWork Work(const StoreKvArgs& args) {
  const KvPagesView& pages = args.pages;
  const int64_t read = 2 * kFloat * pages.num_kv_heads * pages.head_dim;
  return {.bytes = args.batch.num_tokens * (read + TokenKvBytes(pages))};
}

OpWork Work(const AttentionArgs& args) {
  const RaggedBatchView& batch = args.batch;
  const int64_t row_size = args.num_heads * args.pages.head_dim;
  int64_t seen = 0;   // tokens of the cache
  int64_t pairs = 0;  // (row, token it sees)
  for (int64_t s = 0; s < batch.num_sequences; ++s) {
    const int64_t rows = batch.token_begin[s + 1] - batch.token_begin[s];
    const int64_t last = batch.context_len[s];
    if (rows == 0) continue;
    seen += args.window == 0 ? last : std::min(last, rows - 1 + args.window);
    pairs += SumOfLengths(last - rows + 1, last, args.window);
  }
  return {.bytes = 2 * kFloat * row_size * batch.num_tokens +
                   seen * TokenKvBytes(args.pages),
          .flop = 4 * row_size * pairs};  // q K^T and its product with V
}

OpWork Work(const ActivateArgs& args) {
  const int64_t arrays = args.up != nullptr ? 3 : 2;
  return {.bytes = kFloat * args.num_tokens * args.dim * arrays};
}

OpWork Work(const SoftcapArgs& args) {
  return {.bytes = 2 * kFloat * args.num_rows * args.dim};
}

OpWork Work(const TopLogitsArgs& args) {
  const int64_t written =
      kTopLogits * (kFloat + 4) + kFloat;  // id, logit, mass
  return {.bytes = args.num_rows * (kFloat * args.dim + written)};
}

OpWork Work(const RmsNormArgs& norm, const QuantizeTokensArgs& quantize) {
  const int64_t between = 2 * kFloat * norm.num_rows * norm.dim;
  return {.bytes = Work(norm).bytes + Work(quantize).bytes - between};
}

OpWork Work(const ActivateArgs& activate, const QuantizeTokensArgs& quantize) {
  const int64_t between = 2 * kFloat * activate.num_tokens * activate.dim;
  return {.bytes = Work(activate).bytes + Work(quantize).bytes - between};
}

// The keys are written in place, too.
OpWork Work(const RopeArgs& queries, const RopeArgs& keys,
            const StoreKvArgs& store) {
  const int64_t between =
      kFloat * keys.num_tokens * keys.num_heads * keys.rotary_dim;
  return {.bytes = Work(queries).bytes + Work(keys).bytes + Work(store).bytes -
                   between};
}

// All read the same tokens.
OpWork Work(absl::Span<const MatmulA8Args> group) {
  OpWork all;
  for (const MatmulA8Args& args : group) {
    const OpWork one = Work(args);
    all.bytes += one.bytes;
    all.flop += one.flop;
  }
  const MatmulA8Args& first = group.front();
  const auto others = static_cast<int64_t>(group.size()) - 1;
  all.bytes -= others * first.m * (first.weight.k + kFloat);
  return all;
}

// Blocks make the codes for themselves.
OpWork Work(const RmsNormArgs& input, absl::Span<const MatmulA8Args> group) {
  OpWork all = Work(group);
  const int64_t norm = input.weight != nullptr ? kFloat * input.dim : 0;
  all.bytes += norm + input.num_rows * ((kFloat - 1) * input.dim - kFloat);
  return all;
}

}  // namespace zqfp::kernels
