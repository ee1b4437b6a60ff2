// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/lorc.h"

#include <Eigen/Core>
#include <Eigen/Eigenvalues>
#include <Eigen/QR>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "kernels/core/check.h"
#include "kernels/core/float_formats.h"
#include "kernels/core/parallel.h"

namespace zqfp {
namespace {

using kernels::ValueFormat;
// Row-major f32, as the matmul op has it.
using Matrix =
    Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Exact = Eigen::MatrixXd;

// The subspace has this many directions more than are kept, and is multiplied
// this often: what remains outside is a per mille of what could be caught even
// where singular values fall slowly.
constexpr int64_t kOversampling = 8;
constexpr int kIterations = 24;
constexpr uint32_t kSeed = 20230718;

// a [m, k] b^T, where b is [n, k].
Matrix TimesTransposed(const Matrix& a, const Matrix& b,
                       const QuantizeMachine& machine) {
  Matrix product(a.rows(), b.rows());
  machine.ops->matmul(
      {.m = a.rows(),
       .x = a.data(),
       .weight = {.n = b.rows(), .k = a.cols(), .data = b.data()},
       .y = product.data()},
      machine.exec);
  return product;
}

// Orthonormal rows that span those of `rows`.
Matrix Orthonormal(const Matrix& rows) {
  const Exact columns = rows.transpose().cast<double>();
  const Eigen::HouseholderQR<Exact> qr(columns);
  const Exact q =
      qr.householderQ() * Exact::Identity(columns.rows(), columns.cols());
  return q.transpose().cast<float>();
}

// b [n, k] ~ u [n, rank] v [rank, k] with balanced factors, by subspace
// iteration.
struct Factors {
  Matrix u, v;
};
Factors TopSingular(const Matrix& b, int64_t rank,
                    const QuantizeMachine& machine) {
  const int64_t wide =
      std::min({rank + kOversampling, int64_t{b.rows()}, int64_t{b.cols()}});
  const Matrix transposed = b.transpose();
  std::mt19937 random(kSeed);
  Matrix q(wide, b.cols());  // directions among the columns
  for (int64_t i = 0; i < q.size(); ++i) {
    // Not a distribution of the library, which may differ between them.
    q.data()[i] = static_cast<float>(random()) * 0x1p-32f - 0.5f;
  }
  q = Orthonormal(q);
  for (int i = 0; i < kIterations; ++i) {
    const Matrix left = Orthonormal(TimesTransposed(q, b, machine));
    q = Orthonormal(TimesTransposed(left, transposed, machine));
  }
  const Matrix image = TimesTransposed(q, b, machine);  // [wide, n]
  // image image^T = R S^2 R^T gives the singular values and vectors.
  const Exact gram = image.cast<double>() * image.cast<double>().transpose();
  const Eigen::SelfAdjointEigenSolver<Exact> solver(gram);
  Factors factors = {Matrix::Zero(b.rows(), rank),
                     Matrix::Zero(rank, b.cols())};
  for (int64_t r = 0; r < std::min(rank, wide); ++r) {
    const Eigen::VectorXf direction =
        solver.eigenvectors().col(wide - 1 - r).cast<float>();
    const double square = std::max(0.0, solver.eigenvalues()[wide - 1 - r]);
    if (square == 0) break;
    const float root = static_cast<float>(std::pow(square, 0.25));
    factors.v.row(r) = root * (direction.transpose() * q);
    factors.u.col(r) = (direction.transpose() * image).transpose() / root;
  }
  return factors;
}

// Rows to codes, with one scale per row in e4m3; `rows` become what is stored.
void Store(ValueFormat format, Matrix& rows, std::vector<uint8_t>* codes,
           std::vector<float>* scales) {
  const bool e4m3 = format == ValueFormat::kE4m3;
  codes->resize(static_cast<size_t>(rows.size() * (e4m3 ? 1 : 2)));
  for (int64_t i = 0; i < rows.rows(); ++i) {
    float scale = 1;
    if (e4m3) {
      scale = rows.row(i).cwiseAbs().maxCoeff() / kernels::kE4m3Max;
      if (!(scale >= 0x1p-120f)) scale = 1;  // zeros
      scales->push_back(scale);
    }
    for (int64_t j = 0; j < rows.cols(); ++j) {
      const auto at = static_cast<size_t>(i * rows.cols() + j);
      if (e4m3) {
        (*codes)[at] = kernels::FloatToE4m3(rows(i, j) / scale);
        rows(i, j) = kernels::E4m3ToFloat((*codes)[at]) * scale;
      } else {
        const uint16_t code = kernels::FloatToBf16(rows(i, j));
        std::memcpy(codes->data() + 2 * at, &code, 2);
        rows(i, j) = kernels::Bf16ToFloat(code);
      }
    }
  }
}

// The u that makes u v nearest to b, rows of v that are zero apart.
Matrix SolveLeft(const Matrix& b, const Matrix& v,
                 const QuantizeMachine& machine) {
  const Exact right = TimesTransposed(b, v, machine).cast<double>();
  Exact gram = v.cast<double>() * v.cast<double>().transpose();
  const double tiny = 1e-9 * gram.diagonal().maxCoeff();
  gram.diagonal().array() += tiny > 0 ? tiny : 1;
  return gram.ldlt().solve(right.transpose()).transpose().cast<float>();
}

Matrix Decode(ValueFormat format, const std::vector<uint8_t>& codes,
              const std::vector<float>& scales, int64_t rows, int64_t columns) {
  Matrix values(rows, columns);
  for (int64_t i = 0; i < values.size(); ++i) {
    const auto at = static_cast<size_t>(i);
    if (format == ValueFormat::kE4m3) {
      values.data()[i] = kernels::E4m3ToFloat(codes[at]) *
                         scales[at / static_cast<size_t>(columns)];
    } else {
      uint16_t code;
      std::memcpy(&code, codes.data() + 2 * at, 2);
      values.data()[i] = kernels::Bf16ToFloat(code);
    }
  }
  return values;
}

}  // namespace

std::string_view ToString(LorcWeighting weighting) {
  return weighting == LorcWeighting::kPlain ? "plain" : "weighted";
}

LorcFactors CompensateLowRank(const LorcOptions& options,
                              absl::Span<const float> error, int64_t k,
                              const HessianFactors* factors,
                              const QuantizeMachine& machine) {
  const int64_t n = static_cast<int64_t>(error.size()) / k;
  const bool weighted = options.weighting == LorcWeighting::kWeighted;
  ZQFP_CHECK(!weighted || factors != nullptr);
  Matrix b = Eigen::Map<const Matrix>(error.data(), n, k);
  if (weighted) {
    Matrix permuted(n, k);
    for (int64_t j = 0; j < k; ++j) {
      permuted.col(j) = b.col(factors->order[static_cast<size_t>(j)]);
    }
    // E root: the op wants root transposed.
    const Matrix root =
        Eigen::Map<const Matrix>(factors->root.data(), k, k).transpose();
    b = TimesTransposed(permuted, root, machine);
  }
  Factors best = TopSingular(b, options.rank, machine);
  Matrix v = best.v;
  if (weighted) {
    const Matrix inverse =
        Eigen::Map<const Matrix>(factors->inverse_root.data(), k, k)
            .transpose();
    const Matrix permuted = TimesTransposed(best.v, inverse, machine);
    for (int64_t j = 0; j < k; ++j) {
      v.col(factors->order[static_cast<size_t>(j)]) = permuted.col(j);
    }
  }
  LorcFactors out;
  Store(options.format, v, &out.v, &out.v_scale);
  if (weighted) {
    Matrix permuted(options.rank, k);
    for (int64_t j = 0; j < k; ++j) {
      permuted.col(j) = v.col(factors->order[static_cast<size_t>(j)]);
    }
    const Matrix root =
        Eigen::Map<const Matrix>(factors->root.data(), k, k).transpose();
    v = TimesTransposed(permuted, root, machine);
  }
  Matrix u = SolveLeft(b, v, machine);
  Store(options.format, u, &out.u, &out.u_scale);
  return out;
}

std::vector<float> Product(const LorcFactors& lorc, ValueFormat format,
                           int64_t rank) {
  const int64_t bytes = format == ValueFormat::kE4m3 ? 1 : 2;
  const int64_t n = static_cast<int64_t>(lorc.u.size()) / (rank * bytes);
  const int64_t k = static_cast<int64_t>(lorc.v.size()) / (rank * bytes);
  const Matrix product = Decode(format, lorc.u, lorc.u_scale, n, rank) *
                         Decode(format, lorc.v, lorc.v_scale, rank, k);
  return {product.data(), product.data() + product.size()};
}

}  // namespace zqfp
