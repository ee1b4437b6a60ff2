// SPDX-License-Identifier: Apache-2.0
#include "engine/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <set>

namespace zqfp {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

int32_t Draw(const SamplingOptions& options, std::vector<float> logits,
             int64_t position = 0) {
  Sampler sampler(options);
  const auto id = sampler.Sample(absl::MakeSpan(logits), position);
  EXPECT_TRUE(id.ok()) << id.status();
  return id.value_or(-1);
}

// The definition once more, as plain as can be: from (id, probability) pairs,
// each step keeps some and renormalises.
using Distribution = std::vector<std::pair<int32_t, double>>;

void Renormalise(Distribution& d) {
  double total = 0;
  for (const auto& [id, p] : d) total += p;
  for (auto& [id, p] : d) p /= total;
}

// Keeps the head of the list, in the order of `key` (smaller first, lower id
// on a tie), that reaches `mass`.
template <typename Key>
void KeepMass(Distribution& d, double mass, Key key) {
  std::stable_sort(d.begin(), d.end(), [&](const auto& a, const auto& b) {
    return key(a.second) < key(b.second);
  });
  double sum = 0;
  size_t kept = 0;
  while (kept < d.size() && sum < mass) sum += d[kept++].second;
  d.resize(kept);
  std::sort(d.begin(), d.end());
  Renormalise(d);
}

Distribution Expected(const SamplingOptions& options,
                      const std::vector<float>& logits) {
  Distribution d;
  for (size_t i = 0; i < logits.size(); ++i) {
    d.emplace_back(static_cast<int32_t>(i),
                   std::exp(logits[i] / options.temperature));
  }
  Renormalise(d);
  if (options.top_k > 0) {
    std::stable_sort(d.begin(), d.end(), [](const auto& a, const auto& b) {
      return a.second > b.second;
    });
    d.resize(std::min<size_t>(d.size(), static_cast<size_t>(options.top_k)));
    std::sort(d.begin(), d.end());
    Renormalise(d);
  }
  if (options.typical_p < 1) {
    double entropy = 0;
    for (const auto& [id, p] : d) entropy -= p * std::log(p);
    KeepMass(d, options.typical_p,
             [&](double p) { return std::fabs(-std::log(p) - entropy); });
  }
  if (options.top_p < 1) {
    KeepMass(d, options.top_p, [](double p) { return -p; });
  }
  double best = 0;
  for (const auto& [id, p] : d) best = std::max(best, p);
  std::erase_if(d,
                [&](const auto& e) { return e.second < options.min_p * best; });
  Renormalise(d);
  return d;
}

std::vector<float> RandomLogits(uint32_t seed, size_t size, float spread) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> logits(size);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

// Draws at many positions and compares the counts with `Expected` by
// chi-square: the mean of the statistic is its degrees of freedom, the
// variance twice that; 6 sigma is beyond chance.
void ExpectDistribution(const SamplingOptions& options,
                        const std::vector<float>& logits) {
  constexpr int kDraws = 20000;
  const Distribution want = Expected(options, logits);
  std::map<int32_t, int> counts;
  for (int position = 0; position < kDraws; ++position) {
    ++counts[Draw(options, logits, position)];
  }
  double statistic = 0;
  int drawn = 0;
  for (const auto& [id, p] : want) {
    const double expected = p * kDraws;
    statistic += (counts[id] - expected) * (counts[id] - expected) / expected;
    drawn += counts[id];
  }
  EXPECT_EQ(drawn, kDraws) << "a token was drawn that should be cut off";
  const double freedom = static_cast<double>(want.size()) - 1;
  EXPECT_LE(statistic, freedom + 6 * std::sqrt(2 * freedom) + 1e-9);
}

TEST(Sampler, DrawsFromTheDistributionOfTheOptions) {
  const std::vector<float> logits = RandomLogits(1, 40, 1.5f);
  SamplingOptions options;
  options.temperature = 1;
  ExpectDistribution(options, logits);
  options.temperature = 0.6;
  ExpectDistribution(options, logits);
  options.top_k = 7;
  ExpectDistribution(options, logits);
  options.top_p = 0.8;
  ExpectDistribution(options, logits);
  options = {.temperature = 1.3, .min_p = 0.2};
  ExpectDistribution(options, logits);
  options = {.temperature = 1, .typical_p = 0.5};
  ExpectDistribution(options, logits);
  options = {.temperature = 0.9,
             .top_k = 20,
             .typical_p = 0.9,
             .top_p = 0.9,
             .min_p = 0.05};
  ExpectDistribution(options, logits);
}

// Cuts only, on many random rows: every draw lies in the expected set, and
// every likely member of that set turns up.
TEST(Sampler, CutsWhatTheDefinitionCuts) {
  std::mt19937 random(3);
  const auto unit = [&] { return (random() % 999 + 1) / 1000.0; };
  for (uint32_t round = 0; round < 200; ++round) {
    const auto logits = RandomLogits(round, 5 + random() % 300, 2);
    SamplingOptions options = {.temperature = 0.2 + 2 * unit()};
    if (random() % 2) options.top_k = 1 + random() % 50;
    if (random() % 2) options.typical_p = unit();
    if (random() % 2) options.top_p = unit();
    if (random() % 2) options.min_p = unit();
    const Distribution want = Expected(options, logits);
    std::set<int32_t> drawn;
    for (int64_t position = 0; position < 200; ++position) {
      drawn.insert(Draw(options, logits, position));
    }
    for (const auto& [id, p] : want) {
      const bool found = drawn.erase(id) > 0;
      EXPECT_TRUE(found || p < 0.15) << "round " << round << " id " << id;
    }
    EXPECT_TRUE(drawn.empty()) << "round " << round << ": " << *drawn.begin();
  }
}

TEST(Sampler, TemperatureZeroIsGreedyAndTakesTheLowestIdOnATie) {
  EXPECT_EQ(Draw({}, {0, 3, 1, 3}), 1);
  EXPECT_EQ(Draw({}, {-kInfinity, -kInfinity, -5}), 2);
  EXPECT_EQ(Draw({.temperature = 0, .top_k = 1, .top_p = 0.1}, {2, 2}), 0);
  const auto logits = RandomLogits(9, 1000, 3);
  EXPECT_EQ(Draw({}, logits),
            std::max_element(logits.begin(), logits.end()) - logits.begin());
}

TEST(Sampler, ExtremeTemperaturesStaySane) {
  for (const double temperature : {1e-320, 5e-324, 1e-30, 1e-3}) {
    EXPECT_EQ(Draw({.temperature = temperature}, {0, 5, 1, 4.5f}), 1);
  }
  std::set<int32_t> drawn;
  for (int64_t i = 0; i < 200; ++i) {
    drawn.insert(Draw({.temperature = 1e4}, {-3e38f, 0, 1, -1}, i));
  }
  EXPECT_THAT(drawn, ::testing::ElementsAre(1, 2, 3));
}

TEST(Sampler, TopKOneIsGreedy) {
  const auto logits = RandomLogits(4, 500, 2);
  for (int64_t position = 0; position < 50; ++position) {
    EXPECT_EQ(Draw({.temperature = 5, .top_k = 1}, logits, position),
              Draw({}, logits));
  }
}

TEST(Sampler, TheDrawDependsOnSeedAndPositionOnly) {
  const auto logits = RandomLogits(2, 2000, 1);
  SamplingOptions options = {.temperature = 1, .seed = 11};
  Sampler shared(options);
  std::vector<int32_t> forward, backward;
  for (int64_t position = 0; position < 50; ++position) {
    auto row = logits;
    forward.push_back(*shared.Sample(absl::MakeSpan(row), position));
  }
  for (int64_t position = 50; position-- > 0;) {
    backward.push_back(Draw(options, logits, position));
  }
  std::reverse(backward.begin(), backward.end());
  EXPECT_EQ(forward, backward);
  options.seed = 12;
  int same = 0;
  for (int64_t position = 0; position < 50; ++position) {
    same += Draw(options, logits, position) == forward[position];
  }
  EXPECT_LT(same, 10) << "another seed gives another text";
}

TEST(Sampler, LogitBiasForcesAndForbids) {
  EXPECT_EQ(Draw({.logit_bias = {{2, 100.0f}}}, {5, 1, 0}), 2);
  EXPECT_EQ(Draw({.logit_bias = {{0, -kInfinity}}}, {5, 1, 0}), 1);
  EXPECT_EQ(Draw({.logit_bias = {{0, -1}, {0, -4}}}, {5, 1, 0}), 1)
      << "entries of one id add up";
}

TEST(Sampler, PenaltiesFollowTheirDefinitions) {
  const auto pick = [](const SamplingOptions& options,
                       std::vector<float> logits) {
    Sampler sampler(options);
    const std::vector<int32_t> prompt = {0, 0, 0};
    sampler.AddPrompt(prompt);
    sampler.AddOutput(1);
    sampler.AddOutput(1);
    return *sampler.Sample(absl::MakeSpan(logits), 5);
  };
  // Prompt and output ids are divided (or, where negative, multiplied).
  const SamplingOptions repeated = {.repetition_penalty = 2};
  EXPECT_EQ(pick(repeated, {4, 4, 2.1f}), 2);
  EXPECT_EQ(pick(repeated, {4.4f, 4, 2.1f}), 0);
  EXPECT_EQ(pick(repeated, {-1, -1, -1.9f}), 2);
  // Presence and frequency count the output only.
  const SamplingOptions present = {.presence_penalty = 1};
  EXPECT_EQ(pick(present, {0, 1.5f, 0.6f}), 2);
  EXPECT_EQ(pick(present, {1, 1.5f, 0.6f}), 0);
  const SamplingOptions frequent = {.frequency_penalty = 1};
  EXPECT_EQ(pick(frequent, {0, 2.5f, 0.6f}), 2);
  EXPECT_EQ(pick(frequent, {0, 2.7f, 0.6f}), 1);
  const SamplingOptions liked = {.frequency_penalty = -1};
  EXPECT_EQ(pick(liked, {0, 0, 1.9f}), 1);
}

TEST(Sampler, PenaltiesAtAnyPromptId) {
  Sampler sampler({.repetition_penalty = 1.5});
  const std::vector<int32_t> prompt = {-1, 2, 2147483647};
  sampler.AddPrompt(prompt);
  std::vector<float> logits = {1, 1.2f, 1.7f};
  EXPECT_EQ(*sampler.Sample(absl::MakeSpan(logits), 0), 1);
}

TEST(Sampler, NumbersThatAreNotFiniteAreErrors) {
  const auto fails = [](std::vector<float> logits,
                        const SamplingOptions& options = {}) {
    Sampler sampler(options);
    return sampler.Sample(absl::MakeSpan(logits), 3).status();
  };
  const absl::Status nan = fails({0, NAN, 0});
  EXPECT_EQ(nan.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(nan.message()),
              ::testing::AllOf(::testing::HasSubstr("token 1"),
                               ::testing::HasSubstr("position 3")));
  EXPECT_FALSE(fails({kInfinity, 0}).ok());
  EXPECT_FALSE(fails({-kInfinity, -kInfinity}).ok());
  EXPECT_FALSE(fails({}).ok());
  // Finite biases that overflow, then meet -infinity.
  EXPECT_FALSE(fails({3e38f, 0}, {.logit_bias = {{0, 3e38f}}}).ok());
  EXPECT_FALSE(fails({3e38f, 0}, {.temperature = 1,
                                  .logit_bias = {{0, 3e38f}, {0, -kInfinity}}})
                   .ok());
  EXPECT_FALSE(fails({0, 0}, {.temperature = 1,
                              .logit_bias = {{0, -kInfinity}, {1, -kInfinity}}})
                   .ok());
}

// What a device finds of a row, by definition.
TopLogits TopOf(const std::vector<float>& logits, double temperature = 0) {
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto is_number = [&](int32_t id) { return logits[id] < kInfinity; };
  std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) {
    if (is_number(a) && is_number(b)) return logits[a] > logits[b];
    return !is_number(a) && is_number(b);
  });
  TopLogits top;
  for (size_t i = 0; i < top.id.size(); ++i) {
    top.id[i] = i < ids.size() ? ids[i] : -1;
    top.logit[i] = i < ids.size() ? logits[ids[i]] : -kInfinity;
  }
  double mass = 0;
  for (const float logit : logits) {
    mass += std::exp((double{logit} - top.logit[0]) / temperature);
  }
  top.mass = temperature > 0 ? static_cast<float>(mass) : 0;
  return top;
}

