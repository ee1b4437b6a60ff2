// SPDX-License-Identifier: Apache-2.0
// Decoders of a tokenizer.json, token by token.
#include "tokenizer/token_decoder.h"

#include <gtest/gtest.h>

#include <string>

namespace zqfp {
namespace {

using nlohmann::json;

struct Case {
  const char* config;
  const char* tokens;  // with a broken bar between them
  const char* want;
};

std::string Decoded(const TokenDecoder& decoder, std::string tokens) {
  constexpr std::string_view kBar = "\u00a6";
  std::string text;
  for (bool is_first = true;; is_first = false) {
    const size_t end = tokens.find(kBar);
    const std::string token = tokens.substr(0, end);
    text += is_first ? decoder.FirstBytes(token) : decoder.Bytes(token);
    if (end == std::string::npos) return text;
    tokens.erase(0, end + kBar.size());
  }
}

// What is wanted is decode() of tokenizers 0.23.
constexpr Case kCases[] = {
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,"
     "\"use_regex\":true}",
     "ĠHello¦Ġw¦Ã©¦Ċ", " Hello wé\n"},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,"
     "\"use_regex\":true}",
     "ä½¦ł¦å¥½", "你好"},
    {"{\"type\":\"ByteFallback\"}", "a¦<0x41>¦<0x0A>¦<0x7e>¦b", "aA\n~b"},
    {"{\"type\":\"ByteFallback\"}", "<0xC3>¦<0xA9>¦<0xE4>¦<0xBD>¦<0xA0>",
     "é你"},
    {"{\"type\":\"ByteFallback\"}", "<0x4>¦<0x4G>¦<0x041>¦<0X41>¦< 0x41>",
     "<0x4><0x4G><0x041><0X41>< 0x41>"},
    {"{\"type\":\"Fuse\"}", "a¦ b¦▁c", "a b▁c"},
    {"{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":"
     "\"always\",\"split\":true}",
     "▁Hello▁there¦▁world", "Hellothere world"},
    {"{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":"
     "\"first\",\"split\":true}",
     "▁a¦b▁", "ab "},
    {"{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":"
     "\"always\",\"split\":true}",
     "▁▁▁¦▁▁a", "  a"},
    {"{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":"
     "\"always\",\"split\":true}",
     "a_¦_▁b", "a ▁b"},
    {"{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":"
     "\"never\",\"split\":true}",
     "▁a¦▁b", " a b"},
    {"{\"type\":\"Replace\",\"pattern\":{\"String\":\"▁\"},\"content\":\" \"}",
     "▁a▁▁b¦▁", " a  b "},
    {"{\"type\":\"Replace\",\"pattern\":{\"String\":\"aa\"},\"content\":\"a\"}",
     "aaaa¦a", "aaa"},
    {"{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{"
     "\"String\":\"▁\"},\"content\":\" "
     "\"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\","
     "\"content\":\" \",\"start\":1,\"stop\":0}]}",
     "▁a¦▁<0x41>¦<0x41>¦▁", "a <0x41>A "},
    {"{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{"
     "\"String\":\"▁\"},\"content\":\" "
     "\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" "
     "\",\"start\":1,\"stop\":0}]}",
     "▁▁a¦b", " ab"},
    {"{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":"
     "\"Strip\",\"content\":\"x\",\"start\":2,\"stop\":0}]}",
     "xxxa¦x", "xax"},
    {"{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":"
     "\"Strip\",\"content\":\"x\",\"start\":3,\"stop\":0}]}",
     "xax¦x", "axx"},
    {"{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Sequence\",\"decoders\":"
     "[{\"type\":\"ByteFallback\"}]},{\"type\":\"Fuse\"}]}",
     "<0x41>¦b", "Ab"},
};

TEST(TokenDecoder, TextIsTheLibrarys) {
  for (const Case& test : kCases) {
    const auto decoder = TokenDecoder::Parse(json::parse(test.config));
    ASSERT_TRUE(decoder.ok()) << test.config << decoder.status();
    EXPECT_EQ(Decoded(*decoder, test.tokens), test.want)
        << test.config << " of " << test.tokens;
  }
}

TEST(TokenDecoder, WithoutOneTokensAreWords) {
  const auto decoder = TokenDecoder::Parse(nullptr);
  ASSERT_TRUE(decoder.ok());
  EXPECT_EQ(Decoded(*decoder, "a\u00a6b\u00a6c"), "a b c");
  EXPECT_EQ(decoder->Bytes("a"), " a");
}

