// SPDX-License-Identifier: Apache-2.0
// GPTQ against the algorithm as its paper derives it, in f64: after every
// column the inverse Hessian of the columns that remain is computed anew.
#include "models/quantize/gptq.h"

#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>

#include "kernels/core/float_formats.h"
#include "kernels/core/views.h"
#include "tests/models/quantize/calibrated_matrix.h"

namespace zqfp {
namespace {

using testing::CalibratedMatrix;
using testing::QuantizeBench;

constexpr double kDamping = 0.01;

GridOptions Grid(GridFormat format, int64_t group_size,
                 ScaleConstraint constraint = ScaleConstraint::kM2) {
  return {format, {group_size, constraint, ScaleRounding::kSearch}};
}

RoundedWeights RunGptq(const CalibratedMatrix& m, const GridOptions& options,
                       ColumnOrder order, int num_threads = 2) {
  QuantizeBench bench(num_threads);
  const auto factors = m.hessian.Factor(order, kDamping, {});
  EXPECT_TRUE(factors.ok()) << factors.status();
  return Gptq(options, m.weights, *factors, bench.machine());
}

// The number of the grid of row i and group g nearest to w.
double Nearest(const WeightGrid& grid, int64_t i, int64_t g, double w) {
  const auto at = static_cast<size_t>(g * grid.n + i);
  double best = INFINITY;
  const auto consider = [&](double value) {
    if (std::fabs(value - w) < std::fabs(best - w)) best = value;
  };
  if (grid.format == GridFormat::kE2m1) {
    for (int code = 0; code < 16; ++code) {
      consider(double{grid.step[at]} *
               kernels::E2m1ToFloat(static_cast<uint8_t>(code)));
    }
  } else if (grid.format == GridFormat::kE4m3) {
    for (int code = 0; code < 256; ++code) {
      if ((code & 0x7f) == 0x7f) continue;
      consider(double{grid.step[at]} *
               kernels::E4m3ToFloat(static_cast<uint8_t>(code)));
    }
  } else {
    const int levels = grid.format == GridFormat::kInt4 ? 15 : 255;
    for (int code = 0; code <= levels; ++code) {
      consider(double{grid.step[at]} * (code - double{grid.zero[at]}));
    }
  }
  return best;
}

// One row by the derivation: round a column, move the rest by
// -(w - q) / [H^-1]_jj * [H^-1]_j, take the column out of H.
std::vector<double> Derived(const CalibratedMatrix& m, const WeightGrid& grid,
                            const std::vector<int32_t>& order, int64_t row) {
  Eigen::MatrixXd h = Eigen::MatrixXd::Zero(m.k, m.k);
  for (int64_t t = 0; t < m.tokens; ++t) {
    Eigen::VectorXd x(m.k);
    for (int64_t i = 0; i < m.k; ++i) x[i] = m.x[t * m.k + order[i]];
    h += x * x.transpose();
  }
  h.diagonal().array() += kDamping * h.diagonal().mean();
  Eigen::VectorXd w(m.k);
  for (int64_t i = 0; i < m.k; ++i) w[i] = m.weights[row * m.k + order[i]];
  std::vector<double> result(static_cast<size_t>(m.k));
  for (int64_t j = 0; j < m.k; ++j) {
    const int64_t rest = m.k - j;
    // The first column of the inverse.
    const Eigen::VectorXd inverse = h.bottomRightCorner(rest, rest)
                                        .llt()
                                        .solve(Eigen::VectorXd::Unit(rest, 0));
    const double q = Nearest(grid, row, order[j] / grid.group_size, w[j]);
    result[static_cast<size_t>(order[j])] = q;
    w.tail(rest) -= (w[j] - q) / inverse[0] * inverse;
  }
  return result;
}

TEST(GptqTest, FollowsTheDerivation) {
  for (const GridFormat format : {GridFormat::kE2m1, GridFormat::kE4m3,
                                  GridFormat::kInt4, GridFormat::kInt8}) {
    const CalibratedMatrix m(2, 140, 400);  // two blocks, a short group
    const RoundedWeights found =
        RunGptq(m, Grid(format, 32), ColumnOrder::kByActivation);
    const auto factors =
        m.hessian.Factor(ColumnOrder::kByActivation, kDamping, {});
    int different = 0;
    for (int64_t row = 0; row < m.n; ++row) {
      const std::vector<double> wanted =
          Derived(m, found.grid, factors->order, row);
      for (int64_t i = 0; i < m.k; ++i) {
        different += std::fabs(wanted[i] - found.values[row * m.k + i]) >
                     1e-5 * (1 + std::fabs(wanted[i]));
      }
    }
    // A weight within f32's error of a tie may fall to the other side, and
    // moves the later ones of its row: never more than one row of the two.
    EXPECT_LE(different, m.k) << ToString(format);
  }
}

TEST(GptqTest, LosesLessThanRoundingToNearest) {
  for (const GridFormat format :
       {GridFormat::kE2m1, GridFormat::kE4m3, GridFormat::kInt4}) {
    for (const ColumnOrder order :
         {ColumnOrder::kByActivation, ColumnOrder::kAsStored}) {
      const CalibratedMatrix m(16, 160, 600);
      QuantizeBench bench;
      const GridOptions options = Grid(format, 64);
      const RoundedWeights nearest =
          RoundToNearest(ChooseGrid(options, m.weights, m.k, {}, bench.pool),
                         m.weights, bench.machine());
      const RoundedWeights gptq = RunGptq(m, options, order);
      EXPECT_LT(m.OutputError(gptq.values), 0.5 * m.OutputError(nearest.values))
          << ToString(format);
    }
  }
}

// Uncorrelated inputs leave nothing to make up for.
TEST(GptqTest, IsRoundingToNearestWithoutCorrelations) {
  CalibratedMatrix m(9, 70, 70);
  for (int64_t t = 0; t < 70; ++t) {
    for (int64_t i = 0; i < 70; ++i) m.x[t * 70 + i] = t == i ? 2.0f : 0.0f;
  }
  QuantizeBench bench;
  m.hessian = Hessian(70);
  m.hessian.Add(m.x.data(), 70, bench.backend.ops, bench.machine().exec);
  for (const ColumnOrder order :
       {ColumnOrder::kByActivation, ColumnOrder::kAsStored}) {
    const RoundedWeights gptq = RunGptq(m, Grid(GridFormat::kE2m1, 32), order);
    const RoundedWeights nearest = RoundToNearest(
        ChooseGrid(Grid(GridFormat::kE2m1, 32), m.weights, 70, {}, bench.pool),
        m.weights, bench.machine());
    EXPECT_EQ(gptq.codes, nearest.codes);
    EXPECT_EQ(gptq.grid.shift, nearest.grid.shift);
  }
}

// What is stored is what the values are, shifts within the window of 14 even
// where the groups of a row lie far apart.
TEST(GptqTest, ScalesStayWithinTheWindow) {
  for (const ScaleConstraint constraint :
       {ScaleConstraint::kFree, ScaleConstraint::kM1, ScaleConstraint::kM2}) {
    for (const ColumnOrder order :
         {ColumnOrder::kByActivation, ColumnOrder::kAsStored}) {
      for (const int64_t group_size : {32, 64, 128, 256}) {
        CalibratedMatrix m(5, 300, 500);
        for (int64_t i = 0; i < m.n * m.k; ++i) {
          const int group = static_cast<int>(i % m.k / 32);
          m.weights[i] = std::ldexp(m.weights[i], group % 2 == 0 ? -20 : 3);
        }
        for (int64_t i = 0; i < m.k; ++i) m.weights[i] = 0;  // an empty row
        const RoundedWeights found =
            RunGptq(m, Grid(GridFormat::kE2m1, group_size, constraint), order);
        const int64_t groups = found.grid.num_groups();
        for (int64_t i = 0; i < m.n * m.k; ++i) {
          const int64_t row = i / m.k, g = i % m.k / group_size;
          const int shift = constraint == ScaleConstraint::kFree
                                ? 0
                                : found.grid.shift[row * groups + g];
          EXPECT_LE(shift, kernels::kMaxShift);
          const double step =
              constraint == ScaleConstraint::kFree
                  ? found.grid.step[g * m.n + row]
                  : std::ldexp(double{found.grid.row_scale[row]}, -shift);
          EXPECT_GT(step, 0);
          if (constraint == ScaleConstraint::kM1) {
            int exponent;
            EXPECT_EQ(std::frexp(step, &exponent), 0.5);
          }
          const double value = step * kernels::E2m1ToFloat(found.codes[i]);
          if (found.values[i] == 0 && value == 0) continue;
          ASSERT_EQ(found.values[i], static_cast<float>(value)) << i;
        }
      }
    }
  }
}

// A group that is next to nothing leaves the steps of the others alone, also
// where its own is chosen first.
TEST(GptqTest, ATinyFirstGroupClipsNoOther) {
  for (const ScaleConstraint constraint :
       {ScaleConstraint::kM1, ScaleConstraint::kM2}) {
    CalibratedMatrix m(16, 256, 400);
    for (int64_t i = 0; i < m.n * m.k; ++i) {
      if (i % m.k < 32) m.weights[i] = std::ldexp(m.weights[i], -24);
    }
    const auto error = [&](ColumnOrder order) {
      const RoundedWeights found =
          RunGptq(m, Grid(GridFormat::kE2m1, 32, constraint), order);
      EXPECT_EQ(found.grid.clamped_rows, m.n);
      EXPECT_EQ(found.grid.clamped_groups, m.n);
      double squares = 0, all = 0;
      for (int64_t i = 0; i < m.n * m.k; ++i) {
        const double off = found.values[i] - m.weights[i];
        squares += off * off;
        all += double{m.weights[i]} * m.weights[i];
      }
      return squares / all;
    };
    EXPECT_LT(error(ColumnOrder::kAsStored),
              1.5 * error(ColumnOrder::kByActivation));
  }
}

TEST(GptqTest, DoesNotDependOnTheNumberOfThreads) {
  const CalibratedMatrix m(130, 200, 300);
  for (const ColumnOrder order :
       {ColumnOrder::kByActivation, ColumnOrder::kAsStored}) {
    const RoundedWeights one =
        RunGptq(m, Grid(GridFormat::kE2m1, 32), order, 1);
    const RoundedWeights three =
        RunGptq(m, Grid(GridFormat::kE2m1, 32), order, 3);
    EXPECT_EQ(one.codes, three.codes);
    EXPECT_EQ(one.grid.shift, three.grid.shift);
    EXPECT_EQ(one.grid.row_scale, three.grid.row_scale);
  }
}

}  // namespace
}  // namespace zqfp
