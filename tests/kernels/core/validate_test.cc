// SPDX-License-Identifier: Apache-2.0
// Every rule of validate.h has a case that breaks it and nothing else; the
// message names the field.
#include "kernels/core/validate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace zqfp::kernels {
namespace {

using ::testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kTooLarge = (int64_t{1} << 30) + 1;

// Memory that the arguments may point at; Validate reads only ids and tables.
float floats[64];
uint8_t bytes[64];

// One way to break good arguments, and the field the message must name.
template <typename Args>
struct Broken {
  std::string field;
  std::function<void(Args&)> apply;
};

template <typename Args>
void CheckAll(const Args& good, const std::vector<Broken<Args>>& cases) {
  EXPECT_TRUE(Validate(good).ok()) << Validate(good);
  for (const Broken<Args>& broken : cases) {
    Args args = good;
    broken.apply(args);
    const absl::Status status = Validate(args);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument)
        << broken.field;
    EXPECT_THAT(std::string(status.message()), HasSubstr(broken.field));
    EXPECT_THAT(std::string(status.message()), HasSubstr("want"));
  }
}

WeightView GoodWeight(WeightFormat format) {
  return {.format = format,
          .n = 4,
          .k = 40,
          .group_size = 32,
          .data = bytes,
          .row_scale = floats,
          .group_scale = floats,
          .shift = bytes,
          .scale_code = bytes};
}

TEST(ValidateTest, Weight) {
  for (const WeightFormat format :
       {WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kF16,
        WeightFormat::kE4m3, WeightFormat::kE4m3Groups, WeightFormat::kE2m1Free,
        WeightFormat::kE2m1Shift, WeightFormat::kE2m1E4m3}) {
    CheckAll<WeightView>(
        GoodWeight(format),
        {{"weight.n", [](WeightView& w) { w.n = 0; }},
         {"weight.n", [](WeightView& w) { w.n = kTooLarge; }},
         {"weight.k", [](WeightView& w) { w.k = 0; }},
         {"weight.k", [](WeightView& w) { w.k = -8; }},
         {"weight.data", [](WeightView& w) { w.data = nullptr; }}});
  }
}

TEST(ValidateTest, WeightScales) {
  const Broken<WeightView> no_rows = {
      "weight.row_scale", [](WeightView& w) { w.row_scale = nullptr; }};
  const Broken<WeightView> no_groups = {
      "weight.group_scale", [](WeightView& w) { w.group_scale = nullptr; }};
  const Broken<WeightView> no_shift = {
      "weight.shift", [](WeightView& w) { w.shift = nullptr; }};
  CheckAll<WeightView>(GoodWeight(WeightFormat::kE4m3), {no_rows});
  CheckAll<WeightView>(GoodWeight(WeightFormat::kE2m1Free), {no_groups});
  CheckAll<WeightView>(GoodWeight(WeightFormat::kE2m1Shift),
                       {no_rows, no_shift});
  CheckAll<WeightView>(GoodWeight(WeightFormat::kE4m3Groups),
                       {no_groups, {"weight.scale_rows", [](WeightView& w) {
                                      w.scale_rows = 0;
                                    }}});
  CheckAll<WeightView>(
      GoodWeight(WeightFormat::kE2m1E4m3),
      {{"weight.scale_code", [](WeightView& w) { w.scale_code = nullptr; }}});
  // What a format does not use may be missing.
  WeightView plain = {.n = 1, .k = 1, .data = bytes};
  EXPECT_TRUE(Validate(plain).ok());
}

TEST(ValidateTest, WeightGroupSize) {
  for (const WeightFormat format :
       {WeightFormat::kE4m3Groups, WeightFormat::kE2m1Free,
        WeightFormat::kE2m1Shift, WeightFormat::kE2m1E4m3}) {
    WeightView weight = GoodWeight(format);
    for (const int64_t size : {32, 64, 128, 256}) {
      weight.group_size = size;
      EXPECT_TRUE(Validate(weight).ok()) << size;
    }
    for (const int64_t size : {-32, 0, 1, 8, 33, 96, 512}) {
      weight.group_size = size;
      EXPECT_THAT(std::string(Validate(weight).message()),
                  HasSubstr("weight.group_size"));
    }
    weight.group_size = 16;
    EXPECT_EQ(Validate(weight).ok(), format == WeightFormat::kE2m1E4m3);
  }
}

