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
    return absl::InvalidArgumentError(
        fmt::format("logit_bias: want at most {} entries, found {}", kMaxBiases,
                    options.logit_bias.size()));
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

absl::Status ValidateSampling(const SamplingOptions& options) {
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
  return absl::OkStatus();
}

absl::Status ValidateSampling(const SamplingOptions& options,
                              int64_t vocab_size) {
  ZQFP_RETURN_IF_ERROR(ValidateSampling(options));
  return ValidateBias(options, vocab_size);
}

Sampler::Sampler(const SamplingOptions& options) : options_(options) {
  const double repetition = options_.repetition_penalty;
  const double presence = options_.presence_penalty;
  const double frequency = options_.frequency_penalty;
  penalizes_ = repetition != 1 || presence != 0 || frequency != 0 ||
               !options_.logit_bias.empty();
  raises_ = repetition < 1 || presence < 0 || frequency < 0 ||
            std::any_of(options_.logit_bias.begin(), options_.logit_bias.end(),
                        [](const auto& entry) { return entry.second > 0; });
}

void Sampler::AddPrompt(absl::Span<const int32_t> ids) {
  for (const int32_t id : ids) seen_[id].in_prompt = true;
}

void Sampler::AddOutput(int32_t id) { ++seen_[id].outputs; }

float Sampler::Penalize(float logit, const Seen& seen) const {
  const float repetition = static_cast<float>(options_.repetition_penalty);
  if (repetition != 1.0f) {
    logit = logit > 0 ? logit / repetition : logit * repetition;
  }
  if (seen.outputs > 0) {
    logit -= static_cast<float>(options_.presence_penalty +
                                options_.frequency_penalty *
                                    static_cast<double>(seen.outputs));
  }
  return logit;
}

void Sampler::ApplyPenalties(absl::Span<float> logits) const {
  if (!penalizes_) return;
  for (const auto& [id, bias] : options_.logit_bias) logits[id] += bias;
  for (const auto& [id, seen] : seen_) {
    if (id < 0 || static_cast<size_t>(id) >= logits.size()) continue;
    logits[id] = Penalize(logits[id], seen);
  }
}

int64_t Sampler::ApplyPenalties(TopLogits& top) const {
  if (!penalizes_) return 0;
  int64_t unknown = 0;
  for (const auto& [id, bias] : options_.logit_bias) {
    const auto at = std::find(top.id.begin(), top.id.end(), id);
    if (at == top.id.end()) {
      ++unknown;
    } else {
      top.logit[static_cast<size_t>(at - top.id.begin())] += bias;
    }
  }
  unknown += std::ssize(seen_);
  for (size_t i = 0; i < top.id.size() && top.id[i] >= 0; ++i) {
    const auto seen = seen_.find(top.id[i]);
    if (seen == seen_.end()) continue;
    --unknown;
    top.logit[i] = Penalize(top.logit[i], seen->second);
  }
  return unknown;
}

