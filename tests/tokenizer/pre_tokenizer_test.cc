// SPDX-License-Identifier: Apache-2.0
// Pre-tokenizers of a tokenizer.json where they are easy to get wrong; whole
// texts are in parts_test.cc.
#include "tokenizer/pre_tokenizer.h"

#include <gtest/gtest.h>

#include <string>

namespace zqfp {
namespace {

using nlohmann::json;

struct Case {
  const char* config;
  const char* text;
  const char* want;  // words with a broken bar between them
};

std::string Joined(const std::vector<std::string>& words) {
  std::string out;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i > 0) out += "\u00a6";
    out += words[i];
  }
  return out;
}

// What is wanted is pre_tokenize_str() of tokenizers 0.23.
constexpr Case kCases[] = {
    {"{\"type\":\"Split\",\"pattern\":{\"String\":\".\"},\"behavior\":"
     "\"Isolated\",\"invert\":false}",
     "a.b..c.", "a¦.¦b¦.¦.¦c¦."},
    {"{\"type\":\"Split\",\"pattern\":{\"String\":\".\"},\"behavior\":"
     "\"Removed\",\"invert\":false}",
     "..a.b..", "a¦b"},
    {"{\"type\":\"Split\",\"pattern\":{\"String\":\".\"},\"behavior\":"
     "\"MergedWithPrevious\",\"invert\":false}",
     "..a.b..c", ".¦.¦a.¦b.¦.¦c"},
    {"{\"type\":\"Split\",\"pattern\":{\"String\":\".\"},\"behavior\":"
     "\"MergedWithNext\",\"invert\":false}",
     "a..b.c.", "a¦.¦.b¦.c¦."},
    {"{\"type\":\"Split\",\"pattern\":{\"String\":\".\"},\"behavior\":"
     "\"Contiguous\",\"invert\":false}",
     "a..b...c", "a¦..¦b¦...¦c"},
    {"{\"type\":\"Split\",\"pattern\":{\"String\":\".\"},\"behavior\":"
     "\"Removed\",\"invert\":true}",
     "..a.b..", ".¦.¦.¦.¦."},
    {"{\"type\":\"Split\",\"pattern\":{\"String\":\".\"},\"behavior\":"
     "\"MergedWithPrevious\",\"invert\":true}",
     "a..b.c", "a¦.¦.b¦.c"},
    {"{\"type\":\"Split\",\"pattern\":{\"String\":\".\"},\"behavior\":"
     "\"MergedWithNext\",\"invert\":true}",
     "a..b.c", "a.¦.¦b.¦c"},
    {"{\"type\":\"Split\",\"pattern\":{\"String\":\".\"},\"behavior\":"
     "\"Isolated\",\"invert\":false}",
     "...", ".¦.¦."},
    {"{\"type\":\"Split\",\"pattern\":{\"String\":\"a+b\"},\"behavior\":"
     "\"Isolated\",\"invert\":false}",
     "xa+by aab", "x¦a+b¦y aab"},
    {"{\"type\":\"Split\",\"pattern\":{\"String\":\"\\\\d[é\"},\"behavior\":"
     "\"Isolated\",\"invert\":false}",
     "1\\d[é2", "1¦\\d[é¦2"},
    {"{\"type\":\"Split\",\"pattern\":{\"String\":\"a "
     "b\"},\"behavior\":\"Removed\",\"invert\":false}",
     "xa by", "x¦y"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"x*\"},\"behavior\":"
     "\"Isolated\",\"invert\":false}",
     "abc", "a¦b¦c"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"x*\"},\"behavior\":"
     "\"Removed\",\"invert\":false}",
     "abc", "a¦b¦c"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"x*\"},\"behavior\":"
     "\"MergedWithPrevious\",\"invert\":false}",
     "abc", "a¦b¦c"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"x*\"},\"behavior\":"
     "\"MergedWithNext\",\"invert\":true}",
     "abc", "a¦b¦c"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"x*\"},\"behavior\":"
     "\"Contiguous\",\"invert\":false}",
     "abc", "a¦b¦c"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?=b)\"},\"behavior\":"
     "\"Isolated\",\"invert\":false}",
     "abab", "a¦ba¦b"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?=b)\"},\"behavior\":"
     "\"Removed\",\"invert\":false}",
     "abab", "a¦ba¦b"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?=b)\"},\"behavior\":"
     "\"MergedWithPrevious\",\"invert\":false}",
     "abab", "a¦ba¦b"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?=b)\"},\"behavior\":"
     "\"MergedWithNext\",\"invert\":false}",
     "abab", "a¦ba¦b"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?=b)\"},\"behavior\":"
     "\"Contiguous\",\"invert\":false}",
     "abab", "a¦ba¦b"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"b*\"},\"behavior\":"
     "\"Isolated\",\"invert\":false}",
     "abba", "a¦bb¦a"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"b*\"},\"behavior\":"
     "\"Removed\",\"invert\":false}",
     "abba", "a¦a"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"b*\"},\"behavior\":"
     "\"MergedWithPrevious\",\"invert\":false}",
     "abba", "abb¦a"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"b*\"},\"behavior\":"
     "\"MergedWithNext\",\"invert\":false}",
     "abba", "a¦bba"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"b*\"},\"behavior\":"
     "\"Contiguous\",\"invert\":false}",
     "abba", "a¦bb¦a"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"$\"},\"behavior\":"
     "\"Isolated\",\"invert\":false}",
     "ab", "ab"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"$\"},\"behavior\":"
     "\"Removed\",\"invert\":false}",
     "ab", "ab"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"$\"},\"behavior\":"
     "\"MergedWithPrevious\",\"invert\":false}",
     "ab", "ab"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"$\"},\"behavior\":"
     "\"MergedWithNext\",\"invert\":false}",
     "ab", "ab"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"$\"},\"behavior\":"
     "\"Contiguous\",\"invert\":false}",
     "ab", "ab"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?=(\\\\d{3})+(?!\\\\d))\"},"
     "\"behavior\":\"Isolated\",\"invert\":false}",
     "1234567 é你12345", "1¦234¦567 é你12¦345"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?=(\\\\d{3})+(?!\\\\d))\"},"
     "\"behavior\":\"Removed\",\"invert\":false}",
     "1234567 é你12345", "1¦234¦567 é你12¦345"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?=(\\\\d{3})+(?!\\\\d))\"},"
     "\"behavior\":\"MergedWithPrevious\",\"invert\":false}",
     "1234567 é你12345", "1¦234¦567 é你12¦345"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?=(\\\\d{3})+(?!\\\\d))\"},"
     "\"behavior\":\"MergedWithNext\",\"invert\":false}",
     "1234567 é你12345", "1¦234¦567 é你12¦345"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?=(\\\\d{3})+(?!\\\\d))\"},"
     "\"behavior\":\"Contiguous\",\"invert\":false}",
     "1234567 é你12345", "1¦234¦567 é你12¦345"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\bc\"},\"behavior\":"
     "\"Isolated\",\"invert\":false}",
     "ac cd", "ac ¦c¦d"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\p{L}+|\\\\p{N}\"},"
     "\"behavior\":\"Isolated\",\"invert\":false}",
     "é1²Ⅷ你a\314\220b", "é¦1¦²¦Ⅷ¦你a¦\314\220¦b"},
    {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[^\\\\s]+\"},\"behavior\":"
     "\"Removed\",\"invert\":true}",
     "a  b\343\200\200c", "a¦b¦c"},
    {"{\"type\":\"Digits\",\"individual_digits\":true}", "a12½Ⅷ٣b",
     "a¦1¦2¦½¦Ⅷ¦٣¦b"},
    {"{\"type\":\"Digits\",\"individual_digits\":false}", "a12½ 3b",
     "a¦12½¦ ¦3¦b"},
    {"{\"type\":\"Digits\",\"individual_digits\":false}", "12a", "12¦a"},
    {"{\"type\":\"Punctuation\",\"behavior\":\"Isolated\"}", "a,b。c$d+e«f»™",
     "a¦,¦b¦。¦c¦$¦d¦+¦e¦«¦f¦»¦™"},
    {"{\"type\":\"Punctuation\",\"behavior\":\"Contiguous\"}", "a,,!b--c",
     "a¦,,!¦b¦--¦c"},
    {"{\"type\":\"Punctuation\"}", "it's", "it¦'¦s"},
    {"{\"type\":\"Whitespace\"}", "a_b c-d!!é你 1.5", "a_b¦c¦-¦d¦!!¦é你¦1¦.¦5"},
    {"{\"type\":\"WhitespaceSplit\"}", " a\tb  c-d\n\343\200\200e ",
     "a¦b¦c-d¦e"},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,"
     "\"use_regex\":true}",
     "it's 12  a", "it¦'s¦Ġ12¦Ġ¦Ġa"},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,"
     "\"use_regex\":true}",
     "é\n", "ĠÃ©¦Ċ"},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,"
     "\"use_regex\":false}",
     " a b", "ĠaĠb"},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,"
     "\"use_regex\":false}",
     "\na", "ĠĊa"},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,"
     "\"use_regex\":false}",
     "\343\200\200", "ãĢĢ"},
    {"{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":"
     "\"always\",\"split\":true}",
     "a  b c ", "▁a¦▁¦▁b¦▁c¦▁"},
    {"{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":"
     "\"always\",\"split\":true}",
     " a", "▁a"},
    {"{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":"
     "\"never\",\"split\":true}",
     "a ▁b", "a¦▁¦▁b"},
    {"{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":"
     "\"first\",\"split\":false}",
     "a b\nc\343\200\200d", "▁a▁b\nc\343\200\200d"},
    {"{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":"
     "\"always\",\"split\":true}",
     "_a b", "_a¦_b"},
    {"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"},"
     "{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":"
     "\"always\",\"split\":true}]}",
     "a b", "▁a¦▁b"},
    {"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"},"
     "{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":"
     "\"first\",\"split\":true}]}",
     "a b", "▁a¦b"},
    {"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\","
     "\"individual_digits\":true},{\"type\":\"Punctuation\"}]}",
     "a1,2b", "a¦1¦,¦2¦b"},
    {"{\"type\":\"Sequence\",\"pretokenizers\":[]}", "a b", "a b"},
};