// From the best logits as from all, in every combination of cuts; where no more
// than they can be drawn, in any case.
TEST(Sampler, TheBestDecideAsAllDo) {
  for (const size_t size : {1, 5, 64, 700}) {
    for (const float spread : {0.0f, 0.5f, 4.0f}) {  // 0: all are equal
      const std::vector<float> logits =
          RandomLogits(static_cast<uint32_t>(size), size, spread);
      for (int cut = 0; cut < 64; ++cut) {
        const SamplingOptions options = {.temperature = cut & 1 ? 1.3 : 1e-3,
                                         .top_k = cut & 2 ? 64 : 1 + cut,
                                         .typical_p = cut & 4 ? 0.6 : 1,
                                         .top_p = cut & 8 ? 0.9 : 1,
                                         .min_p = cut & 16 ? 0.05 : 0,
                                         .seed = static_cast<uint64_t>(cut)};
        Sampler sampler(cut & 32 ? SamplingOptions{} : options);
        for (int64_t position = 0; position < 5; ++position) {
          std::vector<float> all = logits;
          ASSERT_EQ(*sampler.SampleTop(TopOf(logits), position),
                    *sampler.Sample(absl::MakeSpan(all), position))
              << size << " logits, cut " << cut;
        }
      }
    }
  }
}

