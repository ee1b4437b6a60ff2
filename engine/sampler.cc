// SPDX-License-Identifier: Apache-2.0
#include "engine/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/core/status_macros.h"

namespace zqfp {
namespace {

constexpr size_t kMaxBiases = 100000;

absl::Status Bad(const char* option, const char* want, double found) {
  return absl::InvalidArgumentError(
      fmt::format("{}: want {}, found {}", option, want, found));
}

absl::Status ValidateBias(const SamplingOptions& options, int64_t vocab_size) {
  if (options.logit_bias.size() > kMaxBiases) {
    return Bad("logit_bias", "at most 100000 entries",
               static_cast<double>(options.logit_bias.size()));
  }
  for (const auto& [id, bias] : options.logit_bias) {
    if (id < 0 || id >= vocab_size) {
      return Bad("logit_bias id", "an id of the vocabulary", id);
    }
    if (std::isnan(bias) || bias == std::numeric_limits<float>::infinity()) {
      return Bad("logit_bias", "a number below infinity", bias);
    }
  }
  return absl::OkStatus();
}

absl::Status NotANumber(const char* what, float found, size_t id,
                        int64_t position) {
  return absl::DataLossError(
      fmt::format("{}: want finite numbers, found {} for token {} at position "
                  "{}",
                  what, found, id, position));
}

absl::Status NoToken() {
  return absl::DataLossError("logits: want one above -infinity, found none");
}

absl::Status CheckNumbers(const char* what, absl::Span<const float> logits,
                          int64_t position) {
  for (size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i]) ||
        logits[i] == std::numeric_limits<float>::infinity()) {
      return NotANumber(what, logits[i], i, position);
    }
  }
  return absl::OkStatus();
}

// A uniform number in [0, 1) that depends on its arguments only (SplitMix64).
double Uniform(uint64_t seed, int64_t position) {
  uint64_t z =
      seed + (static_cast<uint64_t>(position) + 1) * 0x9e3779b97f4a7c15ull;
  for (int round = 0; round < 2; ++round) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    z ^= z >> 31;
  }
  return static_cast<double>(z >> 11) * 0x1p-53;
}

}  // namespace

absl::Status ValidateSampling(const SamplingOptions& options,
                              int64_t vocab_size) {
  const auto within = [](double x, double low, double high) {
    return x >= low && x <= high;  // false for NaN
  };
  if (!within(options.temperature, 0, 1e4)) {
    return Bad("temperature", "0 .. 10000", options.temperature);
  }
  if (options.top_k < 0) {
    return Bad("top_k", ">= 0", static_cast<double>(options.top_k));
  }
  if (!within(options.top_p, 0, 1) || options.top_p == 0) {
    return Bad("top_p", "0 < top_p <= 1", options.top_p);
  }
  if (!within(options.typical_p, 0, 1) || options.typical_p == 0) {
    return Bad("typical_p", "0 < typical_p <= 1", options.typical_p);
  }
  if (!within(options.min_p, 0, 1)) {
    return Bad("min_p", "0 .. 1", options.min_p);
  }
  if (!within(options.repetition_penalty, 0.01, 100)) {
    return Bad("repetition_penalty", "0.01 .. 100", options.repetition_penalty);
  }
  if (!within(options.presence_penalty, -2, 2)) {
    return Bad("presence_penalty", "-2 .. 2", options.presence_penalty);
  }
  if (!within(options.frequency_penalty, -2, 2)) {
    return Bad("frequency_penalty", "-2 .. 2", options.frequency_penalty);
  }
  return ValidateBias(options, vocab_size);
}

Sampler::Sampler(const SamplingOptions& options) : options_(options) {}

void Sampler::AddPrompt(absl::Span<const int32_t> ids) {
  for (const int32_t id : ids) seen_[id].in_prompt = true;
}

void Sampler::AddOutput(int32_t id) { ++seen_[id].outputs; }

void Sampler::ApplyPenalties(absl::Span<float> logits) const {
  for (const auto& [id, bias] : options_.logit_bias) logits[id] += bias;
  const float repetition = static_cast<float>(options_.repetition_penalty);
  for (const auto& [id, seen] : seen_) {
    if (id < 0 || static_cast<size_t>(id) >= logits.size()) continue;
    float& logit = logits[id];
    if (repetition != 1.0f) {
      logit = logit > 0 ? logit / repetition : logit * repetition;
    }
    if (seen.outputs > 0) {
      logit -= static_cast<float>(options_.presence_penalty +
                                  options_.frequency_penalty *
                                      static_cast<double>(seen.outputs));
    }
  }
}

void Sampler::KeepTopK() {
  const size_t k = static_cast<size_t>(options_.top_k);
  if (k == 0) return;
  const auto better = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  if (k < candidates_.size()) {
    std::nth_element(candidates_.begin(), candidates_.begin() + k - 1,
                     candidates_.end(), better);
    candidates_.resize(k);
  }
  // In one order, so that later sums do not depend on how we got here.
  std::sort(candidates_.begin(), candidates_.end(), better);
}