TEST(PreTokenizer, WordsAreTheLibrarys) {
  for (const Case& test : kCases) {
    const auto parsed = PreTokenizer::Parse(json::parse(test.config));
    ASSERT_TRUE(parsed.ok()) << test.config << parsed.status();
    const auto words = parsed->Apply(test.text, InputPlace::kStart);
    ASSERT_TRUE(words.ok()) << words.status();
    EXPECT_EQ(Joined(*words), test.want)
        << test.config << " of '" << test.text << "'";
  }
}

// A piece behind a special token is not the first, which "first" looks at.
TEST(PreTokenizer, TheStartOfTheInputCounts) {
  const auto first = PreTokenizer::Parse({{"type", "Metaspace"},
                                          {"replacement", "_"},
                                          {"prepend_scheme", "first"},
                                          {"split", true}});
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(Joined(*first->Apply("a b", InputPlace::kStart)), "_a\u00a6_b");
  EXPECT_EQ(Joined(*first->Apply("a b", InputPlace::kLater)), "a\u00a6_b");
  const auto always = PreTokenizer::Parse(
      {{"type", "Metaspace"}, {"replacement", "_"}, {"split", false}});
  ASSERT_TRUE(always.ok()) << always.status();
  EXPECT_EQ(Joined(*always->Apply("a b", InputPlace::kLater)), "_a_b");
  // The old spelling of "never".
  const auto never = PreTokenizer::Parse({{"type", "Metaspace"},
                                          {"replacement", "_"},
                                          {"add_prefix_space", false}});
  ASSERT_TRUE(never.ok()) << never.status();
  EXPECT_EQ(Joined(*never->Apply("a", InputPlace::kStart)), "a");
}

