// SPDX-License-Identifier: Apache-2.0
// Bytes and arithmetic of every op, each against a count by hand.
#include "kernels/op_work.h"

#include <gtest/gtest.h>

#include <vector>

namespace zqfp::kernels {
namespace {

constexpr float kSome[1] = {};

void ExpectWork(const OpWork& work, int64_t bytes, int64_t flop) {
  EXPECT_EQ(work.bytes, bytes);
  EXPECT_EQ(work.flop, flop);
}

// A weight of 3 outputs and 5 inputs, groups of 32.
WeightView Weight(WeightFormat format) {
  return {.format = format, .n = 3, .k = 5, .group_size = 32};
}

TEST(OpWorkTest, AWeightIsItsCodesAndItsScales) {
  EXPECT_EQ(WeightBytes(Weight(WeightFormat::kF32)), 15 * 4);
  EXPECT_EQ(WeightBytes(Weight(WeightFormat::kBf16)), 15 * 2);
  EXPECT_EQ(WeightBytes(Weight(WeightFormat::kF16)), 15 * 2);
  EXPECT_EQ(WeightBytes(Weight(WeightFormat::kE4m3)), 15 + 3 * 4);
  // 5 nibbles of a row are 3 bytes.
  EXPECT_EQ(WeightBytes(Weight(WeightFormat::kE2m1Free)), 3 * 3 + 3 * 4);
  EXPECT_EQ(WeightBytes(Weight(WeightFormat::kE2m1Shift)), 3 * 3 + 3 + 3 * 4);
  EXPECT_EQ(WeightBytes(Weight(WeightFormat::kE2m1E4m3)), 3 * 3 + 3);
}

TEST(OpWorkTest, ScalesOfSeveralGroupsAndRows) {
  WeightView weight = Weight(WeightFormat::kE2m1Shift);
  weight.k = 80;  // groups of 32, 32 and 16
  EXPECT_EQ(WeightBytes(weight), 3 * 40 + 3 * 3 + 3 * 4);
  weight.format = WeightFormat::kE4m3Groups;
  weight.scale_rows = 2;  // rows 0 and 1 share scales
  EXPECT_EQ(WeightBytes(weight), 3 * 80 + 2 * 3 * 4);
}

TEST(OpWorkTest, LowRankFactorsCount) {
  WeightView weight = Weight(WeightFormat::kE2m1Free);
  const int64_t plain = WeightBytes(weight);
  weight.lorc = {.format = ValueFormat::kBf16, .rank = 2};
  EXPECT_EQ(WeightBytes(weight), plain + 2 * (3 + 5) * 2);
  weight.lorc.format = ValueFormat::kE4m3;  // and scales of 3 + 2 rows
  EXPECT_EQ(WeightBytes(weight), plain + 2 * (3 + 5) + 4 * (3 + 2));
}

// Fused ops: what goes from one to the next, 2 x 6 f32, is not moved.
TEST(OpWorkTest, WhatStaysInAFusedOpIsNotMoved) {
  const QuantizeTokensArgs quantize = {.num_tokens = 2, .dim = 6};
  const RmsNormArgs norm = {.num_rows = 2, .dim = 6};
  // x 2 x 6, weight 6; codes and scales.
  ExpectWork(Work(norm, quantize), 18 * 4 + 2 * (6 + 4), 0);
  const ActivateArgs activate = {.num_tokens = 2, .dim = 6, .up = kSome};
  ExpectWork(Work(activate, quantize), 24 * 4 + 2 * (6 + 4), 0);
  const RopeArgs queries = {
      .num_tokens = 2, .num_heads = 3, .head_dim = 4, .rotary_dim = 4};
  RopeArgs keys = queries;
  keys.num_heads = 1;
  StoreKvArgs store = {};
  store.batch.num_tokens = 2;
  store.pages.num_kv_heads = 1;
  store.pages.head_dim = 4;
  store.pages.format = ValueFormat::kBf16;
  // Queries and keys read and written, angles twice; values read; both stored.
  ExpectWork(Work(queries, keys, store),
             4 * 2 * (2 * 12 + 4 + 2 * 4 + 4) + 4 * 2 * 4 + 2 * 2 * 4 * 2, 0);
  // Weights that read the same tokens.
  const MatmulA8Args one = {.m = 2, .weight = Weight(WeightFormat::kE2m1Free)};
  const MatmulA8Args group[] = {one, one};
  ExpectWork(Work(group), 2 * Work(one).bytes - 2 * (5 + 4),
             2 * Work(one).flop);
}

TEST(OpWorkTest, AMatmulReadsItsInputsOnce) {
  // x 7 x 5, y 7 x 3.
  MatmulArgs args = {.m = 7, .weight = Weight(WeightFormat::kBf16)};
  ExpectWork(Work(args), 35 * 4 + 30 + 21 * 4, 2 * 7 * 3 * 5);
  args.bias = kSome;
  args.residual = kSome;
  ExpectWork(Work(args), 35 * 4 + 30 + 3 * 4 + 2 * 21 * 4, 2 * 7 * 3 * 5);
}

TEST(OpWorkTest, AMatmulOfQuantizedTokensReadsCodesAndScales) {
  MatmulA8Args args = {.m = 7, .weight = Weight(WeightFormat::kE2m1Shift)};
  const int64_t weight = 9 + 3 + 12;
  ExpectWork(Work(args), 35 + 7 * 4 + weight + 21 * 4, 2 * 7 * 3 * 5);
  args.weight.lorc = {.format = ValueFormat::kBf16, .rank = 2};
  ExpectWork(Work(args), 35 + 7 * 4 + weight + 32 + 21 * 4,
             2 * 7 * 3 * 5 + 2 * 7 * 2 * (3 + 5));
}

TEST(OpWorkTest, OpsOverRows) {
  ExpectWork(Work(EmbedArgs{.num_tokens = 3,
                            .model_dim = 10,
                            .table_format = ValueFormat::kBf16}),
             3 * (4 + 20 + 40), 0);
  ExpectWork(Work(AddPositionsArgs{.num_tokens = 3, .model_dim = 10}),
             3 * (4 + 40 + 80), 0);
  ExpectWork(Work(RmsNormArgs{.num_rows = 3, .dim = 10}), 2 * 120 + 40, 0);
  ExpectWork(Work(RmsNormArgs{.num_rows = 3, .dim = 10, .residual = kSome}),
             3 * 120 + 40, 0);
  ExpectWork(Work(LayerNormArgs{.num_rows = 3, .dim = 10}), 2 * 120 + 80, 0);
  ExpectWork(Work(QuantizeTokensArgs{.num_tokens = 3, .dim = 10}),
             120 + 30 + 12, 0);
  ExpectWork(Work(ActivateArgs{.num_tokens = 3, .dim = 10}), 2 * 120, 0);
  ExpectWork(Work(ActivateArgs{.num_tokens = 3, .dim = 10, .up = kSome}),
             3 * 120, 0);
  ExpectWork(Work(SoftcapArgs{.num_rows = 3, .dim = 10}), 2 * 120, 0);
}

TEST(OpWorkTest, RopeLeavesTheDimsBehindTheRotaryOnesAlone) {
  // 3 tokens, 2 heads of which 8 of 10 dims turn; 4 cosines and 4 sines.
  ExpectWork(
      Work(RopeArgs{
          .num_tokens = 3, .num_heads = 2, .head_dim = 10, .rotary_dim = 8}),
      3 * (2 * 2 * 8 * 4 + 8 * 4), 0);
}

// Two sequences: 3 new tokens of 5, 1 of 9.
struct TwoSequences {
  std::vector<int32_t> token_begin = {0, 3, 4};
  std::vector<int32_t> context_len = {5, 9};

