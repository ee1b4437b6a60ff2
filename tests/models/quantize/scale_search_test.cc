// SPDX-License-Identifier: Apache-2.0
// The choice of scales against a search in f64 that shares nothing with
// it; importance weights in particular.
#include "models/quantize/scale_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>

#include "tests/models/exact_formats.h"

namespace zqfp {
namespace {

using testing::E2m1Magnitudes;
using testing::RoundTo;

constexpr ScaleRounding kRoundings[] = {
    ScaleRounding::kSearch, ScaleRounding::kNearest, ScaleRounding::kPaper};

// A row of groups and what each column counts.
struct Row {
  int64_t k;
  int64_t group_size;
  std::vector<float> w;
  std::vector<float> importance;

  int64_t num_groups() const { return (k + group_size - 1) / group_size; }
  int64_t Begin(int64_t group) const { return group * group_size; }
  int64_t End(int64_t group) const {
    return std::min(k, (group + 1) * group_size);
  }
  const float* Group(int64_t group) const { return w.data() + Begin(group); }

  // max|w| / 6 in f32: the plain step.
  float Plain(int64_t group) const {
    float largest = 0;
    for (int64_t i = Begin(group); i < End(group); ++i) {
      largest = std::max(largest, std::fabs(w[i]));
    }
    return largest / 6.0f;
  }
  // The weighted squared error of a group with `step`.
  double Error(int64_t group, double step) const {
    static const auto& magnitudes = *new std::vector<double>(E2m1Magnitudes());
    double sum = 0;
    for (int64_t i = Begin(group); i < End(group); ++i) {
      const double error = w[i] - step * RoundTo(magnitudes, w[i] / step);
      sum += importance[i] * error * error;
    }
    return sum;
  }
  double RowError(const std::vector<float>& steps) const {
    double sum = 0;
    for (int64_t g = 0; g < num_groups(); ++g) sum += Error(g, steps[g]);
    return sum;
  }
};

Row RandomRow(int64_t k, int64_t group_size, uint32_t seed) {
  std::mt19937 random(seed);
  std::student_t_distribution<float> value(4.0f);
  std::normal_distribution<float> log(0.0f, 2.0f);
  Row row = {.k = k, .group_size = group_size};
  for (int64_t i = 0; i < k; ++i) {
    const int octave = static_cast<int>(i / group_size % 5) - 2;
    row.w.push_back(std::ldexp(0.02f * value(random), octave));
    row.importance.push_back(std::exp(log(random)));
  }
  return row;
}

double Ratio(int sixteenths) {
  return static_cast<float>(std::exp2(sixteenths / 16.0));
}

// The e of the least mantissa * 2^e that is not below the plain step.
int Upper(double plain, double mantissa) {
  int e = -200;
  while (std::ldexp(mantissa, e) < plain) ++e;
  return e;
}

// Of the two steps beside the plain one that with the smaller error.
struct Best {
  double error = INFINITY;
  int exponent = 0;
};
Best BestExponent(const Row& row, int64_t group, double mantissa) {
  const int upper = Upper(row.Plain(group), mantissa);
  const double wide = row.Error(group, std::ldexp(mantissa, upper));
  const double narrow = row.Error(group, std::ldexp(mantissa, upper - 1));
  return narrow < wide ? Best{narrow, upper - 1} : Best{wide, upper};
}

double LeastError(const Row& row, ScaleConstraint constraint) {
  double least = 0;
  if (constraint == ScaleConstraint::kFree) {
    for (int64_t g = 0; g < row.num_groups(); ++g) {
      double best = INFINITY;
      for (int i = -16; i <= 15; ++i) {
        best = std::min(best, row.Error(g, row.Plain(g) * Ratio(i)));
      }
      least += best;
    }
    return least;
  }
  least = INFINITY;
  const int mantissas = constraint == ScaleConstraint::kM2 ? 16 : 1;
  for (int i = 0; i < mantissas; ++i) {
    double sum = 0;
    for (int64_t g = 0; g < row.num_groups(); ++g) {
      sum += BestExponent(row, g, Ratio(i)).error;
    }
    least = std::min(least, sum);
  }
  return least;
}

TEST(SquaredErrorTest, IsTheDefinition) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> log(-20, 10);
  for (int trial = 0; trial < 200; ++trial) {
    Row row = RandomRow(64, 64, static_cast<uint32_t>(trial));
    std::vector<float> magnitude;
    for (const float w : row.w) magnitude.push_back(std::fabs(w));
    const float step = row.Plain(0) * std::exp2(log(random) / 10);
    const double weighted = row.Error(0, step);
    // 64 f32 sums of squares of differences whose quotients err by 2^-23 of
    // at most 4096 units: an error of d in a difference of at least... the
    // total moves by no more than 1e-4 of itself and of a unit's square.
    EXPECT_NEAR(SquaredError(magnitude.data(), row.importance.data(), 64, step),
                weighted, 1e-4 * weighted);
    std::fill(row.importance.begin(), row.importance.end(), 1.0f);
    const double plain = row.Error(0, step);
    EXPECT_NEAR(SquaredError(magnitude.data(), nullptr, 64, step), plain,
                1e-4 * plain);
    EXPECT_NEAR(SquaredError(magnitude.data(), row.importance.data(), 64, step),
                plain, 1e-4 * plain);
  }
}

TEST(ScaleSearchTest, FindsTheLeastWeightedError) {
  for (const ScaleConstraint constraint :
       {ScaleConstraint::kFree, ScaleConstraint::kM1, ScaleConstraint::kM2}) {
    for (const int64_t k : {1, 31, 32, 33, 100, 257}) {
      for (const int64_t group_size : {32, 64, 256}) {
        for (uint32_t seed = 0; seed < 5; ++seed) {
          const Row row = RandomRow(k, group_size, seed);
          ScaleSearch search({group_size, constraint, ScaleRounding::kSearch},
                             k, row.importance);
          const double found = row.RowError(search.Choose(row.w.data()).step);
          const double least = LeastError(row, constraint);
          EXPECT_LE(found, least * (1 + 1e-4) + 1e-30)
              << ToString(constraint) << " k " << k << " group " << group_size;
        }
      }
    }
  }
}

// One outlier among small weights: alone that which counts decides whether it
// is clipped. The last column of a short group among them.
TEST(ScaleSearchTest, ImportanceMovesTheChoice) {
  for (const int64_t k : {32, 40, 71}) {
    Row row = RandomRow(k, 32, 9);
    const int64_t last = row.num_groups() - 1;
    for (int64_t i = 0; i < k; ++i) {
      row.w[i] = 0.9f + 0.2f * std::sin(static_cast<float>(i));
    }
    row.w[k - 1] = -6.0f;
    const auto step = [&](float of_outlier, float of_others) {
      std::fill(row.importance.begin(), row.importance.end(), of_others);
      row.importance[k - 1] = of_outlier;
      ScaleSearch search({32, ScaleConstraint::kFree, ScaleRounding::kSearch},
                         k, row.importance);
      const float found = search.Choose(row.w.data()).step[last];
      double best = INFINITY, wanted = 0;
      for (int i = -16; i <= 15; ++i) {
        const double tried = row.Plain(last) * Ratio(i);
        if (row.Error(last, tried) >= best) continue;
        best = row.Error(last, tried);
        wanted = tried;
      }
      EXPECT_LE(row.Error(last, found), best * (1 + 1e-4) + 1e-12);
      EXPECT_GT(wanted, 0);
      return found;
    };
    const float keeps = step(1e6f, 1), clips = step(1e-6f, 1);
    EXPECT_NE(keeps, clips) << k;
    // Kept: the outlier is a code times the step; clipped: it is beyond 6.
    EXPECT_NEAR(
        std::fabs(6 / keeps - RoundTo(E2m1Magnitudes(), 6 / keeps)) * keeps, 0,
        0.05);
    EXPECT_LT(clips, 0.95f) << k;
  }
}

// Equal importance is none.
TEST(ScaleSearchTest, EvenImportanceChangesNothing) {
  for (const ScaleConstraint constraint :
       {ScaleConstraint::kFree, ScaleConstraint::kM1, ScaleConstraint::kM2}) {
    const Row row = RandomRow(100, 32, 4);
    const ScaleOptions options = {32, constraint, ScaleRounding::kSearch};
    ScaleSearch none(options, 100);
    const std::vector<float> even(100, 0.25f);
    ScaleSearch weighted(options, 100, even);
    EXPECT_EQ(none.Choose(row.w.data()).step,
              weighted.Choose(row.w.data()).step);
  }
}

TEST(ScaleSearchTest, MantissaOfARow) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const Row row = RandomRow(150, 32, seed);
    const auto choose = [&](ScaleConstraint constraint,
                            ScaleRounding rounding) {
      ScaleSearch search({32, constraint, rounding}, 150, row.importance);
      return search.ChooseMantissa(row.w.data()).mantissa;
    };
    for (const ScaleRounding rounding : kRoundings) {
      EXPECT_EQ(choose(ScaleConstraint::kM1, rounding), 1);
    }
    // The row's least plain step has it where nothing is searched.
    float least = INFINITY;
    for (int64_t g = 0; g < 5; ++g) least = std::min(least, row.Plain(g));
    int exponent;
    const float mantissa = 2 * std::frexp(least, &exponent);
    EXPECT_EQ(choose(ScaleConstraint::kM2, ScaleRounding::kNearest), mantissa);
    EXPECT_EQ(choose(ScaleConstraint::kM2, ScaleRounding::kPaper), mantissa);
    // Searched: one of sixteen, with the least error of the row.
    const double found = choose(ScaleConstraint::kM2, ScaleRounding::kSearch);
    double error = 0;
    for (int64_t g = 0; g < 5; ++g) error += BestExponent(row, g, found).error;
    EXPECT_LE(error, LeastError(row, ScaleConstraint::kM2) * (1 + 1e-4));
    EXPECT_NEAR(std::log2(found) * 16, std::round(std::log2(found) * 16), 1e-5);
  }
}

