// SPDX-License-Identifier: Apache-2.0
// The public library on a real directory of files. What needs no model runs
// everywhere; tests/package walks through the rest on the bundled model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/assets.h"
#include "zqfp/zqfp.h"

namespace zqfp {
namespace {

// The bundled model, else babyllama-1m, else "".
std::string AnyModel() {
  const std::string bundled = testing::SourcePath("models/demo");
  if (std::filesystem::exists(bundled + "/config.json")) return bundled;
  return testing::AssetPath("models/babyllama-1m");
}

TEST(LanguageModel, SaysWhatIsMissing) {
  const auto absent = LanguageModel::Load({.directory = "/nonexistent"});
  ASSERT_FALSE(absent.ok());
  EXPECT_EQ(absent.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(absent.error().message, ::testing::HasSubstr("/nonexistent"));
  EXPECT_FALSE(LanguageModel::Load({}).ok());
  EXPECT_FALSE(LanguageModel::Load({.directory = "/dev/null"}).ok());
}

TEST(LanguageModel, NamesItsReasonsAndVersion) {
  EXPECT_STREQ(ToString(FinishReason::kStop), "stop");
  EXPECT_STREQ(ToString(FinishReason::kLength), "length");
  EXPECT_STREQ(ToString(FinishReason::kContextFull), "context_full");
  EXPECT_STREQ(ToString(FinishReason::kCancelled), "cancelled");
  EXPECT_STREQ(ToString(FinishReason::kError), "error");
  EXPECT_THAT(Version(), ::testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
}

TEST(LanguageModel, RefusesBadLoadOptions) {
  const std::string directory = AnyModel();
  if (directory.empty()) GTEST_SKIP() << "NOT RUN: no model is here";
  for (const int64_t context : {int64_t{-1}, int64_t{1}, INT64_MAX}) {
    const auto model = LanguageModel::Load(
        {.directory = directory, .context_tokens = context});
    ASSERT_FALSE(model.ok()) << context;
    EXPECT_EQ(model.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(model.error().message, ::testing::HasSubstr("context"));
  }
  EXPECT_FALSE(
      LanguageModel::Load({.directory = directory, .num_threads = -3}).ok());
}

TEST(LanguageModel, GoesOnWhereAnEarlierCallEnded) {
  const std::string directory = AnyModel();
  if (directory.empty()) GTEST_SKIP() << "NOT RUN: no model is here";
  auto model = LanguageModel::Load({.directory = directory});
  ASSERT_TRUE(model.ok()) << model.error().message;
  auto prompt = model->Tokenize(
      "Once upon a time, there was a little girl who "
      "lived in a small house with her mother.");
  ASSERT_TRUE(prompt.ok()) << prompt.error().message;
  GenerateOptions options;
  options.max_tokens = 40;
  options.ignore_end_tokens = true;
  const auto first = model->Generate(*prompt, options);
  ASSERT_TRUE(first.ok()) << first.error().message;
  std::vector<int32_t> all = *prompt;
  all.insert(all.end(), first.value().ids.begin(), first.value().ids.end());
  options.max_tokens = 8;
  const auto second = model->Generate(all, options);
  ASSERT_TRUE(second.ok()) << second.error().message;
  EXPECT_GT(second.value().stats.reused_tokens, 0);
  LanguageModel moved = std::move(*model);
  moved.Reset();
  const auto fresh = moved.Generate(all, options);
  ASSERT_TRUE(fresh.ok()) << fresh.error().message;
  EXPECT_EQ(fresh.value().ids, second.value().ids);
  EXPECT_EQ(fresh.value().stats.reused_tokens, 0);
}

TEST(LanguageModel, ChatPromptWantsATemplate) {
  const std::string directory = testing::AssetPath("models/babyllama-1m");
  if (directory.empty()) GTEST_SKIP() << "NOT RUN: shared/assets is not here";
  auto model = LanguageModel::Load({.directory = directory});
  ASSERT_TRUE(model.ok()) << model.error().message;
  const auto prompt = model->ChatPrompt({{"user", "Hello"}});
  ASSERT_FALSE(prompt.ok());
  EXPECT_EQ(prompt.error().code, ErrorCode::kUnsupported);
}

TEST(LanguageModel, CancelFromAnotherThread) {
  const std::string directory = AnyModel();
  if (directory.empty()) GTEST_SKIP() << "NOT RUN: no model is here";
  auto model = LanguageModel::Load({.directory = directory});
  ASSERT_TRUE(model.ok()) << model.error().message;
  const auto prompt = model->Tokenize("Once");
  GenerateOptions options;
  options.max_tokens = 200;
  options.ignore_end_tokens = true;
  options.on_text = [&](const std::string&) {
    std::thread([&] { model->Cancel(); }).join();
    return true;
  };
  const auto generation = model->Generate(prompt.value(), options);
  ASSERT_TRUE(generation.ok()) << generation.error().message;
  EXPECT_EQ(generation.value().finish_reason, FinishReason::kCancelled);
  EXPECT_LT(generation.value().ids.size(), 20u);
}

}  // namespace
}  // namespace zqfp