// Bytes that are no text on their own: only together they are a character.
TEST(TokenDecoder, TokensMayBePartsOfCharacters) {
  const auto fallback = TokenDecoder::Parse({{"type", "ByteFallback"}});
  ASSERT_TRUE(fallback.ok());
  EXPECT_EQ(fallback->Bytes("<0xE4>"), "\xe4");
  EXPECT_EQ(fallback->Bytes("<0xff>"), "\xff");
  EXPECT_EQ(fallback->Bytes("<0x00>"), std::string(1, '\0'));
  EXPECT_EQ(TokenDecoder::ByteLevel().Bytes("\u00e4\u0142"), "\xe4\xa0");
  EXPECT_EQ(TokenDecoder::ByteLevel().FirstBytes("\u0120a"), " a");
}

TEST(TokenDecoder, ErrorsNameWhatIsWrong) {
  const std::pair<const char*, const char*> kErrors[] = {
      {"1", "decoder: (value): want an object, found number"},
      {R"({"type": "Nope"})", "decoder Nope: not supported"},
      {R"({"type": "Sequence"})", "decoder Sequence: want a list"},
      {R"({"type": "Fuse", "x": 1})", "the field 'x' is not supported"},
      {R"({"type": "ByteFallback", "x": 1})", "the field 'x'"},
      {R"({"type": "Metaspace"})", "replacement: want a string, found none"},
      {R"({"type": "Replace", "content": "", "pattern": {"String": ""}})",
       "decoder Replace: no pattern"},
      {R"({"type": "Replace", "content": "", "pattern": {"Regex": "a"}})",
       "decoder Replace: String: want a string, found none"},
      {R"({"type": "Strip", "content": " ", "start": 1, "stop": 0})",
       "only a strip at the start, after Fuse, is supported"},
      {R"({"type": "Sequence", "decoders": [{"type": "Fuse"},
           {"type": "Strip", "content": " ", "start": 1, "stop": 1}]})",
       "only a strip at the start, after Fuse, is supported"},
      {R"({"type": "Sequence", "decoders": [{"type": "Fuse"},
           {"type": "Strip", "content": "", "start": 1}]})",
       "only a strip at the start, after Fuse, is supported"},
      {R"({"type": "Strip", "content": " ", "start": "1"})",
       "decoder Strip: start: want an integer, found string"},
  };
  for (const auto& [config, want] : kErrors) {
    const auto decoder = TokenDecoder::Parse(json::parse(config));
    ASSERT_FALSE(decoder.ok()) << config;
    const std::string message(decoder.status().message());
    EXPECT_NE(message.find(want), std::string::npos) << config << message;
  }
}

json Replaces(int count, const std::string& from, const std::string& to) {
  json steps = json::array();
  for (int i = 0; i < count; ++i) {
    steps.push_back({{"type", "Replace"},
                     {"pattern", {{"String", from}}},
                     {"content", to}});
  }
  return {{"type", "Sequence"}, {"decoders", steps}};
}

TEST(TokenDecoder, TokensBecomeAtMost16TimesAsLong) {
  const auto decoder = TokenDecoder::Parse(Replaces(4, "a", "aa"));
  ASSERT_TRUE(decoder.ok()) << decoder.status();
  EXPECT_EQ(decoder->Bytes("ab"), std::string(16, 'a') + "b");
  EXPECT_EQ(TokenDecoder::Parse(Replaces(40, "a", "aa")).status().message(),
            "decoder Replace: want texts at most 16 times as long as their "
            "tokens, found steps that make them 32 times as long");
  EXPECT_FALSE(
      TokenDecoder::Parse(Replaces(1, "a", std::string(17, 'a'))).ok());
}

TEST(TokenDecoder, StepsAreCounted) {
  EXPECT_TRUE(TokenDecoder::Parse(Replaces(64, "a", "b")).ok());
  EXPECT_EQ(TokenDecoder::Parse(Replaces(65, "a", "b")).status().message(),
            "decoder: want at most 64 steps");
}

TEST(TokenDecoder, AMarkIsOneCharacter) {
  for (const char* mark : {"", "ab"}) {
    const auto decoder =
        TokenDecoder::Parse({{"type", "Metaspace"}, {"replacement", mark}});
    EXPECT_NE(std::string(decoder.status().message())
                  .find("replacement: want one character"),
              std::string::npos);
  }
}

TEST(TokenDecoder, LongTokensTakeTimeThatGrowsWithThem) {
  std::string token;
  for (int i = 0; i < 1'000'000; ++i) token += "\u2581a";
  const auto decoder =
      TokenDecoder::Parse({{"type", "Metaspace"}, {"replacement", "\u2581"}});
  ASSERT_TRUE(decoder.ok());
  EXPECT_EQ(decoder->Bytes(token).size(), 2'000'000u);
  EXPECT_EQ(decoder->FirstBytes(token).size(), 1'000'000u);
}

}  // namespace
}  // namespace zqfp