TEST(ScaleSearchTest, TopExponentOfARow) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const Row row = RandomRow(150, 32, seed);
    for (const ScaleConstraint constraint :
         {ScaleConstraint::kM1, ScaleConstraint::kM2}) {
      ScaleSearch search({32, constraint, ScaleRounding::kSearch}, 150);
      const auto [mantissa, top] = search.ChooseMantissa(row.w.data());
      int largest = std::numeric_limits<int>::min();
      for (int64_t g = 0; g < 5; ++g) {
        largest = std::max(largest, Upper(row.Plain(g), mantissa));
      }
      EXPECT_EQ(top, largest);
    }
  }
}

// A row that holds nothing (yet) has a mantissa that later values can use.
TEST(ScaleSearchTest, MantissaOfAnEmptyRow) {
  for (const float tiny : {0.0f, 1e-42f, 1e-35f}) {
    for (const ScaleRounding rounding : kRoundings) {
      for (const ScaleConstraint constraint :
           {ScaleConstraint::kM1, ScaleConstraint::kM2}) {
        const std::vector<float> row(64, tiny), later(32, 3.0f);
        ScaleSearch search({32, constraint, rounding}, 64);
        const auto [mantissa, top] = search.ChooseMantissa(row.data());
        EXPECT_EQ(top, ScaleSearch::kNoExponent);
        EXPECT_GE(mantissa, 1) << ToString(rounding) << " " << tiny;
        EXPECT_LT(mantissa, 2) << ToString(rounding) << " " << tiny;
        EXPECT_EQ(search.ChooseExponent(0, row.data(), mantissa),
                  ScaleSearch::kNoExponent);
        const int e = search.ChooseExponent(1, later.data(), mantissa);
        EXPECT_NEAR(std::log2(std::ldexp(mantissa, e)), std::log2(0.5), 1.01);
      }
    }
  }
}

