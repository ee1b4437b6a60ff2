// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/rtn.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kernels/core/float_formats.h"
#include "kernels/core/views.h"
#include "models/safetensors.h"
#include "tests/assets.h"

namespace zqfp {
namespace {

using kernels::NumGroups;
using kernels::ThreadPool;

constexpr ScaleConstraint kConstraints[] = {
    ScaleConstraint::kFree, ScaleConstraint::kM1, ScaleConstraint::kM2};
constexpr ScaleRounding kRoundings[] = {
    ScaleRounding::kSearch, ScaleRounding::kNearest, ScaleRounding::kPaper};

ThreadPool& Pool() {
  static ThreadPool& pool = *new ThreadPool(2);
  return pool;
}

// Heavy-tailed rows whose groups differ in size by powers of two.
std::vector<float> RandomWeights(int64_t n, int64_t k, int seed) {
  std::mt19937 generator(seed);
  std::student_t_distribution<float> value(4.0f);
  std::uniform_int_distribution<int> octave(-3, 3);
  std::vector<float> weights;
  for (int64_t row = 0; row < n; ++row) {
    float level = 0.02f;
    for (int64_t i = 0; i < k; ++i) {
      if (i % 32 == 0) level = std::ldexp(0.02f, octave(generator));
      weights.push_back(level * value(generator));
    }
  }
  return weights;
}

// The weights that the stored rows stand for, by the formula of FORMAT.md.
std::vector<double> Dequantize(const E2m1Rows& rows, int64_t n, int64_t k,
                               int64_t group_size) {
  const int64_t groups = NumGroups(k, group_size);
  std::vector<double> weights;
  for (int64_t row = 0; row < n; ++row) {
    const uint8_t* codes = rows.packed.data() + row * ((k + 1) / 2);
    for (int64_t i = 0; i < k; ++i) {
      const int64_t g = row * groups + i / group_size;
      const double scale =
          rows.group_scale.empty()
              ? std::ldexp(static_cast<double>(rows.row_scale[row]),
                           -static_cast<int>(rows.shift[g]))
              : rows.group_scale[g];
      weights.push_back(scale *
                        kernels::E2m1ToFloat(kernels::UnpackE2m1(codes, i)));
    }
  }
  return weights;
}

double ErrorOf(const std::vector<float>& weights,
               const std::vector<double>& rounded) {
  double sum = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    sum += (weights[i] - rounded[i]) * (weights[i] - rounded[i]);
  }
  return sum;
}

// Least squared error of rounding each of `values` to a multiple of `step`,
// trying all the sixteen codes: no shared code with the quantizer.
double BruteForceError(const float* values, int64_t count, double step) {
  constexpr double kValues[] = {0, .5, 1, 1.5, 2, 3, 4, 6};
  double total = 0;
  for (int64_t i = 0; i < count; ++i) {
    double least = std::numeric_limits<double>::infinity();
    for (const double value : kValues) {
      const double error = std::fabs(values[i]) - step * value;
      least = std::min(least, error * error);
    }
    total += least;
  }
  return total;
}

double PlainStep(const float* values, int64_t count) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    largest = std::max(largest, std::fabs(values[i]));
  }
  return largest / 6.0f;
}

