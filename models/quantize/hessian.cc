// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/hessian.h"

#include <fmt/format.h>

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/core/parallel.h"

namespace zqfp {
namespace {

using Matrix = Eigen::MatrixXd;  // column-major

// Rows of H that one product makes.
constexpr int64_t kBlockRows = 128;
// Below this a triangle is inverted column by column.
constexpr Eigen::Index kSmallTriangle = 64;

// The inverse of a lower triangle, in place:
//   [A 0; B C]^-1 = [A^-1 0; -C^-1 B A^-1 C^-1].
void InvertLower(Eigen::Ref<Matrix> lower) {
  const Eigen::Index size = lower.rows();
  if (size <= kSmallTriangle) {
    Matrix inverse = Matrix::Identity(size, size);
    lower.triangularView<Eigen::Lower>().solveInPlace(inverse);
    lower.triangularView<Eigen::Lower>() = inverse;
    return;
  }
  const Eigen::Index half = size / 2, rest = size - half;
  InvertLower(lower.topLeftCorner(half, half));
  InvertLower(lower.bottomRightCorner(rest, rest));
  auto corner = lower.bottomLeftCorner(rest, half);
  const Matrix product =
      corner * lower.topLeftCorner(half, half).triangularView<Eigen::Lower>();
  corner.noalias() =
      -(lower.bottomRightCorner(rest, rest).triangularView<Eigen::Lower>() *
        product);
}

// The upper triangle J lower J in row-major order, where J reverses.
std::vector<float> Reversed(const Matrix& lower) {
  const Eigen::Index k = lower.rows();
  std::vector<float> upper(static_cast<size_t>(k * k), 0.0f);
  for (Eigen::Index i = 0; i < k; ++i) {
    for (Eigen::Index j = i; j < k; ++j) {
      upper[static_cast<size_t>(i * k + j)] =
          static_cast<float>(lower(k - 1 - i, k - 1 - j));
    }
  }
  return upper;
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
absl::StatusOr<HessianFactors> Hessian::Factor(ColumnOrder order,
                                               double damping) const {
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
    for (int64_t j = 0; j < k_; ++j) {
      const int64_t column = factors.order[static_cast<size_t>(k_ - 1 - j)];
      for (int64_t i = j; i < k_; ++i) {
        lower(i, j) =
            At(factors.order[static_cast<size_t>(k_ - 1 - i)], column);
      }
      lower(j, j) += added;
    }
    const Eigen::LLT<Eigen::Ref<Matrix>> llt(lower);
    if (llt.info() == Eigen::Success) break;
    if (added > mean * 1e3) {
      return absl::InvalidArgumentError(
          "calibration: want inputs whose covariance can be inverted, found "
          "numbers too far apart");
    }
  }
  factors.root = Reversed(lower);
  InvertLower(lower);
  factors.inverse_root = Reversed(lower);
  return factors;
}

}  // namespace zqfp