TEST(ValidateTest, WeightLorc) {
  for (const WeightFormat format :
       {WeightFormat::kE4m3, WeightFormat::kE2m1Free,
        WeightFormat::kE2m1Shift}) {
    WeightView good = GoodWeight(format);
    good.lorc = {.format = ValueFormat::kE4m3,
                 .rank = kMaxLorcRank,
                 .u = bytes,
                 .v = bytes,
                 .u_scale = floats,
                 .v_scale = floats};
    CheckAll<WeightView>(
        good,
        {{"lorc.rank", [](WeightView& w) { w.lorc.rank = -1; }},
         {"lorc.rank", [](WeightView& w) { w.lorc.rank = kMaxLorcRank + 1; }},
         {"lorc.u", [](WeightView& w) { w.lorc.u = nullptr; }},
         {"lorc.v", [](WeightView& w) { w.lorc.v = nullptr; }},
         {"lorc.u_scale", [](WeightView& w) { w.lorc.u_scale = nullptr; }},
         {"lorc.v_scale", [](WeightView& w) { w.lorc.v_scale = nullptr; }},
         {"lorc.format",
          [](WeightView& w) { w.lorc.format = ValueFormat::kF32; }}});
    good.lorc.format = ValueFormat::kBf16;  // needs no scales
    good.lorc.u_scale = good.lorc.v_scale = nullptr;
    EXPECT_TRUE(Validate(good).ok());
  }
}

TEST(ValidateTest, Embed) {
  static int32_t ids[] = {0, 9};
  static int32_t high[] = {0, 10};
  static int32_t negative[] = {-1, 0};
  const EmbedArgs good = {.num_tokens = 2,
                          .vocab_size = 10,
                          .model_dim = 4,
                          .id = ids,
                          .table = floats,
                          .y = floats};
  CheckAll<EmbedArgs>(good,
                      {{"num_tokens", [](EmbedArgs& a) { a.num_tokens = -1; }},
                       {"vocab_size", [](EmbedArgs& a) { a.vocab_size = 0; }},
                       {"model_dim", [](EmbedArgs& a) { a.model_dim = 0; }},
                       {"embed.scale", [](EmbedArgs& a) { a.scale = kNan; }},
                       {"embed.table", [](EmbedArgs& a) { a.table = nullptr; }},
                       {"embed.id", [](EmbedArgs& a) { a.id = nullptr; }},
                       {"embed.id", [](EmbedArgs& a) { a.id = high; }},
                       {"embed.id", [](EmbedArgs& a) { a.id = negative; }},
                       {"embed.y", [](EmbedArgs& a) { a.y = nullptr; }}});
}

TEST(ValidateTest, RmsNorm) {
  const RmsNormArgs good = {.num_rows = 2,
                            .dim = 4,
                            .epsilon = 1e-5f,
                            .x = floats,
                            .weight = floats,
                            .y = floats};
  CheckAll<RmsNormArgs>(
      good, {{"num_rows", [](RmsNormArgs& a) { a.num_rows = -1; }},
             {"dim", [](RmsNormArgs& a) { a.dim = 0; }},
             {"epsilon", [](RmsNormArgs& a) { a.epsilon = -1e-6f; }},
             {"epsilon", [](RmsNormArgs& a) { a.epsilon = 1; }},
             {"epsilon", [](RmsNormArgs& a) { a.epsilon = kNan; }},
             {"rms_norm.x", [](RmsNormArgs& a) { a.x = nullptr; }},
             {"rms_norm.weight", [](RmsNormArgs& a) { a.weight = nullptr; }},
             {"rms_norm.y", [](RmsNormArgs& a) { a.y = nullptr; }}});
}

TEST(ValidateTest, QuantizeTokens) {
  using Args = QuantizeTokensArgs;
  const Args good = {
      .num_tokens = 2, .dim = 4, .x = floats, .q = bytes, .scale = floats};
  CheckAll<Args>(good,
                 {{"num_tokens", [](Args& a) { a.num_tokens = kTooLarge; }},
                  {"dim", [](Args& a) { a.dim = 0; }},
                  {"quantize_tokens.x", [](Args& a) { a.x = nullptr; }},
                  {"quantize_tokens.q", [](Args& a) { a.q = nullptr; }},
                  {"scale", [](Args& a) { a.scale = nullptr; }}});
}

