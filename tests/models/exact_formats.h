// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_MODELS_EXACT_FORMATS_H_
#define ZQFP_TESTS_MODELS_EXACT_FORMATS_H_

// The number formats of models/FORMAT.md in f64: written from their
// definitions, none of it shared with the product.

#include <stdint.h>

#include <cmath>
#include <limits>
#include <vector>

namespace zqfp::testing {

// A float of 1 sign bit, `exponent_bits` and `mantissa_bits`; the bias is
// 2^(exponent_bits - 1) - 1, and exponent 0 has no leading one.
inline double FloatValue(uint32_t code, int exponent_bits, int mantissa_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int mantissa = static_cast<int>(code & ((1u << mantissa_bits) - 1));
  const int exponent =
      static_cast<int>(code >> mantissa_bits & ((1u << exponent_bits) - 1));
  const double value = exponent == 0
                           ? std::ldexp(mantissa, 1 - bias - mantissa_bits)
                           : std::ldexp((1 << mantissa_bits) + mantissa,
                                        exponent - bias - mantissa_bits);
  return code >> (exponent_bits + mantissa_bits) & 1 ? -value : value;
}

inline double E2m1Value(int code) {
  return FloatValue(static_cast<uint32_t>(code), 2, 1);
}
inline double E4m3Value(int code) {
  return FloatValue(static_cast<uint32_t>(code), 4, 3);
}

// The values of the codes 0, 1, ... of a format, those that are numbers and
// not negative.
inline std::vector<double> Magnitudes(int exponent_bits, int mantissa_bits,
                                      int largest_code) {
  std::vector<double> values;
  for (int code = 0; code <= largest_code; ++code) {
    values.push_back(
        FloatValue(static_cast<uint32_t>(code), exponent_bits, mantissa_bits));
  }
  return values;
}
inline std::vector<double> E2m1Magnitudes() { return Magnitudes(2, 1, 7); }
inline std::vector<double> E4m3Magnitudes() { return Magnitudes(4, 3, 0x7e); }
inline std::vector<double> E5m2Magnitudes() { return Magnitudes(5, 2, 0x7b); }

// The index of the magnitude nearest to |x|; of two as near the even one.
inline int NearestMagnitude(const std::vector<double>& magnitudes, double x) {
  int best = 0;
  for (int i = 1; i < static_cast<int>(magnitudes.size()); ++i) {
    const double distance = std::fabs(magnitudes[i] - std::fabs(x));
    const double least = std::fabs(magnitudes[best] - std::fabs(x));
    if (distance < least || (distance == least && i % 2 == 0)) best = i;
  }
  return best;
}

// x rounded to the format.
inline double RoundTo(const std::vector<double>& magnitudes, double x) {
  return std::copysign(magnitudes[NearestMagnitude(magnitudes, x)], x);
}

// A token in e4m3 (section 3): s = max|x| / 448 and the quotients in f32, as
// the definition has it, for all backends to agree.
inline std::vector<double> RoundTokenToE4m3(const float* x, int64_t dim) {
  static const std::vector<double>& magnitudes =
      *new std::vector<double>(E4m3Magnitudes());
  float largest = 0;
  for (int64_t i = 0; i < dim; ++i) {
    largest = std::fmax(largest, std::fabs(x[i]));
  }
  const float scale = largest == 0 ? 1.0f : largest / 448.0f;
  std::vector<double> rounded;
  for (int64_t i = 0; i < dim; ++i) {
    const float quotient = x[i] / scale;
    rounded.push_back(double{scale} * RoundTo(magnitudes, quotient));
  }
  return rounded;
}

}  // namespace zqfp::testing

#endif  // ZQFP_TESTS_MODELS_EXACT_FORMATS_H_