// Draws at many positions of many rows from the best and from all: the same
// token, or none. Returns the share of tokens.
double ShareDecided(const SamplingOptions& options, size_t size, float spread,
                    int64_t num_seen) {
  constexpr int kRows = 8, kPositions = 40;
  int decided = 0;
  for (uint32_t row = 0; row < kRows; ++row) {
    const std::vector<float> logits = RandomLogits(100 + row, size, spread);
    std::vector<int32_t> ids(size);
    std::iota(ids.begin(), ids.end(), 0);
    // Half of what was seen is likely, the rest anything.
    std::shuffle(ids.begin(), ids.end(), std::mt19937(row));
    const auto half = ids.begin() + num_seen / 2;
    std::partial_sort(half, half + num_seen / 2, ids.end(),
                      [&](int a, int b) { return logits[a] > logits[b]; });
    const TopLogits exact = TopOf(logits, options.temperature);
    Sampler sampler(options);
    sampler.AddPrompt({ids.data(), static_cast<size_t>(num_seen)});
    for (int64_t i = 0; i < num_seen; i += 3) sampler.AddOutput(ids[i]);
    for (int64_t position = 0; position < kPositions; ++position) {
      // As far off as it may be, either way.
      TopLogits top = exact;
      top.mass *=
          static_cast<float>(1 + (position % 3 - 1) * kernels::kTopMassError);
      const auto id = sampler.SampleTop(top, position);
      EXPECT_TRUE(id.ok()) << id.status();
      if (!id.ok() || !id->has_value()) continue;
      ++decided;
      std::vector<float> all = logits;
      EXPECT_EQ(**id, *sampler.Sample(absl::MakeSpan(all), position))
          << "row " << row << " position " << position;
    }
  }
  return decided / double{kRows * kPositions};
}

