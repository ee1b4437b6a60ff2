// SPDX-License-Identifier: Apache-2.0
#include "kernels/reference/dot.h"

#include "kernels/core/float_formats.h"
#include "kernels/reference/reference.h"

namespace zqfp::kernels::reference {
namespace {

// The columns that share a factor: all, where there are no groups.
int64_t GroupLength(const WeightView& w) {
  return HasGroups(w.format) ? w.group_size : w.k;
}

// The factor of weight row n that the group of column k shares.
double GroupScale(const WeightView& w, int64_t n, int64_t k) {
  if (w.format == WeightFormat::kE4m3) return w.row_scale[n];
  if (!HasGroups(w.format)) return 1;
  const int64_t row = n / w.scale_rows;
  const int64_t group = row * NumGroups(w.k, w.group_size) + k / w.group_size;
  switch (w.format) {
    case WeightFormat::kE2m1Shift:
      return double{w.row_scale[n]} * PowerOfTwo(-int{w.shift[group]});
    case WeightFormat::kE2m1E4m3:
      return double{w.global_scale} / w.global_divisor *
             E4m3ToFloat(w.scale_code[group]);
    default:
      return w.group_scale[group];
  }
}

// W[n, k] without its factor.
float Code(const WeightView& w, int64_t n, int64_t k) {
  const uint8_t* bytes = static_cast<const uint8_t*>(w.data);
  switch (w.format) {
    case WeightFormat::kF32:
      return ReadValue(ValueFormat::kF32, w.data, n * w.k + k);
    case WeightFormat::kBf16:
      return ReadValue(ValueFormat::kBf16, w.data, n * w.k + k);
    case WeightFormat::kF16:
      return ReadValue(ValueFormat::kF16, w.data, n * w.k + k);
    case WeightFormat::kE4m3:
    case WeightFormat::kE4m3Groups:
      return ReadValue(ValueFormat::kE4m3, w.data, n * w.k + k);
    case WeightFormat::kE2m1Free:
    case WeightFormat::kE2m1Shift:
    case WeightFormat::kE2m1E4m3:
      return E2m1ToFloat(UnpackE2m1(bytes + n * ((w.k + 1) / 2), k));
  }
  return 0;
}

}  // namespace

double TokenView::operator[](int64_t k) const {
  return x != nullptr ? x[k] : E4m3ToFloat(codes[k]);
}

// sum_g scale[g] * sum_{k in g} x[k] * code[k]; of e4m3 tokens and quantized
// weights the inner sum is exact.
double Dot(const WeightView& w, int64_t n, const TokenView& token) {
  const int64_t step = GroupLength(w);
  double total = 0;
  for (int64_t begin = 0; begin < w.k; begin += step) {
    const int64_t end = begin + step < w.k ? begin + step : w.k;
    double sum = 0;
    for (int64_t k = begin; k < end; ++k) sum += token[k] * Code(w, n, k);
    total += GroupScale(w, n, begin) * sum;
  }
  return total;
}

void LowRankInner(const WeightView& w, const TokenView& token, double* inner) {
  for (int64_t r = 0; r < w.lorc.rank; ++r) {
    double sum = 0;
    for (int64_t k = 0; k < w.k; ++k) {
      sum += token[k] * ReadValue(w.lorc.format, w.lorc.v, r * w.k + k);
    }
    if (w.lorc.format == ValueFormat::kE4m3) sum *= w.lorc.v_scale[r];
    inner[r] = sum;
  }
}

double LowRankOuter(const WeightView& w, int64_t n, const double* inner) {
  double sum = 0;
  for (int64_t r = 0; r < w.lorc.rank; ++r) {
    sum += inner[r] * ReadValue(w.lorc.format, w.lorc.u, r * w.n + n);
  }
  const bool scaled = w.lorc.rank > 0 && w.lorc.format == ValueFormat::kE4m3;
  return scaled ? sum * w.lorc.u_scale[n] : sum;
}

}  // namespace zqfp::kernels::reference
