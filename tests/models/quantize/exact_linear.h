// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_MODELS_QUANTIZE_EXACT_LINEAR_H_
#define ZQFP_TESTS_MODELS_QUANTIZE_EXACT_LINEAR_H_

// What the tensors of a quantized linear stand for, in f64, and what its error
// costs: written from models/FORMAT.md.

#include <string.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "models/quantize/quantize_linear.h"
#include "tests/models/exact_formats.h"

namespace zqfp::testing {

// The numbers of the piece NAME + ending; none where there is no such piece.
inline std::vector<double> PieceValues(const QuantizedLinear& linear,
                                       const std::string& ending) {
  std::vector<double> values;
  for (const QuantizedLinear::Piece& piece : linear.pieces) {
    if (piece.plan.name != linear.name + ending) continue;
    const auto width = static_cast<size_t>(ByteSize(piece.plan.dtype));
    for (size_t at = 0; at + width <= piece.bytes.size(); at += width) {
      const uint8_t* data = piece.bytes.data() + at;
      float f32 = 0;
      uint16_t half = 0;
      if (width == 4) memcpy(&f32, data, 4);
      if (width == 2) memcpy(&half, data, 2);
      values.push_back(piece.plan.dtype == DType::kF32 ? f32
                       : piece.plan.dtype == DType::kBf16
                           ? FloatValue(half, 8, 7)
                       : piece.plan.dtype == DType::kE4m3 ? E4m3Value(*data)
                                                          : *data);
    }
  }
  return values;
}

// W_hat [n, k] of the codes and scales alone.
inline std::vector<double> ExactCodes(const QuantizedLinear& linear,
                                      int64_t group_size) {
  const int64_t n = linear.n, k = linear.k;
  const std::vector<double> whole = PieceValues(linear, ".weight");
  const std::vector<double> packed = PieceValues(linear, ".weight_packed");
  const std::vector<double> row = PieceValues(linear, ".weight_row_scale");
  const std::vector<double> scale = PieceValues(linear, ".weight_scale");
  const std::vector<double> shift = PieceValues(linear, ".weight_shift");
  const int64_t groups = (k + group_size - 1) / group_size;
  std::vector<double> values;
  for (int64_t at = 0; at < n * k; ++at) {
    const int64_t i = at / k, j = at % k;
    if (packed.empty()) {
      values.push_back(whole[at] * (row.empty() ? 1 : row[i]));
      continue;
    }
    const int byte = static_cast<int>(packed[i * ((k + 1) / 2) + j / 2]);
    const int64_t group = i * groups + j / group_size;
    const double step =
        shift.empty() ? scale[group] : row[i] * std::exp2(-shift[group]);
    values.push_back(step * E2m1Value(j % 2 == 0 ? byte & 15 : byte >> 4));
  }
  return values;
}

// The same with the low-rank branch: all that the linear multiplies by.
inline std::vector<double> ExactWeights(const QuantizedLinear& linear,
                                        int64_t group_size) {
  std::vector<double> values = ExactCodes(linear, group_size);
  const std::vector<double> u = PieceValues(linear, ".lorc_u");
  const std::vector<double> v = PieceValues(linear, ".lorc_v");
  const std::vector<double> us = PieceValues(linear, ".lorc_u_scale");
  const std::vector<double> vs = PieceValues(linear, ".lorc_v_scale");
  const auto n = static_cast<size_t>(linear.n);
  const auto k = static_cast<size_t>(linear.k);
  const size_t rank = u.size() / n;
  for (size_t at = 0; at < n * k; ++at) {
    for (size_t r = 0; r < rank; ++r) {
      values[at] += u[at / k * rank + r] * v[r * k + at % k] *
                    (us.empty() ? 1 : us[at / k] * vs[r]);
    }
  }
  return values;
}

// |x E^T|^2 / |x W^T|^2 over the tokens x [tokens, k], from at most 64 evenly
// spaced rows, with damping * (mean square of x) on every column.
inline double ExactOutputError(const std::vector<double>& x,
                               const std::vector<float>& weights,
                               const std::vector<double>& rounded, int64_t n,
                               int64_t k, double damping) {
  const int64_t rows = std::min<int64_t>(n, 64);
  const int64_t tokens = static_cast<int64_t>(x.size()) / k;
  double squares = 0;
  for (const double value : x) squares += value * value;
  const double added = damping * squares / static_cast<double>(k);
  double lost = 0, all = 0;
  for (int64_t s = 0; s < rows; ++s) {
    const int64_t i = s * n / rows;
    for (int64_t t = 0; t < tokens; ++t) {
      double error = 0, sum = 0;
      for (int64_t j = 0; j < k; ++j) {
        const double w = weights[i * k + j];
        error += x[t * k + j] * (w - rounded[i * k + j]);
        sum += x[t * k + j] * w;
      }
      lost += error * error;
      all += sum * sum;
    }
    for (int64_t j = 0; j < k; ++j) {
      const double w = weights[i * k + j], error = w - rounded[i * k + j];
      lost += added * error * error;
      all += added * w * w;
    }
  }
  return lost / all;
}

}  // namespace zqfp::testing

#endif  // ZQFP_TESTS_MODELS_QUANTIZE_EXACT_LINEAR_H_