// Error of one row by the definition in FORMAT.md.
double BruteForceRow(const float* row, int64_t k, const ScaleOptions& options) {
  const bool is_search = options.rounding == ScaleRounding::kSearch;
  std::vector<double> plain;
  double least_step = std::numeric_limits<double>::infinity();
  for (int64_t begin = 0; begin < k; begin += options.group_size) {
    const int64_t count = std::min(options.group_size, k - begin);
    plain.push_back(PlainStep(row + begin, count));
    least_step = std::min(least_step, plain.back());
  }
  const auto sum_groups = [&](auto&& error_of_group) {
    double sum = 0;
    for (size_t g = 0; g < plain.size(); ++g) {
      const int64_t begin = static_cast<int64_t>(g) * options.group_size;
      sum += error_of_group(row + begin,
                            std::min(options.group_size, k - begin), plain[g]);
    }
    return sum;
  };
  if (options.constraint == ScaleConstraint::kFree) {
    return sum_groups([&](const float* values, int64_t count, double step) {
      double least = std::numeric_limits<double>::infinity();
      for (int i = is_search ? -16 : 0; i <= (is_search ? 15 : 0); ++i) {
        least = std::min(
            least, BruteForceError(values, count, step * std::exp2(i / 16.0)));
      }
      return least;
    });
  }
  if (is_search) {
    const int mantissas = options.constraint == ScaleConstraint::kM2 ? 16 : 1;
    double least = std::numeric_limits<double>::infinity();
    for (int i = 0; i < mantissas; ++i) {
      const double mantissa = static_cast<float>(std::exp2(i / 16.0));
      least = std::min(
          least, sum_groups([&](const float* values, int64_t count, double p) {
            const double up =
                mantissa *
                std::exp2(std::ceil(std::log2(p / mantissa) - 1e-12));
            return std::min(BruteForceError(values, count, up),
                            BruteForceError(values, count, up / 2));
          }));
    }
    return least;
  }
  const double base =
      options.constraint == ScaleConstraint::kM2 ? least_step : 1.0;
  return sum_groups([&](const float* values, int64_t count, double p) {
    const double exponent = std::log2(p / base);
    const double rounded = options.rounding == ScaleRounding::kPaper
                               ? std::ceil(exponent - 1e-12)
                               : std::floor(exponent + 0.5);
    return BruteForceError(values, count, base * std::exp2(rounded));
  });
}

struct Case {
  ScaleConstraint constraint;
  ScaleRounding rounding;
};

class RtnTest : public ::testing::TestWithParam<Case> {};

TEST_P(RtnTest, EqualsBruteForceOnWholeAndShortGroups) {
  const int64_t n = 6;
  for (const int64_t k : {32, 64, 172, 257, 1, 5}) {
    for (const int64_t group_size : {32, 64, 128, 256}) {
      const ScaleOptions options = {group_size, GetParam().constraint,
                                    GetParam().rounding};
      const std::vector<float> weights = RandomWeights(n, k, 7);
      E2m1Rows rows;
      const RoundingReport report =
          QuantizeToE2m1(weights, k, options, Pool(), &rows);
      const double error = ErrorOf(weights, Dequantize(rows, n, k, group_size));
      double wanted = 0;
      for (int64_t row = 0; row < n; ++row) {
        wanted += BruteForceRow(weights.data() + row * k, k, options);
      }
      EXPECT_NEAR(error, wanted, 1e-5 * wanted + 1e-12)
          << "k " << k << " group " << group_size;
      EXPECT_NEAR(report.squared_error, error, 1e-6 * error + 1e-15);
      EXPECT_EQ(report.num_weights, n * k);
    }
  }
}

TEST_P(RtnTest, EveryCodeIsTheNearestOfItsStep) {
  const int64_t n = 8, k = 160, group_size = 64;
  const ScaleOptions options = {group_size, GetParam().constraint,
                                GetParam().rounding};
  const std::vector<float> weights = RandomWeights(n, k, 11);
  const int64_t groups = NumGroups(k, group_size);
  E2m1Rows rows;
  QuantizeToE2m1(weights, k, options, Pool(), &rows);
  for (int64_t row = 0; row < n; ++row) {
    for (int64_t i = 0; i < k; ++i) {
      const int64_t g = row * groups + i / group_size;
      const float step = rows.group_scale.empty()
                             ? std::ldexp(rows.row_scale[row], -rows.shift[g])
                             : rows.group_scale[g];
      EXPECT_EQ(kernels::UnpackE2m1(rows.packed.data() + row * (k / 2), i),
                kernels::FloatToE2m1(weights[row * k + i] / step));
    }
  }
}

