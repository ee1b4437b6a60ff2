// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_ENGINE_SAMPLER_H_
#define ZQFP_ENGINE_SAMPLER_H_

// Picks the next token from one row of logits.

#include <stddef.h>
#include <stdint.h>

#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "models/model.h"
#include "zqfp/zqfp.h"

namespace zqfp {

// The ranges that SamplingOptions documents. InvalidArgument names the option,
// what is wanted and what was found.
absl::Status ValidateSampling(const SamplingOptions& options);
// And that logit_bias is of tokens of the vocabulary.
absl::Status ValidateSampling(const SamplingOptions& options,
                              int64_t vocab_size);

// The state of one request's sampling: options and the tokens seen so far.
// SamplingOptions documents the order of the steps.
class Sampler {
 public:
  // `options` passed ValidateSampling.
  explicit Sampler(const SamplingOptions& options);

  // Counts tokens for the penalties.
  void AddPrompt(absl::Span<const int32_t> ids);
  void AddOutput(int32_t id);

  // The next token. `logits` [vocab_size] is changed in place. `position` is
  // the absolute position of the token to be chosen: the draw depends on
  // (seed, position) only. DataLoss where a logit is NaN or +infinity, or all
  // are -infinity.
  absl::StatusOr<int32_t> Sample(absl::Span<float> logits, int64_t position);

  // The token that Sample would pick from the whole row, decided by its best;
  // nullopt where the others could have a say in it. The same errors.
  absl::StatusOr<std::optional<int32_t>> SampleTop(const TopLogits& top,
                                                   int64_t position);

 private:
  struct Candidate {
    int32_t id;
    float logit;
    double weight;  // exp((logit - largest) / temperature)
  };
  struct Seen {
    bool in_prompt = false;
    int64_t outputs = 0;
  };
  // What is certain of the tokens that are candidates, and of the others.
  struct Row {
    size_t ahead;           // so many, the best, come before all others
    double heaviest_other;  // no other weighs more
    double low, high;       // bounds of the sum of all weights
  };

  static bool Better(const Candidate& a, const Candidate& b);
  void ApplyPenalties(absl::Span<float> logits) const;
  // The same of the best of a row. Returns how many tokens that are not among
  // them it would change.
  int64_t ApplyPenalties(TopLogits& top) const;
  float Penalize(float logit, const Seen& seen) const;
  void AddCandidate(int32_t id, float logit, double largest);
  // Makes candidates of the best; `penalized` are the same ones, changed.
  Row RowOf(const TopLogits& top, const TopLogits& penalized, int64_t unknown,
            float best);
  // Of candidates that are all there is.
  Row WholeRow() const;

  // One of the candidates, or nullopt where others could be drawn, too.
  std::optional<int32_t> Draw(Row row, int64_t position);
  // Each leaves fewer candidates, which are all there is then; false where that
  // takes to know the others.
  bool KeepTopK(Row& row);
  bool KeepTypical(Row& row);
  bool KeepTopP(Row& row);
  bool KeepMinP(Row& row);
  // The fewest candidates, the best, whose weights sum to that share of the
  // row's. They are first then, in order.
  std::optional<size_t> BestThatReach(double share, const Row& row);
  size_t BestThatSumTo(double mass);

  SamplingOptions options_;
  bool penalizes_ = false;  // some logits change
  bool raises_ = false;     // some of those may grow
  absl::flat_hash_map<int32_t, Seen> seen_;
  std::vector<Candidate> candidates_;  // scratch, kept between calls
};

}  // namespace zqfp

#endif  // ZQFP_ENGINE_SAMPLER_H_