TEST(ScaleSearchTest, ExponentOfAGroup) {
  for (uint32_t seed = 0; seed < 40; ++seed) {
    const Row row = RandomRow(90, 32, seed);  // the last group has 26
    for (const double mantissa : {1.0, Ratio(5), Ratio(15)}) {
      const auto m = static_cast<float>(mantissa);
      for (int64_t g = 0; g < 3; ++g) {
        const auto choose = [&](ScaleRounding rounding) {
          ScaleSearch search({32, ScaleConstraint::kM2, rounding}, 90,
                             row.importance);
          return search.ChooseExponent(g, row.Group(g), m);
        };
        const double plain = row.Plain(g);
        const int upper = Upper(plain, mantissa);
        EXPECT_EQ(choose(ScaleRounding::kPaper), upper);
        const double exact = std::log2(plain / mantissa);
        EXPECT_NEAR(choose(ScaleRounding::kNearest), exact, 0.5 + 1e-6);
        const int found = choose(ScaleRounding::kSearch);
        const Best best = BestExponent(row, g, mantissa);
        EXPECT_LE(row.Error(g, std::ldexp(mantissa, found)),
                  best.error * (1 + 1e-4));
        EXPECT_TRUE(found == upper || found == upper - 1);
      }
    }
  }
}

// Weights that have moved since the search was made are those of now.
TEST(ScaleSearchTest, FreeStepOfAGroup) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    Row row = RandomRow(90, 32, seed);
    ScaleSearch search({32, ScaleConstraint::kFree, ScaleRounding::kSearch}, 90,
                       row.importance);
    search.Choose(row.w.data());
    for (float& w : row.w) w = 3 * w + 0.01f;
    for (int64_t g = 2; g >= 0; --g) {
      double best = INFINITY;
      for (int i = -16; i <= 15; ++i) {
        best = std::min(best, row.Error(g, row.Plain(g) * Ratio(i)));
      }
      const float found = search.ChooseFreeStep(g, row.Group(g));
      EXPECT_LE(row.Error(g, found), best * (1 + 1e-4));
    }
  }
  const Row row = RandomRow(40, 32, 1);
  const std::vector<float> zeros(32), tiny(32, 1e-36f);
  for (const ScaleRounding rounding : kRoundings) {
    ScaleSearch search({32, ScaleConstraint::kFree, rounding}, 40);
    EXPECT_EQ(search.ChooseFreeStep(0, zeros.data()), 0);
    EXPECT_EQ(search.ChooseFreeStep(1, tiny.data()), 0);
    if (rounding == ScaleRounding::kSearch) continue;
    EXPECT_EQ(search.ChooseFreeStep(1, row.Group(1)), row.Plain(1));
  }
}

