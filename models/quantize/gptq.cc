// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/gptq.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "kernels/core/check.h"
#include "kernels/core/parallel.h"
#include "kernels/core/views.h"

namespace zqfp {
namespace {

// Columns that are rounded before the later ones hear of it: a multiple of all
// group sizes but 256, whose groups begin with a block.
constexpr int64_t kBlock = 128;
// Rows whose block of columns stays in a second-level cache.
constexpr int64_t kRowTile = 256;

// to [columns, rows] = transposed from [rows, columns].
template <typename T>
void Transpose(const T* from, int64_t rows, int64_t columns, T* to,
               const kernels::Exec& exec) {
  constexpr int64_t kTile = 32;
  kernels::ParallelFor(exec, columns, kTile,
                       [&](int64_t begin, int64_t end, int) {
                         for (int64_t row = 0; row < rows; row += kTile) {
                           const int64_t last = std::min(row + kTile, rows);
                           for (int64_t c = begin; c < end; ++c) {
                             for (int64_t r = row; r < last; ++r) {
                               to[c * rows + r] = from[r * columns + c];
                             }
                           }
                         }
                       });
}

// Chooses the steps of e2m1 groups as a sweep in stored order reaches them.
class LateScales {
 public:
  LateScales(const ScaleOptions& options, absl::Span<const float> importance,
             WeightGrid* grid)
      : options_(options), importance_(importance), grid_(*grid) {}

  // m1, m2: the mantissas, from the weights [n, k] before the sweep.
  void Begin(absl::Span<const float> weights, const kernels::Exec& exec);
  // `columns` is the group's part of the weights of now, [columns, n].
  void ChooseGroup(int64_t group, const float* columns,
                   const kernels::Exec& exec);
  // m1, m2: row scales and shifts from the exponents; how many were clamped.
  void End();

 private:
  struct Row {
    float mantissa = 1;
    int least = 0;  // that a group may have, whichever come first
    int lowest = std::numeric_limits<int>::max();  // of the groups so far
    int highest = std::numeric_limits<int>::min();
    int num_clamped = 0;
  };
  bool constrained() const {
    return options_.constraint != ScaleConstraint::kFree;
  }
  float ConstrainedStep(ScaleSearch& search, int64_t group, const float* values,
                        int64_t row);

  ScaleOptions options_;
  absl::Span<const float> importance_;
  WeightGrid& grid_;
  std::vector<Row> rows_;      // [n]
  std::vector<int> exponent_;  // [n, num_groups] or kNoExponent
};

void LateScales::Begin(absl::Span<const float> weights,
                       const kernels::Exec& exec) {
  if (!constrained()) return;
  rows_.resize(static_cast<size_t>(grid_.n));
  exponent_.resize(static_cast<size_t>(grid_.n * grid_.num_groups()));
  kernels::ParallelFor(exec, grid_.n, 1, [&](int64_t begin, int64_t end, int) {
    ScaleSearch search(options_, grid_.k, importance_);
    for (int64_t i = begin; i < end; ++i) {
      const ScaleSearch::RowStart start =
          search.ChooseMantissa(weights.data() + i * grid_.k);
      // One octave for what the sweep may add to the largest group.
      rows_[static_cast<size_t>(i)] = {
          .mantissa = start.mantissa,
          .least = start.top == ScaleSearch::kNoExponent
                       ? 0
                       : start.top - (kernels::kMaxShift - 1)};
    }
  });
}

float LateScales::ConstrainedStep(ScaleSearch& search, int64_t group,
                                  const float* values, int64_t row) {
  Row& own = rows_[static_cast<size_t>(row)];
  int& exponent =
      exponent_[static_cast<size_t>(row * grid_.num_groups() + group)];
  const bool first = own.lowest > own.highest;
  const int wanted = search.ChooseExponent(group, values, own.mantissa);
  exponent = wanted;
  if (wanted == ScaleSearch::kNoExponent) return 1;  // nothing but zeros yet
  exponent = std::max(wanted, own.least);
  if (!first) {
    exponent = std::clamp(exponent, own.highest - kernels::kMaxShift,
                          own.lowest + kernels::kMaxShift);
  }
  own.num_clamped += exponent != wanted ? 1 : 0;
  own.lowest = std::min(own.lowest, exponent);
  own.highest = std::max(own.highest, exponent);
  return std::ldexp(own.mantissa, exponent);
}

void LateScales::ChooseGroup(int64_t group, const float* columns,
                             const kernels::Exec& exec) {
  const int64_t count =
      std::min(grid_.group_size, grid_.k - group * grid_.group_size);
  kernels::ParallelFor(exec, grid_.n, 1, [&](int64_t begin, int64_t end, int) {
    ScaleSearch search(options_, grid_.k, importance_);
    std::vector<float> values(static_cast<size_t>(count));
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t j = 0; j < count; ++j) {
        values[static_cast<size_t>(j)] = columns[j * grid_.n + i];
      }
      float step = constrained()
                       ? ConstrainedStep(search, group, values.data(), i)
                       : search.ChooseFreeStep(group, values.data());
      if (step == 0) step = 1;
      grid_.step[static_cast<size_t>(group * grid_.n + i)] = step;
    }
  });
}