TEST_P(RtnTest, ShiftsStayInTheExactWindow) {
  const int64_t k = 256;
  std::vector<float> weights = RandomWeights(4, k, 3);
  // Row 1 spans 40 octaves, row 2 is zero but for one weight.
  for (int64_t i = 0; i < k; ++i) {
    weights[k + i] = std::ldexp(weights[k + i], -static_cast<int>(i / 32) * 6);
    weights[2 * k + i] = i == 70 ? -0.5f : 0.0f;
  }
  const ScaleOptions options = {32, GetParam().constraint, GetParam().rounding};
  E2m1Rows rows;
  const RoundingReport report =
      QuantizeToE2m1(weights, k, options, Pool(), &rows);
  if (GetParam().constraint == ScaleConstraint::kFree) {
    EXPECT_EQ(report.clamped_rows, 0);
    return;
  }
  EXPECT_EQ(report.clamped_rows, 1);
  EXPECT_GE(report.clamped_groups, 3);
  EXPECT_EQ(report.max_shift, kernels::kMaxShift);
  for (const uint8_t shift : rows.shift) {
    ASSERT_LE(shift, kernels::kMaxShift);
    for (int code = 0; code < 16; ++code) {
      const auto e2m1 = static_cast<uint8_t>(code);
      EXPECT_EQ(kernels::E4m3ToFloat(kernels::ShiftedE2m1ToE4m3(e2m1, shift)),
                std::ldexp(kernels::E2m1ToFloat(e2m1), 6 - shift));
    }
  }
  for (const float scale : rows.row_scale) {
    int exponent;
    const float fraction = std::frexp(scale, &exponent);
    EXPECT_GT(scale, 0);
    if (GetParam().constraint == ScaleConstraint::kM1) {
      EXPECT_EQ(fraction, 0.5f);
    }
  }
}

TEST_P(RtnTest, ZerosTinyAndHugeWeights) {
  const int64_t k = 64;
  const ScaleOptions options = {32, GetParam().constraint, GetParam().rounding};
  std::vector<float> weights(4 * k, 0.0f);
  for (int64_t i = 0; i < k; ++i) {
    weights[k + i] = 1e-42f;                             // subnormal
    weights[2 * k + i] = i % 2 ? 3.4e38f : -3.4e38f;     // near the largest
    weights[3 * k + i] = std::ldexp(i % 7 - 3.0f, -90);  // small, normal
  }
  E2m1Rows rows;
  QuantizeToE2m1(weights, k, options, Pool(), &rows);
  const std::vector<double> rounded = Dequantize(rows, 4, k, 32);
  for (int64_t i = 0; i < k; ++i) {
    EXPECT_EQ(rounded[i], 0.0);
    EXPECT_EQ(rounded[k + i], 0.0);
    EXPECT_NEAR(rounded[2 * k + i] / weights[2 * k + i], 1.0, 0.26);
    EXPECT_TRUE(std::isfinite(rounded[2 * k + i]));
    EXPECT_NEAR(rounded[3 * k + i], weights[3 * k + i], std::ldexp(1.0, -90));
  }
}

TEST_P(RtnTest, DoesNotDependOnTheNumberOfThreads) {
  const ScaleOptions options = {32, GetParam().constraint, GetParam().rounding};
  const std::vector<float> weights = RandomWeights(33, 96, 5);
  ThreadPool one(1), three(3);
  E2m1Rows a, b;
  const RoundingReport first = QuantizeToE2m1(weights, 96, options, one, &a);
  const RoundingReport other = QuantizeToE2m1(weights, 96, options, three, &b);
  EXPECT_EQ(a.packed, b.packed);
  EXPECT_EQ(a.shift, b.shift);
  EXPECT_EQ(a.row_scale, b.row_scale);
  EXPECT_EQ(a.group_scale, b.group_scale);
  EXPECT_EQ(first.squared_error, other.squared_error);
}

