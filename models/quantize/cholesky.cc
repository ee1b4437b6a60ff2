// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/cholesky.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <vector>

#include "kernels/core/parallel.h"

namespace zqfp {
namespace {

using Eigen::Index;
using Matrix = Eigen::MatrixXd;  // column-major
using MatrixRef = Eigen::Ref<Matrix>;

// Rows and columns of a block: Eigen's product of two stays in a second-level
// cache, and a matrix of 2048 still has work for many threads.
constexpr Index kBlock = 128;
// Below this a triangle is inverted column by column.
constexpr Index kSmallTriangle = 64;

// body(first, size) for the blocks of [begin, end).
template <typename Body>
void ForBlocks(Index begin, Index end, const kernels::Exec& exec,
               const Body& body) {
  kernels::ParallelFor(exec, (end - begin + kBlock - 1) / kBlock, 1,
                       [&](int64_t from, int64_t to, int) {
                         for (Index i = from; i < to; ++i) {
                           const Index first = begin + i * kBlock;
                           body(first, std::min(kBlock, end - first));
                         }
                       });
}

// Blocks of the lower triangle of [begin, end): A -= panel panel^T.
void UpdateTrailing(MatrixRef matrix, Index panel, Index begin,
                    const kernels::Exec& exec) {
  struct Tile {
    Index row, column;
  };
  const Index size = matrix.rows(), width = begin - panel;
  std::vector<Tile> tiles;
  for (Index column = begin; column < size; column += kBlock) {
    for (Index row = column; row < size; row += kBlock) {
      tiles.push_back({row, column});
    }
  }
  kernels::ParallelFor(
      exec, static_cast<int64_t>(tiles.size()), 1,
      [&](int64_t from, int64_t to, int) {
        for (int64_t i = from; i < to; ++i) {
          const auto [row, column] = tiles[static_cast<size_t>(i)];
          const Index rows = std::min(kBlock, size - row);
          const Index columns = std::min(kBlock, size - column);
          auto tile = matrix.block(row, column, rows, columns);
          const auto left = matrix.block(row, panel, rows, width);
          const auto right = matrix.block(column, panel, columns, width);
          if (row == column) {
            tile.triangularView<Eigen::Lower>() -= left * right.transpose();
          } else {
            tile.noalias() -= left * right.transpose();
          }
        }
      });
}

}  // namespace

// Panel by panel, right-looking: [A . ; B C] with A = L L^T gives the panel
// B L^-T, and what is left is C - (B L^-T) (B L^-T)^T.
bool FactorCholesky(MatrixRef matrix, const kernels::Exec& exec) {
  const Index size = matrix.rows();
  for (Index first = 0; first < size; first += kBlock) {
    const Index width = std::min(kBlock, size - first), next = first + width;
    MatrixRef corner = matrix.block(first, first, width, width);
    const Eigen::LLT<MatrixRef> llt(corner);
    // Eigen lets NaN pass.
    if (llt.info() != Eigen::Success || !corner.diagonal().allFinite()) {
      return false;
    }
    ForBlocks(next, size, exec, [&](Index row, Index rows) {
      auto block = matrix.block(row, first, rows, width);
      corner.triangularView<Eigen::Lower>()
          .transpose()
          .solveInPlace<Eigen::OnTheRight>(block);
    });
    UpdateTrailing(matrix, first, next, exec);
  }
  return true;
}

// [A 0; B C]^-1 = [A^-1 0; -C^-1 B A^-1 C^-1].
void InvertLower(MatrixRef lower, const kernels::Exec& exec) {
  const Index size = lower.rows();
  if (size <= kSmallTriangle) {
    Matrix inverse = Matrix::Identity(size, size);
    lower.triangularView<Eigen::Lower>().solveInPlace(inverse);
    lower.triangularView<Eigen::Lower>() = inverse;
    return;
  }
  const Index half = size / 2, rest = size - half;
  MatrixRef left = lower.topLeftCorner(half, half);
  MatrixRef right = lower.bottomRightCorner(rest, rest);
  MatrixRef corner = lower.bottomLeftCorner(rest, half);
  InvertLower(left, exec);
  InvertLower(right, exec);
  Matrix product(rest, half);
  ForBlocks(0, rest, exec, [&](Index row, Index rows) {
    product.middleRows(row, rows).noalias() =
        corner.middleRows(row, rows) * left.triangularView<Eigen::Lower>();
  });
  ForBlocks(0, half, exec, [&](Index column, Index columns) {
    corner.middleCols(column, columns).noalias() =
        -(right.triangularView<Eigen::Lower>() *
          product.middleCols(column, columns));
  });
}

}  // namespace zqfp
