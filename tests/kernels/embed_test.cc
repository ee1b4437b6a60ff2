// SPDX-License-Identifier: Apache-2.0
// Embed of every backend: rows of the table times a scale, the same bits
// everywhere.
#include "kernels/core/float_formats.h"
#include "tests/kernels/op_test.h"

namespace zqfp::kernels {
namespace {

constexpr int64_t kVocab = 50;

class EmbedTest : public OpTest {
 protected:
  // Token t takes row id[t]; decode() tells what element i of the table means.
  template <typename Code, typename Decode>
  void Check(ValueFormat format, const GuardedArray<Code>& table, int64_t dim,
             int64_t num_tokens, Decode decode, float scale = 1) {
    std::mt19937 random(7);
    GuardedArray<int32_t> id(num_tokens);
    for (int32_t& value : id) value = static_cast<int32_t>(random() % kVocab);
    if (num_tokens > 1) id[1] = kVocab - 1;
    GuardedArray<float> y = Unwritten(num_tokens * dim);
    ops().embed({.num_tokens = num_tokens,
                 .vocab_size = kVocab,
                 .model_dim = dim,
                 .scale = scale,
                 .id = id.data(),
                 .table_format = format,
                 .table = table.data(),
                 .y = y.data()},
                MakeExec({.num_tokens = num_tokens, .k = dim}));
    Wait();
    for (int64_t i = 0; i < y.size(); ++i) {
      const float wanted = scale * decode(table[id[i / dim] * dim + i % dim]);
      ASSERT_EQ(std::bit_cast<uint32_t>(y[i]), std::bit_cast<uint32_t>(wanted))
          << i << " of " << num_tokens << " x " << dim;
    }
  }
};

TEST_P(EmbedTest, EveryFormatAndShape) {
  std::mt19937 random(1);
  for (const int64_t dim : {1, 7, 16, 33, 172, 513}) {
    const GuardedArray<float> f32 = RandomFloats(random, kVocab * dim);
    GuardedArray<uint16_t> bf16(kVocab * dim), f16(kVocab * dim);
    for (int64_t i = 0; i < f32.size(); ++i) {
      bf16[i] = FloatToBf16(f32[i]);
      // A third are subnormal in f16.
      f16[i] = FloatToF16(i % 3 == 0 ? std::ldexp(f32[i], -18) : f32[i]);
    }
    for (const int64_t num_tokens : {0, 1, 2, 65}) {
      Check(ValueFormat::kF32, f32, dim, num_tokens,
            [](float value) { return value; });
      Check(ValueFormat::kBf16, bf16, dim, num_tokens, Bf16ToFloat);
      Check(ValueFormat::kF16, f16, dim, num_tokens, F16ToFloat);
      Check(
          ValueFormat::kF32, f32, dim, num_tokens,
          [](float value) { return value; }, 33.9411f);
      Check(ValueFormat::kBf16, bf16, dim, num_tokens, Bf16ToFloat, 48.0f);
      Check(ValueFormat::kF16, f16, dim, num_tokens, F16ToFloat, 59.75f);
    }
  }
}

ZQFP_FOR_ALL_MACHINES(EmbedTest);

}  // namespace
}  // namespace zqfp::kernels
