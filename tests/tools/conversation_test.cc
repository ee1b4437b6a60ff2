// SPDX-License-Identifier: Apache-2.0
#include "tools/conversation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "tests/tools/program.h"

namespace zqfp::tools {
namespace {

using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using zqfp::testing::DemoModel;
using zqfp::testing::ReadWholeFile;
using zqfp::testing::ScratchDirectory;

class ConversationTest : public ::testing::Test {
 protected:
  ConversationTest() {
    Result<LanguageModel> loaded =
        LanguageModel::Load({.directory = DemoModel(), .num_threads = 1});
    EXPECT_TRUE(loaded.ok()) << loaded.error().message;
    model_.emplace(std::move(*loaded));
  }
  Conversation Make(PromptStyle style = PromptStyle::kChat) {
    GenerateOptions options;
    options.max_tokens = 8;
    return Conversation(&*model_, style, options, 1);
  }
  static void ExpectRefused(const absl::Status& status,
                            const std::string& message) {
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }

  std::optional<LanguageModel> model_;
  ScratchDirectory scratch_;
};

TEST_F(ConversationTest, ATurnIsAQuestionAndWhatWasAnswered) {
  Conversation conversation = Make();
  std::string streamed;
  const auto generation = conversation.Ask(
      "Hello!", [&](const std::string& piece) { streamed += piece; });
  ASSERT_TRUE(generation.ok()) << generation.status();
  EXPECT_EQ(generation->text, streamed);
  ASSERT_THAT(conversation.messages(), SizeIs(2));
  EXPECT_EQ(conversation.messages()[0].content, "Hello!");
  EXPECT_EQ(conversation.messages()[1].role, "assistant");
  EXPECT_EQ(conversation.messages()[1].content, streamed);
  EXPECT_EQ(conversation.stats().generated_tokens, 8);
}

TEST_F(ConversationTest, LaterTurnsFindTheEarlierOnesInTheCache) {
  Conversation conversation = Make();
  const std::string longer(200, 'a');
  ASSERT_TRUE(conversation.Ask(longer, nullptr).ok());
  EXPECT_EQ(conversation.stats().reused_tokens, 0);
  ASSERT_TRUE(conversation.Ask("And then?", nullptr).ok());
  EXPECT_GE(conversation.stats().reused_tokens, 32);
}

TEST_F(ConversationTest, AFailedTurnLeavesNoTrace) {
  Conversation conversation = Make();
  ASSERT_TRUE(conversation.Ask("Hello!", nullptr).ok());
  EXPECT_FALSE(conversation.Ask("\xff", nullptr).ok());
  std::string endless;
  for (int i = 0; i < 3000; ++i) endless += "word ";
  const auto refused = conversation.Ask(endless, nullptr);
  ExpectRefused(refused.status(), "want at most 1023 tokens");
  EXPECT_THAT(conversation.messages(), SizeIs(2));
}

TEST_F(ConversationTest, TheSystemTextStandsFirstAndSurvivesClear) {
  Conversation conversation = Make();
  ASSERT_TRUE(conversation.Ask("Hello!", nullptr).ok());
  conversation.SetSystem("one");
  conversation.SetSystem("two");
  ASSERT_THAT(conversation.messages(), SizeIs(3));
  EXPECT_EQ(conversation.messages()[0].role, "system");
  EXPECT_EQ(conversation.messages()[0].content, "two");
  conversation.Clear();
  EXPECT_THAT(conversation.messages(),
              ElementsAre(Field(&Message::content, "two")));
  conversation.SetSystem("");
  EXPECT_THAT(conversation.messages(), IsEmpty());
}

TEST_F(ConversationTest, RawTextIsContinuedAndForgotten) {
  Conversation conversation = Make(PromptStyle::kRaw);
  ASSERT_TRUE(conversation.Ask("Once upon a time", nullptr).ok());
  EXPECT_THAT(conversation.messages(), IsEmpty());
  EXPECT_LE(conversation.stats().prompt_tokens, 6);
}

TEST_F(ConversationTest, WhatIsKeptIsReadBack) {
  Conversation conversation = Make();
  conversation.SetSystem("caf\u00e9 \"quoted\" \\ \n\t\U0001f600");
  ASSERT_TRUE(conversation.Ask("Hello!", nullptr).ok());
  ASSERT_TRUE(conversation.Save(scratch_ / "chat").ok());
  Conversation other = Make();
  ASSERT_TRUE(other.Load(scratch_ / "chat").ok());
  ASSERT_THAT(other.messages(), SizeIs(3));
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(other.messages()[i].role, conversation.messages()[i].role);
    EXPECT_EQ(other.messages()[i].content, conversation.messages()[i].content);
  }
  // Replacing a kept chat is fine.
  other.Clear();
  EXPECT_TRUE(other.Save(scratch_ / "chat").ok());
  EXPECT_TRUE(conversation.Load(scratch_ / "chat").ok());
  EXPECT_THAT(conversation.messages(), SizeIs(1));
}

TEST_F(ConversationTest, SaveNeverDestroysAnotherFile) {
  Conversation conversation = Make();
  scratch_.Write("letter", "dear all");
  ExpectRefused(conversation.Save(scratch_ / "letter"), "found another file");
  EXPECT_EQ(ReadWholeFile(scratch_ / "letter"), "dear all");
  ExpectRefused(conversation.Save(scratch_ / "no/such/place"), "cannot write");
  ExpectRefused(conversation.Save(scratch_.path()), scratch_.path());
  EXPECT_TRUE(std::filesystem::is_directory(scratch_.path()));
}

TEST_F(ConversationTest, AFullDiskLeavesNothing) {
  Conversation conversation = Make();
  const absl::Status status = conversation.Save("/dev/full/chat");
  EXPECT_FALSE(status.ok());
}

TEST_F(ConversationTest, BrokenFilesAreNamedAndChangeNothing) {
  Conversation conversation = Make();
  conversation.SetSystem("kept");
  const struct {
    const char* text;
    const char* message;
  } kFiles[] = {
      {"", "chat"},
      {"{", "chat"},
      {"[]", "want a saved chat"},
      {"{}", "zqfp_chat"},
      {R"({"zqfp_chat": 2, "messages": []})", "zqfp_chat"},
      {R"({"zqfp_chat": 1})", "messages"},
      {R"({"zqfp_chat": 1, "messages": {}})", "messages: want an array"},
      {R"({"zqfp_chat": 1, "messages": [7]})", "message 0: want an object"},
      {R"({"zqfp_chat": 1, "messages": [{"role": "user"}]})", "content"},
      {R"({"zqfp_chat": 1, "messages": [{"role": 1, "content": ""}]})", "role"},
  };
  for (const auto& file : kFiles) {
    scratch_.Write("chat", file.text);
    ExpectRefused(conversation.Load(scratch_ / "chat"), file.message);
  }
  ExpectRefused(conversation.Load(scratch_ / "absent"), "absent");
  EXPECT_THAT(conversation.messages(),
              ElementsAre(Field(&Message::content, "kept")));
}

}  // namespace
}  // namespace zqfp::tools
