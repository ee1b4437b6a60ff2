// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_QUANTIZE_SCALE_SEARCH_H_
#define ZQFP_MODELS_QUANTIZE_SCALE_SEARCH_H_

// How the scales of one weight row are chosen (FORMAT.md).
//
// A "step" is what one e2m1 unit is worth: w = step * e2m1(code). The plain
// step of a group is max|w| / 6, with which nothing clips. Searches look at
// steps of 2^(i/16) times powers of two and keep the least squared error.

#include <stdint.h>

#include <limits>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "models/config.h"

namespace zqfp {

// free: paper and nearest both mean the plain step.
// m1:   paper rounds a step up to a power of two, nearest rounds its exponent.
// m2:   the same for step / (least step of the row).
// search: the least squared error, for free scales over clipping ratios.
enum class ScaleRounding : uint8_t { kSearch, kNearest, kPaper };
std::string_view ToString(ScaleRounding rounding);

struct ScaleOptions {
  int64_t group_size = 128;
  ScaleConstraint constraint = ScaleConstraint::kM2;
  ScaleRounding rounding = ScaleRounding::kSearch;
};

// Squared error of rounding `count` magnitudes (a multiple of 16) with `step`,
// each weighted by its importance (null: 1).
double SquaredError(const float* magnitude, const float* importance,
                    int64_t count, float step);

// The scales of one row.
struct RowScales {
  std::vector<float> step;     // [num_groups], what each group really uses
  float row_scale = 1;         // m1, m2
  std::vector<uint8_t> shift;  // [num_groups], m1, m2: 0..14
  // Groups so small beside the row's largest that the window of 14 shifts
  // raised their step.
  int64_t num_clamped = 0;
};

// Chooses the scales of one row after another; keeps its buffers.
class ScaleSearch {
 public:
  // `k` weights per row. `importance` [k], or empty, weights the squared error
  // of each column: the diagonal of a Hessian.
  ScaleSearch(const ScaleOptions& options, int64_t k,
              absl::Span<const float> importance = {});

  // The row's k weights, all finite. The reply is valid until the next call.
  const RowScales& Choose(const float* row);

  // For scales that are chosen group by group while the weights still move:
  // the row's mantissa first (m1, m2), and the exponent with which none of its
  // groups clips; then the step of a group by its values of now. What is empty
  // gives 0 or kNoExponent.
  static constexpr int kNoExponent = std::numeric_limits<int>::min();
  struct RowStart {
    float mantissa;
    int top;
  };
  RowStart ChooseMantissa(const float* row);
  int ChooseExponent(int64_t group, const float* values, float mantissa);
  float ChooseFreeStep(int64_t group, const float* values);

 private:
  void LoadMagnitudes(const float* row);
  // `values` are the group's; its magnitudes and plain step are kept.
  void LoadGroup(int64_t group, const float* values);
  float SearchFree(int64_t group) const;
  double ErrorOf(int64_t group, float step) const {
    return SquaredError(
        Group(group),
        importance_.empty() ? nullptr : importance_.data() + group * padded_,
        padded_, step);
  }
  void ChooseConstrained();
  void SearchExponents();
  double TrySixteenth(int sixteenth, bool keep);
  void RoundExponents();
  void ApplyWindow(float mantissa);

  const float* Group(int64_t group) const {
    return magnitude_.data() + group * padded_;
  }

  ScaleOptions options_;
  int64_t k_;
  int64_t num_groups_;
  int64_t padded_;                 // floats of one group in magnitude_
  std::vector<float> magnitude_;   // [num_groups, padded], zeros at the end
  std::vector<float> importance_;  // [num_groups, padded] or empty
  std::vector<float> plain_;       // [num_groups] max / 6; 0: an empty group
  std::vector<float> ratio_;       // 2^(i/16)
  std::vector<int> exponent_;      // [num_groups], of step = mantissa * 2^e
  float mantissa_ = 1;
  RowScales scales_;
};

}  // namespace zqfp

#endif  // ZQFP_MODELS_QUANTIZE_SCALE_SEARCH_H_
