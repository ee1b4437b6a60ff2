// SPDX-License-Identifier: Apache-2.0
// Normalizers of a tokenizer.json where they are easy to get wrong; whole
// texts are in parts_test.cc.
#include "tokenizer/normalizer.h"

#include <gtest/gtest.h>

#include <string>

namespace zqfp {
namespace {

using nlohmann::json;

struct Case {
  const char* config;
  const char* text;
  const char* want;
};

// What is wanted is normalize_str() of tokenizers 0.23.
constexpr Case kCases[] = {
    {"{\"type\":\"NFC\"}", "Å Å ﬁ 각 ắ", "Å Å ﬁ 각 ắ"},
    {"{\"type\":\"NFD\"}", "Å 각 ﬁ é", "A\314\212 각 ﬁ e\314\201"},
    {"{\"type\":\"NFKC\"}", "ﬁ ① Ａ ｶﾞ ℌ ½ … ㎏ ⁵", "fi 1 A ガ H 1⁄2 ... kg 5"},
    {"{\"type\":\"NFKD\"}", "ﬁ Å ½ 각", "fi A\314\212 1⁄2 각"},
    {"{\"type\":\"Lowercase\"}", "ÀÉ İI Σ ΑΣ ẞ Ǆ ǅ Ⅷ Ⓐ",
     "àé i\314\207i σ ασ ß ǆ ǆ ⅷ ⓐ"},
    {"{\"type\":\"StripAccents\"}", "é हिन्दी ก็ a⃝", "é हनद ก a"},
    {"{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true}",
     "\t\n a b \343\200\200", "a b"},
    {"{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":false}", "  a  ",
     "a  "},
    {"{\"type\":\"Strip\",\"strip_left\":false,\"strip_right\":true}", "  a  ",
     "  a"},
    {"{\"type\":\"Strip\",\"strip_left\":false,\"strip_right\":false}", " a ",
     " a "},
    {"{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true}", " \n ",
     ""},
    {"{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true}",
     "\342\200\213a\357\273\277", "\342\200\213a\357\273\277"},
    {"{\"type\":\"Prepend\",\"prepend\":\"▁\"}", "", ""},
    {"{\"type\":\"Prepend\",\"prepend\":\"▁\"}", "▁a", "▁▁a"},
    {"{\"type\":\"Prepend\",\"prepend\":\"xy\"}", "a", "xya"},
    {"{\"type\":\"Replace\",\"pattern\":{\"String\":\"aa\"},\"content\":\"a\"}",
     "aaaaa", "aaa"},
    {"{\"type\":\"Replace\",\"pattern\":{\"String\":\".\"},\"content\":\"\\\\1$"
     "&\"}",
     "a.b", "a\\1$&b"},
    {"{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"\"}",
     "banana", "bnn"},
    {"{\"type\":\"Replace\",\"pattern\":{\"String\":\"é\"},\"content\":\"e\"}",
     "éé", "ee"},
    {"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(a+)b\"},\"content\":\"[$"
     "1]\"}",
     "aab ab b", "[$1] [$1] b"},
    {"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\s+\"},\"content\":\" "
     "\"}",
     "a \n\t b\343\200\200c", "a b c"},
    {"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\".\"},\"content\":\"x\"}",
     "é你\na", "xx\nx"},
    {"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"x*\"},\"content\":\"_\"}",
     "éb你", "_é_b_你_"},
    {"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(?=b)\"},\"content\":\"_"
     "\"}",
     "abab", "a_ba_b"},
    {"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"b*\"},\"content\":\"_\"}",
     "abba", "_a_a_"},
    {"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"$\"},\"content\":\"_\"}",
     "ab", "ab_"},
    {"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"^\"},\"content\":\"_\"}",
     "é", "_é"},
    {"{\"type\":\"Sequence\",\"normalizers\":[]}", "a B", "a B"},
    {"{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Strip\",\"strip_"
     "left\":true,\"strip_right\":true},{\"type\":\"Prepend\",\"prepend\":\"_"
     "\"},{\"type\":\"Lowercase\"}]}",
     " AB ", "_ab"},
    {"{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Sequence\","
     "\"normalizers\":[{\"type\":\"NFD\"}]},{\"type\":\"StripAccents\"}]}",
     "éÅ", "eA"},
};

TEST(Normalizer, IsTheLibrarys) {
  for (const Case& test : kCases) {
    const auto normalizer = Normalizer::Parse(json::parse(test.config));
    ASSERT_TRUE(normalizer.ok()) << test.config << normalizer.status();
    const auto text = normalizer->Apply(test.text);
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_EQ(*text, test.want) << test.config << " of '" << test.text << "'";
  }
}

TEST(Normalizer, NullAndEmptySequencesAreEmpty) {
  EXPECT_TRUE(Normalizer().empty());
  EXPECT_TRUE(Normalizer::Parse(nullptr)->empty());
  EXPECT_TRUE(
      Normalizer::Parse({{"type", "Sequence"}, {"normalizers", json::array()}})
          ->empty());
  EXPECT_FALSE(Normalizer::Parse({{"type", "NFC"}})->empty());
  EXPECT_EQ(*Normalizer().Apply(std::string("a\0b", 3)),
            std::string("a\0b", 3));
}

TEST(Normalizer, ErrorsNameWhatIsWrong) {
  const std::pair<const char*, const char*> kErrors[] = {
      {"3", "normalizer: (value): want an object, found number"},
      {"{}", "normalizer: type: want a string, found none"},
      {R"({"type": "Nope"})", "normalizer Nope: not supported"},
      {R"({"type": "NFC", "x": 1})",
       "normalizer NFC: the field 'x' is not supported"},
      {R"({"type": "Sequence"})", "normalizer Sequence: want a list"},
      {R"({"type": "Sequence", "normalizers": {}})",
       "normalizer Sequence: want a list"},
      {R"({"type": "Prepend"})",
       "normalizer Prepend: prepend: want a string, found none"},
      {R"({"type": "Strip", "strip_left": 1})",
       "normalizer Strip: strip_left: want true or false, found number"},
      {R"({"type": "Replace", "content": "x", "pattern": {"String": ""}})",
       "normalizer Replace: want a pattern"},
      {R"({"type": "Replace", "content": "x", "pattern": "a"})",
       "normalizer Replace: String: want a string, found none"},
      {R"({"type": "Replace", "pattern": {"String": "a"}})",
       "normalizer Replace: content: want a string, found none"},
      {R"({"type": "Replace", "content": "", "pattern": {"Regex": "("}})",
       "regex"},
  };
  for (const auto& [config, want] : kErrors) {
    const auto normalizer = Normalizer::Parse(json::parse(config));
    ASSERT_FALSE(normalizer.ok()) << config;
    const std::string message(normalizer.status().message());
    EXPECT_NE(message.find(want), std::string::npos) << config << message;
  }
}

TEST(Normalizer, StepsAreCountedAcrossSequences) {
  json steps = json::array();
  for (int i = 0; i < 64; ++i) steps.push_back({{"type", "NFC"}});
  json config = {{"type", "Sequence"}, {"normalizers", steps}};
  EXPECT_TRUE(Normalizer::Parse(config).ok());
  config["normalizers"].push_back(
      {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}}}});
  EXPECT_EQ(std::string(Normalizer::Parse(config).status().message()),
            "normalizer: want at most 64 steps");
}

TEST(Normalizer, TextsGrowWithinALimit) {
  const auto replace = [](const json& pattern, size_t size) {
    return Normalizer::Parse({{"type", "Replace"},
                              {"pattern", pattern},
                              {"content", std::string(size, 'b')}});
  };
  const std::string text(1 << 16, 'a');
  for (const json& pattern :
       {json({{"String", "a"}}), json({{"Regex", "a"}})}) {
    EXPECT_EQ(replace(pattern, 32)->Apply(text)->size(), 32 * text.size());
    EXPECT_EQ(replace(pattern, 33)->Apply(text).status().message(),
              "normalizer: want at most 2097152 bytes of text, found more");
  }
  // However many steps it takes.
  json steps = json::array();
  for (int i = 0; i < 8; ++i) {
    steps.push_back({{"type", "Replace"},
                     {"pattern", {{"String", "a"}}},
                     {"content", "aa"}});
  }
  const auto doubling =
      Normalizer::Parse({{"type", "Sequence"}, {"normalizers", steps}});
  ASSERT_TRUE(doubling.ok());
  EXPECT_EQ(doubling->Apply("a")->size(), 256u);
  EXPECT_EQ(doubling->Apply(text).status().code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace zqfp
