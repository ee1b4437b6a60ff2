// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/weight_grid.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "kernels/core/check.h"
#include "kernels/core/float_formats.h"
#include "kernels/core/parallel.h"
#include "kernels/core/views.h"

namespace zqfp {
namespace {

constexpr float kMagnitudes[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
// Steps below this are no help to any output and not all normal numbers.
constexpr float kSmallestStep = 0x1p-120f;

float LargestCode(GridFormat format) {
  return format == GridFormat::kInt4 ? 15.0f : 255.0f;
}

// One row of an integer grid: the range of each group, widened to hold 0.
void ChooseIntegerRow(const float* row, int64_t index, WeightGrid& grid) {
  const float levels = LargestCode(grid.format);
  for (int64_t group = 0; group < grid.num_groups(); ++group) {
    const int64_t begin = group * grid.group_size;
    const int64_t end = std::min(begin + grid.group_size, grid.k);
    float low = 0, high = 0;
    for (int64_t i = begin; i < end; ++i) {
      low = std::min(low, row[i]);
      high = std::max(high, row[i]);
    }
    // In double: the range of finite weights may be beyond f32.
    float step = static_cast<float>((double{high} - low) / levels);
    if (step < kSmallestStep) step = 1;
    const auto at = static_cast<size_t>(group * grid.n + index);
    grid.step[at] = step;
    grid.zero[at] = std::nearbyint(-low / step);
  }
}

void ChooseE4m3Row(const float* row, int64_t index, WeightGrid& grid) {
  float largest = 0;
  for (int64_t i = 0; i < grid.k; ++i) {
    largest = std::max(largest, std::fabs(row[i]));
  }
  const float step = largest / kernels::kE4m3Max;
  grid.step[static_cast<size_t>(index)] = step < kSmallestStep ? 1 : step;
}

void KeepRow(const RowScales& scales, int64_t index, WeightGrid& grid) {
  const int64_t groups = grid.num_groups();
  for (int64_t group = 0; group < groups; ++group) {
    grid.step[static_cast<size_t>(group * grid.n + index)] =
        scales.step[static_cast<size_t>(group)];
  }
  if (grid.shift.empty()) return;
  grid.row_scale[static_cast<size_t>(index)] = scales.row_scale;
  std::copy_n(scales.shift.data(), groups, grid.shift.data() + index * groups);
}

}  // namespace

std::string_view ToString(GridFormat format) {
  constexpr const char* kNames[] = {"e2m1", "e4m3", "int4", "int8"};
  return kNames[static_cast<size_t>(format)];
}

void WeightGrid::Round(int64_t group, int64_t begin, int64_t end,
                       const float* w, uint8_t* code, float* value) const {
  const float* steps = step.data() + group * n;
  if (format == GridFormat::kE2m1) {
    for (int64_t i = begin; i < end; ++i) {
      const float quotient = w[i] / steps[i];
      const float x = std::fabs(quotient);
      const int magnitude = (x > 0.25f) + (x >= 0.75f) + (x > 1.25f) +
                            (x >= 1.75f) + (x > 2.5f) + (x >= 3.5f) +
                            (x > 5.0f);
      code[i] =
          static_cast<uint8_t>(magnitude | (std::signbit(quotient) ? 8 : 0));
      value[i] = std::copysign(kMagnitudes[magnitude] * steps[i], quotient);
    }
  } else if (format == GridFormat::kE4m3) {
    for (int64_t i = begin; i < end; ++i) {
      code[i] = kernels::FloatToE4m3(w[i] / steps[i]);
      value[i] = kernels::E4m3ToFloat(code[i]) * steps[i];
    }
  } else {
    const float* zeros = zero.data() + group * n;
    const float levels = LargestCode(format);
    for (int64_t i = begin; i < end; ++i) {
      const float q =
          std::clamp(std::nearbyint(w[i] / steps[i]) + zeros[i], 0.0f, levels);
      code[i] = static_cast<uint8_t>(q);
      value[i] = (q - zeros[i]) * steps[i];
    }
  }
}

WeightGrid EmptyGrid(const GridOptions& options, int64_t n, int64_t k) {
  WeightGrid grid = {.format = options.format, .n = n, .k = k};
  grid.group_size =
      options.format == GridFormat::kE4m3 ? k : options.scales.group_size;
  const auto count = static_cast<size_t>(grid.num_groups() * n);
  grid.step.resize(count);
  if (IsInteger(options.format)) grid.zero.resize(count);
  if (options.format == GridFormat::kE2m1 &&
      options.scales.constraint != ScaleConstraint::kFree) {
    grid.row_scale.resize(static_cast<size_t>(n));
    grid.shift.resize(count);
  }
  return grid;
}

WeightGrid ChooseGrid(const GridOptions& options,
                      absl::Span<const float> weights, int64_t k,
                      absl::Span<const float> importance,
                      kernels::ThreadPool& pool) {
  const int64_t n = static_cast<int64_t>(weights.size()) / k;
  ZQFP_CHECK(k > 0 && n * k == static_cast<int64_t>(weights.size()));
  WeightGrid grid = EmptyGrid(options, n, k);
  std::atomic<int64_t> clamped_groups = 0, clamped_rows = 0;
  const kernels::Exec exec = {.parallel = pool.parallel()};
  kernels::ParallelFor(exec, n, 1, [&](int64_t begin, int64_t end, int) {
    ScaleSearch search(options.scales, k, importance);
    for (int64_t i = begin; i < end; ++i) {
      const float* row = weights.data() + i * k;
      if (options.format == GridFormat::kE2m1) {
        const RowScales& scales = search.Choose(row);
        KeepRow(scales, i, grid);
        clamped_groups += scales.num_clamped;
        clamped_rows += scales.num_clamped > 0 ? 1 : 0;
      } else if (options.format == GridFormat::kE4m3) {
        ChooseE4m3Row(row, i, grid);
      } else {
        ChooseIntegerRow(row, i, grid);
      }
    }
  });
  grid.clamped_groups = clamped_groups;
  grid.clamped_rows = clamped_rows;
  return grid;
}

}  // namespace zqfp
