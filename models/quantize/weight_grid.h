// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_QUANTIZE_WEIGHT_GRID_H_
#define ZQFP_MODELS_QUANTIZE_WEIGHT_GRID_H_

// The numbers that the weights of one matrix may become: a format, and a step
// for each row and group of columns.

#include <stdint.h>

#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "kernels/cpu/thread_pool.h"
#include "models/quantize/scale_search.h"

namespace zqfp {

// e2m1 and e4m3 run as they are stored; int4 and int8 (asymmetric, one zero
// point per group) are for comparison: their values are stored in f32.
enum class GridFormat : uint8_t { kE2m1, kE4m3, kInt4, kInt8 };
std::string_view ToString(GridFormat format);
constexpr bool IsInteger(GridFormat format) {
  return format == GridFormat::kInt4 || format == GridFormat::kInt8;
}

struct GridOptions {
  GridFormat format = GridFormat::kE2m1;
  // group_size of all but e4m3, whose rows are one group; constraint and
  // rounding of e2m1.
  ScaleOptions scales;
};

// Steps lie group by group, since a sweep over columns reads them so.
struct WeightGrid {
  GridFormat format = GridFormat::kE2m1;
  int64_t n = 0;
  int64_t k = 0;
  int64_t group_size = 0;
  std::vector<float> step;       // [num_groups, n]
  std::vector<float> zero;       // [num_groups, n]  int4, int8: a code
  std::vector<float> row_scale;  // [n]              e2m1 m1, m2
  std::vector<uint8_t> shift;    // [n, num_groups]  e2m1 m1, m2
  int64_t clamped_groups = 0;    // steps moved by the window of shifts
  int64_t clamped_rows = 0;

  int64_t num_groups() const { return (k + group_size - 1) / group_size; }

  // Codes of w[begin .. end) of one column (a vector over rows) in `group`, to
  // nearest even, and the weights that the codes stand for.
  void Round(int64_t group, int64_t begin, int64_t end, const float* w,
             uint8_t* code, float* value) const;
};

// A grid whose e2m1 steps are not chosen yet.
WeightGrid EmptyGrid(const GridOptions& options, int64_t n, int64_t k);

// Chooses every step from the weights [n, k], finite; `importance` as in
// ScaleSearch. The result does not depend on the number of threads.
WeightGrid ChooseGrid(const GridOptions& options,
                      absl::Span<const float> weights, int64_t k,
                      absl::Span<const float> importance,
                      kernels::ThreadPool& pool);

}  // namespace zqfp

#endif  // ZQFP_MODELS_QUANTIZE_WEIGHT_GRID_H_
