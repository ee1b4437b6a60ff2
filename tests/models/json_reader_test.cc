// SPDX-License-Identifier: Apache-2.0
#include "models/json_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace zqfp {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

absl::StatusOr<json> Parse(const std::string& text) {
  return ParseJson(text.data(), text.data() + text.size(), "file.json");
}

TEST(ParseJsonTest, EqualsTheLibraryOnSoundText) {
  for (const char* text :
       {"{}", "[]", "null", "true", "-7", "1.5e3", "\"\\u00e9\\n\"",
        "{\"a\":[1,{\"b\":[],\"c\":{}},[[2]],\"x\"],\"d\":null}",
        "[{\"a\":1},{\"a\":2}]", "  {\"a\" : [ 1 , 2 ] }  ",
        "18446744073709551615"}) {
    const absl::StatusOr<json> value = Parse(text);
    ASSERT_TRUE(value.ok()) << value.status();
    EXPECT_EQ(*value, json::parse(text)) << text;
  }
}

TEST(ParseJsonTest, RefusesWhatIsNotJson) {
  for (const char* text :
       {"", " ", "{", "}", "[1,]", "{\"a\":1,}", "{a:1}", "'a'", "nan",
        "Infinity", "1 2", "\"\xc3\"", "\"a\nb\"", "[1e400]", "01", "// x"}) {
    const absl::StatusOr<json> value = Parse(text);
    EXPECT_FALSE(value.ok()) << text;
    EXPECT_THAT(std::string(value.status().message()),
                HasSubstr("file.json: not valid JSON: "));
  }
}

TEST(ParseJsonTest, DepthIsLimitedAtSixtyFour) {
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_TRUE(Parse(nested(64)).ok());
  EXPECT_THAT(std::string(Parse(nested(65)).status().message()),
              HasSubstr("nested deeper than 64"));
}

TEST(ParseJsonTest, DuplicatesCountAfterUnescaping) {
  EXPECT_THAT(std::string(Parse("{\"a\":1,\"\\u0061\":2}").status().message()),
              HasSubstr("duplicate key \"a\""));
  const std::string longest(500, 'k');
  std::string text = "{\"";
  text += longest;
  text += "\":1,\"";
  text += longest;
  text += "\":2}";
  EXPECT_LT(Parse(text).status().message().size(), 200u);
}

TEST(ExcerptTest, IsShortAndWholeCharacters) {
  EXPECT_EQ(Excerpt(json("abc")), "\"abc\"");
  std::string accents;
  for (int i = 0; i < 100; ++i) accents += "\xc3\xa9";
  const std::string excerpt = Excerpt(json(accents));
  EXPECT_LE(excerpt.size(), 83u);
  // Closed by a quote it must parse, which half a character would prevent.
  EXPECT_TRUE(Parse(excerpt.substr(0, excerpt.size() - 3).append("\"")).ok());
}

TEST(ToIntTest, KnowsTheBordersOfInt64) {
  constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
  constexpr int64_t kLargest = std::numeric_limits<int64_t>::max();
  const IntRange all = {kLeast, kLargest};
  for (const int64_t number : {kLeast, int64_t{-1}, int64_t{0}, kLargest}) {
    const auto value = ToInt(json(number), all, "x");
    ASSERT_TRUE(value.ok()) << value.status();
    EXPECT_EQ(*value, number);
  }
  for (const char* text :
       {"9223372036854775808", "18446744073709551615", "1e3", "1.0", "true",
        "null", "\"1\"", "[1]", "1e30", "-9223372036854775809"}) {
    EXPECT_FALSE(ToInt(*Parse(text), all, "x").ok()) << text;
  }
  EXPECT_EQ(std::string(ToInt(json(5), {1, 4}, "x").status().message()),
            "x: want an integer in 1..4, found 5");
}

TEST(JsonReaderTest, AbsentAndNullLeaveTheDefault) {
  const json object = {{"null", nullptr}, {"number", 3}, {"text", "t"}};
  const JsonReader reader(object, "here");
  int64_t number = 7;
  EXPECT_TRUE(reader.Read("absent", {0, 9}, &number).ok());
  EXPECT_TRUE(reader.Read("null", {0, 9}, &number).ok());
  EXPECT_EQ(number, 7);
  EXPECT_TRUE(reader.Read("number", {0, 9}, &number).ok());
  EXPECT_EQ(number, 3);
  EXPECT_TRUE(reader.IsNull("null"));
  EXPECT_FALSE(reader.IsNull("absent"));
  EXPECT_FALSE(reader.Has("null"));
  std::string text;
  EXPECT_EQ(std::string(reader.Require("null", &text).message()),
            "here: null: want a string, found nothing");
  EXPECT_EQ(std::string(reader.Object("text").status().message()),
            "here: text: want an object, found \"t\"");
}

TEST(JsonReaderTest, RealsAreFiniteAndInRange) {
  const json object = {{"half", 0.5}, {"one", 1}, {"text", "0.5"}};
  const JsonReader reader(object, "here");
  double value = 0;
  EXPECT_TRUE(reader.Read("half", {0, 1}, &value).ok());
  EXPECT_EQ(value, 0.5);
  EXPECT_TRUE(reader.Read("one", {0, 1}, &value).ok());
  EXPECT_EQ(value, 1.0);
  EXPECT_FALSE(reader.Read("one", {0, 0.9}, &value).ok());
  EXPECT_FALSE(reader.Read("text", {0, 1}, &value).ok());
  EXPECT_EQ(value, 1.0);
}

}  // namespace
}  // namespace zqfp
