// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_QUANTIZE_RTN_H_
#define ZQFP_MODELS_QUANTIZE_RTN_H_

// Round to nearest: from f32 rows to the codes and scales of FORMAT.md.
// Scales come from the weights alone.

#include <stdint.h>

#include <vector>

#include "absl/types/span.h"
#include "kernels/cpu/thread_pool.h"
#include "models/quantize/scale_search.h"

namespace zqfp {

// Some rows of a matrix in e2m1, as they lie on disk.
struct E2m1Rows {
  std::vector<uint8_t> packed;     // [n, ceil(k/2)]
  std::vector<float> group_scale;  // [n, num_groups]  free
  std::vector<float> row_scale;    // [n]              m1, m2
  std::vector<uint8_t> shift;      // [n, num_groups]  m1, m2
};

// What rounding cost; sums of several blocks of rows add up.
struct RoundingReport {
  double squared_error = 0;
  double squared_sum = 0;  // of the weights
  int64_t num_weights = 0;
  int max_shift = 0;           // largest one used
  int64_t clamped_groups = 0;  // steps raised by the window of shifts
  int64_t clamped_rows = 0;    // rows with such a group

  double relative_error() const {
    return squared_sum > 0 ? squared_error / squared_sum : 0;
  }
  void Add(const RoundingReport& other);
};

// `weights` is [n, k], finite, n = weights.size() / k. Rows go to the pool's
// threads; the result does not depend on their number.
RoundingReport QuantizeToE2m1(absl::Span<const float> weights, int64_t k,
                              const ScaleOptions& options,
                              kernels::ThreadPool& pool, E2m1Rows* out);

// Some rows in e4m3 with one scale each, max|w| / 448.
struct E4m3Rows {
  std::vector<uint8_t> codes;    // [n, k]
  std::vector<float> row_scale;  // [n]
};

RoundingReport QuantizeToE4m3(absl::Span<const float> weights, int64_t k,
                              kernels::ThreadPool& pool, E4m3Rows* out);

}  // namespace zqfp

#endif  // ZQFP_MODELS_QUANTIZE_RTN_H_
