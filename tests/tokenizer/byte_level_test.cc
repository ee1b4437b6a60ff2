// SPDX-License-Identifier: Apache-2.0
// GPT-2's alphabet, byte by byte, and the regular expressions around it.
#include "tokenizer/byte_level.h"

#include <gtest/gtest.h>

#include <string>

#include "tokenizer/regex.h"
#include "tokenizer/utf8.h"

namespace zqfp {
namespace {

// Runs of bytes whose characters follow each other: first byte, last byte,
// first character. From bytes_to_unicode() of transformers.
constexpr int kRuns[][3] = {
    {0x00, 0x20, 0x100}, {0x21, 0x7e, 0x21},  {0x7f, 0xa0, 0x121},
    {0xa1, 0xac, 0xa1},  {0xad, 0xad, 0x143}, {0xae, 0xff, 0xae},
};

TEST(ByteLevel, TheAlphabetIsGpt2s) {
  int num_bytes = 0;
  for (const auto& [first, last, character] : kRuns) {
    for (int byte = first; byte <= last; ++byte, ++num_bytes) {
      const std::string bytes(1, static_cast<char>(byte));
      const std::string visible = BytesToVisible(bytes);
      EXPECT_EQ(DecodeUtf8(visible),
                static_cast<uint32_t>(character + byte - first))
          << byte;
      EXPECT_EQ(VisibleToBytes(visible), bytes) << byte;
    }
  }
  EXPECT_EQ(num_bytes, 256);
}

TEST(ByteLevel, TextsGoThereAndBack) {
  for (const std::string& text :
       {std::string(), std::string("Hello w\u00f6rld\n"),
        std::string("\0\xff\x80", 3), std::string("\u4f60\U0001f600")}) {
    EXPECT_EQ(VisibleToBytes(BytesToVisible(text)), text);
  }
  EXPECT_EQ(BytesToVisible(" a\n"), "\u0120a\u010a");
}

TEST(ByteLevel, OtherCharactersStayAsTheyAre) {
  EXPECT_EQ(VisibleToBytes("\u4f60\u0120\u0144\u2581"), "\u4f60 \u0144\u2581");
  EXPECT_EQ(VisibleToBytes("a b"), "a b");  // a space is not of the alphabet
  EXPECT_EQ(VisibleToBytes("\xff\xc4"), "\xff\xc4");  // nor is a broken text
}

std::string Words(const char* pattern, std::string_view text) {
  const absl::StatusOr<Regex> regex = Regex::Compile(pattern);
  if (!regex.ok()) return std::string(regex.status().message());
  const auto matches = regex->FindAll(text);
  if (!matches.ok()) return std::string(matches.status().message());
  std::string out;
  for (const auto& [begin, end] : *matches) {
    if (!out.empty()) out += "\u00a6";
    out += text.substr(begin, end - begin);
  }
  return out;
}

struct Case {
  const char* pattern;
  const char* text;
  const char* want;
};

// What is wanted is findall() of Python's package regex for the patterns as
// tiktoken 0.14 and Hugging Face publish them.
TEST(ByteLevel, PatternsCutAsTheirModelsDo) {
  constexpr Case kCases[] = {
      {kGpt2Regex, "I'll it'S don't", "I¦'ll¦ it¦'¦S¦ don¦'t"},
      {kGpt2Regex, "a  b   ", "a¦ ¦ b¦   "},
      {kGpt2Regex, "12345 6", "12345¦ 6"},
      {kGpt2Regex, "x\n\n y \n", "x¦\n\n¦ y¦ \n"},
      {kGpt2Regex, "!!! (foo)bar", "!!!¦ (¦foo¦)¦bar"},
      {kGpt2Regex, "tab\tend\r\n z", "tab¦\t¦end¦\r\n¦ z"},
      {kGpt2Regex, " ½²Ⅷ٣", " ½²Ⅷ٣"},
      {kGpt2Regex, "你好，世界 é", "你好¦，¦世界¦ é"},
      {kGpt2Regex, "  ", "  "},
      {kGpt2Regex, "a'b 're", "a¦'¦b¦ '¦re"},
      {kGpt2Regex, "\n\n", "\n\n"},
      {kGpt2Regex, "$a_b-c", "$¦a¦_¦b¦-¦c"},
      {kLlama3Regex, "I'll it'S don't", "I¦'ll¦ it¦'S¦ don¦'t"},
      {kLlama3Regex, "a  b   ", "a¦ ¦ b¦   "},
      {kLlama3Regex, "12345 6", "123¦45¦ ¦6"},
      {kLlama3Regex, "x\n\n y \n", "x¦\n\n¦ y¦ \n"},
      {kLlama3Regex, "!!! (foo)bar", "!!!¦ (¦foo¦)bar"},
      {kLlama3Regex, "tab\tend\r\n z", "tab¦\tend¦\r\n¦ z"},
      {kLlama3Regex, " ½²Ⅷ٣", " ¦½²Ⅷ¦٣"},
      {kLlama3Regex, "你好，世界 é", "你好¦，世界¦ é"},
      {kLlama3Regex, "  ", "  "},
      {kLlama3Regex, "a'b 're", "a¦'b¦ '¦re"},
      {kLlama3Regex, "\n\n", "\n\n"},
      {kLlama3Regex, "$a_b-c", "$a¦_b¦-c"},
      {kQwenRegex, "I'll it'S don't", "I¦'ll¦ it¦'S¦ don¦'t"},
      {kQwenRegex, "a  b   ", "a¦ ¦ b¦   "},
      {kQwenRegex, "12345 6", "1¦2¦3¦4¦5¦ ¦6"},
      {kQwenRegex, "x\n\n y \n", "x¦\n\n¦ y¦ \n"},
      {kQwenRegex, "!!! (foo)bar", "!!!¦ (¦foo¦)bar"},
      {kQwenRegex, "tab\tend\r\n z", "tab¦\tend¦\r\n¦ z"},
      {kQwenRegex, " ½²Ⅷ٣", " ¦½¦²¦Ⅷ¦٣"},
      {kQwenRegex, "你好，世界 é", "你好¦，世界¦ é"},
      {kQwenRegex, "  ", "  "},
      {kQwenRegex, "a'b 're", "a¦'b¦ '¦re"},
      {kQwenRegex, "\n\n", "\n\n"},
      {kQwenRegex, "$a_b-c", "$a¦_b¦-c"},
  };
  for (const Case& test : kCases) {
    EXPECT_EQ(Words(test.pattern, test.text), test.want) << test.text;
  }
}

}  // namespace
}  // namespace zqfp