void LateScales::End() {
  if (!constrained()) return;
  const int64_t groups = grid_.num_groups();
  for (int64_t i = 0; i < grid_.n; ++i) {
    const Row& own = rows_[static_cast<size_t>(i)];
    const bool empty = own.lowest > own.highest;
    grid_.clamped_groups += own.num_clamped;
    grid_.clamped_rows += own.num_clamped > 0 ? 1 : 0;
    grid_.row_scale[static_cast<size_t>(i)] =
        empty ? 1.0f : std::ldexp(own.mantissa, own.highest);
    for (int64_t g = 0; g < groups; ++g) {
      const auto at = static_cast<size_t>(i * groups + g);
      const bool unused = empty || exponent_[at] == ScaleSearch::kNoExponent;
      grid_.shift[at] =
          static_cast<uint8_t>(unused ? 0 : own.highest - exponent_[at]);
    }
  }
}

// The sweep. Weights and codes lie column by column, in sweep order, so that
// one column is a vector over rows.
class Sweep {
 public:
  Sweep(WeightGrid* grid, const HessianFactors& factors,
        const QuantizeMachine& machine)
      : grid_(*grid), factors_(factors), machine_(machine) {}

  void Load(absl::Span<const float> weights);
  // `late` may be null: all steps are there.
  void Run(LateScales* late);
  // codes and values [n, k], columns as stored.
  void Store(RoundedWeights* out) const;

 private:
  int64_t n() const { return grid_.n; }
  int64_t k() const { return grid_.k; }
  float* Column(int64_t j) { return columns_.data() + j * n(); }
  float Spread(int64_t j, int64_t to) const {
    return factors_.inverse_root[static_cast<size_t>(j * k() + to)];
  }
  void RoundBlock(int64_t first, int64_t last);
  void RoundRows(int64_t first, int64_t last, int64_t begin, int64_t end);
  void PassOn(int64_t first, int64_t last);

  WeightGrid& grid_;
  const HessianFactors& factors_;
  const QuantizeMachine& machine_;
  std::vector<float> columns_;  // [k, n]: weights, then their values
  std::vector<uint8_t> codes_;  // [k, n]
  std::vector<float> errors_;   // [block, n], each over its diagonal
  std::vector<float> by_row_;   // [n, block] the same
  std::vector<float> spread_;   // [later columns, block], negated
};

void Sweep::Load(absl::Span<const float> weights) {
  columns_.resize(weights.size());
  codes_.resize(weights.size());
  kernels::ParallelFor(
      machine_.exec, k(), 8, [&](int64_t begin, int64_t end, int) {
        for (int64_t i = 0; i < n(); ++i) {
          const float* row = weights.data() + i * k();
          for (int64_t j = begin; j < end; ++j) {
            Column(j)[i] = row[factors_.order[static_cast<size_t>(j)]];
          }
        }
      });
}

// Columns [first, last) of rows [begin, end), one after the other.
void Sweep::RoundRows(int64_t first, int64_t last, int64_t begin, int64_t end) {
  std::vector<float> values(static_cast<size_t>(n()));
  for (int64_t j = first; j < last; ++j) {
    float* column = Column(j);
    const int64_t group =
        factors_.order[static_cast<size_t>(j)] / grid_.group_size;
    grid_.Round(group, begin, end, column, codes_.data() + j * n(),
                values.data());
    float* error = errors_.data() + (j - first) * n();
    const float inverse = 1.0f / Spread(j, j);
    for (int64_t i = begin; i < end; ++i) {
      error[i] = (column[i] - values[static_cast<size_t>(i)]) * inverse;
      column[i] = values[static_cast<size_t>(i)];
    }
    for (int64_t to = j + 1; to < last; ++to) {
      const float factor = Spread(j, to);
      float* later = Column(to);
      for (int64_t i = begin; i < end; ++i) later[i] -= factor * error[i];
    }
  }
}