// Keeps the tokens whose surprise is nearest to the entropy, until their
// probabilities reach typical_p                             [arXiv:2202.00666]
void Sampler::KeepTypical() {
  if (options_.typical_p >= 1.0) return;
  double total = 0;
  for (const Candidate& c : candidates_) total += c.weight;
  double entropy = 0;
  for (const Candidate& c : candidates_) {
    const double p = c.weight / total;
    if (p > 0) entropy -= p * std::log(p);
  }
  const auto distance = [&](const Candidate& c) {
    return std::fabs(-std::log(c.weight / total) - entropy);
  };
  std::sort(candidates_.begin(), candidates_.end(),
            [&](const Candidate& a, const Candidate& b) {
              const double da = distance(a), db = distance(b);
              return da != db ? da < db : a.id < b.id;
            });
  double sum = 0;
  size_t kept = 0;
  while (kept < candidates_.size() && sum < options_.typical_p * total) {
    sum += candidates_[kept++].weight;
  }
  candidates_.resize(std::max<size_t>(1, kept));
}

// Keeps the smallest set of the most probable tokens whose probabilities reach
// top_p                                                     [arXiv:1904.09751]
void Sampler::KeepTopP() {
  if (options_.top_p >= 1.0) return;
  double total = 0;
  for (const Candidate& c : candidates_) total += c.weight;
  const auto better = [](const Candidate& a, const Candidate& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.id < b.id;
  };
  // Few tokens hold most of the mass: sort a growing head, not everything.
  const size_t size = candidates_.size();
  size_t sorted = 0, kept = 0;
  double sum = 0;
  while (sum < options_.top_p * total && kept < size) {
    if (kept == sorted) {
      const size_t next = std::min(size, std::max<size_t>(64, sorted * 8));
      std::partial_sort(candidates_.begin() + sorted,
                        candidates_.begin() + next, candidates_.end(), better);
      sorted = next;
    }
    sum += candidates_[kept++].weight;
  }
  candidates_.resize(std::max<size_t>(1, kept));
}

void Sampler::KeepMinP() {
  if (options_.min_p <= 0) return;
  double best = 0;
  for (const Candidate& c : candidates_) best = std::max(best, c.weight);
  std::erase_if(candidates_, [&](const Candidate& c) {
    return c.weight < options_.min_p * best;
  });
}

absl::StatusOr<int32_t> Sampler::Sample(absl::Span<float> logits,
                                        int64_t position) {
  ZQFP_RETURN_IF_ERROR(CheckNumbers("logits", logits, position));
  ApplyPenalties(logits);
  // Bias and penalties can overflow what was finite.
  ZQFP_RETURN_IF_ERROR(CheckNumbers("biased logits", logits, position));
  const auto best = std::max_element(logits.begin(), logits.end());
  if (best == logits.end() || std::isinf(*best)) return NoToken();
  if (options_.temperature == 0) {
    return static_cast<int32_t>(best - logits.begin());
  }
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    AddCandidate(static_cast<int32_t>(i), logits[i], *best);
  }
  return Draw(position);
}

bool Sampler::NeedsOnlyTop() const {
  const bool as_they_are =
      options_.logit_bias.empty() && options_.repetition_penalty == 1.0 &&
      options_.presence_penalty == 0 && options_.frequency_penalty == 0;
  const bool few =
      options_.temperature == 0 ||
      (options_.top_k > 0 && options_.top_k <= kernels::kTopLogits);
  return as_they_are && few;
}

absl::StatusOr<int32_t> Sampler::SampleTop(const TopLogits& top,
                                           int64_t position) {
  const float largest = top.logit[0];
  if (top.id[0] < 0) return NoToken();
  if (!(largest < std::numeric_limits<float>::infinity())) {
    return NotANumber("logits", largest, static_cast<size_t>(top.id[0]),
                      position);
  }
  if (std::isinf(largest)) return NoToken();
  if (options_.temperature == 0) return top.id[0];
  candidates_.clear();
  for (size_t i = 0; i < top.id.size() && top.id[i] >= 0; ++i) {
    AddCandidate(top.id[i], top.logit[i], largest);
  }
  return Draw(position);
}

void Sampler::AddCandidate(int32_t id, float logit, double largest) {
  const double weight = std::exp((logit - largest) / options_.temperature);
  if (weight > 0) candidates_.push_back({id, logit, weight});
}

int32_t Sampler::Draw(int64_t position) {
  KeepTopK();
  KeepTypical();
  KeepTopP();
  KeepMinP();
  // In order of id, so that the draw does not depend on how we got here.
  std::sort(candidates_.begin(), candidates_.end(),
            [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
  double total = 0;
  for (const Candidate& c : candidates_) total += c.weight;
  double left = Uniform(options_.seed, position) * total;
  for (const Candidate& c : candidates_) {
    left -= c.weight;
    if (left < 0) return c.id;
  }
  return candidates_.back().id;
}

}  // namespace zqfp
