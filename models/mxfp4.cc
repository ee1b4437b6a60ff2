// SPDX-License-Identifier: Apache-2.0
#include "models/mxfp4.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/core/status_macros.h"
#include "kernels/core/views.h"

namespace zqfp {
namespace {

constexpr int kNan = 255;
// 6 * 2^(252 - 127) is the largest finite weight.
constexpr int kLargest = 252;
constexpr uint8_t kMagnitudes = 0x77;  // of both codes of a byte

// The exponents of a row's groups that are not all zeros.
struct Span {
  int least = kNan;
  int most = -1;

  int width() const { return most < 0 ? 0 : most - least; }
};

bool IsZero(const Mxfp4Tensor& tensor, int64_t row, int64_t group) {
  const uint8_t* codes =
      tensor.codes + (row * tensor.k + group * tensor.group_size) / 2;
  return std::none_of(codes, codes + tensor.group_size / 2,
                      [](uint8_t byte) { return (byte & kMagnitudes) != 0; });
}

absl::StatusOr<Span> SpanOfRow(const Mxfp4Tensor& tensor, int64_t row,
                               const std::string& where) {
  const int64_t groups = tensor.k / tensor.group_size;
  Span span;
  for (int64_t g = 0; g < groups; ++g) {
    const int exponent = tensor.exponents[row * groups + g];
    if (exponent == kNan || (exponent > kLargest && !IsZero(tensor, row, g))) {
      return absl::DataLossError(fmt::format(
          "{}: want ue8m0 scales of 0..{} (6 times a larger one is no finite "
          "f32), found {} in row {}",
          where, kLargest, exponent, row));
    }
    const bool widens = exponent < span.least || exponent > span.most;
    if (!widens || IsZero(tensor, row, g)) continue;
    span.least = std::min(span.least, exponent);
    span.most = std::max(span.most, exponent);
  }
  return span;
}

void SetShifts(const Mxfp4Tensor& tensor, const std::vector<Span>& spans,
               Mxfp4Scales* out) {
  const int64_t groups = tensor.k / tensor.group_size;
  out->shift.reserve(static_cast<size_t>(tensor.n * groups));
  for (int64_t row = 0; row < tensor.n; ++row) {
    const Span& span = spans[static_cast<size_t>(row)];
    out->row_scale.push_back(span.most < 0 ? 1
                                           : std::ldexp(1, span.most - 127));
    for (int64_t g = 0; g < groups; ++g) {
      // A group outside the span is all zeros: any shift will do.
      const int shift = span.most - tensor.exponents[row * groups + g];
      out->shift.push_back(
          static_cast<uint8_t>(std::clamp(shift, 0, kernels::kMaxShift)));
    }
  }
}

}  // namespace

absl::StatusOr<Mxfp4Scales> DecideMxfp4Scales(const Mxfp4Tensor& tensor,
                                              const std::string& where) {
  std::vector<Span> spans;
  Mxfp4Scales out;
  for (int64_t row = 0; row < tensor.n; ++row) {
    ZQFP_ASSIGN_OR_RETURN(const Span span, SpanOfRow(tensor, row, where));
    spans.push_back(span);
    if (span.width() > out.widest_span) {
      out.widest_span = span.width();
      out.widest_row = row;
    }
  }
  if (out.widest_span <= kernels::kMaxShift) {
    SetShifts(tensor, spans, &out);
    return out;
  }
  const int64_t count = tensor.n * (tensor.k / tensor.group_size);
  out.group_scale.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    out.group_scale.push_back(std::ldexp(1.0f, tensor.exponents[i] - 127));
  }
  return out;
}

}  // namespace zqfp
