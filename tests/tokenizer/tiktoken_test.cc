// SPDX-License-Identifier: Apache-2.0
// Rank files against tiktoken itself, and every line that is none.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tokenizer/bpe_tokenizer.h"

namespace zqfp {
namespace {

// Tokens of rank 256 and on; a rank below is that of the byte.
const std::vector<std::string>& MoreTokens() {
  static const auto& tokens = *new std::vector<std::string>{
      "th", "the",          " the",     " t", "er",  "12", "123", "\012\012",
      "  ", "\344\275\240", "\303\251", "'s", " th", "aa", "aaa",
  };
  return tokens;
}

std::string Base64(std::string_view bytes) {
  constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const auto at = [&](size_t k) {
      return k < bytes.size() ? static_cast<uint8_t>(bytes[k]) : 0u;
    };
    const uint32_t bits = at(i) << 16 | at(i + 1) << 8 | at(i + 2);
    out += kDigits[bits >> 18];
    out += kDigits[bits >> 12 & 63];
    out += i + 1 < bytes.size() ? kDigits[bits >> 6 & 63] : '=';
    out += i + 2 < bytes.size() ? kDigits[bits & 63] : '=';
  }
  return out;
}

std::string Ranks() {
  std::string out;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string bytes(1, static_cast<char>(byte));
    out += fmt::format("{} {}\n", Base64(bytes), byte);
  }
  int rank = 256;
  for (const std::string& token : MoreTokens()) {
    out += fmt::format("{} {}\n", Base64(token), rank++);
  }
  return out;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string& ranks,
                                                const std::string& type) {
  TokenizerConfig config;
  config.model_type = type;
  return LoadTiktoken(ranks, config, "tokenizer.model");
}

struct Case {
  const char* text;
  std::vector<int32_t> want;
};

void ExpectIds(const std::string& type, const std::vector<Case>& cases) {
  const auto tokenizer = Load(Ranks(), type);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  for (const Case& test : cases) {
    const auto ids =
        (*tokenizer)->Encode(test.text, {.add_special_tokens = false});
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, test.want) << type << ": '" << test.text << "'";
    const bool special =
        std::string_view(test.text).find("<|") != std::string_view::npos;
    if (!special) EXPECT_EQ((*tokenizer)->Decode(*ids), test.text);
  }
}

// What is wanted is encode(allowed_special='all') of tiktoken 0.14 for these
// ranks, the pattern of the model and its special tokens behind the ranks.
TEST(Tiktoken, Llama3IdsAreTiktokens) {
  ExpectIds(
      "llama",
      {
          {"the other", {257, 32, 111, 257, 114}},
          {"there  the", {257, 114, 101, 32, 258}},
          {"12345 1234", {262, 52, 53, 32, 262, 52}},
          {"it's IT'S", {105, 116, 267, 32, 73, 84, 39, 83}},
          {"你好é", {228, 189, 160, 229, 165, 189, 266}},
          {"a\n\n\nb  ", {97, 263, 10, 98, 264}},
          {"aaaa aaaaa", {269, 269, 32, 269, 270}},
          {"x<|eot_id|>the<|im_end|>",
           {120, 280, 257, 60, 124, 105, 109, 95, 101, 110, 100, 124, 62}},
          {"<|im_start|>user\n",
           {60, 124, 105, 109, 95, 115, 116, 97, 114, 116, 124, 62, 117, 115,
            260, 10}},
          {"\t the", {9, 258}},
          {"", {}},
          {"😀", {240, 159, 152, 128}},
          {"<|eot_id", {60, 124, 101, 111, 116, 95, 105, 100}},
          {"thé", {256, 266}},
      });
}

TEST(Tiktoken, QwenIdsAreTiktokens) {
  ExpectIds(
      "qwen2",
      {
          {"the other", {257, 32, 111, 257, 114}},
          {"there  the", {257, 114, 101, 32, 258}},
          {"12345 1234", {49, 50, 51, 52, 53, 32, 49, 50, 51, 52}},
          {"it's IT'S", {105, 116, 267, 32, 73, 84, 39, 83}},
          {"你好é", {228, 189, 160, 229, 165, 189, 266}},
          {"a\n\n\nb  ", {97, 263, 10, 98, 264}},
          {"aaaa aaaaa", {269, 269, 32, 269, 270}},
          {"x<|eot_id|>the<|im_end|>",
           {120, 60, 124, 101, 111, 116, 95, 105, 100, 124, 62, 257, 273}},
          {"<|im_start|>user\n", {272, 117, 115, 260, 10}},
          {"\t the", {9, 258}},
          {"", {}},
          {"😀", {240, 159, 152, 128}},
          {"<|eot_id", {60, 124, 101, 111, 116, 95, 105, 100}},
          {"thé", {256, 266}},
      });
}

