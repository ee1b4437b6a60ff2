// SPDX-License-Identifier: Apache-2.0
// vocab.json with merges.txt against the tokenizers library, and every line
// and entry that is none.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tokenizer/bpe_tokenizer.h"
#include "tokenizer/byte_level.h"

namespace zqfp {
namespace {

using nlohmann::json;

constexpr std::pair<const char*, const char*> kMerges[] = {
    {"t", "h"}, {"th", "e"}, {"Ġ", "the"}, {"Ġ", "t"},  {"Ġt", "h"},
    {"e", "n"}, {"Ã", "©"},  {"ä", "½"},   {"ä½", "ł"}, {"Ċ", "Ċ"},
    {"Ġ", "Ġ"}, {"'", "s"},  {"1", "2"},
};

// Bytes in order, then what the merges make, then the end of a text.
json Vocab() {
  json vocab;
  for (int byte = 0; byte < 256; ++byte) {
    vocab[BytesToVisible(std::string(1, static_cast<char>(byte)))] = byte;
  }
  int id = 256;
  for (const auto& [left, right] : kMerges) {
    vocab[std::string(left) + right] = id++;
  }
  vocab["<|endoftext|>"] = id;
  return vocab;
}

std::string Merges() {
  std::string out = "#version: 0.2\n";
  for (const auto& [left, right] : kMerges) {
    out += std::string(left) + " " + right + "\n";
  }
  return out;
}

struct Case {
  const char* text;
  std::vector<int32_t> want;
};

// What is wanted is encode() of ByteLevelBPETokenizer (tokenizers 0.23) with
// the same tables and <|endoftext|> as a special token.
TEST(VocabAndMerges, IdsAreTheLibrarys) {
  const auto tokenizer = LoadVocabAndMerges(Vocab().dump(), Merges(), {});
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const std::vector<Case> kCases = {
      {"the then", {257, 258, 110}},
      {" the  the", {258, 32, 258}},
      {"thé é", {256, 262, 32, 262}},
      {"你你", {264, 264}},
      {"\n\n\na", {265, 10, 97}},
      {"it's 'S", {105, 116, 267, 32, 39, 83}},
      {"1212 x12", {268, 268, 32, 120, 268}},
      {"a<|endoftext|>the", {97, 269, 257}},
      {"<|endoftext|>", {269}},
      {" ", {32}},
      {"", {}},
      {"😀\t", {240, 159, 152, 128, 9}},
  };
  for (const Case& test : kCases) {
    const auto ids = (*tokenizer)->Encode(test.text, {});
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, test.want) << "'" << test.text << "'";
  }
}

TEST(VocabAndMerges, TheFilesMayEndTheirLinesAsTheyLike) {
  const std::string vocab = Vocab().dump();
  const auto plain = LoadVocabAndMerges(vocab, Merges(), {});
  ASSERT_TRUE(plain.ok()) << plain.status();
  std::string windows;
  for (const char c : Merges())
    windows += c == '\n' ? "\r\n" : std::string(1, c);
  std::string bare = Merges();
  bare = bare.substr(bare.find('\n') + 1);
  bare.pop_back();
  for (const std::string& merges : {windows, bare, Merges() + "\n\n"}) {
    const auto tokenizer = LoadVocabAndMerges(vocab, merges, {});
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    EXPECT_EQ(*(*tokenizer)->Encode("the then", {}),
              *(*plain)->Encode("the then", {}));
    EXPECT_NE((*tokenizer)->hash(), (*plain)->hash());
  }
}

TEST(VocabAndMerges, SpecialTokensAreThoseOfTheConfiguration) {
  TokenizerConfig config;
  config.bos_token = "the";
  config.eos_token = "<|endoftext|>";
  config.add_bos_token = true;
  const auto tokenizer = LoadVocabAndMerges(Vocab().dump(), Merges(), config);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const int32_t the = *(*tokenizer)->IdOf("the");
  EXPECT_TRUE((*tokenizer)->IsSpecial(the));
  EXPECT_EQ((*tokenizer)->bos_id(), the);
  EXPECT_EQ(*(*tokenizer)->Encode("a", {}), (std::vector<int32_t>{the, 'a'}));
  EXPECT_EQ(*(*tokenizer)->Encode("a", {.add_special_tokens = false}),
            std::vector<int32_t>{'a'});
  EXPECT_EQ((*tokenizer)->eos_ids(),
            std::vector<int32_t>{*(*tokenizer)->IdOf("<|endoftext|>")});
  config.bos_token = "nope";
  const auto absent = LoadVocabAndMerges(Vocab().dump(), Merges(), config);
  EXPECT_EQ(std::string(absent.status().message()),
            "tokenizer_config.json: bos_token: want a token of vocab.json, "
            "found 'nope'");
}

TEST(VocabAndMerges, EntriesAndLinesAreChecked) {
  const std::string vocab = R"({"a": 0, "b": 1, "ab": 2})";
  struct Broken {
    const char* vocab;
    const char* merges;
    const char* want;
  };
  const Broken kCases[] = {
      {"[]", "", "vocab.json: want an object"},
      {"{", "", "vocab.json: want JSON, found something else"},
      {R"({"a": "0"})", "", "vocab.json: want an id for 'a'"},
      {R"({"a": -1})", "", "vocab.json: want an id for 'a'"},
      {R"({"a": 0.0})", "", "vocab.json: want an id for 'a'"},
      {R"({"a": 2147483648})", "", "vocab.json: want an id for 'a'"},
      {R"({"a": 2147483647})", "", "vocab.json: vocab: want ids of 0.."},
      {R"({"a": 0, "b": 0})", "", "vocab.json: vocab: want unique ids"},
      {vocab.c_str(), "ab\n", "want 'a b' in line 1, found 'ab'"},
      {vocab.c_str(), "#version: 0.2\na b\nc\n", "in line 3, found 'c'"},
      {vocab.c_str(), "a b\n#version: 0.2\n", "line 2: merges: want tokens"},
      {vocab.c_str(), "a c\n", "line 1: merges: want tokens of the vocabulary"},
      {vocab.c_str(), "b a\n", "found 'b' + 'a' (merge 0)"},
      {vocab.c_str(), "a b c\n", "found 'a' + 'b c'"},
      {vocab.c_str(), " a\n", "found '' + 'a'"},
  };
  for (const Broken& test : kCases) {
    const auto tokenizer = LoadVocabAndMerges(test.vocab, test.merges, {});
    ASSERT_FALSE(tokenizer.ok()) << test.vocab << test.merges;
    const std::string message(tokenizer.status().message());
    EXPECT_NE(message.find(test.want), std::string::npos)
        << test.vocab << test.merges << message;
  }
}

}  // namespace
}  // namespace zqfp
