// SPDX-License-Identifier: Apache-2.0
// AddPositions of every backend: one sum a number, the same bits everywhere.
#include <bit>

#include "kernels/core/float_formats.h"
#include "tests/kernels/op_test.h"

namespace zqfp::kernels {
namespace {

constexpr int64_t kPositions = 40;

class AddPositionsTest : public OpTest {
 protected:
  // Token t gets row position[t]; decode() tells what a code means.
  template <typename Code, typename Decode>
  void Check(ValueFormat format, const GuardedArray<Code>& table, int64_t dim,
             int64_t num_tokens, Decode decode) {
    std::mt19937 random(7);
    GuardedArray<int32_t> position(num_tokens);
    for (int32_t& value : position) {
      value = static_cast<int32_t>(random() % kPositions);
    }
    if (num_tokens > 1) position[1] = kPositions - 1;
    GuardedArray<float> x = RandomFloats(random, num_tokens * dim);
    std::vector<float> wanted;
    for (int64_t i = 0; i < x.size(); ++i) {
      wanted.push_back(x[i] + decode(table[position[i / dim] * dim + i % dim]));
    }
    ops().add_positions({.num_tokens = num_tokens,
                         .num_positions = kPositions,
                         .model_dim = dim,
                         .position = position.data(),
                         .table_format = format,
                         .table = table.data(),
                         .x = x.data()},
                        MakeExec({.num_tokens = num_tokens, .k = dim}));
    Wait();
    for (int64_t i = 0; i < x.size(); ++i) {
      ASSERT_EQ(std::bit_cast<uint32_t>(x[i]),
                std::bit_cast<uint32_t>(wanted[static_cast<size_t>(i)]))
          << i << " of " << num_tokens << " x " << dim;
    }
  }
};

TEST_P(AddPositionsTest, EveryFormatAndShape) {
  std::mt19937 random(1);
  for (const int64_t dim : {1, 7, 16, 33, 172, 513}) {
    const GuardedArray<float> f32 = RandomFloats(random, kPositions * dim);
    GuardedArray<uint16_t> bf16(kPositions * dim), f16(kPositions * dim);
    for (int64_t i = 0; i < f32.size(); ++i) {
      bf16[i] = FloatToBf16(f32[i]);
      f16[i] = FloatToF16(f32[i]);
    }
    for (const int64_t num_tokens : {0, 1, 2, 65}) {
      Check(ValueFormat::kF32, f32, dim, num_tokens,
            [](float value) { return value; });
      Check(ValueFormat::kBf16, bf16, dim, num_tokens, Bf16ToFloat);
      Check(ValueFormat::kF16, f16, dim, num_tokens, F16ToFloat);
    }
  }
}

ZQFP_FOR_ALL_MACHINES(AddPositionsTest);

}  // namespace
}  // namespace zqfp::kernels
