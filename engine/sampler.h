// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_ENGINE_SAMPLER_H_
#define ZQFP_ENGINE_SAMPLER_H_

// Picks the next token from one row of logits.

#include <stdint.h>

#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "models/model.h"
#include "zqfp/zqfp.h"

namespace zqfp {

// InvalidArgument names the option, what is wanted and what was found.
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

  // Whether the best logits of a row decide: nothing changes logits, and no
  // more of them than those can be drawn.
  bool NeedsOnlyTop() const;
  // The same token from the best of the row, where NeedsOnlyTop.
  absl::StatusOr<int32_t> SampleTop(const TopLogits& top, int64_t position);

 private:
  struct Candidate {
    int32_t id;
    float logit;
    double weight;  // exp(logit - largest), unnormalised probability
  };
  struct Seen {
    bool in_prompt = false;
    int64_t outputs = 0;
  };

  void ApplyPenalties(absl::Span<float> logits) const;
  void AddCandidate(int32_t id, float logit, double largest);
  // One of the candidates.
  int32_t Draw(int64_t position);
  void KeepTopK();
  void KeepTypical();
  void KeepTopP();
  void KeepMinP();

  SamplingOptions options_;
  absl::flat_hash_map<int32_t, Seen> seen_;
  std::vector<Candidate> candidates_;  // scratch, kept between calls
};

}  // namespace zqfp

#endif  // ZQFP_ENGINE_SAMPLER_H_
