// SPDX-License-Identifier: Apache-2.0
#include "models/module_pattern.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace zqfp {
namespace {

using ::testing::HasSubstr;

constexpr const char* kUp = "model.layers.11.mlp.up_proj";

MatchKind Match(PatternStyle style, const std::string& pattern,
                const std::string& name) {
  ModulePatterns patterns(style);
  const absl::Status added = patterns.Add(pattern, "where");
  EXPECT_TRUE(added.ok()) << added;
  const auto kind = patterns.Match(name);
  EXPECT_TRUE(kind.ok()) << kind.status();
  return kind.value_or(MatchKind::kNone);
}

TEST(ModulePatternTest, TargetsOfCompressedTensors) {
  const auto match = [](const std::string& pattern) {
    return Match(PatternStyle::kTargets, pattern, kUp);
  };
  EXPECT_EQ(match("Linear"), MatchKind::kClass);
  EXPECT_EQ(match("Embedding"), MatchKind::kNone);
  EXPECT_EQ(match(kUp), MatchKind::kName);
  EXPECT_EQ(match("mlp.up_proj"), MatchKind::kNone);
  EXPECT_EQ(match("re:.*up_proj"), MatchKind::kPattern);
  EXPECT_EQ(match("re:model\\.layers\\.\\d+\\."), MatchKind::kPattern);
  // A regex begins where the name does.
  EXPECT_EQ(match("re:mlp"), MatchKind::kNone);
}

TEST(ModulePatternTest, GlobsOfModelOpt) {
  const auto match = [](const std::string& pattern) {
    return Match(PatternStyle::kGlob, pattern, kUp);
  };
  EXPECT_EQ(match("model.layers.11*"), MatchKind::kPattern);
  EXPECT_EQ(match("*up_proj"), MatchKind::kPattern);
  EXPECT_EQ(match("model.layers.1?.mlp.up_proj"), MatchKind::kPattern);
  EXPECT_EQ(match("model.layers.1*.mlp"), MatchKind::kNone);
  EXPECT_EQ(match("modelxlayers*"), MatchKind::kNone);  // a dot is a dot
  EXPECT_EQ(match("Linear"), MatchKind::kNone);
  EXPECT_EQ(match(kUp), MatchKind::kName);
}

TEST(ModulePatternTest, ModulesOfTransformers) {
  const auto match = [](const std::string& pattern) {
    return Match(PatternStyle::kModules, pattern, kUp);
  };
  EXPECT_EQ(match("model.layers.11"), MatchKind::kPattern);
  EXPECT_EQ(match("model.layers.1"), MatchKind::kNone);  // not up to a dot
  EXPECT_EQ(match("model.layers.*.mlp"), MatchKind::kPattern);
  EXPECT_EQ(match("up_proj"), MatchKind::kPattern);  // the end
  EXPECT_EQ(match("mlp"), MatchKind::kNone);
}

TEST(ModulePatternTest, RefusesBadPatterns) {
  ModulePatterns patterns(PatternStyle::kTargets);
  const auto message = [&](const std::string& pattern) {
    return std::string(patterns.Add(pattern, "config: ignore").message());
  };
  EXPECT_THAT(message("re:("), HasSubstr("config: ignore: want a pattern"));
  EXPECT_THAT(message("re:("), HasSubstr("re:("));
  EXPECT_THAT(message(""), HasSubstr("want patterns of 1..4096 bytes"));
  EXPECT_THAT(message(std::string(5000, 'a')), HasSubstr("found 5000"));
  ModulePatterns globs(PatternStyle::kGlob);
  EXPECT_THAT(std::string(globs.Add("model.[ab]", "x").message()),
              HasSubstr("sets of characters"));
}

// A pattern made to run for ever ends as an error.
TEST(ModulePatternTest, LimitsTheStepsOfAMatch) {
  ModulePatterns patterns(PatternStyle::kTargets);
  ASSERT_TRUE(patterns.Add("re:(a+a+)+$", "where").ok());
  const auto kind = patterns.Match(std::string(60, 'a') + "b");
  EXPECT_EQ(kind.status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(ModulePatternTest, LimitsTheNumberOfPatterns) {
  ModulePatterns patterns(PatternStyle::kTargets);
  absl::Status status;
  for (int i = 0; i < 5000 && status.ok(); ++i) {
    status = patterns.Add("re:a" + std::to_string(i), "where");
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
}

// Each of them alone is within the limit.
TEST(ModulePatternTest, LimitsTheStepsOfAllMatches) {
  ModulePatterns patterns(PatternStyle::kTargets);
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(
        patterns.Add(fmt::format("re:(a|a)+[c-f]{{1,{}}}", i + 1), "where")
            .ok());
  }
  const ModulePatterns copy = patterns;  // draws on the same account
  EXPECT_EQ(copy.Match("b").value_or(MatchKind::kName), MatchKind::kNone);
  absl::Status status;
  int num_names = 0;
  for (; num_names < 1000 && status.ok(); ++num_names) {
    const ModulePatterns& list = num_names % 2 == 0 ? patterns : copy;
    status = list.Match(std::string(12, 'a') + "b").status();
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << num_names;
  EXPECT_GT(num_names, 10);
}

}  // namespace
}  // namespace zqfp
