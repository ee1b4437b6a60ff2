// SPDX-License-Identifier: Apache-2.0
// TopLogits of the backends that have it, against a sort.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "absl/types/span.h"
#include "tests/kernels/op_test.h"

namespace zqfp::kernels {
namespace {

class TopLogitsTest : public OpTest {
 protected:
  void Check(const GuardedArray<float>& x, int64_t rows, int64_t dim) {
    GuardedArray<int32_t> id(rows * kTopLogits, 12345);
    GuardedArray<float> logit = Unwritten(rows * kTopLogits);
    GuardedArray<float> mass = Unwritten(rows);
    GuardedArray<float> temperature(rows);
    for (int64_t row = 0; row < rows; ++row) {
      constexpr float kTemperatures[] = {1.0f, 0.0f, 0.1f, 20.0f, 1e-30f};
      temperature[row] = kTemperatures[(row + dim) % 5];
    }
    ops().top_logits({.num_rows = rows,
                      .dim = dim,
                      .x = x.data(),
                      .temperature = temperature.data(),
                      .id = id.data(),
                      .logit = logit.data(),
                      .mass = mass.data()},
                     MakeExec({.num_tokens = rows, .n = dim}));
    Wait();
    for (int64_t row = 0; row < rows; ++row) {
      const float* values = x.data() + row * dim;
      CheckMass({values, static_cast<size_t>(dim)}, temperature[row],
                mass[row]);
      const std::vector<int32_t> wanted = Sorted(values, dim);
      for (int64_t i = 0; i < kTopLogits; ++i) {
        const int32_t found = id[row * kTopLogits + i];
        if (i >= dim) {
          ASSERT_EQ(found, -1) << row << " " << i;
          ASSERT_EQ(logit[row * kTopLogits + i], -kInfinity);
          continue;
        }
        ASSERT_EQ(found, wanted[static_cast<size_t>(i)])
            << "row " << row << " of " << rows << " x " << dim << ", " << i;
        const float value = logit[row * kTopLogits + i];
        EXPECT_TRUE(value == values[found] ||
                    (std::isnan(value) && std::isnan(values[found])));
      }
    }
  }

 private:
  static void CheckMass(absl::Span<const float> values, float temperature,
                        float mass) {
    if (temperature == 0) {
      EXPECT_EQ(mass, 0);
      return;
    }
    const double best = *std::max_element(values.begin(), values.end());
    const bool all_are_numbers =
        std::all_of(values.begin(), values.end(),
                    [](float value) { return value < kInfinity; });
    if (!all_are_numbers) return;
    double wanted = 0;
    for (const float value : values) {
      if (value == -kInfinity) continue;
      wanted += std::exp((value - best) / temperature);
    }
    EXPECT_NEAR(mass, wanted, wanted * kTopMassError)
        << values.size() << " at " << temperature;
  }

  static std::vector<int32_t> Sorted(const float* values, int64_t dim) {
    std::vector<int32_t> ids(static_cast<size_t>(dim));
    std::iota(ids.begin(), ids.end(), 0);
    const auto is_bad = [&](int32_t i) { return !(values[i] < kInfinity); };
    std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) {
      if (is_bad(a) || is_bad(b)) return is_bad(a) && !is_bad(b);
      return values[a] > values[b];
    });
    return ids;
  }
};

// Less than there are winners, one segment, two, and several rounds.
TEST_P(TopLogitsTest, EverySize) {
  std::mt19937 random(1);
  for (const int64_t dim : {1, 63, 64, 65, 2047, 2048, 2049, 5000}) {
    for (const int64_t rows : {1, 3}) {
      Check(RandomFloats(random, rows * dim), rows, dim);
    }
  }
  Check(RandomFloats(random, 70000), 1, 70000);
  Check(RandomFloats(random, 0), 0, 100);
}

// Rows as flat and as steep as rows of logits are, with some that are never
// drawn.
TEST_P(TopLogitsTest, MassOfAnySpread) {
  std::mt19937 random(4);
  for (const float spread : {0.0f, 0.01f, 3.0f, 300.0f, 1e30f}) {
    GuardedArray<float> x = RandomFloats(random, 5 * 4500);
    for (float& value : x) {
      value = random() % 50 == 0 ? -kInfinity : value * spread;
    }
    Check(x, 5, 4500);
  }
}

// The smaller index first, across segments, and -0 is 0.
TEST_P(TopLogitsTest, EqualOnesInOrder) {
  std::mt19937 random(2);
  for (const int64_t dim : {100, 4500}) {
    GuardedArray<float> x(dim);
    for (float& value : x) {
      value = static_cast<float>(static_cast<int>(random() % 5) - 2);
      if (value == 0 && random() % 2 == 0) value = -0.0f;
    }
    Check(x, 1, dim);
    Check(GuardedArray<float>(dim, -kInfinity), 1, dim);
    Check(GuardedArray<float>(dim, -0.0f), 1, dim);
  }
}

TEST_P(TopLogitsTest, WhatIsNoNumberComesFirst) {
  std::mt19937 random(3);
  GuardedArray<float> x = RandomFloats(random, 2 * 4500);
  x[4400] = kNan;
  x[17] = kInfinity;
  x[18] = -kNan;
  x[4500 + 3] = -kInfinity;
  Check(x, 2, 4500);
}

INSTANTIATE_TEST_SUITE_P(Backends, TopLogitsTest,
                         ::testing::ValuesIn(DeviceMachines()), MachineName);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TopLogitsTest);

}  // namespace
}  // namespace zqfp::kernels
