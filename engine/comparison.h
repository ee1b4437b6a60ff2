// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_ENGINE_COMPARISON_H_
#define ZQFP_ENGINE_COMPARISON_H_

// How far a model has moved from its original: both run side by side on the
// windows of an evaluation, and every scored prediction is compared.
//
//   divergence  KL(original || model) of a prediction, in nats
//   agreement   share of predictions with the same likeliest token
//   delta p     p_model(target) - p_original(target), the target being the
//               token that the text has
//   ratio       perplexity of the model / that of the original; its error is
//               paired: that of the mean difference of the losses, so that the
//               spread which both share does not count
//   noise floor the divergence of the original from itself with the inputs of
//               its linear layers rounded to bf16: what a mere change of
//               arithmetic does
//
// Standard errors take predictions as independent. Memory: the logits of one
// step of each model and 64 bytes per prediction.

#include <stdint.h>

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/evaluation.h"
#include "models/model.h"
#include "tokenizer/tokenizer.h"

namespace zqfp {

// A value over many predictions.
struct Spread {
  double mean = 0;
  double standard_error = 0;  // of the mean
  double rms = 0;
  double min = 0, p01 = 0, p05 = 0, p25 = 0, median = 0;
  double p75 = 0, p95 = 0, p99 = 0, p999 = 0, max = 0;
};

// The divergence over predictions that are alike.
struct DivergenceBucket {
  double begin = 0, end = 0;  // [begin, end) of what the bucket is by
  int64_t num_tokens = 0;     // where 0, the rest is 0
  double mean = 0, median = 0, p99 = 0;
};

struct NoiseFloor {
  int64_t num_tokens = 0;
  Spread divergence;
  double top1_agreement = 0;
};

struct ComparisonResult {
  EvaluationResult original, model;
  Spread divergence;
  double top1_agreement = 0, top1_agreement_standard_error = 0;
  Spread delta_p;
  double ln_perplexity_ratio = 0, ln_perplexity_ratio_standard_error = 0;
  double perplexity_ratio = 0, perplexity_ratio_standard_error = 0;
  std::optional<NoiseFloor> noise_floor;
  // By the position of the predicted token in its window; at most 64 of the
  // same width.
  std::vector<DivergenceBucket> by_position;
  // By the probability that the original gives its likeliest token: ten.
  std::vector<DivergenceBucket> by_confidence;
};

struct Subject {
  Model* model = nullptr;
  const Tokenizer* tokenizer = nullptr;
};

struct ComparisonArgs {
  Subject original;
  Subject model;
  // The original with rounded inputs; null: no noise floor.
  Model* rounded_original = nullptr;
  // The noise floor is measured on every so many-th window, the first
  // included: it is one more run of the original.
  int64_t noise_floor_stride = 32;
};

// Errors as Evaluate's, and InvalidArgument for models that do not predict the
// same tokens (tokenizer hash, vocab_size) or a stride below 1. DataLoss says
// which model's logits are not finite.
absl::StatusOr<ComparisonResult> Compare(const ComparisonArgs& args,
                                         const Corpus& corpus,
                                         const EvaluationOptions& options);

// All of a spread's fields; zeros where there is no value.
Spread MeasureSpread(std::vector<double> values);

}  // namespace zqfp

#endif  // ZQFP_ENGINE_COMPARISON_H_