std::vector<Case> AllCases() {
  std::vector<Case> cases;
  for (const ScaleConstraint constraint : kConstraints) {
    for (const ScaleRounding rounding : kRoundings) {
      cases.push_back({constraint, rounding});
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Methods, RtnTest, ::testing::ValuesIn(AllCases()),
                         [](const auto& info) {
                           return std::string(ToString(info.param.constraint)) +
                                  "_" +
                                  std::string(ToString(info.param.rounding));
                         });

TEST(RtnTest, OddRowsPadTheLastNibbleWithZero) {
  const std::vector<float> weights = {1, -2, 3, -1, 2, -3};  // [2, 3]
  E2m1Rows rows;
  QuantizeToE2m1(weights, 3, {32, ScaleConstraint::kM2}, Pool(), &rows);
  ASSERT_EQ(rows.packed.size(), 4u);
  EXPECT_EQ(rows.packed[1] >> 4, 0);
  EXPECT_EQ(rows.packed[3] >> 4, 0);
}

TEST(RtnTest, E4m3RowsKeepTheLargestWeightExactly) {
  const std::vector<float> weights = RandomWeights(5, 48, 9);
  E4m3Rows rows;
  const RoundingReport report = QuantizeToE4m3(weights, 48, Pool(), &rows);
  for (int row = 0; row < 5; ++row) {
    float largest = 0;
    for (int i = 0; i < 48; ++i) {
      const float weight = weights[row * 48 + i];
      const float value =
          rows.row_scale[row] * kernels::E4m3ToFloat(rows.codes[row * 48 + i]);
      largest = std::max(largest, std::fabs(weight));
      // Half a unit of three mantissa bits, or of the smallest subnormal.
      EXPECT_LE(
          std::fabs(value - weight),
          std::max(std::fabs(weight) / 16, rows.row_scale[row] * 0x1p-10f) *
              1.0001f);
    }
    EXPECT_FLOAT_EQ(rows.row_scale[row], largest / 448);
  }
  EXPECT_LT(report.relative_error(), 0.002);
  const std::vector<float> zeros(48, 0.0f);
  QuantizeToE4m3(zeros, 48, Pool(), &rows);
  EXPECT_EQ(rows.row_scale[0], 1.0f);
}

// The mean over the twelve GPT-2 matrices, first 256 rows of each.
double MeanErrorOnGpt2(const Checkpoint& matrices,
                       const ScaleOptions& options) {
  double total = 0;
  for (const auto& [name, tensor] : matrices.tensors()) {
    const int64_t k = tensor.shape[1];
    const auto* data = reinterpret_cast<const float*>(tensor.data);
    E2m1Rows rows;
    total +=
        QuantizeToE2m1(absl::MakeSpan(data, 256 * k), k, options, Pool(), &rows)
            .relative_error();
  }
  return total / static_cast<double>(matrices.tensors().size());
}

TEST(RtnTest, ErrorOnGpt2MatricesIsThatOfTheReference) {
  const std::string path =
      testing::AssetPath("matrices/gpt2_attention.safetensors");
  if (path.empty()) GTEST_SKIP() << "NOT RUN: no shared assets";
  const absl::StatusOr<Checkpoint> matrices = Checkpoint::OpenFile(path);
  ASSERT_TRUE(matrices.ok()) << matrices.status();
  ASSERT_EQ(matrices->tensors().size(), 12u);
  const Case methods[] = {{ScaleConstraint::kFree, ScaleRounding::kPaper},
                          {ScaleConstraint::kFree, ScaleRounding::kSearch},
                          {ScaleConstraint::kM1, ScaleRounding::kPaper},
                          {ScaleConstraint::kM1, ScaleRounding::kSearch},
                          {ScaleConstraint::kM2, ScaleRounding::kSearch}};
  struct Row {
    int64_t group_size;
    double wanted[5];
  };
  const Row rows[] = {{32, {.01026, .00837, .01401, .01276, .01159}},
                      {128, {.01221, .01073, .01650, .01401, .01239}},
                      {256, {.01308, .01169, .01827, .01451, .01265}}};
  for (const Row& row : rows) {
    for (int i = 0; i < 5; ++i) {
      const double error = MeanErrorOnGpt2(
          *matrices,
          {row.group_size, methods[i].constraint, methods[i].rounding});
      EXPECT_LT(error, row.wanted[i] * 1.01)
          << "group " << row.group_size << " method " << i;
      // The plain rules leave no freedom: equal, not only as good.
      if (methods[i].rounding == ScaleRounding::kPaper) {
        EXPECT_GT(error, row.wanted[i] * 0.99);
      }
      std::printf("group %3d %-4s %-7s %.5f (reference %.5f)\n",
                  static_cast<int>(row.group_size),
                  std::string(ToString(methods[i].constraint)).c_str(),
                  std::string(ToString(methods[i].rounding)).c_str(), error,
                  row.wanted[i]);
    }
  }
}

}  // namespace
}  // namespace zqfp
