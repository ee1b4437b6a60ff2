// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/scale_search.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/core/check.h"
#include "kernels/core/float_formats.h"
#include "kernels/core/views.h"

namespace zqfp {
namespace {

constexpr int kLanes = 16;       // partial sums that the compiler vectorises
constexpr int kSixteenths = 16;  // mantissas 2^(i/16)

// Clipping ratios of free scales, in sixteenths of an octave about the plain
// step. The table holds the mantissas 2^(0/16) .. 2^(15/16) of m2 too.
constexpr int kFirstRatio = -16;
constexpr int kLastRatio = 15;

// Groups whose largest weight is below this are stored as zeros: their share
// of any output is far below the last bit of f32 sums, and steps stay normal.
constexpr float kSmallestStep = 0x1p-100f;

// Exponent e of step_i = least * 2^e, rounded up or to nearest (in the log).
int RatioExponent(float step, float least, ScaleRounding rounding) {
  int exponent = 0;
  const double fraction =
      std::frexp(static_cast<double>(step) / least, &exponent);  // [.5, 1)
  if (rounding == ScaleRounding::kPaper) {
    return fraction == 0.5 ? exponent - 1 : exponent;
  }
  return fraction < std::sqrt(0.5) ? exponent - 1 : exponent;
}

// The e with mantissa * 2^(e - 1) < plain <= mantissa * 2^e; 1 <= mantissa < 2.
int UpperExponent(float plain, float mantissa) {
  const int floor_exponent =
      static_cast<int>(std::bit_cast<uint32_t>(plain) >> 23) - 127;
  return plain <= mantissa * kernels::PowerOfTwo(floor_exponent)
             ? floor_exponent
             : floor_exponent + 1;
}

}  // namespace

std::string_view ToString(ScaleRounding rounding) {
  constexpr const char* kNames[] = {"search", "nearest", "paper"};
  return kNames[static_cast<size_t>(rounding)];
}

namespace {

template <bool kWeighted>
double SumSquares(const float* magnitude, const float* importance,
                  int64_t count, float step) {
  // Adding and subtracting 1.5 * 2^23 units rounds to a multiple of the unit,
  // ties to even. e2m1 has units of .5 up to 2, 1 up to 4, 2 up to 6: the
  // three parts are rounded apart, with 2 + 4 counted twice.
  constexpr float kHalves = 0x1.8p22f, kOnes = 0x1.8p23f, kTwos = 0x1.8p24f;
  const float inverse = 1.0f / step;
  float sum[kLanes] = {};
  for (int64_t i = 0; i < count; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const float x = magnitude[i + lane] * inverse;
      const float low = x < 2.0f ? x : 2.0f;
      float middle = x > 2.0f ? x : 2.0f;
      middle = middle < 4.0f ? middle : 4.0f;
      float high = x > 4.0f ? x : 4.0f;
      high = high < 6.0f ? high : 6.0f;
      const float rounded = ((low + kHalves) - kHalves) +
                            (((middle + kOnes) - kOnes) - 2.0f) +
                            (((high + kTwos) - kTwos) - 4.0f);
      const float error = x - rounded;
      sum[lane] +=
          kWeighted ? importance[i + lane] * error * error : error * error;
    }
  }
  double total = 0;
  for (const float lane : sum) total += lane;
  return total * step * step;
}

}  // namespace

double SquaredError(const float* magnitude, const float* importance,
                    int64_t count, float step) {
  return importance == nullptr
             ? SumSquares<false>(magnitude, nullptr, count, step)
             : SumSquares<true>(magnitude, importance, count, step);
}

