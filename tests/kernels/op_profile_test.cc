// SPDX-License-Identifier: Apache-2.0
#include "kernels/op_profile.h"

#include <gtest/gtest.h>

#include <vector>

#include "kernels/reference/reference.h"

namespace zqfp::kernels {
namespace {

TEST(OpProfileTest, PassesCallsOnAndNotesThem) {
  OpProfile profile;
  const OpTable ops = profile.Wrap(kReferenceTable);
  std::vector<float> x = {1, -2, 3, -4};
  ops.activate({.num_tokens = 2,
                .dim = 2,
                .activation = Activation::kRelu,
                .x = x.data(),
                .y = x.data()},
               {});
  EXPECT_EQ(x, (std::vector<float>{1, 0, 3, 0}));
  ops.softcap({.num_rows = 1, .dim = 4, .cap = 1, .x = x.data()}, {});
  ops.softcap({.num_rows = 1, .dim = 2, .cap = 1, .x = x.data()}, {});
  ASSERT_EQ(profile.rows().size(), 2u);
  const OpCalls& activate = profile.rows()[0];
  EXPECT_EQ(activate.op, "activate");
  EXPECT_EQ(activate.calls, 1);
  EXPECT_EQ(activate.work.bytes, 4 * 8);
  EXPECT_FALSE(activate.is_matmul);
  EXPECT_GT(activate.seconds, 0);
  const OpCalls& softcap = profile.rows()[1];
  EXPECT_EQ(softcap.op, "softcap");
  EXPECT_EQ(softcap.calls, 2);
  EXPECT_EQ(softcap.work.bytes, (4 + 2) * 8);
}

TEST(OpProfileTest, EverySlotIsNotedAndAnEmptyOneStaysEmpty) {
  OpProfile profile;
  const OpTable& plain = kReferenceTable;
  const OpTable noted = profile.Wrap(plain);
  EXPECT_NE(noted.embed, plain.embed);
  EXPECT_NE(noted.add_positions, plain.add_positions);
  EXPECT_NE(noted.rms_norm, plain.rms_norm);
  EXPECT_NE(noted.layer_norm, plain.layer_norm);
  EXPECT_NE(noted.quantize_tokens, plain.quantize_tokens);
  EXPECT_NE(noted.matmul, plain.matmul);
  EXPECT_NE(noted.matmul_a8, plain.matmul_a8);
  EXPECT_NE(noted.rope, plain.rope);
  EXPECT_NE(noted.store_kv, plain.store_kv);
  EXPECT_NE(noted.attention, plain.attention);
  EXPECT_NE(noted.activate, plain.activate);
  EXPECT_NE(noted.softcap, plain.softcap);
  EXPECT_EQ(noted.workspace_bytes, plain.workspace_bytes);
  EXPECT_EQ(std::string(noted.name), plain.name);
  EXPECT_EQ(profile.Wrap({}).embed, nullptr);
}

TEST(OpProfileTest, FusedOpsAreNotedByTheirNames) {
  OpProfile profile;
  OpTable plain = {};
  plain.fused.rms_norm_quantize = [](const RmsNormArgs&,
                                     const QuantizeTokensArgs&,
                                     const Exec&) noexcept {};
  plain.fused.matmul_a8_group = [](const MatmulA8Args*, int,
                                   const Exec&) noexcept {};
  plain.fused.quantize_matmul_a8 = [](const RmsNormArgs&, const MatmulA8Args*,
                                      int, const Exec&) noexcept {};
  plain.fused.rope_store_attention =
      [](const HeadNorms&, const RopeArgs&, const RopeArgs&, const StoreKvArgs&,
         const AttentionArgs&, const Exec&) noexcept {};
  const OpTable noted = profile.Wrap(plain);
  EXPECT_EQ(noted.fused.activate_quantize, nullptr);
  EXPECT_EQ(noted.fused.rope_store_kv, nullptr);
  noted.fused.rms_norm_quantize({.num_rows = 1, .dim = 8}, {}, {});
  const uint8_t gate = 0, up = 0, k = 0, v = 0;
  profile.NameWeight({.packed = &gate}, "gate");
  profile.NameWeight({.packed = &up}, "up");
  profile.NameWeight({.packed = &k}, "qkv");
  profile.NameWeight({.packed = &v}, "qkv");
  const auto matmul = [](const void* packed) {
    return MatmulA8Args{.m = 1,
                        .weight = {.format = WeightFormat::kE2m1Shift,
                                   .n = 3,
                                   .k = 5,
                                   .packed = packed}};
  };
  const MatmulA8Args mlp[] = {matmul(&gate), matmul(&up)};
  const MatmulA8Args attention[] = {matmul(&k), matmul(&v)};
  noted.fused.matmul_a8_group(mlp, 2, {});
  noted.fused.matmul_a8_group(attention, 2, {});
  const float weight = 0;
  noted.fused.quantize_matmul_a8({.num_rows = 1, .dim = 5, .weight = &weight},
                                 mlp, 2, {});
  noted.fused.rope_store_attention({}, {}, {}, {}, {}, {});
  ASSERT_EQ(profile.rows().size(), 5u);
  EXPECT_EQ(profile.rows()[0].op, "rms_norm_quantize");
  EXPECT_EQ(profile.rows()[1].op, "matmul_a8");
  EXPECT_EQ(profile.rows()[1].part, "gate+up");
  EXPECT_EQ(profile.rows()[1].work.flop, 2 * 2 * 3 * 5);
  EXPECT_EQ(profile.rows()[2].part, "qkv");
  EXPECT_EQ(profile.rows()[3].op, "quantize_matmul_a8");
  EXPECT_EQ(profile.rows()[3].part, "gate+up");
  EXPECT_EQ(profile.rows()[3].work.flop, 2 * 2 * 3 * 5);
  // The input and the norm's weights as floats instead of codes with a scale.
  EXPECT_EQ(profile.rows()[3].work.bytes - profile.rows()[1].work.bytes,
            2 * 4 * 5 - (5 + 4));
  EXPECT_EQ(profile.rows()[4].op, "rope_store_attention");
}

TEST(OpProfileTest, MatmulsAreApartByFormatAndPart) {
  OpProfile profile;
  const OpTable ops = profile.Wrap(kReferenceTable);
  const std::vector<float> a(6, 1.0f), b(6, 2.0f), x(3, 1.0f);
  const std::vector<uint16_t> c(6, 0);
  profile.NameWeight({.data = a.data()}, "up");
  profile.NameWeight({.data = b.data()}, "up");
  std::vector<float> y(2);
  const auto run = [&](WeightFormat format, const void* data) {
    ops.matmul({.m = 1,
                .x = x.data(),
                .weight = {.format = format, .n = 2, .k = 3, .data = data},
                .y = y.data()},
               {});
  };
  run(WeightFormat::kF32, a.data());
  run(WeightFormat::kF32, b.data());
  EXPECT_EQ(y, (std::vector<float>{6, 6}));
  run(WeightFormat::kBf16, c.data());
  ASSERT_EQ(profile.rows().size(), 2u);
  EXPECT_EQ(profile.rows()[0].part, "up");
  EXPECT_EQ(profile.rows()[0].calls, 2);
  EXPECT_EQ(profile.rows()[0].format, WeightFormat::kF32);
  EXPECT_EQ(profile.rows()[0].work.flop, 2 * 12);
  EXPECT_EQ(profile.rows()[1].part, "");
  EXPECT_EQ(profile.rows()[1].format, WeightFormat::kBf16);
  // Names outlive what was noted.
  profile.Clear();
  EXPECT_TRUE(profile.rows().empty());
  run(WeightFormat::kF32, a.data());
  EXPECT_EQ(profile.rows()[0].part, "up");
}

TEST(OpProfileTest, TheCostOfANoteIsMeasuredWithoutATrace) {
  OpProfile profile;
  const OpTable ops = profile.Wrap(kReferenceTable);
  std::vector<float> x(4, 1.0f);
  ops.softcap({.num_rows = 1, .dim = 4, .cap = 1, .x = x.data()}, {});
  EXPECT_GT(profile.SecondsPerCall(), 0);
  ASSERT_EQ(profile.rows().size(), 1u);
  EXPECT_EQ(profile.rows()[0].calls, 1);
  EXPECT_EQ(profile.ops().matmul_a8, kReferenceTable.matmul_a8);
}

TEST(OpProfileTest, OneAfterTheOther) {
  { OpProfile first; }
  OpProfile second;
  EXPECT_TRUE(second.rows().empty());
}

}  // namespace
}  // namespace zqfp::kernels
