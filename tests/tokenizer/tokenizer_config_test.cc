// SPDX-License-Identifier: Apache-2.0
// What stands beside a tokenizer: which file wins, which spellings are read,
// what is refused.
#include "tokenizer/tokenizer_config.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/tokenizer/tokenizer_directory.h"

namespace zqfp {
namespace {

using nlohmann::json;
using Files = std::vector<std::pair<std::string, std::string>>;

absl::StatusOr<TokenizerConfig> Load(const Files& files) {
  testing::TokenizerDirectory directory;
  for (const auto& [name, text] : files) directory.Write(name, text);
  return LoadTokenizerConfig(directory.path());
}

TokenizerConfig Loaded(const Files& files) {
  const auto config = Load(files);
  EXPECT_TRUE(config.ok()) << config.status();
  return config.value_or(TokenizerConfig());
}

TEST(TokenizerConfig, NoFilesStateNothing) {
  const TokenizerConfig config = Loaded({});
  EXPECT_FALSE(config.add_bos_token.has_value());
  EXPECT_FALSE(config.add_eos_token.has_value());
  EXPECT_FALSE(config.legacy.has_value());
  EXPECT_EQ(config.bos_token + config.eos_token + config.unk_token, "");
  EXPECT_EQ(config.chat_template + config.model_type, "");
  EXPECT_TRUE(config.eos_ids.empty() && config.added_tokens.empty());
  EXPECT_EQ(config.bos_id, -1);
}

TEST(TokenizerConfig, TokensAreStringsOrObjects) {
  const TokenizerConfig config = Loaded({{"tokenizer_config.json", R"({
      "bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": false},
      "unk_token": null, "tokenizer_class": "LlamaTokenizer",
      "add_bos_token": true, "add_eos_token": false, "legacy": null})"}});
  EXPECT_EQ(config.bos_token, "<s>");
  EXPECT_EQ(config.eos_token, "</s>");
  EXPECT_EQ(config.unk_token, "");
  EXPECT_EQ(config.tokenizer_class, "LlamaTokenizer");
  EXPECT_EQ(config.add_bos_token, true);
  EXPECT_EQ(config.add_eos_token, false);
  EXPECT_EQ(config.legacy, std::nullopt);
}

TEST(TokenizerConfig, TheTokenizersOwnFileHasTheLastWord) {
  const TokenizerConfig config = Loaded(
      {{"special_tokens_map.json", R"({"bos_token": "a", "eos_token": "b"})"},
       {"tokenizer_config.json", R"({"bos_token": "c"})"}});
  EXPECT_EQ(config.bos_token, "c");
  EXPECT_EQ(config.eos_token, "b");
}

TEST(TokenizerConfig, AddedTokensKeepTheirFlags) {
  const TokenizerConfig config = Loaded({{"tokenizer_config.json", R"({
      "added_tokens_decoder": {
        "5": {"content": "<x>", "special": true, "lstrip": true},
        "70000": {"content": "", "rstrip": true, "single_word": true,
                  "normalized": true, "special": null}}})"}});
  ASSERT_EQ(config.added_tokens.size(), 2u);
  const AddedToken& x = config.added_tokens.at(5);
  EXPECT_EQ(x.id, 5);
  EXPECT_EQ(x.content, "<x>");
  EXPECT_TRUE(x.special && x.lstrip);
  EXPECT_FALSE(x.rstrip || x.single_word || x.normalized);
  const AddedToken& y = config.added_tokens.at(70000);
  EXPECT_TRUE(y.rstrip && y.single_word && y.normalized);
  EXPECT_FALSE(y.special || y.lstrip);
}

TEST(TokenizerConfig, ChatTemplatesHaveThreePlaces) {
  EXPECT_EQ(Loaded({{"tokenizer_config.json", R"({"chat_template": "a"})"}})
                .chat_template,
            "a");
  const std::string list = R"({"chat_template": [
      {"name": "tool_use", "template": "t"},
      {"name": "default", "template": "d"}]})";
  EXPECT_EQ(Loaded({{"tokenizer_config.json", list}}).chat_template, "d");
  EXPECT_EQ(Loaded({{"tokenizer_config.json",
                     R"({"chat_template": [{"name": "x", "template": "t"}]})"}})
                .chat_template,
            "");
  // transformers prefers the file of its own, byte for byte.
  EXPECT_EQ(Loaded({{"tokenizer_config.json", list},
                    {"chat_template.jinja", "j\r\n"}})
                .chat_template,
            "j\r\n");
}