// What chats ask for, of rows where a few tokens have most of the mass.
TEST(Sampler, TheBestDecideAlmostAlways) {
  EXPECT_EQ(ShareDecided({}, 8000, 4, 0), 1);
  EXPECT_GT(ShareDecided({.temperature = 0.6, .top_p = 0.9}, 8000, 4, 0), 0.99);
  EXPECT_GT(ShareDecided({.temperature = 1, .min_p = 0.05}, 8000, 4, 0), 0.99);
  EXPECT_GT(ShareDecided({.temperature = 1}, 8000, 4, 0), 0.7);
  EXPECT_GT(ShareDecided({.temperature = 0.7,
                          .top_k = 20,
                          .top_p = 0.8,
                          .repetition_penalty = 1.05},
                         8000, 4, 300),
            0.99);
  EXPECT_GT(ShareDecided({.repetition_penalty = 1.1}, 8000, 4, 60), 0.99);
  EXPECT_GT(ShareDecided({.temperature = 0.6,
                          .top_p = 0.9,
                          .presence_penalty = 0.5,
                          .logit_bias = {{17, -3.0f}, {17, -1.0f}}},
                         8000, 4, 30),
            0.7);
}

// Rows of all kinds, where the best rarely or never decide: never another
// token.
TEST(Sampler, TheBestLeaveItWhereOthersCount) {
  for (const float spread : {0.0f, 0.3f, 1.0f, 2.0f, 8.0f}) {
    for (const size_t size : {60, 64, 65, 300}) {
      for (const double temperature : {0.0, 1e-3, 0.7, 30.0, 1e4}) {
        ShareDecided({.temperature = temperature}, size, spread, 0);
        ShareDecided({.temperature = temperature,
                      .top_p = 0.95,
                      .min_p = 0.01,
                      .repetition_penalty = 1.3,
                      .frequency_penalty = 0.1,
                      .logit_bias = {{3, -kInfinity}, {7, -0.5f}}},
                     size, spread, 20);
        ShareDecided({.temperature = temperature, .min_p = 0.3}, size, spread,
                     0);
        ShareDecided({.temperature = temperature, .repetition_penalty = 10},
                     size, spread, static_cast<int64_t>(size) / 4 * 2);
        ShareDecided({.temperature = temperature,
                      .top_k = 40,
                      .typical_p = 0.9,
                      .presence_penalty = 1},
                     size, spread, 20);
      }
    }
  }
  EXPECT_EQ(ShareDecided({.temperature = 1, .typical_p = 0.9}, 700, 4, 0), 0);
  EXPECT_EQ(ShareDecided({.temperature = 1, .top_k = 65}, 700, 4, 0), 0);
  EXPECT_EQ(ShareDecided({.repetition_penalty = 0.9}, 700, 4, 0), 0);
  EXPECT_EQ(ShareDecided({.presence_penalty = -0.1}, 700, 4, 0), 0);
  EXPECT_EQ(ShareDecided({.frequency_penalty = -0.1}, 700, 4, 0), 0);
  EXPECT_EQ(ShareDecided({.logit_bias = {{3, 1.0f}}}, 700, 4, 0), 0);
  // Of equal ones the first 64 are the first to be drawn.
  EXPECT_LT(ShareDecided({.temperature = 1}, 700, 0, 0), 0.2);
  // A device that was not told the temperature.
  const TopLogits top = TopOf(RandomLogits(1, 700, 4));
  EXPECT_EQ(*Sampler({.temperature = 1, .top_p = 0.9}).SampleTop(top, 1),
            std::nullopt);
}

