// SPDX-License-Identifier: Apache-2.0
// QuantizeTokens: the same bits on every backend, and the bits of its card.
#include "kernels/core/float_formats.h"
#include "tests/kernels/op_test.h"

namespace zqfp::kernels {
namespace {

struct Quantized {
  std::vector<uint8_t> codes;
  std::vector<uint32_t> scale_bits;
  bool operator==(const Quantized&) const = default;
};

// The card, in plain words; a non-finite row's codes do not matter but for
// being the NaN that x / NaN is.
Quantized ByCard(const GuardedArray<float>& x, int64_t num_tokens,
                 int64_t dim) {
  Quantized result;
  for (int64_t t = 0; t < num_tokens; ++t) {
    float amax = 0;
    bool finite = true;
    for (int64_t i = 0; i < dim; ++i) {
      const float magnitude = std::fabs(x[t * dim + i]);
      finite = finite && std::isfinite(magnitude);
      if (magnitude > amax) amax = magnitude;
    }
    float scale = amax / 448.0f;
    if (scale == 0) scale = 1;
    if (!finite) scale = kNan;
    result.scale_bits.push_back(finite ? std::bit_cast<uint32_t>(scale) : 0);
    for (int64_t i = 0; i < dim; ++i) {
      const float ratio = x[t * dim + i] / scale;
      result.codes.push_back(finite ? FloatToE4m3(ratio) : 0x7f);
    }
  }
  return result;
}

class QuantizeTokensTest : public OpTest {
 protected:
  Quantized Run(const GuardedArray<float>& x, int64_t num_tokens, int64_t dim) {
    GuardedArray<uint8_t> q(num_tokens * dim, 0xaa);
    GuardedArray<float> scale = Unwritten(num_tokens);
    ops().quantize_tokens({.num_tokens = num_tokens,
                           .dim = dim,
                           .x = x.data(),
                           .q = q.data(),
                           .scale = scale.data()},
                          MakeExec({.num_tokens = num_tokens, .k = dim}));
    Wait();
    Quantized result = {q.ToVector(), {}};
    for (const float value : scale) {
      result.scale_bits.push_back(
          std::isnan(value) ? 0 : std::bit_cast<uint32_t>(value));
    }
    return result;
  }

  void Check(const GuardedArray<float>& x, int64_t num_tokens, int64_t dim) {
    const Quantized found = Run(x, num_tokens, dim);
    const Quantized wanted = ByCard(x, num_tokens, dim);
    EXPECT_EQ(found.scale_bits, wanted.scale_bits);
    for (size_t i = 0; i < wanted.codes.size(); ++i) {
      ASSERT_EQ(int{found.codes[i]}, int{wanted.codes[i]})
          << "element " << i << " of " << num_tokens << " x " << dim << ", x "
          << x[static_cast<int64_t>(i)];
    }
  }
};

TEST_P(QuantizeTokensTest, EveryShapeBitForBit) {
  std::mt19937 random(1);
  for (const int64_t num_tokens : {0, 1, 2, 5, 33}) {
    for (const int64_t dim : {1, 2, 15, 16, 17, 31, 33, 64, 127, 172, 1000}) {
      Check(RandomFloats(random, num_tokens * dim), num_tokens, dim);
    }
  }
  Check(RandomFloats(random, 70 * 2112), 70, 2112);
}

// Rows of every magnitude, subnormals and the largest numbers included, with
// elements spread over many powers of two, so that the e4m3 subnormals and
// the zeros below them are met.
TEST_P(QuantizeTokensTest, EveryMagnitudeBitForBit) {
  std::mt19937 random(2);
  std::uniform_int_distribution<int> spread(-22, 0);
  for (int exponent = -148; exponent <= 125; ++exponent) {
    GuardedArray<float> x = RandomFloats(random, 67);
    for (float& value : x) {
      value = std::ldexp(value, exponent + spread(random));
    }
    Check(x, 1, 67);
  }
  GuardedArray<float> largest(37, std::numeric_limits<float>::max());
  Check(largest, 1, 37);
}

// Row maximum 448 gives scale 1: the codes are then the rounding itself, here
// of every midpoint between e4m3 neighbours and the f32 on both sides of it.
TEST_P(QuantizeTokensTest, TiesGoToTheEvenCode) {
  std::vector<float> values = {448};
  for (int code = 0; code < 0x7e; ++code) {
    const float middle = (E4m3ToFloat(static_cast<uint8_t>(code)) +
                          E4m3ToFloat(static_cast<uint8_t>(code + 1))) /
                         2;
    for (const float x : {middle, std::nextafterf(middle, 0),
                          std::nextafterf(middle, kInfinity)}) {
      values.push_back(x);
      values.push_back(-x);
    }
  }
  const int64_t dim = static_cast<int64_t>(values.size());
  const Quantized found = Run(values, 1, dim);
  EXPECT_EQ(found.scale_bits[0], std::bit_cast<uint32_t>(1.0f));
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(int{found.codes[i]}, int{FloatToE4m3(values[i])}) << values[i];
  }
}

TEST_P(QuantizeTokensTest, ZeroRowsHaveScaleOne) {
  GuardedArray<float> x(3 * 40);
  x[50] = -0.0f;
  const Quantized found = Run(x, 3, 40);
  for (const uint32_t bits : found.scale_bits) EXPECT_EQ(bits, 0x3f800000u);
  for (int i = 0; i < 120; ++i) EXPECT_EQ(found.codes[i], i == 50 ? 0x80 : 0);
}

TEST_P(QuantizeTokensTest, NonFiniteRowsHaveScaleNan) {
  for (const float poison : {kNan, -kNan, kInfinity, -kInfinity}) {
    for (const int64_t at : {0, 15, 16, 32, 36}) {
      std::mt19937 random(3);
      GuardedArray<float> x = RandomFloats(random, 3 * 37);
      x[37 + at] = poison;
      const Quantized found = Run(x, 3, 37);
      const Quantized wanted = ByCard(x, 3, 37);
      EXPECT_EQ(found.scale_bits, wanted.scale_bits) << poison << " at " << at;
      EXPECT_EQ(found.scale_bits[1], 0u);
      // The neighbours are as if nothing had happened.
      for (const int i : {0, 36, 74, 110}) {
        EXPECT_EQ(found.codes[i], wanted.codes[i]);
      }
    }
  }
}

ZQFP_FOR_ALL_MACHINES(QuantizeTokensTest);

}  // namespace
}  // namespace zqfp::kernels