void Sweep::RoundBlock(int64_t first, int64_t last) {
  errors_.resize(static_cast<size_t>((last - first) * n()));
  kernels::ParallelFor(
      machine_.exec, n(), 16, [&](int64_t begin, int64_t end, int) {
        for (int64_t row = begin; row < end; row += kRowTile) {
          RoundRows(first, last, row, std::min(row + kRowTile, end));
        }
      });
}

// Later columns -= spread^T errors.
void Sweep::PassOn(int64_t first, int64_t last) {
  const int64_t block = last - first, rest = k() - last;
  if (rest == 0) return;
  by_row_.resize(static_cast<size_t>(n() * block));
  Transpose(errors_.data(), block, n(), by_row_.data(), machine_.exec);
  spread_.resize(static_cast<size_t>(rest * block));
  kernels::ParallelFor(machine_.exec, rest, 64,
                       [&](int64_t begin, int64_t end, int) {
                         for (int64_t to = begin; to < end; ++to) {
                           for (int64_t j = 0; j < block; ++j) {
                             spread_[static_cast<size_t>(to * block + j)] =
                                 -Spread(first + j, last + to);
                           }
                         }
                       });
  machine_.ops->matmul(
      {.m = rest,
       .x = spread_.data(),
       .weight = {.n = n(), .k = block, .data = by_row_.data()},
       .residual = Column(last),
       .y = Column(last)},
      machine_.exec);
}

void Sweep::Run(LateScales* late) {
  // Groups of 32 and 64 end within a block: their steps are chosen between the
  // columns of it, so that blocks are no longer than a group then.
  const int64_t block =
      late == nullptr ? kBlock : std::min(kBlock, grid_.group_size);
  for (int64_t first = 0; first < k(); first += block) {
    if (late != nullptr && first % grid_.group_size == 0) {
      late->ChooseGroup(first / grid_.group_size, Column(first), machine_.exec);
    }
    const int64_t last = std::min(first + block, k());
    RoundBlock(first, last);
    PassOn(first, last);
  }
}

void Sweep::Store(RoundedWeights* out) const {
  out->codes.resize(codes_.size());
  out->values.resize(columns_.size());
  kernels::ParallelFor(
      machine_.exec, n(), 16, [&](int64_t begin, int64_t end, int) {
        for (int64_t j = 0; j < k(); ++j) {
          const int64_t column = factors_.order[static_cast<size_t>(j)];
          for (int64_t i = begin; i < end; ++i) {
            const auto to = static_cast<size_t>(i * k() + column);
            out->codes[to] = codes_[static_cast<size_t>(j * n() + i)];
            out->values[to] = columns_[static_cast<size_t>(j * n() + i)];
          }
        }
      });
}

}  // namespace

RoundedWeights RoundToNearest(WeightGrid grid, absl::Span<const float> weights,
                              const QuantizeMachine& machine) {
  RoundedWeights out = {.grid = std::move(grid)};
  const int64_t n = out.grid.n, k = out.grid.k;
  std::vector<float> columns(weights.size()), values(weights.size());
  std::vector<uint8_t> codes(weights.size());
  Transpose(weights.data(), n, k, columns.data(), machine.exec);
  kernels::ParallelFor(
      machine.exec, k, 1, [&](int64_t begin, int64_t end, int) {
        for (int64_t j = begin; j < end; ++j) {
          out.grid.Round(j / out.grid.group_size, 0, n, columns.data() + j * n,
                         codes.data() + j * n, values.data() + j * n);
        }
      });
  out.codes.resize(weights.size());
  out.values.resize(weights.size());
  Transpose(codes.data(), k, n, out.codes.data(), machine.exec);
  Transpose(values.data(), k, n, out.values.data(), machine.exec);
  return out;
}

RoundedWeights Gptq(const GridOptions& options, absl::Span<const float> weights,
                    const HessianFactors& factors,
                    const QuantizeMachine& machine) {
  const int64_t k = factors.k;
  ZQFP_CHECK(static_cast<int64_t>(weights.size()) % k == 0);
  const int64_t n = static_cast<int64_t>(weights.size()) / k;
  RoundedWeights out;
  std::optional<LateScales> late;
  if (factors.column_order == ColumnOrder::kAsStored &&
      options.format == GridFormat::kE2m1) {
    out.grid = EmptyGrid(options, n, k);
    late.emplace(options.scales, factors.importance, &out.grid);
    late->Begin(weights, machine.exec);
  } else {
    out.grid =
        ChooseGrid(options, weights, k, factors.importance, *machine.pool);
  }
  Sweep sweep(&out.grid, factors, machine);
  sweep.Load(weights);
  sweep.Run(late ? &*late : nullptr);
  if (late) late->End();
  sweep.Store(&out);
  return out;
}

}  // namespace zqfp