TEST(Sampler, TheSameErrorsOfTheBest) {
  for (std::vector<float> logits : {std::vector<float>{0, NAN, 0},
                                    {0, 1, kInfinity, NAN},
                                    {-kInfinity},
                                    {}}) {
    Sampler sampler({.temperature = 1, .top_k = 3});
    const absl::Status found = sampler.SampleTop(TopOf(logits), 7).status();
    const absl::Status wanted =
        sampler.Sample(absl::MakeSpan(logits), 7).status();
    EXPECT_FALSE(wanted.ok());
    EXPECT_EQ(found, wanted);
  }
}

TEST(ValidateSampling, NamesTheOptionWantedAndFound) {
  const auto message = [](const SamplingOptions& options) {
    const absl::Status status = ValidateSampling(options, 10);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  using ::testing::AllOf;
  using ::testing::HasSubstr;
  using ::testing::StartsWith;
  for (const double bad : {-1.0, kNan, double{kInfinity}, 1e5}) {
    EXPECT_THAT(message({.temperature = bad}),
                AllOf(StartsWith("temperature: want"), HasSubstr("found")));
  }
  EXPECT_THAT(message({.top_k = -1}), StartsWith("top_k:"));
  for (const double bad : {0.0, -0.5, 1.5, kNan}) {
    EXPECT_THAT(message({.top_p = bad}), StartsWith("top_p:"));
    EXPECT_THAT(message({.typical_p = bad}), StartsWith("typical_p:"));
  }
  for (const double bad : {-0.1, 1.1, kNan}) {
    EXPECT_THAT(message({.min_p = bad}), StartsWith("min_p:"));
  }
  for (const double bad : {0.0, -1.0, kNan, 1e9}) {
    EXPECT_THAT(message({.repetition_penalty = bad}),
                StartsWith("repetition_penalty:"));
  }
  for (const double bad : {-2.1, 2.1, kNan}) {
    EXPECT_THAT(message({.presence_penalty = bad}),
                StartsWith("presence_penalty:"));
    EXPECT_THAT(message({.frequency_penalty = bad}),
                StartsWith("frequency_penalty:"));
  }
  EXPECT_THAT(message({.logit_bias = {{10, 0.0f}}}),
              AllOf(StartsWith("logit_bias"), HasSubstr("10")));
  EXPECT_THAT(message({.logit_bias = {{-1, 0.0f}}}), StartsWith("logit_bias"));
  EXPECT_THAT(message({.logit_bias = {{1, NAN}}}), StartsWith("logit_bias"));
  EXPECT_THAT(message({.logit_bias = {{1, kInfinity}}}),
              StartsWith("logit_bias"));
  SamplingOptions many;
  many.logit_bias.resize(1000000);
  EXPECT_THAT(message(many), HasSubstr("entries"));
}

TEST(ValidateSampling, TakesTheLimits) {
  EXPECT_TRUE(ValidateSampling({}, 10).ok());
  EXPECT_TRUE(ValidateSampling({.temperature = 1e4,
                                .top_k = INT64_MAX,
                                .typical_p = 1e-12,
                                .top_p = 1e-12,
                                .min_p = 1,
                                .repetition_penalty = 100,
                                .presence_penalty = 2,
                                .frequency_penalty = -2,
                                .logit_bias = {{9, -kInfinity}},
                                .seed = UINT64_MAX},
                               10)
                  .ok());
}

}  // namespace
}  // namespace zqfp
