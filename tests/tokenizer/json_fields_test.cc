// SPDX-License-Identifier: Apache-2.0
// Typed fields: absent, null, of another type, and the words for it.
#include "tokenizer/json_fields.h"

#include <gtest/gtest.h>

#include <string>

namespace zqfp {
namespace {

using nlohmann::json;

template <typename T>
std::string Shown(const absl::StatusOr<T>& result) {
  if (!result.ok()) return std::string(result.status().message());
  return json(*result).dump();
}

TEST(JsonFields, StringsAreRequired) {
  const json object = json::parse(
      R"({"a": "x", "e": "", "n": null, "i": 1, "l": [], "o": {}})");
  EXPECT_EQ(Shown(StringField(object, "a", "w")), "\"x\"");
  EXPECT_EQ(Shown(StringField(object, "e", "w")), "\"\"");
  EXPECT_EQ(Shown(StringField(object, "n", "w")),
            "w: n: want a string, found none");
  EXPECT_EQ(Shown(StringField(object, "z", "w")),
            "w: z: want a string, found none");
  EXPECT_EQ(Shown(StringField(object, "i", "w")),
            "w: i: want a string, found number");
  EXPECT_EQ(Shown(StringField(object, "l", "w")),
            "w: l: want a string, found array");
  EXPECT_EQ(Shown(StringField(object, "o", "w")),
            "w: o: want a string, found object");
  for (const json& other : {json(1), json("a"), json::array({"a"}), json()}) {
    EXPECT_EQ(Shown(StringField(other, "a", "w")),
              "w: a: want a string, found none");
  }
}

TEST(JsonFields, FlagsFallBackWhereAbsentOrNull) {
  const json object =
      json::parse(R"({"t": true, "f": false, "n": null, "i": 1, "s": "true"})");
  EXPECT_EQ(Shown(BoolField(object, "t", false, "w")), "true");
  EXPECT_EQ(Shown(BoolField(object, "f", true, "w")), "false");
  EXPECT_EQ(Shown(BoolField(object, "n", true, "w")), "true");
  EXPECT_EQ(Shown(BoolField(object, "z", true, "w")), "true");
  EXPECT_EQ(Shown(BoolField(object, "z", false, "w")), "false");
  EXPECT_EQ(Shown(BoolField(object, "i", true, "w")),
            "w: i: want true or false, found number");
  EXPECT_EQ(Shown(BoolField(object, "s", true, "w")),
            "w: s: want true or false, found string");
}

TEST(JsonFields, IntegersAreOf64Bits) {
  const json object = json::parse(
      R"({"a": 7, "m": -9223372036854775808, "M": 9223372036854775807,
          "u": 9223372036854775808, "f": 1.0, "b": true, "s": "1"})");
  EXPECT_EQ(Shown(IntField(object, "a", 0, "w")), "7");
  EXPECT_EQ(Shown(IntField(object, "m", 0, "w")), "-9223372036854775808");
  EXPECT_EQ(Shown(IntField(object, "M", 0, "w")), "9223372036854775807");
  EXPECT_EQ(Shown(IntField(object, "z", -5, "w")), "-5");
  for (const char* key : {"u", "f"}) {
    EXPECT_EQ(Shown(IntField(object, key, 0, "w")),
              std::string("w: ") + key + ": want an integer, found number");
  }
  EXPECT_EQ(Shown(IntField(object, "b", 0, "w")),
            "w: b: want an integer, found boolean");
  EXPECT_EQ(Shown(IntField(object, "s", 0, "w")),
            "w: s: want an integer, found string");
}

TEST(JsonFields, TypesAreOfObjects) {
  EXPECT_EQ(Shown(TypeField({{"type", "NFC"}}, "w")), "\"NFC\"");
  EXPECT_EQ(Shown(TypeField(json::object(), "w")),
            "w: type: want a string, found none");
  EXPECT_EQ(Shown(TypeField({{"type", 1}}, "w")),
            "w: type: want a string, found number");
  EXPECT_EQ(Shown(TypeField("NFC", "w")),
            "w: (value): want an object, found string");
  EXPECT_EQ(Shown(TypeField(json(), "w")),
            "w: (value): want an object, found null");
}

TEST(JsonFields, NothingIsIgnored) {
  const json object = {{"type", "x"}, {"a", 1}};
  EXPECT_TRUE(OnlyFields(object, {"type", "a", "b"}, "w").ok());
  EXPECT_TRUE(OnlyFields(json::object(), {}, "w").ok());
  const absl::Status status = OnlyFields(object, {"type"}, "w");
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(status.message(), "w: the field 'a' is not supported");
  // The names are whole names.
  EXPECT_FALSE(OnlyFields({{"ab", 1}}, {"a", "abc"}, "w").ok());
  // Null means something to nobody, but its key is still not known.
  EXPECT_FALSE(OnlyFields({{"q", nullptr}}, {"a"}, "w").ok());
}

TEST(JsonFields, CharactersAreOne) {
  const json object =
      json::parse(R"({"a": "x", "m": "\u2581", "e": "", "t": "ab", "i": 1})");
  EXPECT_EQ(Shown(CharacterField(object, "a", "w")), "\"x\"");
  EXPECT_EQ(Shown(CharacterField(object, "m", "w")), "\"\u2581\"");
  EXPECT_EQ(Shown(CharacterField(object, "e", "w")),
            "w: e: want one character, found none");
  EXPECT_EQ(Shown(CharacterField(object, "t", "w")),
            "w: t: want one character, found more than one");
  EXPECT_EQ(Shown(CharacterField(object, "i", "w")),
            "w: i: want a string, found number");
}

}  // namespace
}  // namespace zqfp