  RaggedBatchView view() const {
    RaggedBatchView view = {.num_sequences = 2,
                            .token_begin = token_begin.data(),
                            .context_len = context_len.data()};
    view.Measure();
    return view;
  }
};

TEST(OpWorkTest, StoreKvConvertsNewTokens) {
  const TwoSequences batch;
  StoreKvArgs args = {
      .batch = batch.view(),
      .pages = {
          .format = ValueFormat::kBf16, .num_kv_heads = 2, .head_dim = 10}};
  ExpectWork(Work(args), 4 * 2 * 20 * (4 + 2), 0);
  args.pages.format = ValueFormat::kE4m3;  // a scale per token, head, k or v
  ExpectWork(Work(args), 4 * 2 * (20 * (4 + 1) + 2 * 4), 0);
}

TEST(OpWorkTest, AttentionReadsTheTokensItSees) {
  const TwoSequences batch;
  AttentionArgs args = {
      .batch = batch.view(),
      .num_heads = 6,
      .pages = {
          .format = ValueFormat::kBf16, .num_kv_heads = 2, .head_dim = 10}};
  const int64_t rows = 4 * 60 * 2 * 4;  // q and y
  const int64_t token = 2 * 20 * 2;     // k and v
  // Rows see 3, 4, 5 and 9 tokens; each is a dot and a sum of 60 products.
  ExpectWork(Work(args), rows + (5 + 9) * token, 4 * 60 * (3 + 4 + 5 + 9));
  // A window of 4: rows see 3, 4, 4 and 4, together all 5 and the last 4.
  args.window = 4;
  ExpectWork(Work(args), rows + (5 + 4) * token, 4 * 60 * (3 + 4 + 4 + 4));
  // Of 2: the first sequence's rows see tokens 1..4.
  args.window = 2;
  ExpectWork(Work(args), rows + (4 + 2) * token, 4 * 60 * (2 + 2 + 2 + 2));
  args.window = 100;
  ExpectWork(Work(args), rows + (5 + 9) * token, 4 * 60 * (3 + 4 + 5 + 9));
}

TEST(OpWorkTest, NothingIsNoWork) {
  const int32_t zero[1] = {0};
  ExpectWork(Work(AttentionArgs{.batch = {.token_begin = zero}}), 0, 0);
  ExpectWork(Work(EmbedArgs{}), 0, 0);
  ExpectWork(Work(MatmulArgs{}), 0, 0);
}

}  // namespace
}  // namespace zqfp::kernels