ScaleSearch::ScaleSearch(const ScaleOptions& options, int64_t k,
                         absl::Span<const float> importance)
    : options_(options),
      k_(k),
      num_groups_(kernels::NumGroups(k, options.group_size)),
      padded_((std::min(k, options.group_size) + kLanes - 1) / kLanes *
              kLanes) {
  ZQFP_CHECK(k > 0 && options.group_size > 0);
  ZQFP_CHECK(importance.empty() ||
             static_cast<int64_t>(importance.size()) == k);
  const auto groups = static_cast<size_t>(num_groups_);
  magnitude_.resize(groups * static_cast<size_t>(padded_));
  if (!importance.empty()) {
    importance_.resize(magnitude_.size());
    for (int64_t i = 0; i < k; ++i) {
      importance_[static_cast<size_t>(i / options.group_size * padded_ +
                                      i % options.group_size)] =
          importance[static_cast<size_t>(i)];
    }
  }
  plain_.resize(groups);
  exponent_.resize(groups);
  scales_.step.resize(groups);
  scales_.shift.resize(groups);
  for (int i = kFirstRatio; i <= kLastRatio; ++i) {
    ratio_.push_back(
        static_cast<float>(std::exp2(static_cast<double>(i) / kSixteenths)));
  }
}

// Signs do not matter to a scale, and zeros at the end add no error.
void ScaleSearch::LoadGroup(int64_t group, const float* values) {
  const int64_t count =
      std::min(options_.group_size, k_ - group * options_.group_size);
  float* magnitude = magnitude_.data() + group * padded_;
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    magnitude[i] = std::fabs(values[i]);
    largest = magnitude[i] > largest ? magnitude[i] : largest;
  }
  std::fill(magnitude + count, magnitude + padded_, 0.0f);
  const float step = largest / kernels::kE2m1Max;
  plain_[static_cast<size_t>(group)] = step < kSmallestStep ? 0 : step;
}

void ScaleSearch::LoadMagnitudes(const float* row) {
  for (int64_t group = 0; group < num_groups_; ++group) {
    LoadGroup(group, row + group * options_.group_size);
  }
}

float ScaleSearch::SearchFree(int64_t group) const {
  const float plain = plain_[static_cast<size_t>(group)];
  float best_step = plain;
  double best = std::numeric_limits<double>::infinity();
  for (const float ratio : ratio_) {
    const float step = plain * ratio;
    const double error = ErrorOf(group, step);
    if (error < best) {
      best = error;
      best_step = step;
    }
  }
  return best_step;
}

ScaleSearch::RowStart ScaleSearch::ChooseMantissa(const float* row) {
  LoadMagnitudes(row);
  mantissa_ = 1.0f;
  if (options_.constraint == ScaleConstraint::kM2) {
    if (options_.rounding == ScaleRounding::kSearch) {
      SearchExponents();
    } else {
      RoundExponents();
    }
  }
  int top = kNoExponent;
  for (const float plain : plain_) {
    if (plain > 0) top = std::max(top, UpperExponent(plain, mantissa_));
  }
  return {mantissa_, top};
}

int ScaleSearch::ChooseExponent(int64_t group, const float* values,
                                float mantissa) {
  LoadGroup(group, values);
  const float plain = plain_[static_cast<size_t>(group)];
  if (plain == 0) return kNoExponent;
  int exponent = UpperExponent(plain, mantissa);
  if (options_.rounding == ScaleRounding::kSearch) {
    const float step = mantissa * kernels::PowerOfTwo(exponent);
    if (ErrorOf(group, step / 2) < ErrorOf(group, step)) --exponent;
  } else if (options_.rounding == ScaleRounding::kNearest) {
    exponent = RatioExponent(plain, mantissa, options_.rounding);
  }
  return exponent;
}

float ScaleSearch::ChooseFreeStep(int64_t group, const float* values) {
  LoadGroup(group, values);
  const float plain = plain_[static_cast<size_t>(group)];
  if (plain == 0) return 0;
  return options_.rounding == ScaleRounding::kSearch ? SearchFree(group)
                                                     : plain;
}