TEST(PreTokenizer, NothingCutsNothing) {
  EXPECT_EQ(Joined(*PreTokenizer().Apply("a b", InputPlace::kStart)), "a b");
  EXPECT_TRUE(PreTokenizer().Apply("", InputPlace::kStart)->empty());
  const auto null = PreTokenizer::Parse(nullptr);
  ASSERT_TRUE(null.ok());
  EXPECT_EQ(Joined(*null->Apply("a b", InputPlace::kStart)), "a b");
  const auto bytes = PreTokenizer::ByteLevel("\\p{L}+");
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(Joined(*bytes->Apply("é a", InputPlace::kStart)),
            "\u00c3\u00a9\u00a6\u0120\u00a6a");
  EXPECT_FALSE(PreTokenizer::ByteLevel("(").ok());
}

TEST(PreTokenizer, ErrorsNameWhatIsWrong) {
  const std::pair<const char*, const char*> kErrors[] = {
      {"[]", "pre_tokenizer: (value): want an object, found array"},
      {R"({"type": 1})", "pre_tokenizer: type: want a string, found number"},
      {R"({"type": "Nope"})", "pre_tokenizer Nope: not supported"},
      {R"({"type": "Sequence", "pretokenizers": 1})",
       "pre_tokenizer Sequence: want a list"},
      {R"({"type": "Split", "pattern": {"String": "a"}})",
       "pre_tokenizer Split: behavior: want a string, found none"},
      {R"({"type": "Split", "behavior": "Isolated"})",
       "pre_tokenizer Split: String: want a string, found none"},
      {R"({"type": "Split", "behavior": "Up", "pattern": {"String": "a"}})",
       "pre_tokenizer Split: behavior 'Up' is not supported"},
      {R"({"type": "Split", "flags": "i"})",
       "pre_tokenizer Split: the field 'flags' is not supported"},
      {R"({"type": "ByteLevel", "use_regex": "no"})",
       "pre_tokenizer ByteLevel: use_regex: want true or false, found string"},
      {R"({"type": "Metaspace"})",
       "pre_tokenizer Metaspace: replacement: want a string, found none"},
      {R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": "x"})",
       "pre_tokenizer Metaspace: prepend_scheme 'x' is not supported"},
      {R"({"type": "Digits", "individual_digits": 1})",
       "individual_digits: want true or false, found number"},
      {R"({"type": "Punctuation", "behavior": "Up"})",
       "pre_tokenizer Punctuation: behavior 'Up' is not supported"},
      {R"({"type": "Whitespace", "x": 1})", "the field 'x' is not supported"},
  };
  for (const auto& [config, want] : kErrors) {
    const auto parsed = PreTokenizer::Parse(json::parse(config));
    ASSERT_FALSE(parsed.ok()) << config;
    const std::string message(parsed.status().message());
    EXPECT_NE(message.find(want), std::string::npos) << config << message;
  }
}

TEST(PreTokenizer, AMarkIsOneCharacter) {
  for (const char* mark : {"", "ab"}) {
    const auto pre_tokenizer =
        PreTokenizer::Parse({{"type", "Metaspace"}, {"replacement", mark}});
    ASSERT_FALSE(pre_tokenizer.ok());
    EXPECT_NE(std::string(pre_tokenizer.status().message())
                  .find("replacement: want one character"),
              std::string::npos);
  }
}

}  // namespace
}  // namespace zqfp