// Shifts of 0..14 below the row's largest step; what lies lower is raised.
TEST(ScaleSearchTest, TheWindowOfShifts) {
  for (const ScaleRounding rounding : kRoundings) {
    for (const int spread : {0, 1, 13, 14, 15, 20, 60}) {
      // Group g is 2^-(spread g / 3) of the first, the fifth empty.
      Row row = {.k = 5 * 32, .group_size = 32, .w = {}, .importance = {}};
      std::vector<int> octaves;
      for (int g = 0; g < 4; ++g) octaves.push_back(spread * g / 3);
      for (int64_t i = 0; i < row.k; ++i) {
        const auto g = static_cast<size_t>(i / 32);
        row.w.push_back(g == 4 ? 0.0f : std::ldexp(6.0f, -octaves[g]));
      }
      ScaleSearch search({32, ScaleConstraint::kM2, rounding}, row.k);
      const RowScales& scales = search.Choose(row.w.data());
      int64_t clamped = 0;
      for (size_t g = 0; g < 4; ++g) {
        EXPECT_EQ(scales.shift[g], std::min(octaves[g], 14)) << spread;
        EXPECT_EQ(scales.step[g],
                  std::ldexp(scales.row_scale, -scales.shift[g]));
        clamped += octaves[g] > 14;
      }
      EXPECT_EQ(scales.num_clamped, clamped) << spread;
      EXPECT_EQ(scales.shift[4], 0);
    }
  }
}

// Buffers are kept from row to row; results are not.
TEST(ScaleSearchTest, RowsDoNotSeeEachOther) {
  for (const ScaleConstraint constraint :
       {ScaleConstraint::kFree, ScaleConstraint::kM1, ScaleConstraint::kM2}) {
    for (const ScaleRounding rounding : kRoundings) {
      const ScaleOptions options = {32, constraint, rounding};
      const Row row = RandomRow(71, 32, 3);
      std::vector<float> far = row.w;
      for (size_t i = 0; i < 32; ++i) far[i] = std::ldexp(far[i], 40);
      ScaleSearch fresh(options, 71), used(options, 71);
      EXPECT_EQ(used.Choose(far.data()).num_clamped > 0,
                constraint != ScaleConstraint::kFree);
      const std::vector<float> zeros(71);
      used.Choose(zeros.data());
      const RowScales& found = used.Choose(row.w.data());
      const RowScales& wanted = fresh.Choose(row.w.data());
      EXPECT_EQ(found.step, wanted.step);
      EXPECT_EQ(found.shift, wanted.shift);
      EXPECT_EQ(found.num_clamped, wanted.num_clamped);
    }
  }
}

}  // namespace
}  // namespace zqfp
