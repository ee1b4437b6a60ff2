// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/rtn.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/check.h"
#include "kernels/core/float_formats.h"
#include "kernels/core/parallel.h"
#include "kernels/core/views.h"

namespace zqfp {
namespace {

constexpr double kMagnitudes[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};

// Codes of weights / step, rounded to nearest even; the same as FloatToE2m1 on
// each, in a loop that vectorises.
void EncodeE2m1(const float* weights, int64_t count, float step,
                uint8_t* codes) {
  for (int64_t i = 0; i < count; ++i) {
    const float quotient = weights[i] / step;
    const float x = std::fabs(quotient);
    const int magnitude = (x > 0.25f) + (x >= 0.75f) + (x > 1.25f) +
                          (x >= 1.75f) + (x > 2.5f) + (x >= 3.5f) + (x > 5.0f);
    codes[i] =
        static_cast<uint8_t>(magnitude | (std::signbit(quotient) ? 8 : 0));
  }
}

// Adds the error of one group to the report.
void Account(const float* weights, const uint8_t* codes, int64_t count,
             float step, RoundingReport* report) {
  double error_sum = 0;
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double value = step * kMagnitudes[codes[i] & 7];
    const double error = weights[i] - (codes[i] & 8 ? -value : value);
    error_sum += error * error;
    sum += static_cast<double>(weights[i]) * weights[i];
  }
  report->squared_error += error_sum;
  report->squared_sum += sum;
  report->num_weights += count;
}

// One thread's work on one row after another.
class RowEncoder {
 public:
  RowEncoder(const ScaleOptions& options, int64_t k)
      : options_(options), k_(k), search_(options, k) {
    codes_.resize(static_cast<size_t>(k + 1));
  }

  RoundingReport Encode(const float* row, uint8_t* packed) {
    RoundingReport report;
    const RowScales& scales = search_.Choose(row);
    scales_ = &scales;
    for (size_t group = 0; group < scales.step.size(); ++group) {
      const int64_t begin = static_cast<int64_t>(group) * options_.group_size;
      const int64_t count = std::min(options_.group_size, k_ - begin);
      const float step = scales.step[group];
      EncodeE2m1(row + begin, count, step, codes_.data() + begin);
      Account(row + begin, codes_.data() + begin, count, step, &report);
      report.max_shift =
          std::max(report.max_shift, static_cast<int>(scales.shift[group]));
    }
    codes_[static_cast<size_t>(k_)] = 0;  // the odd nibble of an odd row
    for (int64_t i = 0; i < k_; i += 2) {
      packed[i / 2] = kernels::PackE2m1(codes_[static_cast<size_t>(i)],
                                        codes_[static_cast<size_t>(i) + 1]);
    }
    report.clamped_groups = scales.num_clamped;
    report.clamped_rows = scales.num_clamped > 0 ? 1 : 0;
    return report;
  }

  const RowScales& scales() const { return *scales_; }

 private:
  ScaleOptions options_;
  int64_t k_;
  ScaleSearch search_;
  std::vector<uint8_t> codes_;  // [k + 1]
  const RowScales* scales_ = nullptr;
};

// body(row_index, report of the row's thread) for every row; the sum is taken
// row by row, so that it does not depend on the number of threads.
template <typename MakeBody>
RoundingReport ForEachRow(int64_t n, kernels::ThreadPool& pool,
                          const MakeBody& make_body) {
  std::vector<RoundingReport> reports(static_cast<size_t>(n));
  kernels::Exec exec = {.parallel = pool.parallel()};
  kernels::ParallelFor(exec, n, 1, [&](int64_t begin, int64_t end, int) {
    auto body = make_body();
    for (int64_t row = begin; row < end; ++row) {
      reports[static_cast<size_t>(row)] = body(row);
    }
  });
  RoundingReport total;
  for (const RoundingReport& report : reports) total.Add(report);
  return total;
}

int64_t NumRows(absl::Span<const float> weights, int64_t k) {
  const auto count = static_cast<int64_t>(weights.size());
  ZQFP_CHECK(k > 0 && count % k == 0);
  return count / k;
}

}  // namespace

void RoundingReport::Add(const RoundingReport& other) {
  squared_error += other.squared_error;
  squared_sum += other.squared_sum;
  num_weights += other.num_weights;
  max_shift = std::max(max_shift, other.max_shift);
  clamped_groups += other.clamped_groups;
  clamped_rows += other.clamped_rows;
}

RoundingReport QuantizeToE2m1(absl::Span<const float> weights, int64_t k,
                              const ScaleOptions& options,
                              kernels::ThreadPool& pool, E2m1Rows* out) {
  const int64_t n = NumRows(weights, k);
  const int64_t row_bytes = (k + 1) / 2;
  const int64_t groups = kernels::NumGroups(k, options.group_size);
  const bool is_free = options.constraint == ScaleConstraint::kFree;
  out->packed.resize(static_cast<size_t>(n * row_bytes));
  out->group_scale.resize(static_cast<size_t>(is_free ? n * groups : 0));
  out->row_scale.resize(static_cast<size_t>(is_free ? 0 : n));
  out->shift.resize(static_cast<size_t>(is_free ? 0 : n * groups));
  return ForEachRow(n, pool, [&] {
    return [&, encoder = RowEncoder(options, k)](int64_t row) mutable {
      const RoundingReport report = encoder.Encode(
          weights.data() + row * k, out->packed.data() + row * row_bytes);
      const RowScales& scales = encoder.scales();
      if (is_free) {
        std::copy(scales.step.begin(), scales.step.end(),
                  out->group_scale.begin() + row * groups);
      } else {
        out->row_scale[static_cast<size_t>(row)] = scales.row_scale;
        std::copy(scales.shift.begin(), scales.shift.end(),
                  out->shift.begin() + row * groups);
      }
      return report;
    };
  });
}

RoundingReport QuantizeToE4m3(absl::Span<const float> weights, int64_t k,
                              kernels::ThreadPool& pool, E4m3Rows* out) {
  const int64_t n = NumRows(weights, k);
  out->codes.resize(static_cast<size_t>(n * k));
  out->row_scale.resize(static_cast<size_t>(n));
  return ForEachRow(n, pool, [&] {
    return [&](int64_t row) {
      RoundingReport report;
      const float* values = weights.data() + row * k;
      uint8_t* codes = out->codes.data() + row * k;
      float largest = 0;
      for (int64_t i = 0; i < k; ++i) {
        largest = std::max(largest, std::fabs(values[i]));
      }
      // The largest weight lands on 448 and none clips.
      float scale = largest / kernels::kE4m3Max;
      if (scale < 0x1p-120f) scale = 1.0f;  // a row of zeros
      out->row_scale[static_cast<size_t>(row)] = scale;
      for (int64_t i = 0; i < k; ++i) {
        codes[i] = kernels::FloatToE4m3(values[i] / scale);
        const double error = static_cast<double>(values[i]) -
                             scale * kernels::E4m3ToFloat(codes[i]);
        report.squared_error += error * error;
        report.squared_sum += static_cast<double>(values[i]) * values[i];
      }
      report.num_weights = k;
      return report;
    };
  });
}

}  // namespace zqfp
