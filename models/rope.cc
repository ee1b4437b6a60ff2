// SPDX-License-Identifier: Apache-2.0
#include "models/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace zqfp {
namespace {

std::vector<double> PlainInverse(double theta, int64_t dim) {
  std::vector<double> inverse(static_cast<size_t>(dim / 2));
  for (size_t i = 0; i < inverse.size(); ++i) {
    inverse[i] = std::pow(
        theta, -2.0 * static_cast<double>(i) / static_cast<double>(dim));
  }
  return inverse;
}

// theta grows with the length, so that the slowest pair still turns as far as
// in training (NTK-aware scaling, the "dynamic" kind).
double DynamicTheta(const RopeConfig& rope, int64_t dim, int64_t length) {
  const double original = static_cast<double>(rope.original_max_positions);
  const double n = std::max(static_cast<double>(length), original);
  const double d = static_cast<double>(dim);
  const double growth = rope.factor * n / original - (rope.factor - 1.0);
  return rope.theta * std::pow(growth, d / (d - 2.0));
}

// Llama 3: long wavelengths are divided by factor, short ones stay, those in
// between are blended.
void ScaleLlama3(const RopeConfig& rope, std::vector<double>& inverse) {
  const double original = static_cast<double>(rope.original_max_positions);
  for (double& f : inverse) {
    const double wavelength = 2.0 * std::numbers::pi / f;
    if (wavelength > original / rope.low_freq_factor) {
      f /= rope.factor;
    } else if (wavelength >= original / rope.high_freq_factor) {
      const double smooth = (original / wavelength - rope.low_freq_factor) /
                            (rope.high_freq_factor - rope.low_freq_factor);
      f = (1.0 - smooth) * f / rope.factor + smooth * f;
    }
  }
}

double YarnMscale(double scale, double mscale) {
  return scale <= 1.0 ? 1.0 : 0.1 * mscale * std::log(scale) + 1.0;
}

// The pair that makes `rotations` turns over the original context.
double YarnDim(const RopeConfig& rope, int64_t dim, double rotations) {
  const double original = static_cast<double>(rope.original_max_positions);
  return static_cast<double>(dim) *
         std::log(original / (rotations * 2.0 * std::numbers::pi)) /
         (2.0 * std::log(rope.theta));
}

// YaRN [arXiv:2309.00071]: pairs that turn often are kept, slow ones are
// interpolated, with a linear ramp between.
void ScaleYarn(const RopeConfig& rope, int64_t dim,
               RopeFrequencies& frequencies) {
  double low = YarnDim(rope, dim, rope.beta_fast);
  double high = YarnDim(rope, dim, rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(dim - 1));
  if (low == high) high += 0.001;  // no division by zero
  for (size_t i = 0; i < frequencies.inverse.size(); ++i) {
    const double ramp =
        std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    const double f = frequencies.inverse[i];
    frequencies.inverse[i] = f / rope.factor * ramp + f * (1.0 - ramp);
  }
  if (rope.attention_factor > 0) {
    frequencies.attention_factor = rope.attention_factor;
  } else if (rope.mscale > 0 && rope.mscale_all_dim > 0) {
    frequencies.attention_factor = YarnMscale(rope.factor, rope.mscale) /
                                   YarnMscale(rope.factor, rope.mscale_all_dim);
  } else {
    frequencies.attention_factor = YarnMscale(rope.factor, 1.0);
  }
}

// LongRoPE [arXiv:2402.13753]: every pair has its own divisor, one set up to
// the trained context and one beyond.
void ScaleLongrope(const RopeConfig& rope, int64_t length,
                   RopeFrequencies& frequencies) {
  const std::vector<double>& divisor =
      rope.is_beyond(length) ? rope.long_factor : rope.short_factor;
  for (size_t i = 0; i < frequencies.inverse.size(); ++i) {
    frequencies.inverse[i] /= divisor[i];
  }
  if (rope.attention_factor > 0) {
    frequencies.attention_factor = rope.attention_factor;
  } else if (rope.factor > 1) {
    const double original = static_cast<double>(rope.original_max_positions);
    frequencies.attention_factor =
        std::sqrt(1.0 + std::log(rope.factor) / std::log(original));
  }
}

}  // namespace

RopeFrequencies ComputeRopeFrequencies(const Config& config, int64_t length) {
  return ComputeRopeFrequencies(config.rope, config.rotary_dim(), length);
}

RopeFrequencies ComputeRopeFrequencies(const RopeConfig& rope,
                                       int64_t rotary_dim, int64_t length) {
  const int64_t dim = rotary_dim;
  const double theta = rope.scaling == RopeScaling::kDynamic
                           ? DynamicTheta(rope, dim, length)
                           : rope.theta;
  RopeFrequencies frequencies = {.inverse = PlainInverse(theta, dim)};
  switch (rope.scaling) {
    case RopeScaling::kNone:
    case RopeScaling::kDynamic:
      break;
    case RopeScaling::kLinear:
      for (double& f : frequencies.inverse) f /= rope.factor;
      break;
    case RopeScaling::kYarn:
      ScaleYarn(rope, dim, frequencies);
      break;
    case RopeScaling::kLlama3:
      ScaleLlama3(rope, frequencies.inverse);
      break;
    case RopeScaling::kLongrope:
      ScaleLongrope(rope, length, frequencies);
      break;
    case RopeScaling::kFactors:
      for (size_t i = 0; i < frequencies.inverse.size(); ++i) {
        frequencies.inverse[i] /= rope.factors[i];
      }
      break;
  }
  return frequencies;
}

void RopeRow(const RopeFrequencies& frequencies, int64_t position, float* cos,
             float* sin) {
  for (size_t i = 0; i < frequencies.inverse.size(); ++i) {
    const float angle = static_cast<float>(position) *
                        static_cast<float>(frequencies.inverse[i]);
    const double factor = frequencies.attention_factor;
    cos[i] = static_cast<float>(std::cos(double{angle}) * factor);
    sin[i] = static_cast<float>(std::sin(double{angle}) * factor);
  }
}

RopeAngles::RopeAngles(const RopeConfig& rope, int64_t rotary_dim)
    : rope_(rope), rotary_dim_(rotary_dim) {
  const int64_t trained = rope.original_max_positions;
  table_.frequencies = ComputeRopeFrequencies(rope, rotary_dim, trained);
  beyond_.frequencies = ComputeRopeFrequencies(rope, rotary_dim, trained + 1);
}

void RopeAngles::Look(Table& table, int64_t position, float* cos,
                      float* sin) const {
  const int64_t half = rotary_dim_ / 2;
  int64_t count = std::ssize(table.rows) / (2 * half);
  if (position >= count) {
    table.rows.resize(static_cast<size_t>((position + 1) * 2 * half));
    for (; count <= position; ++count) {
      float* row = table.rows.data() + count * 2 * half;
      RopeRow(table.frequencies, count, row, row + half);
    }
  }
  const float* row = table.rows.data() + position * 2 * half;
  std::copy_n(row, half, cos);
  std::copy_n(row + half, half, sin);
}

void RopeAngles::Fill(int64_t length, int64_t position, float* cos,
                      float* sin) {
  if (!rope_.is_beyond(length)) return Look(table_, position, cos, sin);
  if (rope_.scaling == RopeScaling::kLongrope) {
    return Look(beyond_, position, cos, sin);
  }
  if (length_ != length) {
    of_length_ = ComputeRopeFrequencies(rope_, rotary_dim_, length);
    length_ = length;
  }
  RopeRow(of_length_, position, cos, sin);
}

}  // namespace zqfp
