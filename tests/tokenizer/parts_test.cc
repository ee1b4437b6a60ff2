// SPDX-License-Identifier: Apache-2.0
// Every part of a tokenizer.json against what the tokenizers library makes of
// it (tests/golden/tokenizer_parts_golden.py).

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tests/assets.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/token_decoder.h"
#include "tokenizer/utf8.h"

namespace zqfp {
namespace {

using nlohmann::json;

const json& Golden() {
  static const json& golden = *new json([] {
    std::ifstream file(
        testing::SourcePath("tests/golden/tokenizer_parts.json"));
    return json::parse(file, nullptr, false);
  }());
  return golden;
}

TEST(TokenizerParts, Normalizers) {
  ASSERT_GE(Golden()["normalizers"].size(), 15u);
  for (const json& part : Golden()["normalizers"]) {
    const auto normalizer = Normalizer::Parse(part["config"]);
    ASSERT_TRUE(normalizer.ok()) << normalizer.status();
    for (size_t i = 0; i < part["results"].size(); ++i) {
      const std::string text = Golden()["texts"][i];
      const auto result = normalizer->Apply(text);
      ASSERT_TRUE(result.ok()) << result.status();
      EXPECT_EQ(*result, part["results"][i].get<std::string>())
          << part["config"] << " of '" << text << "'";
    }
  }
}

TEST(TokenizerParts, PreTokenizers) {
  ASSERT_GE(Golden()["pre_tokenizers"].size(), 60u);
  for (const json& part : Golden()["pre_tokenizers"]) {
    const auto pre_tokenizer = PreTokenizer::Parse(part["config"]);
    ASSERT_TRUE(pre_tokenizer.ok()) << pre_tokenizer.status();
    for (size_t i = 0; i < part["results"].size(); ++i) {
      const std::string text = Golden()["texts"][i];
      const auto words = pre_tokenizer->Apply(text, InputPlace::kStart);
      ASSERT_TRUE(words.ok()) << words.status();
      EXPECT_EQ(json(*words), part["results"][i])
          << part["config"] << " of '" << text << "'";
    }
  }
}

TEST(TokenizerParts, Decoders) {
  ASSERT_GE(Golden()["decoders"].size(), 5u);
  for (const json& part : Golden()["decoders"]) {
    const auto decoder = TokenDecoder::Parse(part["config"]);
    ASSERT_TRUE(decoder.ok()) << decoder.status();
    for (size_t i = 0; i < part["results"].size(); ++i) {
      const std::vector<std::string> tokens = Golden()["token_lists"][i];
      std::string bytes;
      for (size_t t = 0; t < tokens.size(); ++t) {
        bytes +=
            t == 0 ? decoder->FirstBytes(tokens[t]) : decoder->Bytes(tokens[t]);
      }
      // Bytes that are no text: one U+FFFD each there, one for what belongs
      // together here, since a stream cannot wait for the end of the run.
      const bool is_text = FirstInvalidUtf8(bytes) == std::string_view::npos ||
                           part["config"]["type"] == "ByteLevel";
      if (!is_text) continue;
      EXPECT_EQ(ReplaceInvalidUtf8(bytes),
                part["results"][i].get<std::string>())
          << part["config"] << " of " << Golden()["token_lists"][i];
    }
  }
}

Bpe MakeBpe(const json& model) {
  Bpe bpe;
  for (const auto& [text, id] : model["vocab"].items()) {
    EXPECT_TRUE(bpe.AddToken(text, id.get<int32_t>()).ok());
  }
  for (const json& merge : model["merges"]) {
    EXPECT_TRUE(bpe.AddMerge(merge[0], merge[1]).ok());
  }
  const json& wanted = model["options"];
  BpeOptions options;
  options.byte_fallback = wanted.value("byte_fallback", false);
  options.fuse_unk = wanted.value("fuse_unk", false);
  options.ignore_merges = wanted.value("ignore_merges", false);
  if (wanted.contains("unk_token")) {
    options.unk_id = bpe.IdOf(wanted["unk_token"].get<std::string>());
  }
  bpe.set_options(options);
  return bpe;
}

TEST(TokenizerParts, Bpe) {
  ASSERT_GE(Golden()["bpe"].size(), 6u);
  for (const json& model : Golden()["bpe"]) {
    const Bpe bpe = MakeBpe(model);
    for (const json& test_case : model["cases"]) {
      std::vector<int32_t> ids;
      bpe.Encode(test_case[0].get<std::string>(), &ids);
      EXPECT_EQ(json(ids), test_case[1])
          << model["options"] << " of " << test_case[0];
    }
  }
}

TEST(TokenizerParts, AddedTokens) {
  const json& golden = Golden()["added_tokens"];
  AddedTokenSplitter splitter;
  for (const json& entry : golden["tokens"]) {
    const std::string content = entry["content"];
    splitter.Add({.id = entry["id"].get<int32_t>(),
                  .content = content,
                  .special = entry["special"].get<bool>(),
                  .lstrip = entry.value("lstrip", false),
                  .rstrip = entry.value("rstrip", false),
                  .single_word = entry.value("single_word", false)},
                 content);
  }
  ASSERT_GE(golden["cases"].size(), 20u);
  for (const json& test_case : golden["cases"]) {
    const std::string text = test_case[0];
    std::vector<int32_t> ids;
    std::string plain;
    for (const TextPiece& piece : splitter.Split(text)) {
      if (piece.id >= 0) ids.push_back(piece.id);
      plain += piece.text;
    }
    EXPECT_EQ(json(ids), test_case[1]) << text;
    EXPECT_LE(plain.size(), text.size());
  }
}

TEST(TokenizerParts, WhatIsNotKnownIsNamed) {
  const auto message = [](const auto& result) {
    EXPECT_FALSE(result.ok());
    return std::string(result.status().message());
  };
  for (const char* type : {"Nmt", "Precompiled", "BertNormalizer", "x"}) {
    EXPECT_NE(message(Normalizer::Parse({{"type", type}})).find(type),
              std::string::npos);
  }
  for (const char* type : {"BertPreTokenizer", "UnicodeScripts", "x"}) {
    EXPECT_NE(message(PreTokenizer::Parse({{"type", type}})).find(type),
              std::string::npos);
  }
  for (const char* type : {"WordPiece", "CTC", "BPEDecoder", "x"}) {
    EXPECT_NE(message(TokenDecoder::Parse({{"type", type}})).find(type),
              std::string::npos);
  }
  // A field that changes the meaning must not be passed over.
  EXPECT_NE(
      message(Normalizer::Parse({{"type", "NFC"}, {"form", 2}})).find("form"),
      std::string::npos);
  EXPECT_NE(message(PreTokenizer::Parse({{"type", "Split"},
                                         {"pattern", {{"String", "a"}}},
                                         {"behavior", "Sideways"}}))
                .find("Sideways"),
            std::string::npos);
}

TEST(TokenizerParts, WrongTypesAreErrors) {
  for (const json& value :
       {json(3), json("NFC"), json::array(), json::object(), json{{"type", 3}},
        json{{"type", nullptr}}, json{{"type", "Sequence"}},
        json{{"type", "Sequence"}, {"normalizers", 3}},
        json{{"type", "Replace"}, {"content", "x"}},
        json{{"type", "Replace"}, {"pattern", 3}, {"content", "x"}},
        json{{"type", "Replace"},
             {"pattern", {{"Regex", "("}}},
             {"content", "x"}},
        json{{"type", "Replace"},
             {"pattern", {{"String", ""}}},
             {"content", "x"}},
        json{{"type", "Prepend"}, {"prepend", 7}},
        json{{"type", "Strip"}, {"strip_left", "yes"}}}) {
    EXPECT_FALSE(Normalizer::Parse(value).ok()) << value;
  }
  for (const json& value :
       {json(3), json{{"type", "Split"}},
        json{{"type", "Split"},
             {"pattern", {{"Regex", "[a"}}},
             {"behavior", "Isolated"}},
        json{{"type", "Digits"}, {"individual_digits", 1}},
        json{{"type", "Metaspace"}},
        json{{"type", "Metaspace"},
             {"replacement", "_"},
             {"prepend_scheme", "sometimes"}},
        json{{"type", "Sequence"}, {"pretokenizers", {{{"type", "x"}}}}}}) {
    EXPECT_FALSE(PreTokenizer::Parse(value).ok()) << value;
  }
  for (const json& value :
       {json("ByteLevel"), json{{"type", "Strip"}, {"content", " "}},
        json{{"type", "Replace"},
             {"pattern", {{"String", ""}}},
             {"content", ""}},
        json{{"type", "Sequence"}, {"decoders", 1}}}) {
    EXPECT_FALSE(TokenDecoder::Parse(value).ok()) << value;
  }
}

TEST(TokenizerParts, GrowthIsBounded) {
  const json grow = {{"type", "Replace"},
                     {"pattern", {{"String", "a"}}},
                     {"content", std::string(1000, 'a')}};
  json steps = json::array();
  for (int i = 0; i < 8; ++i) steps.push_back(grow);
  const auto normalizer =
      Normalizer::Parse({{"type", "Sequence"}, {"normalizers", steps}});
  ASSERT_TRUE(normalizer.ok());
  EXPECT_EQ(normalizer->Apply("aaaaaaaa").status().code(),
            absl::StatusCode::kResourceExhausted);
  for (int i = 0; i < 80; ++i) steps.push_back(grow);
  EXPECT_FALSE(
      Normalizer::Parse({{"type", "Sequence"}, {"normalizers", steps}}).ok());
}

}  // namespace
}  // namespace zqfp
