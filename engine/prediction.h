// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_ENGINE_PREDICTION_H_
#define ZQFP_ENGINE_PREDICTION_H_

// What a row of logits predicts: softmax in f64 over f32 logits.
//
// Numerics: exponentials to a relative 1e-12, sums in f64; so a loss is exact
// to 2e-12 + its own rounding, a divergence to 2e-12 (1 + the mean distance of
// the two rows), far below what the last bit of an f32 logit does to either.
// Rows with a NaN or an infinity give a loss or divergence that is not finite.

#include <stdint.h>

#include "absl/types/span.h"

namespace zqfp {

struct Prediction {
  double loss = 0;             // -ln p(target)
  int32_t top_id = 0;          // the likeliest token, the first of equals
  double top_probability = 0;  // its p
};

// logits [vocab_size]; 0 <= target < vocab_size.
Prediction Predict(absl::Span<const float> logits, int32_t target);

struct PredictionPair {
  Prediction original, model;
  // KL(original || model) = sum_i p_original(i) ln(p_original(i) / p_model(i)),
  // in nats; at least 0, and exactly 0 for equal rows.
  double divergence = 0;
};

// Both rows [vocab_size], in one pass.
PredictionPair PredictPair(absl::Span<const float> original,
                           absl::Span<const float> model, int32_t target);

}  // namespace zqfp

#endif  // ZQFP_ENGINE_PREDICTION_H_