// The order in which tokens are cut and drawn.
bool Sampler::Better(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

void Sampler::AddCandidate(int32_t id, float logit, double largest) {
  const double weight = std::exp((logit - largest) / options_.temperature);
  if (weight > 0) candidates_.push_back({id, logit, weight});
}

Sampler::Row Sampler::WholeRow() const {
  double sum = 0;
  for (const Candidate& c : candidates_) sum += c.weight;
  return {std::numeric_limits<size_t>::max(), 0, sum, sum};
}

Sampler::Row Sampler::RowOf(const TopLogits& top, const TopLogits& penalized,
                            int64_t unknown, float best) {
  const auto weigh = [&](float logit) {
    return std::exp((static_cast<double>(logit) - best) / options_.temperature);
  };
  Row row = {0, weigh(top.logit.back()), 0, 0};
  double change = 0;
  for (size_t i = 0; i < top.id.size() && top.id[i] >= 0; ++i) {
    AddCandidate(top.id[i], penalized.logit[i], best);
    // What is as good as the last could be one of many.
    const bool ahead = !penalizes_ || penalized.logit[i] > top.logit.back();
    if (ahead) ++row.ahead;
    change += weigh(penalized.logit[i]) - weigh(top.logit[i]);
  }
  if (row.heaviest_other == 0) {  // there is none, or none that is ever drawn
    std::sort(
        candidates_.begin(), candidates_.end(),
        [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
    return WholeRow();
  }
  const double mass = top.mass * weigh(top.logit[0]);
  row.low = mass * (1 - kernels::kTopMassError) + change -
            static_cast<double>(unknown) * row.heaviest_other;
  row.high = mass * (1 + kernels::kTopMassError) + change;
  return row;
}

bool Sampler::KeepTopK(Row& row) {
  if (options_.top_k == 0) return true;
  const size_t k = static_cast<size_t>(options_.top_k);
  if (row.heaviest_other > 0 && k > row.ahead) return false;
  if (k < candidates_.size()) {
    std::nth_element(candidates_.begin(), candidates_.begin() + k - 1,
                     candidates_.end(), Better);
    candidates_.resize(k);
  }
  // In one order, so that later sums do not depend on how we got here.
  std::sort(candidates_.begin(), candidates_.end(), Better);
  row = WholeRow();
  return true;
}

// Keeps the tokens whose surprise is nearest to the entropy, until their
// probabilities reach typical_p                             [arXiv:2202.00666]
bool Sampler::KeepTypical(Row& row) {
  if (options_.typical_p >= 1.0) return true;
  if (row.heaviest_other > 0) return false;
  const double total = row.low;
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
  row = WholeRow();
  return true;
}

// One more than there are candidates where they do not.
size_t Sampler::BestThatSumTo(double mass) {
  // Few tokens hold most of the mass: sort a growing head, not everything.
  const size_t size = candidates_.size();
  size_t sorted = 0;
  double sum = 0;
  for (size_t count = 0; count < size; ++count) {
    if (count == sorted) {
      const size_t next = std::min(size, std::max<size_t>(64, sorted * 8));
      std::partial_sort(candidates_.begin() + static_cast<ptrdiff_t>(sorted),
                        candidates_.begin() + static_cast<ptrdiff_t>(next),
                        candidates_.end(), Better);
      sorted = next;
    }
    sum += candidates_[count].weight;
    if (sum >= mass) return count + 1;
  }
  return size + 1;
}

std::optional<size_t> Sampler::BestThatReach(double share, const Row& row) {
  const bool is_bounded =
      row.low > 0 && row.high < std::numeric_limits<double>::infinity();
  if (!is_bounded) return std::nullopt;
  const size_t count = BestThatSumTo(share * row.low);
  if (count > row.ahead) return std::nullopt;
  if (row.high > row.low && BestThatSumTo(share * row.high) != count) {
    return std::nullopt;
  }
  // Of a whole row, rounding alone can leave the sum short.
  return std::min(count, candidates_.size());
}

// Keeps the smallest set of the most probable tokens whose probabilities reach
// top_p                                                     [arXiv:1904.09751]
bool Sampler::KeepTopP(Row& row) {
  if (options_.top_p >= 1.0) return true;
  const std::optional<size_t> count = BestThatReach(options_.top_p, row);
  if (!count) return false;
  candidates_.resize(*count);
  row = WholeRow();
  return true;
}

bool Sampler::KeepMinP(Row& row) {
  if (options_.min_p <= 0) return true;
  double best = 0;
  for (const Candidate& c : candidates_) best = std::max(best, c.weight);
  const double least = options_.min_p * best;
  if (row.heaviest_other > 0 && row.heaviest_other >= least) return false;
  std::erase_if(candidates_,
                [&](const Candidate& c) { return c.weight < least; });
  std::sort(candidates_.begin(), candidates_.end(), Better);
  row = WholeRow();
  return true;
}

std::optional<int32_t> Sampler::Draw(Row row, int64_t position) {
  if (!KeepTopK(row) || !KeepTypical(row) || !KeepTopP(row) || !KeepMinP(row)) {
    return std::nullopt;
  }
  const std::optional<size_t> count =
      BestThatReach(Uniform(options_.seed, position), row);
  if (!count) return std::nullopt;
  return candidates_[*count - 1].id;
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
  return *Draw(WholeRow(), position);
}

absl::StatusOr<std::optional<int32_t>> Sampler::SampleTop(const TopLogits& top,
                                                          int64_t position) {
  const float largest = top.logit[0];
  if (top.id[0] < 0) return NoToken();
  if (!(largest < std::numeric_limits<float>::infinity())) {
    return NotANumber("logits", largest, static_cast<size_t>(top.id[0]),
                      position);
  }
  if (std::isinf(largest)) return NoToken();
  if (raises_) return std::nullopt;
  TopLogits penalized = top;
  const int64_t unknown = ApplyPenalties(penalized);
  const auto candidate = [&](size_t i) {
    return Candidate{top.id[i], penalized.logit[i], 0};
  };
  size_t best = 0;
  for (size_t i = 1; i < top.id.size() && top.id[i] >= 0; ++i) {
    if (Better(candidate(i), candidate(best))) best = i;
  }
  const float best_logit = penalized.logit[best];
  // Others may be as good as the last.
  if (penalizes_ && !(best_logit > top.logit.back())) return std::nullopt;
  if (options_.temperature == 0) return top.id[best];
  candidates_.clear();
  return Draw(RowOf(top, penalized, unknown, best_logit), position);
}

}  // namespace zqfp
