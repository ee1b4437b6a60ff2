// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_ENGINE_STATISTICS_H_
#define ZQFP_ENGINE_STATISTICS_H_

// Means, their errors, and quantiles of measured values.

#include "absl/types/span.h"

namespace zqfp {

// 0 of nothing.
double Mean(absl::Span<const double> values);

// Of the mean, values taken as independent: s / sqrt(n) with s over n - 1.
// 0 where there are fewer than two values.
double StandardError(absl::Span<const double> values);

// The value below which a share of 0 .. 1 lies, between neighbours by linear
// interpolation (numpy's default); `sorted` ascends and is not empty.
double Quantile(absl::Span<const double> sorted, double share);

}  // namespace zqfp

#endif  // ZQFP_ENGINE_STATISTICS_H_
