// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/hessian.h"

#include <fmt/format.h>

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/core/parallel.h"
#include "models/quantize/cholesky.h"

namespace zqfp {
namespace {

using Matrix = Eigen::MatrixXd;  // column-major

// Rows of H that one product makes.
constexpr int64_t kBlockRows = 128;

// The upper triangle J lower J in row-major order, where J reverses. By tiles,
// since rows become columns.
std::vector<float> Reversed(const Matrix& lower, const kernels::Exec& exec) {
  constexpr Eigen::Index kTile = 32;
  const Eigen::Index k = lower.rows();
  std::vector<float> upper(static_cast<size_t>(k * k), 0.0f);
  kernels::ParallelFor(exec, k, kTile, [&](int64_t begin, int64_t end, int) {
    for (Eigen::Index first = begin; first < k; first += kTile) {
      const Eigen::Index last = std::min(first + kTile, k);
      for (Eigen::Index i = begin; i < end; ++i) {
        for (Eigen::Index j = std::max(first, i); j < last; ++j) {
          upper[static_cast<size_t>(i * k + j)] =
              static_cast<float>(lower(k - 1 - i, k - 1 - j));
        }
      }
    }
  });
  return upper;
}

// H plus `added` on the diagonal in the reverse of the order: lower triangle.
void FillReversed(const std::vector<float>& values,
                  const std::vector<int32_t>& order, double added,
                  const kernels::Exec& exec, Matrix* lower) {
  const Eigen::Index k = lower->rows();
  kernels::ParallelFor(exec, k, 8, [&](int64_t begin, int64_t end, int) {
    for (Eigen::Index j = begin; j < end; ++j) {
      const int64_t column = order[static_cast<size_t>(k - 1 - j)];
      for (Eigen::Index i = j; i < k; ++i) {
        const int64_t row = order[static_cast<size_t>(k - 1 - i)];
        (*lower)(i, j) = values[static_cast<size_t>(
            row >= column ? row * k + column : column * k + row)];
      }
      (*lower)(j, j) += added;
    }
  });
}

}  // namespace

Hessian::Hessian(int64_t k)
    : k_(k), values_(static_cast<size_t>(k * k), 0.0f) {}

void Hessian::Add(const float* x, int64_t rows, const kernels::OpTable& ops,
                  const kernels::Exec& exec) {
  if (rows == 0) return;
  transposed_.resize(static_cast<size_t>(k_ * rows));
  kernels::ParallelFor(exec, k_, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = 0; t < rows; ++t) {
      for (int64_t i = begin; i < end; ++i) {
        transposed_[static_cast<size_t>(i * rows + t)] = x[t * k_ + i];
      }
    }
  });
  // H[first .. last, 0 .. last) += X^T X, without what lies right of it.
  for (int64_t first = 0; first < k_; first += kBlockRows) {
    const int64_t last = std::min(first + kBlockRows, k_);
    product_.resize(static_cast<size_t>((last - first) * last));
    ops.matmul({.m = last - first,
                .x = transposed_.data() + first * rows,
                .weight = {.n = last, .k = rows, .data = transposed_.data()},
                .y = product_.data()},
               exec);
    kernels::ParallelFor(exec, last - first, 8,
                         [&](int64_t begin, int64_t end, int) {
                           for (int64_t i = begin; i < end; ++i) {
                             const float* from = product_.data() + i * last;
                             float* to = values_.data() + (first + i) * k_;
                             for (int64_t j = 0; j < last; ++j)
                               to[j] += from[j];
                           }
                         });
  }
  num_tokens_ += rows;
}

std::vector<float> Hessian::Importance() const {
  std::vector<float> mean(static_cast<size_t>(k_));
  const float count = static_cast<float>(std::max<int64_t>(num_tokens_, 1));
  float largest = 0;
  for (int64_t i = 0; i < k_; ++i) {
    mean[static_cast<size_t>(i)] = At(i, i) / count;
    largest = std::max(largest, mean[static_cast<size_t>(i)]);
  }
  const float least = largest > 0 ? largest * 1e-6f : 1.0f;
  for (float& value : mean) value = std::max(value, least);
  return mean;
}

// With J, which reverses: J H J = L L^T, so that H = (J L J) (J L J)^T with
// J L J upper triangular, and the inverse of that is J L^-1 J.
absl::StatusOr<HessianFactors> Hessian::Factor(
    ColumnOrder order, double damping, const kernels::Exec& exec) const {
  HessianFactors factors = {.k = k_, .column_order = order};
  factors.order.resize(static_cast<size_t>(k_));
  std::iota(factors.order.begin(), factors.order.end(), 0);
  if (order == ColumnOrder::kByActivation) {
    std::stable_sort(
        factors.order.begin(), factors.order.end(),
        [this](int32_t a, int32_t b) { return At(a, a) > At(b, b); });
  }
  double trace = 0;
  for (int64_t i = 0; i < k_; ++i) trace += At(i, i);
  const double mean = trace / static_cast<double>(k_);
  if (!std::isfinite(mean) || mean <= 0) {
    return absl::InvalidArgumentError(fmt::format(
        "calibration: want inputs that are finite and not all 0, found a mean "
        "square of {}",
        mean / static_cast<double>(std::max<int64_t>(num_tokens_, 1))));
  }
  Matrix lower(k_, k_);
  for (double added = std::max(damping, 1e-8) * mean;; added *= 10) {
    FillReversed(values_, factors.order, added, exec, &lower);
    if (FactorCholesky(lower, exec)) break;
    if (added > mean * 1e3) {
      return absl::InvalidArgumentError(
          "calibration: want inputs whose covariance can be inverted, found "
          "numbers too far apart");
    }
  }
  factors.root = Reversed(lower, exec);
  InvertLower(lower, exec);
  factors.inverse_root = Reversed(lower, exec);
  factors.importance = Importance();
  return factors;
}

}  // namespace zqfp