TEST(ValidateTest, Matmul) {
  using Args = MatmulArgs;
  const Args good = {.m = 2,
                     .x = floats,
                     .weight = GoodWeight(WeightFormat::kBf16),
                     .y = floats};
  CheckAll<Args>(
      good, {{"m", [](Args& a) { a.m = -1; }},
             {"matmul.x", [](Args& a) { a.x = nullptr; }},
             {"y", [](Args& a) { a.y = nullptr; }},
             {"weight.n", [](Args& a) { a.weight.n = 0; }},
             {"weight.lorc.rank", [](Args& a) { a.weight.lorc.rank = 8; }}});
  for (const WeightFormat format :
       {WeightFormat::kF32, WeightFormat::kF16, WeightFormat::kE4m3,
        WeightFormat::kE2m1Free, WeightFormat::kE2m1Shift}) {
    Args args = good;
    args.weight = GoodWeight(format);
    EXPECT_TRUE(Validate(args).ok());
  }
}

TEST(ValidateTest, MatmulA8) {
  using Args = MatmulA8Args;
  const Args good = {.m = 2,
                     .x = {bytes, floats},
                     .weight = GoodWeight(WeightFormat::kE2m1Shift),
                     .y = floats};
  CheckAll<Args>(
      good,
      {{"m", [](Args& a) { a.m = -1; }},
       {"x.data", [](Args& a) { a.x.data = nullptr; }},
       {"x.scale", [](Args& a) { a.x.scale = nullptr; }},
       {"y", [](Args& a) { a.y = nullptr; }},
       {"weight.shift", [](Args& a) { a.weight.shift = nullptr; }},
       {"format", [](Args& a) { a.weight.format = WeightFormat::kF32; }},
       {"format", [](Args& a) { a.weight.format = WeightFormat::kBf16; }},
       {"format", [](Args& a) { a.weight.format = WeightFormat::kF16; }}});
}

TEST(ValidateTest, Rope) {
  using Args = RopeArgs;
  const Args good = {.num_tokens = 2,
                     .num_heads = 2,
                     .head_dim = 8,
                     .rotary_dim = 6,
                     .cos = floats,
                     .sin = floats,
                     .x = floats};
  CheckAll<Args>(good, {{"num_tokens", [](Args& a) { a.num_tokens = -1; }},
                        {"num_heads", [](Args& a) { a.num_heads = 0; }},
                        {"head_dim", [](Args& a) { a.head_dim = 0; }},
                        {"rotary_dim", [](Args& a) { a.rotary_dim = 0; }},
                        {"rotary_dim", [](Args& a) { a.rotary_dim = 5; }},
                        {"rotary_dim", [](Args& a) { a.rotary_dim = 10; }},
                        {"rope.cos", [](Args& a) { a.cos = nullptr; }},
                        {"rope.sin", [](Args& a) { a.sin = nullptr; }},
                        {"rope.x", [](Args& a) { a.x = nullptr; }}});
}

TEST(ValidateTest, AddPositions) {
  using Args = AddPositionsArgs;
  static const int32_t positions[] = {0, 4}, outside[] = {1, 5};
  static const int32_t negative[] = {1, -1};
  const Args good = {.num_tokens = 2,
                     .num_positions = 5,
                     .model_dim = 4,
                     .position = positions,
                     .table = floats,
                     .x = floats};
  CheckAll<Args>(good, {{"num_tokens", [](Args& a) { a.num_tokens = -1; }},
                        {"num_positions", [](Args& a) { a.num_positions = 0; }},
                        {"model_dim", [](Args& a) { a.model_dim = 0; }},
                        {"table", [](Args& a) { a.table = nullptr; }},
                        {"position", [](Args& a) { a.position = nullptr; }},
                        {"found 5", [](Args& a) { a.position = outside; }},
                        {"found -1", [](Args& a) { a.position = negative; }},
                        {"add_positions.x", [](Args& a) { a.x = nullptr; }}});
}