TEST(Tiktoken, SpecialTokensStandBehindTheRanks) {
  const auto llama = Load(Ranks(), "llama");
  ASSERT_TRUE(llama.ok()) << llama.status();
  const auto first = static_cast<int32_t>(256 + MoreTokens().size());
  EXPECT_EQ((*llama)->vocab_size(), first + 256);
  EXPECT_EQ((*llama)->bos_id(), first);
  EXPECT_EQ((*llama)->eos_ids(), std::vector<int32_t>{first + 1});
  EXPECT_EQ((*llama)->IdOf("<|eot_id|>"), first + 9);
  EXPECT_EQ((*llama)->IdOf("<|reserved_special_token_247|>"), first + 255);
  EXPECT_TRUE((*llama)->IsSpecial(first + 255));
  EXPECT_EQ(*(*llama)->Encode("", {}), std::vector<int32_t>{first});
  const auto qwen = Load(Ranks(), "qwen3_moe");
  ASSERT_TRUE(qwen.ok()) << qwen.status();
  EXPECT_EQ((*qwen)->vocab_size(), first + 3);
  EXPECT_EQ((*qwen)->bos_id(), -1);
  EXPECT_EQ((*qwen)->eos_ids(), std::vector<int32_t>{first});
  EXPECT_EQ((*qwen)->IdOf("<|im_end|>"), first + 2);
  EXPECT_TRUE((*qwen)->Encode("", {})->empty());
}

TEST(Tiktoken, TheConfigurationHasTheLastWord) {
  TokenizerConfig config;
  config.model_type = "llama";
  config.add_bos_token = false;
  config.eos_token = "<|eot_id|>";
  config.added_tokens[3000] = {.id = 3000, .content = "<|x|>"};
  const auto tokenizer = LoadTiktoken(Ranks(), config, "f");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(*(*tokenizer)->Encode("<|x|>", {}), std::vector<int32_t>{3000});
  EXPECT_EQ((*tokenizer)->eos_ids(),
            std::vector<int32_t>{*(*tokenizer)->IdOf("<|eot_id|>")});
}

TEST(Tiktoken, LinesAreChecked) {
  const std::pair<const char*, const char*> kErrors[] = {
      {"YWE=\n", "f: want base64 and a rank in line 1"},
      {"YWE= \n", "f: want base64 and a rank in line 1"},
      {"YWE= x\n", "f: want base64 and a rank in line 1"},
      {"YWE= 1x\n", "f: want base64 and a rank in line 1"},
      {"YWE= 1 2\n", "f: want base64 and a rank in line 1"},
      {"YWE=  1\n", "f: want base64 and a rank in line 1"},
      {"Y-E= 1\n", "f: want base64 and a rank in line 1"},
      {"= 1\n", "f: want base64 and a rank in line 1"},
      {" 1\n", "f: want base64 and a rank in line 1"},
      {"YWE= 99999999999\n", "f: want base64 and a rank in line 1"},
      {"YQ== 1\n\nYg== 1\n", "f: line 3: vocab: want unique ids, found 1"},
      {"YQ== 1\r\nYQ== 2\r\n", "f: line 2: vocab: want unique tokens"},
      {"YQ== -1\n", "f: line 1: vocab: want ids of 0"},
      {"YQ== 1\n", "f: want a rank for every byte, found none for 0x00"},
      {"", "f: want a rank for every byte, found none for 0x00"},
  };
  for (const auto& [ranks, want] : kErrors) {
    TokenizerConfig config;
    config.model_type = "llama";
    const auto tokenizer = LoadTiktoken(ranks, config, "f");
    ASSERT_FALSE(tokenizer.ok()) << ranks;
    const std::string message(tokenizer.status().message());
    EXPECT_NE(message.find(want), std::string::npos) << ranks << message;
  }
  // No end of the last line, and Windows' ends, are fine.
  std::string ranks = Ranks();
  ranks.pop_back();
  EXPECT_TRUE(Load(ranks, "llama").ok());
}

TEST(Tiktoken, TheModelMustSayHowToSplit) {
  for (const char* type : {"", "mistral", "Llama"}) {
    const auto tokenizer = Load(Ranks(), type);
    EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kUnimplemented);
    EXPECT_EQ(std::string(tokenizer.status().message()),
              fmt::format("tokenizer.model: a rank file does not say how to "
                          "split text; want model_type llama or qwen in "
                          "config.json, found '{}'",
                          type));
  }
}

}  // namespace
}  // namespace zqfp
