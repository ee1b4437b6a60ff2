// SPDX-License-Identifier: Apache-2.0
#include "engine/window_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/engine/tiny.h"

namespace zqfp {
namespace {

using ::testing::HasSubstr;
using testing::TinyConfig;
using testing::TinyModel;
using testing::TinyPrompt;

WindowRunner Runner(Model* model, int64_t window) {
  auto runner = WindowRunner::Create(model, KvFormat::kF32, window);
  EXPECT_TRUE(runner.ok()) << runner.status();
  return *std::move(runner);
}

TEST(WindowRunner, StepsCoverEveryInputOnce) {
  const auto model = TinyModel(TinyConfig(), 16);
  const WindowRunner runner = Runner(model.get(), 100);
  for (const int64_t begin : {0, 3, 40}) {
    for (const int64_t first_scored : {int64_t{0}, int64_t{35}, int64_t{40}}) {
      int64_t next = begin, rows = 0;
      for (const StepRange& step : runner.Steps(41, begin, first_scored)) {
        EXPECT_EQ(step.begin, next);
        EXPECT_LE(step.end - step.begin, 16);
        EXPECT_GE(step.num_rows(), 0);
        rows += step.num_rows();
        next = step.end;
      }
      EXPECT_EQ(next, 41);
      EXPECT_EQ(rows, 41 - std::max(begin, first_scored));
    }
  }
}

TEST(WindowRunner, StepsBoundTheLogits) {
  Config config = TinyConfig();
  config.vocab_size = 300000;  // a row is 1.2 MB
  const auto model = TinyModel(config, 64);
  const auto steps = Runner(model.get(), 64).Steps(60, 0, 0);
  EXPECT_EQ(steps.size(), 5);  // of 13 rows, 15.6 MB
}

TEST(WindowRunner, InputsInThePagesNeedNotRunAgain) {
  const auto model = TinyModel(TinyConfig(), 16);
  WindowRunner runner = Runner(model.get(), 64);
  std::vector<int32_t> ids = TinyPrompt(1, 50);
  std::vector<Prediction> whole, again;
  ASSERT_TRUE(runner.Run(ids, 0, 0, &whole).ok());
  ASSERT_EQ(whole.size(), 49);
  ids[45] = 7;
  std::vector<Prediction> changed;
  ASSERT_TRUE(runner.Run(ids, 0, 40, &changed).ok());
  ASSERT_TRUE(runner.Run(ids, 40, 40, &again).ok());
  ASSERT_EQ(again.size(), 9);
  for (size_t i = 0; i < 9; ++i) {
    EXPECT_NEAR(again[i].loss, changed[i].loss, 1e-5);
    if (i >= 4) continue;  // sees the change
    EXPECT_NEAR(again[i].loss, whole[40 + i].loss, 1e-5);
  }
}

TEST(WindowRunner, OnlyScoredInputsGivePredictions) {
  const auto model = TinyModel(TinyConfig(), 16);
  WindowRunner runner = Runner(model.get(), 64);
  const std::vector<int32_t> ids = TinyPrompt(2, 40);
  std::vector<Prediction> all, part;
  ASSERT_TRUE(runner.Run(ids, 0, 0, &all).ok());
  ASSERT_TRUE(runner.Run(ids, 0, 35, &part).ok());
  ASSERT_EQ(part.size(), 4);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(part[i].loss, all[35 + i].loss);
}

TEST(WindowRunner, TellsWhereLogitsAreNotFinite) {
  EXPECT_TRUE(CheckFinite(1.5, "loss", 3).ok());
  const auto status =
      CheckFinite(std::numeric_limits<double>::quiet_NaN(), "loss", 3);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("position 3"));
  EXPECT_FALSE(
      CheckFinite(std::numeric_limits<double>::infinity(), "loss", 0).ok());
}

}  // namespace
}  // namespace zqfp
