// SPDX-License-Identifier: Apache-2.0
// Every format against a search over all of its codes in f64.
#include "models/quantize/weight_grid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>

#include "tests/models/exact_formats.h"

namespace zqfp {
namespace {

using kernels::ThreadPool;
using testing::E2m1Magnitudes;
using testing::E4m3Magnitudes;

constexpr GridFormat kFormats[] = {GridFormat::kE2m1, GridFormat::kE4m3,
                                   GridFormat::kInt4, GridFormat::kInt8};
constexpr ScaleConstraint kConstraints[] = {
    ScaleConstraint::kFree, ScaleConstraint::kM1, ScaleConstraint::kM2};

struct Code {
  int code;
  double units;  // of the step
};

// All codes of a format; `zero` is that of an integer's group.
std::vector<Code> AllCodes(GridFormat format, double zero) {
  std::vector<Code> codes;
  if (IsInteger(format)) {
    const int levels = format == GridFormat::kInt4 ? 15 : 255;
    for (int code = 0; code <= levels; ++code) {
      codes.push_back({code, code - zero});
    }
    return codes;
  }
  const bool e2m1 = format == GridFormat::kE2m1;
  const std::vector<double> values = e2m1 ? E2m1Magnitudes() : E4m3Magnitudes();
  for (int i = 0; i < static_cast<int>(values.size()); ++i) {
    codes.push_back({i, values[i]});
    codes.push_back({i | (e2m1 ? 8 : 0x80), -values[i]});
  }
  return codes;
}

// A grid of one row and one group.
WeightGrid OneStep(GridFormat format, float step, float zero = 0) {
  WeightGrid grid = {.format = format, .n = 1, .k = 1, .group_size = 1};
  grid.step = {step};
  grid.zero = {zero};
  return grid;
}

struct Rounded {
  int code = -1;
  float value = 0;
};

Rounded RoundOne(const WeightGrid& grid, float w) {
  uint8_t code = 0xee;
  Rounded result;
  grid.Round(0, 0, 1, &w, &code, &result.value);
  result.code = code;
  return result;
}

GridOptions Options(GridFormat format, ScaleConstraint constraint,
                    int64_t group_size = 32) {
  return {format, {group_size, constraint, ScaleRounding::kSearch}};
}

// Heavy tails; even rows have a mean far from 0.
std::vector<float> RandomWeights(int64_t n, int64_t k, uint32_t seed) {
  std::mt19937 random(seed);
  std::student_t_distribution<float> value(4.0f);
  std::vector<float> weights;
  for (int64_t i = 0; i < n * k; ++i) {
    weights.push_back(0.02f * (value(random) + (i / k % 2 == 0 ? 3.0f : 0)));
  }
  return weights;
}

// Quotients may be a rounding away from those in f64: a weight that near to
// the middle of two codes may take either.
void ExpectNearest(const WeightGrid& grid, float w, const Rounded& found) {
  const double step = grid.step[0];
  double least = INFINITY;
  bool known = false;
  for (const Code& c : AllCodes(grid.format, grid.zero[0])) {
    least = std::min(least, std::fabs(c.units * step - w));
    if (c.code != found.code) continue;
    known = true;
    EXPECT_EQ(found.value, static_cast<float>(c.units * step));
  }
  ASSERT_TRUE(known) << "code " << found.code;
  EXPECT_LE(std::fabs(double{found.value} - w),
            least + std::ldexp(std::fabs(w) + 256 * step, -23))
      << ToString(grid.format) << " step " << step << " w " << w;
}

TEST(WeightGridTest, EveryWeightTakesItsNearestCode) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> wide(-1.3f, 1.3f), octave(-30, 30);
  for (const GridFormat format : kFormats) {
    const std::vector<Code> codes = AllCodes(format, 0);
    const double largest =
        std::max_element(codes.begin(), codes.end(), [](auto& a, auto& b) {
          return a.units < b.units;
        })->units;
    for (int trial = 0; trial < 3000; ++trial) {
      const float step = std::exp2(octave(random));
      const float zero =
          IsInteger(format)
              ? static_cast<float>(random() % static_cast<uint32_t>(largest))
              : 0.0f;
      const WeightGrid grid = OneStep(format, step, zero);
      // Beyond both ends of the grid too; small ones among them.
      float w = static_cast<float>(wide(random) * largest * step);
      if (trial % 3 == 0) w *= 0.01f;
      ExpectNearest(grid, w, RoundOne(grid, w));
    }
  }
}

// Steps are powers of two: the middles of two codes are f32 numbers.
TEST(WeightGridTest, TiesGoToEven) {
  for (const GridFormat format : {GridFormat::kE2m1, GridFormat::kE4m3}) {
    const bool e2m1 = format == GridFormat::kE2m1;
    const auto values = e2m1 ? E2m1Magnitudes() : E4m3Magnitudes();
    for (const float step : {0x1p-20f, 1.0f, 0x1p9f}) {
      const WeightGrid grid = OneStep(format, step);
      for (int i = 0; i + 1 < static_cast<int>(values.size()); ++i) {
        const int even = i % 2 == 0 ? i : i + 1;
        const double middle = step * (values[i] + values[i + 1]) / 2;
        const Rounded up = RoundOne(grid, static_cast<float>(middle));
        EXPECT_EQ(up.code, even) << ToString(format) << " after " << i;
        EXPECT_EQ(up.value, step * values[even]);
        const Rounded down = RoundOne(grid, static_cast<float>(-middle));
        EXPECT_EQ(down.code, even | (e2m1 ? 8 : 0x80));
        EXPECT_EQ(down.value, -step * values[even]);
        // The next float on either side is no tie.
        EXPECT_EQ(
            RoundOne(grid, std::nextafter(static_cast<float>(middle), 0.0f))
                .code,
            i);
        EXPECT_EQ(
            RoundOne(grid, std::nextafter(static_cast<float>(middle), 1e9f))
                .code,
            i + 1);
      }
    }
  }
}

// Of integers the quotient is even: round(w / s) + z.
TEST(WeightGridTest, TiesOfIntegersGoToTheEvenQuotient) {
  for (const GridFormat format : {GridFormat::kInt4, GridFormat::kInt8}) {
    for (const float zero : {5.0f, 6.0f}) {
      const WeightGrid grid = OneStep(format, 0.25f, zero);
      for (int q = -4; q < 5; ++q) {
        const int even = q % 2 == 0 ? q : q + 1;
        const Rounded found =
            RoundOne(grid, 0.25f * (static_cast<float>(q) + 0.5f));
        EXPECT_EQ(found.code, even + static_cast<int>(zero)) << q;
        EXPECT_EQ(found.value, 0.25f * static_cast<float>(even));
      }
    }
  }
}

TEST(WeightGridTest, SaturatesAtTheEnds) {
  struct Case {
    GridFormat format;
    float zero;
    int low, high;  // codes
    float least, largest;
  };
  for (const Case& c : {Case{GridFormat::kE2m1, 0, 15, 7, -6, 6},
                        Case{GridFormat::kE4m3, 0, 0xfe, 0x7e, -448, 448},
                        Case{GridFormat::kInt4, 3, 0, 15, -3, 12},
                        Case{GridFormat::kInt8, 200, 0, 255, -200, 55}}) {
    for (const float step : {0x1p-60f, 1.0f, 0x1p60f}) {
      const WeightGrid grid = OneStep(c.format, step, c.zero);
      for (const float far : {1.01f, 2.0f, 1e6f, 1e18f}) {
        const Rounded low = RoundOne(grid, c.least * step * far);
        EXPECT_EQ(low.code, c.low) << ToString(c.format) << " " << far;
        EXPECT_EQ(low.value, c.least * step);
        const Rounded high = RoundOne(grid, c.largest * step * far);
        EXPECT_EQ(high.code, c.high) << ToString(c.format) << " " << far;
        EXPECT_EQ(high.value, c.largest * step);
      }
    }
  }
}

TEST(WeightGridTest, RoundsOnlyTheRowsItIsAskedFor) {
  for (const GridFormat format : kFormats) {
    WeightGrid grid = EmptyGrid(Options(format, ScaleConstraint::kFree), 6, 64);
    for (float& step : grid.step) step = 1;
    const std::vector<float> w(6, 2.0f);
    std::vector<uint8_t> code(6, 0xee);
    std::vector<float> value(6, -7.0f);
    grid.Round(grid.num_groups() - 1, 2, 5, w.data(), code.data(),
               value.data());
    for (size_t i = 0; i < 6; ++i) {
      const bool within = i >= 2 && i < 5;
      EXPECT_EQ(value[i], within ? 2.0f : -7.0f);
      EXPECT_EQ(code[i] == 0xee, !within);
    }
  }
}

TEST(WeightGridTest, EmptyGridHasRoomForWhatItsFormatNeeds) {
  const int64_t n = 5, k = 100, groups = 4;  // the last group has 4 columns
  for (const ScaleConstraint constraint : kConstraints) {
    const bool shifts = constraint != ScaleConstraint::kFree;
    const WeightGrid grid =
        EmptyGrid(Options(GridFormat::kE2m1, constraint), n, k);
    EXPECT_EQ(grid.num_groups(), groups);
    EXPECT_EQ(grid.step.size(), groups * n);
    EXPECT_EQ(grid.row_scale.size(), shifts ? n : 0);
    EXPECT_EQ(grid.shift.size(), shifts ? groups * n : 0);
    EXPECT_TRUE(grid.zero.empty());
    // Only e2m1 has constraints.
    const WeightGrid e4m3 =
        EmptyGrid(Options(GridFormat::kE4m3, constraint), n, k);
    EXPECT_EQ(e4m3.num_groups(), 1);
    EXPECT_EQ(e4m3.step.size(), n);
    EXPECT_TRUE(e4m3.shift.empty() && e4m3.zero.empty());
    const WeightGrid int4 =
        EmptyGrid(Options(GridFormat::kInt4, constraint), n, k);
    EXPECT_EQ(int4.step.size(), groups * n);
    EXPECT_EQ(int4.zero.size(), groups * n);
    EXPECT_TRUE(int4.shift.empty());
  }
}

// s = (max - min) / levels with both widened to hold 0, z = round(-min / s).
TEST(WeightGridTest, IntegerStepsAreTheRangeOfTheirGroup) {
  const int64_t n = 6, k = 100, group_size = 32;
  ThreadPool pool(2);
  for (const GridFormat format : {GridFormat::kInt4, GridFormat::kInt8}) {
    const double levels = format == GridFormat::kInt4 ? 15 : 255;
    const std::vector<float> w = RandomWeights(n, k, 2);
    const WeightGrid grid =
        ChooseGrid(Options(format, ScaleConstraint::kM2), w, k, {}, pool);
    for (int64_t at = 0; at < 4 * n; ++at) {
      const int64_t group = at / n, row = at % n;
      double low = 0, high = 0;
      for (int64_t i = group * group_size;
           i < std::min(k, (group + 1) * group_size); ++i) {
        low = std::min<double>(low, w[row * k + i]);
        high = std::max<double>(high, w[row * k + i]);
      }
      const double step = (high - low) / levels;
      EXPECT_NEAR(grid.step[at], step, std::ldexp(step, -22));
      EXPECT_NEAR(grid.zero[at], -low / step, 0.5 + 1e-4);
      EXPECT_EQ(grid.zero[at], std::round(grid.zero[at]));
      EXPECT_GE(grid.zero[at], 0);
      EXPECT_LE(grid.zero[at], levels);
    }
  }
}

TEST(WeightGridTest, E4m3StepsMakeTheLargestWeight448) {
  const int64_t n = 7, k = 90;
  ThreadPool pool(2);
  const std::vector<float> w = RandomWeights(n, k, 3);
  const WeightGrid grid = ChooseGrid(
      Options(GridFormat::kE4m3, ScaleConstraint::kM1), w, k, {}, pool);
  ASSERT_EQ(grid.step.size(), n);
  for (int64_t row = 0; row < n; ++row) {
    double largest = 0;
    for (int64_t i = 0; i < k; ++i) {
      largest = std::max<double>(largest, std::fabs(w[row * k + i]));
    }
    EXPECT_EQ(grid.step[row], static_cast<float>(largest / 448));
  }
}

// Shifts, row scales and steps say the same, and no column is forgotten: the
// weighted error is the least that a search over the definitions finds.
TEST(WeightGridTest, E2m1StepsAreWhatIsStored) {
  const int64_t n = 5, k = 70, groups = 3;
  ThreadPool pool(2);
  const std::vector<float> w = RandomWeights(n, k, 4);
  for (const ScaleConstraint constraint : kConstraints) {
    const WeightGrid grid =
        ChooseGrid(Options(GridFormat::kE2m1, constraint), w, k, {}, pool);
    EXPECT_EQ(grid.clamped_groups, 0);
    if (constraint == ScaleConstraint::kFree) continue;
    for (int64_t row = 0; row < n; ++row) {
      int least_shift = 99;
      for (int64_t g = 0; g < groups; ++g) {
        const int shift = grid.shift[row * groups + g];
        least_shift = std::min(least_shift, shift);
        EXPECT_EQ(grid.step[g * n + row],
                  std::ldexp(double{grid.row_scale[row]}, -shift));
      }
      EXPECT_EQ(least_shift, 0);
      int exponent;
      const float mantissa = std::frexp(grid.row_scale[row], &exponent);
      if (constraint == ScaleConstraint::kM1) {
        EXPECT_EQ(mantissa, 0.5f);
      }
    }
  }
}

// Groups of zeros, and of numbers too small to matter, become zeros.
TEST(WeightGridTest, ZerosAndTinyGroupsBecomeZero) {
  const int64_t k = 70;  // groups of 32, 32 and 6
  ThreadPool pool(1);
  for (const GridFormat format : kFormats) {
    for (const ScaleConstraint constraint : kConstraints) {
      for (const float tiny : {0.0f, -0.0f, 1e-45f, -1e-40f, 1e-37f}) {
        std::vector<float> w(2 * k, tiny);
        for (int64_t i = 32; i < 64; ++i) w[i] = 0.5f;  // row 0 only
        const WeightGrid grid =
            ChooseGrid(Options(format, constraint), w, k, {}, pool);
        for (int64_t at = 0; at < 2 * k; ++at) {
          const int64_t row = at / k, group = at % k / grid.group_size;
          const float step = grid.step[group * 2 + row];
          ASSERT_TRUE(std::isnormal(step) && step > 0) << step;
          WeightGrid one = OneStep(format, step);
          if (IsInteger(format)) one.zero[0] = grid.zero[group * 2 + row];
          const bool large = row == 0 && at >= 32 && at < 64;
          const float value = RoundOne(one, w[at]).value;
          if (large) {
            EXPECT_NEAR(value, 0.5f, 0.5f / 12) << ToString(format);
          } else if (!IsInteger(format) && std::fabs(tiny) < 1e-38f) {
            EXPECT_EQ(value, 0) << ToString(format);
          } else {
            EXPECT_LE(std::fabs(value), 1e-36f) << ToString(format);
          }
        }
      }
    }
  }
}

// Ranges beyond f32's largest number: no step, no value overflows.
TEST(WeightGridTest, HugeWeightsStayFinite) {
  const int64_t k = 64;
  ThreadPool pool(1);
  for (const GridFormat format : kFormats) {
    for (const ScaleConstraint constraint : kConstraints) {
      for (const float size : {1e30f, 1e38f, 2.5e38f}) {
        std::vector<float> w;
        for (int64_t i = 0; i < k; ++i) {
          w.push_back(size * std::cos(static_cast<float>(i)));
        }
        const WeightGrid grid =
            ChooseGrid(Options(format, constraint), w, k, {}, pool);
        for (int64_t i = 0; i < k; ++i) {
          const int64_t group = i / grid.group_size;
          ASSERT_TRUE(std::isfinite(grid.step[group])) << ToString(format);
          WeightGrid one = OneStep(format, grid.step[group]);
          if (IsInteger(format)) one.zero[0] = grid.zero[group];
          // Half of the widest gap between codes: a step, or with e2m1 a unit
          // of a sixth; searched steps clip by less.
          EXPECT_NEAR(RoundOne(one, w[i]).value / size, w[i] / size, 0.26)
              << ToString(format) << " " << size;
        }
      }
    }
  }
}

TEST(WeightGridTest, CountsWhatTheWindowRaised) {
  const int64_t k = 5 * 32;
  ThreadPool pool(2);
  // Row 0 is even; groups of row 1 fall by 0, 10, 14, 15, 30 octaves.
  constexpr int kOctaves[] = {0, 10, 14, 15, 30};
  std::vector<float> w;
  for (int64_t i = 0; i < 2 * k; ++i) {
    w.push_back(i < k ? 6.0f : std::ldexp(6.0f, -kOctaves[i % k / 32]));
  }
  for (const ScaleConstraint constraint :
       {ScaleConstraint::kM1, ScaleConstraint::kM2}) {
    const WeightGrid grid =
        ChooseGrid(Options(GridFormat::kE2m1, constraint), w, k, {}, pool);
    EXPECT_EQ(grid.clamped_groups, 2);
    EXPECT_EQ(grid.clamped_rows, 1);
    for (int g = 0; g < 5; ++g) {
      EXPECT_EQ(grid.shift[5 + g], std::min(kOctaves[g], 14));
    }
  }
}

TEST(WeightGridTest, DoesNotDependOnTheNumberOfThreads) {
  const int64_t n = 37, k = 100;
  const std::vector<float> w = RandomWeights(n, k, 6);
  ThreadPool one(1), three(3);
  for (const GridFormat format : kFormats) {
    for (const ScaleConstraint constraint : kConstraints) {
      const GridOptions options = Options(format, constraint);
      const WeightGrid a = ChooseGrid(options, w, k, {}, one);
      const WeightGrid b = ChooseGrid(options, w, k, {}, three);
      EXPECT_EQ(a.step, b.step);
      EXPECT_EQ(a.zero, b.zero);
      EXPECT_EQ(a.row_scale, b.row_scale);
      EXPECT_EQ(a.shift, b.shift);
    }
  }
}

}  // namespace
}  // namespace zqfp
