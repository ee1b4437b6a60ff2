// SPDX-License-Identifier: Apache-2.0
// Questions to real checkpoints against lm-evaluation-harness, recorded by
// tests/golden/tasks_golden.py.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/tasks.h"
#include "tests/assets.h"

namespace zqfp {
namespace {

using nlohmann::json;
using testing::AssetPath;

std::vector<Example> Parse(Task task, const json& documents) {
  std::string lines;
  for (const json& document : documents) lines += document.dump() + "\n";
  const auto examples = ParseExamples(task, lines, "golden");
  EXPECT_TRUE(examples.ok()) << examples.status();
  return examples.value_or(std::vector<Example>());
}

void ExpectScore(const Score& found, const json& wanted) {
  EXPECT_NEAR(found.value, wanted[0].get<double>(), 1e-9);
  EXPECT_NEAR(found.standard_error, wanted[1].get<double>(), 1e-9);
}

void ExpectCase(const TaskResult& result, const json& c) {
  const json& sums = c["log_likelihoods"];
  ASSERT_EQ(result.log_likelihoods.size(), sums.size());
  for (size_t i = 0; i < sums.size(); ++i) {
    ASSERT_EQ(result.log_likelihoods[i].size(), sums[i].size());
    for (size_t choice = 0; choice < sums[i].size(); ++choice) {
      const double want = sums[i][choice];
      EXPECT_NEAR(result.log_likelihoods[i][choice], want,
                  1e-4 * std::max(1.0, std::abs(want)))
          << c["model"] << " example " << i << " choice " << choice;
    }
  }
  ExpectScore(result.accuracy, c["accuracy"]);
  if (c.contains("normalised_accuracy")) {
    ExpectScore(result.normalised_accuracy, c["normalised_accuracy"]);
  } else {
    const double want = c["perplexity"];
    EXPECT_NEAR(result.perplexity.value / want, 1, 1e-3);
  }
}

TEST(TasksGolden, EqualsLmEvaluationHarness) {
  std::ifstream file(testing::SourcePath("tests/golden/tasks.json"));
  const json golden = json::parse(file);
  for (const json& c : golden["cases"]) {
    const std::string name = c["task"];
    const std::string directory =
        AssetPath("models/" + c["model"].get<std::string>());
    if (directory.empty()) {
      GTEST_SKIP() << "NOT RUN: shared/assets is not here";
    }
    const auto tokenizer = LoadTokenizer(directory);
    const auto model = Model::Load(directory, {});
    ASSERT_TRUE(tokenizer.ok() && model.ok());
    const Task task = *ParseTask(name);
    const std::vector<Example> all = Parse(task, golden[name]);
    std::vector<Example> asked;
    for (size_t i = 0; i < all.size(); ++i) {
      const json& indices = c["asked"];
      if (std::find(indices.begin(), indices.end(), i) != indices.end()) {
        asked.push_back(all[i]);
        continue;
      }
      // The harness ends there, for a choice without a token of its own.
      const auto refused =
          RunTask(**model, **tokenizer, {all[i]}, {.task = task});
      EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
    }
    const auto result = RunTask(**model, **tokenizer, asked, {.task = task});
    ASSERT_TRUE(result.ok()) << result.status();
    ExpectCase(*result, c);
    EXPECT_EQ(result->num_truncated, c["model"] == "babyllama-1m" ? 1 : 0);
  }
}

}  // namespace
}  // namespace zqfp