TEST(TokenizerConfig, EndIdsAreCollectedOnce) {
  const TokenizerConfig config =
      Loaded({{"generation_config.json",
               R"({"bos_token_id": 3, "eos_token_id": [2, 7, 2]})"},
              {"config.json", R"({"bos_token_id": 4, "eos_token_id": 2,
                           "model_type": "llama"})"}});
  EXPECT_EQ(config.eos_ids, (std::vector<int32_t>{2, 7}));
  EXPECT_EQ(config.bos_id, 3);
  EXPECT_EQ(config.model_type, "llama");
  const TokenizerConfig none = Loaded(
      {{"config.json", R"({"bos_token_id": null, "eos_token_id": null})"}});
  EXPECT_TRUE(none.eos_ids.empty());
  EXPECT_EQ(none.bos_id, -1);
}

TEST(TokenizerConfig, EndIdsAreFew) {
  json ids = json::array();
  for (int i = 0; i < 1024; ++i) ids.push_back(i);
  EXPECT_EQ(Loaded({{"config.json", json({{"eos_token_id", ids}}).dump()}})
                .eos_ids.size(),
            1024u);
  ids.push_back(1024);
  EXPECT_EQ(Load({{"config.json", json({{"eos_token_id", ids}}).dump()}})
                .status()
                .message(),
            "config.json: eos_token_id: want at most 1024 ids, found 1025");
}

struct Case {
  const char* file;
  const char* text;
  const char* want;
};
constexpr char kConfig[] = "tokenizer_config.json";
constexpr Case kBroken[] = {
    {kConfig, "[]", "(root): want an object, found array"},
    {kConfig, "{", "want JSON, found something else"},
    {kConfig, R"({"bos_token": 1})", "bos_token: want a string, found"},
    {kConfig, R"({"eos_token": {"content": 1}})", "eos_token: want a string"},
    {kConfig, R"({"unk_token": ["a"]})", "unk_token: want a string"},
    {kConfig, R"({"add_bos_token": 1})",
     "add_bos_token: want true or false, found number"},
    {kConfig, R"({"legacy": "no"})", "legacy: want true or false"},
    {kConfig, R"({"chat_template": 1})",
     "chat_template: want a string or a list, found number"},
    {kConfig, R"({"chat_template": [1]})",
     "chat_template: want entries of name and template, found number"},
    {kConfig, R"({"chat_template": [{"name": "default", "template": 1}]})",
     "chat_template: want entries of name and template, found object"},
    {kConfig, R"({"added_tokens_decoder": []})",
     "added_tokens_decoder: want an object, found array"},
    {kConfig, R"({"added_tokens_decoder": {"1x": {"content": "a"}}})",
     "want ids as keys, of 0..2^24, found '1x'"},
    {kConfig, R"({"added_tokens_decoder": {"-1": {"content": "a"}}})",
     "want ids as keys, of 0..2^24, found '-1'"},
    {kConfig, R"({"added_tokens_decoder": {"4294967296": {"content": "a"}}})",
     "found '4294967296'"},
    {kConfig, R"({"added_tokens_decoder": {"2147483647": {"content": "a"}}})",
     "want ids as keys, of 0..2^24, found '2147483647'"},
    {kConfig, R"({"added_tokens_decoder": {"1": {}}})",
     "added token 1: want an object with content"},
    {kConfig, R"({"added_tokens_decoder": {"1": "a"}})",
     "added token 1: want an object with content, found string"},
    {kConfig,
     R"({"added_tokens_decoder": {"1": {"content": "a", "lstrip": 1}}})",
     "lstrip: want true or false, found number"},
    {"special_tokens_map.json", "3", "(root): want an object, found number"},
    {"config.json", R"({"eos_token_id": -1})",
     "eos_token_id: want an id below 2^31"},
    {"config.json", R"({"eos_token_id": [1, 2147483648]})",
     "eos_token_id: want an id below 2^31"},
    {"config.json", R"({"bos_token_id": 1.5})",
     "bos_token_id: want an id below 2^31"},
    {"config.json", R"({"model_type": 5})", "model_type: want a string"},
    {"generation_config.json", R"({"eos_token_id": "2"})",
     "eos_token_id: want an id below 2^31, found string"},
};

TEST(TokenizerConfig, ErrorsNameFileAndField) {
  for (const Case& test : kBroken) {
    const auto config = Load({{test.file, test.text}});
    ASSERT_FALSE(config.ok()) << test.text;
    const std::string message(config.status().message());
    EXPECT_TRUE(message.starts_with(test.file)) << message;
    EXPECT_NE(message.find(test.want), std::string::npos)
        << test.text << message;
  }
}

TEST(TokenizerConfig, JsonIsBoundedInDepthAndUtf8) {
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_TRUE(ParseTokenizerJson(nested(64), "f").ok());
  EXPECT_EQ(ParseTokenizerJson(nested(65), "f").status().message(),
            "f: want JSON of at most 64 levels, found more");
  EXPECT_EQ(ParseTokenizerJson("\"a\xff\"", "f").status().message(),
            "f: want UTF-8, found an invalid byte at 2");
  // What looks like a level in a string is none.
  EXPECT_TRUE(
      ParseTokenizerJson("[\"\\\"" + std::string(99, '[') + "\"]", "f").ok());
  EXPECT_EQ(ParseTokenizerJson(std::string((64 << 20) + 1, ' '), "f")
                .status()
                .message(),
            "f: want JSON of at most 67108864 bytes, found 67108865");
  EXPECT_EQ(ParseTokenizerJson("", "f").status().message(),
            "f: want JSON, found something else");
  EXPECT_EQ(ParseTokenizerJson("1 2", "f").status().message(),
            "f: want JSON, found something else");
  EXPECT_EQ(*ParseTokenizerJson(R"({"a": [1, null]})", "f"),
            json({{"a", {1, nullptr}}}));
}

TEST(TokenizerConfig, FilesAreReadWhole) {
  testing::TokenizerDirectory directory;
  const std::string bytes("a\0\r\n\xff", 5);
  directory.Write("f", bytes);
  EXPECT_EQ(*ReadTokenizerFile(directory.path() + "/f"), bytes);
  directory.Write("empty", "");
  EXPECT_EQ(*ReadTokenizerFile(directory.path() + "/empty"), "");
  const auto absent = ReadTokenizerFile(directory.path() + "/absent");
  EXPECT_EQ(absent.status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(ReadTokenizerFile(directory.path()).ok());
}

// xxhash.xxh64(...).hexdigest() of Python's package xxhash gave these.
TEST(TokenizerConfig, HashesAreXxh64) {
  EXPECT_EQ(HashOf(""), "ef46db3751d8e999");
  EXPECT_EQ(HashOf("a"), "d24ec4f1a98c6e5b");
  EXPECT_EQ(HashOf("abc"), "44bc2cf5ad770999");
}

}  // namespace
}  // namespace zqfp