TEST(ValidateTest, LayerNorm) {
  using Args = LayerNormArgs;
  const Args good = {.num_rows = 2,
                     .dim = 4,
                     .epsilon = 1e-5f,
                     .x = floats,
                     .weight = floats,
                     .bias = floats,
                     .y = floats};
  CheckAll<Args>(good, {{"num_rows", [](Args& a) { a.num_rows = -1; }},
                        {"dim", [](Args& a) { a.dim = 0; }},
                        {"layer_norm.x", [](Args& a) { a.x = nullptr; }},
                        {"weight", [](Args& a) { a.weight = nullptr; }},
                        {"bias", [](Args& a) { a.bias = nullptr; }},
                        {"layer_norm.y", [](Args& a) { a.y = nullptr; }},
                        {"epsilon", [](Args& a) { a.epsilon = -1; }}});
}

TEST(ValidateTest, Activate) {
  using Args = ActivateArgs;
  const Args good = {.num_tokens = 2, .dim = 4, .x = floats, .y = floats};
  CheckAll<Args>(good, {{"num_tokens", [](Args& a) { a.num_tokens = -1; }},
                        {"dim", [](Args& a) { a.dim = 0; }},
                        {"activate.x", [](Args& a) { a.x = nullptr; }},
                        {"activate.y", [](Args& a) { a.y = nullptr; }}});
}

TEST(ValidateTest, Softcap) {
  using Args = SoftcapArgs;
  const Args good = {.num_rows = 2, .dim = 4, .cap = 30, .x = floats};
  CheckAll<Args>(good, {{"num_rows", [](Args& a) { a.num_rows = -1; }},
                        {"dim", [](Args& a) { a.dim = 0; }},
                        {"cap", [](Args& a) { a.cap = 0; }},
                        {"cap", [](Args& a) { a.cap = kInfinity; }},
                        {"softcap.x", [](Args& a) { a.x = nullptr; }}});
}

// An empty step is valid, with no memory behind it.
TEST(ValidateTest, NoTokensNeedNoPointers) {
  EXPECT_TRUE(
      Validate(EmbedArgs{.vocab_size = 1, .model_dim = 1, .table = floats})
          .ok());
  EXPECT_TRUE(Validate(RmsNormArgs{.dim = 1, .weight = floats}).ok());
  EXPECT_TRUE(Validate(QuantizeTokensArgs{.dim = 1}).ok());
  EXPECT_TRUE(
      Validate(MatmulArgs{.weight = GoodWeight(WeightFormat::kF32)}).ok());
  EXPECT_TRUE(Validate(ActivateArgs{.dim = 1}).ok());
  EXPECT_TRUE(Validate(SoftcapArgs{.dim = 1, .cap = 1}).ok());
}

// --- pages and batches ------------------------------------------------------

KvPagesView GoodPages(ValueFormat format) {
  return {.format = format,
          .num_pages = 6,
          .num_kv_heads = 2,
          .page_size = 4,
          .head_dim = 8,
          .k = bytes,
          .v = bytes,
          .k_scale = floats,
          .v_scale = floats};
}

const int32_t kTokenBegin[] = {0, 3, 4};
const int32_t kContextLen[] = {3, 9};
// The spare entries are out of range; nobody may look at them.
const int32_t kPageTable[] = {5, -1, -1, 99, 0, 2, 4, 99};

RaggedBatchView GoodBatch() {
  RaggedBatchView view = {.num_sequences = 2,
                          .token_begin = kTokenBegin,
                          .context_len = kContextLen,
                          .page_table = kPageTable,
                          .page_table_stride = 4};
  view.Measure();
  return view;
}

TEST(ValidateTest, KvPages) {
  using Args = KvPagesView;
  for (const ValueFormat format :
       {ValueFormat::kF32, ValueFormat::kBf16, ValueFormat::kE4m3}) {
    CheckAll<Args>(
        GoodPages(format),
        {{"num_pages", [](Args& a) { a.num_pages = 0; }},
         {"num_kv_heads", [](Args& a) { a.num_kv_heads = 0; }},
         {"page_size", [](Args& a) { a.page_size = 0; }},
         {"head_dim", [](Args& a) { a.head_dim = 0; }},
         {"head_dim", [](Args& a) { a.head_dim = kMaxHeadDim + 1; }},
         {"pages.k", [](Args& a) { a.k = nullptr; }},
         {"pages.v", [](Args& a) { a.v = nullptr; }},
         {"pages.format", [](Args& a) { a.format = ValueFormat::kF16; }}});
  }
  CheckAll<Args>(GoodPages(ValueFormat::kE4m3),
                 {{"k_scale", [](Args& a) { a.k_scale = nullptr; }},
                  {"v_scale", [](Args& a) { a.v_scale = nullptr; }}});
}