// Error of the row with the mantissa 2^(sixteenth/16) when each group takes the
// better of the two steps next to its plain one; `keep` stores the exponents.
double ScaleSearch::TrySixteenth(int sixteenth, bool keep) {
  const float mantissa = ratio_[static_cast<size_t>(sixteenth - kFirstRatio)];
  double total = 0;
  for (size_t group = 0; group < plain_.size(); ++group) {
    if (plain_[group] == 0) continue;
    const int upper = UpperExponent(plain_[group], mantissa);
    const float step = mantissa * kernels::PowerOfTwo(upper);
    const double wide = ErrorOf(static_cast<int64_t>(group), step);
    const double narrow = ErrorOf(static_cast<int64_t>(group), step / 2);
    if (keep) exponent_[group] = narrow < wide ? upper - 1 : upper;
    total += std::min(wide, narrow);
  }
  return total;
}

// m1 has one mantissa, 1; m2 chooses among sixteen.
void ScaleSearch::SearchExponents() {
  int best_sixteenth = 0;
  if (options_.constraint == ScaleConstraint::kM2) {
    double best = std::numeric_limits<double>::infinity();
    for (int i = 0; i < kSixteenths; ++i) {
      const double error = TrySixteenth(i, /*keep=*/false);
      if (error < best) {
        best = error;
        best_sixteenth = i;
      }
    }
  }
  TrySixteenth(best_sixteenth, /*keep=*/true);
  mantissa_ = ratio_[static_cast<size_t>(best_sixteenth - kFirstRatio)];
}

// paper and nearest: no search.
void ScaleSearch::RoundExponents() {
  mantissa_ = 1.0f;
  int base = 0;
  float least = 1.0f;
  if (options_.constraint == ScaleConstraint::kM2) {
    least = std::numeric_limits<float>::infinity();
    for (const float plain : plain_) {
      if (plain > 0 && plain < least) least = plain;
    }
    if (std::isinf(least)) return;  // an empty row
    mantissa_ = 2 * std::frexp(least, &base);
    --base;
  }
  for (size_t group = 0; group < plain_.size(); ++group) {
    if (plain_[group] == 0) continue;
    exponent_[group] =
        base + RatioExponent(plain_[group], least, options_.rounding);
  }
}

// Rebases the row on its largest step; what lies beyond the window of exact
// shifts is raised to its edge.
void ScaleSearch::ApplyWindow(float mantissa) {
  int top = std::numeric_limits<int>::min();
  for (size_t group = 0; group < plain_.size(); ++group) {
    if (plain_[group] > 0) top = std::max(top, exponent_[group]);
  }
  scales_.row_scale = std::ldexp(mantissa, top);
  for (size_t group = 0; group < plain_.size(); ++group) {
    int shift = plain_[group] > 0 ? top - exponent_[group] : 0;
    if (shift > kernels::kMaxShift) {
      shift = kernels::kMaxShift;
      ++scales_.num_clamped;
    }
    scales_.shift[group] = static_cast<uint8_t>(shift);
    scales_.step[group] = std::ldexp(scales_.row_scale, -shift);
  }
}

void ScaleSearch::ChooseConstrained() {
  const bool has_weights = std::any_of(plain_.begin(), plain_.end(),
                                       [](float plain) { return plain > 0; });
  if (!has_weights) {
    scales_.row_scale = 1.0f;
    std::fill(scales_.step.begin(), scales_.step.end(), 1.0f);
    std::fill(scales_.shift.begin(), scales_.shift.end(), uint8_t{0});
    return;
  }
  if (options_.rounding == ScaleRounding::kSearch) {
    SearchExponents();
  } else {
    RoundExponents();
  }
  ApplyWindow(mantissa_);
}

const RowScales& ScaleSearch::Choose(const float* row) {
  LoadMagnitudes(row);
  scales_.num_clamped = 0;
  if (options_.constraint != ScaleConstraint::kFree) {
    ChooseConstrained();
    return scales_;
  }
  for (int64_t group = 0; group < num_groups_; ++group) {
    const float plain = plain_[static_cast<size_t>(group)];
    scales_.step[static_cast<size_t>(group)] =
        plain == 0                                    ? 1.0f
        : options_.rounding == ScaleRounding::kSearch ? SearchFree(group)
                                                      : plain;
  }
  return scales_;
}

}  // namespace zqfp
