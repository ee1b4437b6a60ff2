// SPDX-License-Identifier: Apache-2.0
// Broken and hostile tokenizer files: one clear error each, never a crash,
// never a construct that is passed over.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/assets.h"
#include "tests/tokenizer/tokenizer_directory.h"
#include "tokenizer/tokenizer.h"

namespace zqfp {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string SmallFile(const std::string& name) {
  return ReadFile(testing::SourcePath("tests/golden/small_tokenizers/" + name));
}

using Files = std::vector<std::pair<std::string, std::string>>;

absl::Status LoadFiles(const Files& files) {
  testing::TokenizerDirectory directory;
  for (const auto& [name, text] : files) directory.Write(name, text);
  return LoadTokenizer(directory.path()).status();
}

void ExpectError(const Files& files, const std::string& message) {
  const absl::Status status = LoadFiles(files);
  ASSERT_FALSE(status.ok()) << message;
  EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  // One line that a person can read.
  EXPECT_EQ(std::string(status.message()).find('\n'), std::string::npos);
  EXPECT_LT(status.message().size(), 600u);
}

struct JsonCase {
  const char* message;
  std::function<void(json&)> change;
};

void ExpectJsonErrors(const std::string& base,
                      const std::vector<JsonCase>& cases) {
  const json sound = json::parse(SmallFile(base));
  ASSERT_TRUE(LoadFiles({{"tokenizer.json", sound.dump()}}).ok());
  for (const JsonCase& test_case : cases) {
    json broken = sound;
    test_case.change(broken);
    ExpectError({{"tokenizer.json", broken.dump()}}, test_case.message);
  }
}

TEST(HostileTokenizerJson, EveryPartOfTheModelIsChecked) {
  ExpectJsonErrors(
      "gpt2.json",
      {{"Unigram", [](json& j) { j["model"]["type"] = "Unigram"; }},
       {"WordPiece", [](json& j) { j["model"]["type"] = "WordPiece"; }},
       {"model", [](json& j) { j.erase("model"); }},
       {"model", [](json& j) { j["model"] = 3; }},
       {"dropout", [](json& j) { j["model"]["dropout"] = 0.1; }},
       {"end_of_word_suffix",
        [](json& j) { j["model"]["end_of_word_suffix"] = "</w>"; }},
       {"continuing_subword_prefix",
        [](json& j) { j["model"]["continuing_subword_prefix"] = "##"; }},
       {"new_setting", [](json& j) { j["model"]["new_setting"] = true; }},
       {"vocab", [](json& j) { j["model"]["vocab"] = json::array(); }},
       {"vocab", [](json& j) { j["model"]["vocab"]["a"] = "1"; }},
       {"vocab", [](json& j) { j["model"]["vocab"]["a"] = -1; }},
       {"vocab", [](json& j) { j["model"]["vocab"]["a"] = 1.5; }},
       {"vocab", [](json& j) { j["model"]["vocab"]["zzz"] = 2147483647; }},
       {"vocab", [](json& j) { j["model"]["vocab"]["zzz"] = 1ull << 40; }},
       {"id", [](json& j) { j["model"]["vocab"]["zzz"] = 5; }},
       {"merges", [](json& j) { j["model"]["merges"] = "a b"; }},
       {"merges", [](json& j) { j["model"]["merges"][0] = "ab"; }},
       {"merges", [](json& j) { j["model"]["merges"][0] = 7; }},
       {"merge",
        [](json& j) {
          j["model"]["merges"][0] = {"qq", "zz"};
        }},
       {"unk_token", [](json& j) { j["model"]["unk_token"] = "<none>"; }},
       {"byte_fallback", [](json& j) { j["model"]["byte_fallback"] = 1; }}});
}

TEST(HostileTokenizerJson, EveryOtherPartIsCheckedToo) {
  ExpectJsonErrors(
      "llama3.json",
      {{"(root)", [](json& j) { j["surprise"] = 1; }},
       {"Precompiled",
        [](json& j) {
          j["normalizer"] = {{"type", "Precompiled"}};
        }},
       {"BertPreTokenizer",
        [](json& j) {
          j["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
        }},
       {"CTC",
        [](json& j) {
          j["decoder"] = {{"type", "CTC"}};
        }},
       {"RobertaProcessing",
        [](json& j) {
          j["post_processor"] = {{"type", "RobertaProcessing"}};
        }},
       {"post_processor", [](json& j) { j["post_processor"] = json::array(); }},
       {"TemplateProcessing",
        [](json& j) {
          j["post_processor"] = {{"type", "TemplateProcessing"}};
        }},
       {"TemplateProcessing",
        [](json& j) {
          j["post_processor"]["processors"][1]["special_tokens"] =
              json::object();
        }},
       {"added_tokens", [](json& j) { j["added_tokens"] = 3; }},
       {"added_tokens", [](json& j) { j["added_tokens"][0]["id"] = -5; }},
       {"added_tokens", [](json& j) { j["added_tokens"][0]["id"] = 1u << 30; }},
       {"content", [](json& j) { j["added_tokens"][0]["content"] = 5; }},
       {"regex", [](json& j) {
          j["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "(";
        }}});
}

// 50000 times 300000 ids would be a text's beginning.
TEST(HostileTokenizerJson, FewTokensStandAroundAText) {
  json file = json::parse(SmallFile("gpt2.json"));
  const auto around = [&](size_t before, size_t after) {
    json single = json::array();
    const json token = {{"SpecialToken", {{"id", "x"}, {"type_id", 0}}}};
    for (size_t i = 0; i < before; ++i) single.push_back(token);
    single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
    for (size_t i = 0; i < after; ++i) single.push_back(token);
    file["post_processor"] = {{"type", "TemplateProcessing"},
                              {"single", single},
                              {"special_tokens", {{"x", {{"ids", {0, 1}}}}}}};
    return Files{{"tokenizer.json", file.dump()}};
  };
  EXPECT_TRUE(LoadFiles(around(16, 16)).ok()) << LoadFiles(around(16, 16));
  ExpectError(around(17, 16), "want at most 64 ids around a text, found more");
  ExpectError(around(0, 33), "want at most 64 ids around a text, found more");
}

TEST(HostileTokenizerJson, BytesThatAreNoJson) {
  ExpectError({{"tokenizer.json", ""}}, "tokenizer.json");
  ExpectError({{"tokenizer.json", "{"}}, "tokenizer.json");
  ExpectError({{"tokenizer.json", "[]"}}, "tokenizer.json");
  ExpectError({{"tokenizer.json", std::string("\xff\xfe{}", 4)}},
              "tokenizer.json");
  const std::string sound = SmallFile("gpt2.json");
  for (size_t size = 0; size < sound.size(); size += 97) {
    EXPECT_FALSE(LoadFiles({{"tokenizer.json", sound.substr(0, size)}}).ok());
  }
  ExpectError({{"tokenizer.json",
                std::string(100'000, '[') + std::string(100'000, ']')}},
              "tokenizer.json");
  ExpectError(
      {{"tokenizer.json", R"({"normalizer":)" + std::string(50'000, '[') +
                              std::string(50'000, ']') + "}"}},
      "tokenizer.json");
}

TEST(HostileTokenizerJson, ATextThatMakesARegexExplodeIsAnError) {
  json file = json::parse(SmallFile("llama3.json"));
  file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "(a|aa)+$";
  testing::TokenizerDirectory directory;
  directory.Write("tokenizer.json", file.dump());
  const auto tokenizer = LoadTokenizer(directory.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto ids = (*tokenizer)->Encode(std::string(3000, 'a') + "!", {});
  if (!ids.ok()) {
    EXPECT_EQ(ids.status().code(), absl::StatusCode::kResourceExhausted);
  }
}

TEST(HostileTokenizerConfig, WhatStandsBesideTheTokenizerIsChecked) {
  const std::string sound = SmallFile("gpt2.json");
  const auto with = [&](const char* name, const std::string& text) {
    return Files{{"tokenizer.json", sound}, {name, text}};
  };
  EXPECT_TRUE(LoadFiles(with("tokenizer_config.json", "{}")).ok());
  ExpectError(with("tokenizer_config.json", "{"), "tokenizer_config.json");
  ExpectError(with("tokenizer_config.json", "[]"), "tokenizer_config.json");
  ExpectError(with("tokenizer_config.json", R"({"chat_template": 7})"),
              "chat_template");
  ExpectError(with("tokenizer_config.json", R"({"bos_token": 7})"),
              "bos_token");
  ExpectError(
      with("tokenizer_config.json", R"({"added_tokens_decoder": {"x": {}}})"),
      "added_tokens_decoder");
  ExpectError(with("config.json", R"({"eos_token_id": "two"})"),
              "eos_token_id");
  ExpectError(with("generation_config.json", R"({"eos_token_id": [1.5]})"),
              "eos_token_id");
}

TEST(HostileSentencePiece, BytesThatAreNoModel) {
  for (const std::string& bytes :
       {std::string(), std::string("hello"), std::string(1000, '\0'),
        std::string(1000, '\xff'),
        std::string("\x0a\xff\xff\xff\xff\x0f", 6)}) {
    ExpectError({{"tokenizer.model", bytes}}, "tokenizer.model");
  }
  // Cut anywhere it is an error or, where only the tail of the settings is
  // lost, a smaller model; never a crash.
  const std::string sound = SmallFile("bpe.model");
  ASSERT_TRUE(LoadFiles({{"tokenizer.model", sound}}).ok());
  for (size_t size = 0; size < sound.size(); size += 61) {
    testing::TokenizerDirectory directory;
    directory.Write("tokenizer.model", sound.substr(0, size));
    const auto tokenizer = LoadTokenizer(directory.path());
    if (tokenizer.ok()) (void)(*tokenizer)->Encode("The quick fox", {});
  }
}

// The library throws where a unigram piece begins with a zero byte.
TEST(HostileSentencePiece, PieceOfAZeroByte) {
  std::string bytes = SmallFile("unigram.model");
  ASSERT_TRUE(LoadFiles({{"tokenizer.model", bytes}}).ok());
  const size_t at = bytes.find("\xe2\x96\x81the");
  ASSERT_NE(at, std::string::npos);
  bytes[at] = '\0';
  ExpectError({{"tokenizer.model", bytes}}, "zero-length key");
}

TEST(HostileTiktoken, RanksAreChecked) {
  const std::string config = R"({"model_type": "llama"})";
  const auto with = [&](const std::string& ranks) {
    return Files{{"tokenizer.model", ranks}, {"config.json", config}};
  };
  std::string sound;
  const char* digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (int b = 0; b < 256; ++b) {
    sound += digits[b >> 2];
    sound += digits[(b & 3) << 4];
    sound += fmt::format("== {}\n", b);
  }
  ASSERT_TRUE(LoadFiles(with(sound)).ok()) << LoadFiles(with(sound));
  for (const char* line : {"YQ== x\n", "YQ==\n", "Y*== 256\n", "YQ= 256\n",
                           "YWE= -1\n", "YWE= 99999999999\n", "YWE= 5\n",
                           "YQ== 300\n", " 256\n", "YWE= 256 7\n"}) {
    ExpectError(with(sound + line), "tokenizer.model");
  }
  // Not all bytes have a token: no text could be sure of its ids.
  ExpectError(with(sound.substr(sound.find('\n') + 1)), "tokenizer.model");
  ExpectError({{"tokenizer.model", sound}, {"config.json", "{}"}},
              "model_type");
}

TEST(HostileVocabAndMerges, BothFilesAreChecked) {
  const auto with = [](const std::string& vocab, const std::string& merges) {
    return Files{{"vocab.json", vocab}, {"merges.txt", merges}};
  };
  json bytes;
  const json sound = json::parse(SmallFile("gpt2.json"));
  for (const auto& [text, id] : sound["model"]["vocab"].items()) {
    bytes[text] = id;
  }
  const std::string vocab = bytes.dump();
  ASSERT_TRUE(LoadFiles(with(vocab, "#version: 0.2\n")).ok())
      << LoadFiles(with(vocab, ""));
  ExpectError(with("", ""), "vocab.json");
  ExpectError(with("[]", ""), "vocab.json");
  ExpectError(with(R"({"a": "b"})", ""), "vocab.json");
  ExpectError(with(vocab, "nospace\n"), "merges.txt");
  ExpectError(with(vocab, "q unheardof\n"), "merges.txt");
  ExpectError({{"vocab.json", vocab}}, "merges.txt");
}

TEST(HostileDirectory, NoTokenizerNamesWhatWasWanted) {
  ExpectError({}, "want tokenizer.json");
  EXPECT_EQ(LoadTokenizer("/nonexistent").status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace zqfp
