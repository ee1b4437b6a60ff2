// SPDX-License-Identifier: Apache-2.0
// Tiny tokenizers of every published kind on awkward texts, against the ids of
// their own libraries (tests/golden/small_tokenizers.py).

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/assets.h"
#include "tests/tokenizer/tokenizer_directory.h"
#include "tokenizer/stream_decoder.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

namespace zqfp {
namespace {

using nlohmann::json;

std::string GoldenPath(const std::string& name) {
  return testing::SourcePath("tests/golden/" + name);
}

const json& Golden() {
  static const json& golden = *new json([] {
    std::ifstream file(GoldenPath("small_tokenizers.json"));
    return json::parse(file, nullptr, false);
  }());
  return golden;
}

std::unique_ptr<Tokenizer> Load(const std::string& file,
                                const std::string& as_name) {
  testing::TokenizerDirectory directory;
  directory.Link(GoldenPath("small_tokenizers/" + file), as_name);
  auto tokenizer = LoadTokenizer(directory.path());
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

// Pieces of a stream are whole characters, and together they are the text.
void ExpectStreams(const Tokenizer& tokenizer,
                   const std::vector<int32_t>& ids) {
  StreamDecoder decoder(&tokenizer, StreamDecoder::Start::kText);
  std::string streamed;
  for (const int32_t id : ids) {
    const std::string piece = decoder.Push(id);
    EXPECT_EQ(FirstInvalidUtf8(piece), std::string_view::npos);
    streamed += piece;
  }
  streamed += decoder.Finish();
  EXPECT_EQ(streamed, tokenizer.Decode(ids));
}

class SmallJson : public ::testing::TestWithParam<const char*> {};

TEST_P(SmallJson, IdsAndTextAreTheLibrarys) {
  const std::string name = GetParam();
  const auto tokenizer = Load(name + ".json", "tokenizer.json");
  ASSERT_NE(tokenizer, nullptr);
  const json& cases = Golden()["json"][name];
  ASSERT_EQ(cases.size(), Golden()["texts"].size());
  for (size_t i = 0; i < cases.size(); ++i) {
    const std::string text = Golden()["texts"][i];
    const auto with = tokenizer->Encode(text, {});
    const auto without = tokenizer->Encode(text, {.add_special_tokens = false});
    ASSERT_TRUE(with.ok() && without.ok()) << with.status();
    EXPECT_EQ(json(*with), cases[i][0]) << "'" << text << "'";
    EXPECT_EQ(json(*without), cases[i][1]) << "'" << text << "'";
    EXPECT_EQ(tokenizer->Decode(*with), cases[i][2].get<std::string>())
        << "'" << text << "'";
    ExpectStreams(*tokenizer, *with);
  }
}

INSTANTIATE_TEST_SUITE_P(All, SmallJson,
                         ::testing::Values("gpt2", "llama3", "qwen2", "llama2",
                                           "llama2_metaspace"));

class SmallSentencePiece : public ::testing::TestWithParam<const char*> {};

TEST_P(SmallSentencePiece, IdsAndTextAreTheLibrarys) {
  const std::string name = GetParam();
  const auto tokenizer = Load(name + ".model", "tokenizer.model");
  ASSERT_NE(tokenizer, nullptr);
  const json& cases = Golden()["sentencepiece"][name];
  for (size_t i = 0; i < cases.size(); ++i) {
    const std::string text = Golden()["texts"][i];
    const auto ids = tokenizer->Encode(
        text, {.add_special_tokens = false, .parse_special_tokens = false});
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(json(*ids), cases[i][0]) << "'" << text << "'";
    ExpectStreams(*tokenizer, *ids);
    // Models that remove extra spaces drop all leading marks of a text, which
    // only a text that has the mark itself can show; we drop one.
    if (text.rfind("\u2581", 0) == 0 && name != "plain") continue;
    EXPECT_EQ(tokenizer->Decode(*ids), cases[i][1].get<std::string>())
        << "'" << text << "'";
  }
}

INSTANTIATE_TEST_SUITE_P(All, SmallSentencePiece,
                         ::testing::Values("bpe", "unigram", "plain"));

TEST(SmallTokenizers, WhateverTheIdsAStreamIsWholeCharacters) {
  for (const char* name : {"gpt2", "llama3", "qwen2", "llama2"}) {
    const auto tokenizer = Load(std::string(name) + ".json", "tokenizer.json");
    ASSERT_NE(tokenizer, nullptr);
    uint32_t random = 1;
    for (int round = 0; round < 200; ++round) {
      std::vector<int32_t> ids;
      for (int i = 0; i < 40; ++i) {
        random = random * 1664525 + 1013904223;
        ids.push_back(static_cast<int32_t>(
            random / 65536 %
            static_cast<uint32_t>(tokenizer->vocab_size() + 2)));
      }
      ExpectStreams(*tokenizer, ids);
    }
  }
}

TEST(SmallTokenizers, InvalidUtf8IsAnErrorThatNamesThePlace) {
  for (const char* name : {"gpt2", "llama2"}) {
    const auto tokenizer = Load(std::string(name) + ".json", "tokenizer.json");
    ASSERT_NE(tokenizer, nullptr);
    for (const char* text : {"ok\xff", "ok\xc3", "ok\xed\xa0\x80", "ok\x80x"}) {
      const auto ids = tokenizer->Encode(text, {});
      EXPECT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument);
      EXPECT_NE(std::string(ids.status().message()).find("2"),
                std::string::npos)
          << ids.status();
    }
  }
  const auto tokenizer = Load("bpe.model", "tokenizer.model");
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_FALSE(tokenizer->Encode("\xff", {}).ok());
}

TEST(SmallTokenizers, SpecialTokensAreTextWhereTheyAreNotAskedFor) {
  const auto tokenizer = Load("gpt2.json", "tokenizer.json");
  ASSERT_NE(tokenizer, nullptr);
  const std::optional<int32_t> end = tokenizer->IdOf("<|end|>");
  ASSERT_TRUE(end.has_value());
  EXPECT_TRUE(tokenizer->IsSpecial(*end));
  EXPECT_EQ(tokenizer->TokenText(*end), "<|end|>");
  EXPECT_EQ(tokenizer->TokenBytes(*end), "");
  const auto ids =
      tokenizer->Encode("a<|end|>b", {.parse_special_tokens = false});
  ASSERT_TRUE(ids.ok());
  for (const int32_t id : *ids) EXPECT_NE(id, *end);
  EXPECT_EQ(tokenizer->Decode(*ids), "a<|end|>b");
}

}  // namespace
}  // namespace zqfp
