// SPDX-License-Identifier: Apache-2.0
// tojson writes what json.dumps writes; the reader refuses what it must.
#include <gtest/gtest.h>

#include "tests/tokenizer/jinja_cases.h"
#include "tokenizer/jinja_print.h"

namespace zqfp {
namespace {

using testing::ExpectExpressions;
using testing::ExpectTemplates;
using testing::JinjaCase;

TEST(JinjaJson, StringsEscapeWhatJsonDumpsEscapes) {
  constexpr JinjaCase kCases[] = {
      {"'\"\\\\/\\b\\f\\n\\r\\t'|tojson", "\"\\\"\\\\/\\b\\f\\n\\r\\t\""},
      {"'\\x00\\x01\\x1f\\x7f\\x80'|tojson",
       "\"\\u0000\\u0001\\u001f\177\302\200\""},
      {"\"<script>&'</script>\"|tojson", "\"<script>&'</script>\""},
      {"'\\u2028\\u2029é你\\U0001f600\\ufeff'|tojson",
       "\"\342\200\250\342\200\251é你😀\357\273\277\""},
      {"'\\u2028é你\\U0001f600\\x7f\\x80'|tojson(ensure_ascii=true)",
       "\"\\u2028\\u00e9\\u4f60\\ud83d\\ude00\\u007f\\u0080\""},
      {"'\\uffff\\U00010000\\U0010ffff'|tojson(true)",
       "\"\\uffff\\ud800\\udc00\\udbff\\udfff\""},
      {"{'é\"': 'ü'}|tojson(ensure_ascii=true)",
       "{\"\\u00e9\\\"\": \"\\u00fc\"}"},
      {"''|tojson, ('<'|safe)|tojson", "('\"\"', '\"<\"')"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaJson, NumbersAndConstants) {
  constexpr JinjaCase kCases[] = {
      {"[0, -0.0, 1.0, 1e16, 1e-7, 5e-324, 0.1]|tojson",
       "[0, -0.0, 1.0, 1e+16, 1e-07, 5e-324, 0.1]"},
      {"[9223372036854775807, -9223372036854775807 - 1]|tojson",
       "[9223372036854775807, -9223372036854775808]"},
      {"['nan'|float, 'inf'|float, '-inf'|float]|tojson",
       "[NaN, Infinity, -Infinity]"},
      {"[true, false, none]|tojson", "[true, false, null]"},
      {"{true: 1, none: 2, 1.5: 3, 7: 4, 'inf'|float: 5}|tojson",
       "{\"true\": 1, \"null\": 2, \"1.5\": 3, \"7\": 4, \"Infinity\": 5}"},
      {"{1: 'a', '1': 'b'}|tojson", "{\"1\": \"a\", \"1\": \"b\"}"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaJson, SeparatorsIndentAndOrder) {
  constexpr JinjaCase kCases[] = {
      {"{'a': [1, {'b': 2}], 'c': {}}|tojson",
       "{\"a\": [1, {\"b\": 2}], \"c\": {}}"},
      {"{'a': [1, {'b': 2}], 'c': {}, 'd': []}|tojson(indent=2)",
       "{\n  \"a\": [\n    1,\n    {\n      \"b\": 2\n    }\n  ],\n  \"c\": "
       "{},\n  \"d\": []\n}"},
      {"[[1], [[2]]]|tojson(indent='\t')",
       "[\n\t[\n\t\t1\n\t],\n\t[\n\t\t[\n\t\t\t2\n\t\t]\n\t]\n]"},
      {"[1, 2]|tojson(indent=0)", "[\n1,\n2\n]"},
      {"[1, 2]|tojson(indent=-1)", "[\n1,\n2\n]"},
      {"[1, 2]|tojson(indent='')", "[\n1,\n2\n]"},
      {"[1, [2]]|tojson(indent=true)", "[\n 1,\n [\n  2\n ]\n]"},
      {"[1, 2]|tojson(indent=none)", "[1, 2]"},
      {"{'a': [1, 2]}|tojson(separators=(',', ':'))", "{\"a\":[1,2]}"},
      {"{'a': [1, 2]}|tojson(separators=[' ; ', ' = '])", "{\"a\" = [1 ; 2]}"},
      {"{'a': [1, 2]}|tojson(indent=1, separators=(', ', ':'))",
       "{\n \"a\":[\n  1, \n  2\n ]\n}"},
      {"{'b': 1, 'a': {'d': 1, 'c': 2}}|tojson(sort_keys=true)",
       "{\"a\": {\"c\": 2, \"d\": 1}, \"b\": 1}"},
      {"{'é': 1, 'z': 2, 'Z': 3, '': 4}|tojson(sort_keys=true)",
       "{\"\": 4, \"Z\": 3, \"z\": 2, \"é\": 1}"},
      {"{10: 'a', 9: 'b', true: 'c', 1.5: 'd'}|tojson(sort_keys=true)",
       "{\"true\": \"c\", \"1.5\": \"d\", \"9\": \"b\", \"10\": \"a\"}"},
      {"{'a': 1, 2: 3}|tojson(sort_keys=true)",
       "!'<' not supported between instances of 'int' and 'str'"},
      {"{none: 1, 'a': 2}|tojson(sort_keys=true)",
       "!'<' not supported between instances of 'str' and 'NoneType'"},
      {"{'b': 1, 'a': 2}|tojson(false, none, none, true)",
       "{\"a\": 2, \"b\": 1}"},
      {"()|tojson, (1,)|tojson, [()]|tojson(indent=1)",
       "('[]', '[1]', '[\\n []\\n]')"},
      {"[1]|tojson(indent=65)", "!an indent of more than 64"},
      {"[1]|tojson(indent=1.5)",
       "!'float' object cannot be interpreted as an integer"},
      {"[1]|tojson(separators=',')", "!separators wants two strings"},
      {"[1]|tojson(separators=(',',))", "!separators wants two strings"},
      {"[1]|tojson(separators=(1, 2))", "!separators wants two strings"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaJson, WhatJsonLacksIsAnError) {
  constexpr JinjaCase kCases[] = {
      {"nope|tojson", "!Object of type Undefined is not JSON serializable"},
      {"[nope]|tojson", "!Object of type Undefined is not JSON serializable"},
      {"range(2)|tojson", "!Object of type range is not JSON serializable"},
      {"{'a': 1}.items()|tojson",
       "!Object of type dict_items is not JSON serializable"},
      {"[1]|map('string')|tojson",
       "!Object of type generator is not JSON serializable"},
      {"{(1, 2): 3}|tojson",
       "!keys must be str, int, float, bool or None, not tuple"},
      {"{'a': range}|tojson",
       "!Object of type function is not JSON serializable"},
      {"''.upper|tojson",
       "!Object of type builtin_function_or_method is not JSON serializable"},
      {"namespace()|tojson",
       "!Object of type Namespace is not JSON serializable"},
  };
  ExpectExpressions(kCases);
}

// json.loads of the same text gave these, repr() printed them.
TEST(JinjaJson, TheReaderIsJsonLoads) {
  constexpr JinjaCase kCases[] = {
      {"{\"b\": 1, \"a\": [true, null], \"b\": 2}",
       "{'b': 2, 'a': [True, None]}"},
      {"[1, 1.0, -0, -0.0, 1e2, 1E-7]", "[1, 1.0, 0, -0.0, 100.0, 1e-07]"},
      {"\"\\u00e9\\ud83d\\ude00\\/\\n\\u0000\"", "'é😀/\\n\\x00'"},
      {"[9223372036854775807, -9223372036854775808]",
       "[9223372036854775807, -9223372036854775808]"},
      {" [ ] ", "[]"},
      {"{\"\": {}}", "{'': {}}"},
      {"\"x\"", "'x'"},
      {"1e308", "1e+308"},
  };
  for (const JinjaCase& test : kCases) {
    jinja::Budget budget;
    const auto value =
        jinja::FromJson(budget, std::string(test.source), "tools");
    ASSERT_TRUE(value.ok()) << value.status();
    EXPECT_EQ(*jinja::ToRepr(budget, *value), test.want) << test.source;
  }
}

TEST(JinjaJson, TheReaderNamesWhatItRefuses) {
  const std::string deep(jinja::kMaxValueDepth, '[');
  const std::pair<std::string, std::string_view> kCases[] = {
      {"", "tools: not valid JSON at byte"},
      {"[1,]", "tools: not valid JSON at byte 4"},
      {"{'a': 1}", "tools: not valid JSON at byte 2"},
      {"[1] 2", "tools: not valid JSON at byte"},
      {"\"\xff\"", "tools: not valid JSON at byte"},
      {"\"\\ud800\"", "tools: not valid JSON at byte"},
      {"NaN", "tools: not valid JSON at byte"},
      {"9223372036854775808", "the integer 9223372036854775808 exceeds"},
      {"-9223372036854775809", "the integer -9223372036854775809 exceeds"},
      {"18446744073709551616", "the integer 18446744073709551616 exceeds"},
      {deep, "tools: nested deeper than 98"},
  };
  for (const auto& [source, want] : kCases) {
    jinja::Budget budget;
    const auto value = jinja::FromJson(budget, source, "tools");
    ASSERT_FALSE(value.ok()) << source;
    const std::string message(value.status().message());
    EXPECT_NE(message.find(want), std::string::npos) << source << message;
  }
  jinja::Budget budget;
  const std::string fits =
      deep.substr(2) + std::string(jinja::kMaxValueDepth - 2, ']');
  EXPECT_TRUE(jinja::FromJson(budget, fits, "tools").ok());
}

}  // namespace
}  // namespace zqfp