TEST(ValidateTest, StoreKv) {
  using Args = StoreKvArgs;
  const Args good = {.batch = GoodBatch(),
                     .k = floats,
                     .v = floats,
                     .pages = GoodPages(ValueFormat::kE4m3)};
  CheckAll<Args>(
      good, {{"store_kv.k", [](Args& a) { a.k = nullptr; }},
             {"store_kv.v", [](Args& a) { a.v = nullptr; }},
             {"pages.k", [](Args& a) { a.pages.k = nullptr; }},
             {"num_sequences", [](Args& a) { a.batch.num_sequences = -1; }}});
}

TEST(ValidateTest, Attention) {
  using Args = AttentionArgs;
  const Args good = {.batch = GoodBatch(),
                     .num_heads = 4,
                     .scale = 0.5f,
                     .q = floats,
                     .pages = GoodPages(ValueFormat::kBf16),
                     .y = floats};
  CheckAll<Args>(good, {{"num_heads", [](Args& a) { a.num_heads = 0; }},
                        {"num_heads", [](Args& a) { a.num_heads = 3; }},
                        {"window", [](Args& a) { a.window = -1; }},
                        {"scale", [](Args& a) { a.scale = 0; }},
                        {"scale", [](Args& a) { a.scale = kNan; }},
                        {"softcap", [](Args& a) { a.softcap = -1; }},
                        {"softcap", [](Args& a) { a.softcap = kNan; }},
                        {"attention.q", [](Args& a) { a.q = nullptr; }},
                        {"attention.y", [](Args& a) { a.y = nullptr; }}});
}

TEST(ValidateTest, Batch) {
  static const int32_t late[] = {1, 3, 4};
  static const int32_t descending[] = {0, 3, 2};
  static const int32_t shorter[] = {2, 9};
  static const int32_t negative[] = {3, -9};
  static const int32_t long_context[] = {3, 17};
  static const int32_t beyond[] = {6, -1, -1, 99, 0, 2, 4, 99};
  static const int32_t unowned[] = {5, -1, -1, 99, 0, 2, -1, 99};
  using View = RaggedBatchView;
  const std::vector<Broken<View>> cases = {
      {"token_begin", [](View& b) { b.token_begin = nullptr; }},
      {"token_begin[0]", [](View& b) { b.token_begin = late; }},
      {"token_begin", [](View& b) { b.token_begin = descending; }},
      {"context_len", [](View& b) { b.context_len = nullptr; }},
      {"context_len", [](View& b) { b.context_len = shorter; }},
      {"context_len", [](View& b) { b.context_len = negative; }},
      {"num_tokens", [](View& b) { b.num_tokens = 3; }},
      {"num_tokens", [](View& b) { b.most_tokens = 4; }},
      {"num_tokens", [](View& b) { b.longest_context = 3; }},
      {"page_table_stride", [](View& b) { b.context_len = long_context; }},
      {"page_table_stride", [](View& b) { b.page_table_stride = 2; }},
      {"page_table", [](View& b) { b.page_table = nullptr; }},
      {"page_table", [](View& b) { b.page_table = beyond; }},
      {"page_table", [](View& b) { b.page_table = unowned; }}};
  const KvPagesView pages = GoodPages(ValueFormat::kBf16);
  EXPECT_TRUE(Validate(GoodBatch(), pages).ok())
      << Validate(GoodBatch(), pages);
  for (const Broken<View>& broken : cases) {
    View batch = GoodBatch();
    broken.apply(batch);
    const absl::Status status = Validate(batch, pages);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(broken.field));
  }
  EXPECT_TRUE(Validate(View{}, pages).ok()) << "an empty batch";
}

}  // namespace
}  // namespace zqfp::kernels
