// SPDX-License-Identifier: Apache-2.0
// Tokens of a template, white space control, positions and string escapes.
#include "tokenizer/jinja_lexer.h"

#include <gtest/gtest.h>

#include <span>
#include <string>
#include <vector>

namespace zqfp::jinja {
namespace {

struct Case {
  std::string_view source;
  std::string_view want;  // "!...": an error that contains the rest
};

std::string Show(const Token& token) {
  const std::string text(token.text);
  switch (token.kind) {
    case TokenKind::kData:
      return "[" + text + "]";
    case TokenKind::kVariableBegin:
      return "{{";
    case TokenKind::kVariableEnd:
      return "}}";
    case TokenKind::kBlockBegin:
      return "{%";
    case TokenKind::kBlockEnd:
      return "%}";
    case TokenKind::kName:
      return "n:" + text;
    case TokenKind::kString:
      return "s:" + text;
    case TokenKind::kInteger:
      return "i:" + text;
    case TokenKind::kFloat:
      return "f:" + text;
    case TokenKind::kOperator:
      return "o:" + text;
    case TokenKind::kEnd:
      return "end";
  }
  return "?";
}

// The tokens between spaces; neighbouring data is one, and the end, which
// every list has once, is left out.
std::string Dump(std::string_view source) {
  const absl::StatusOr<std::vector<Token>> tokens = Tokenize(source);
  if (!tokens.ok()) return "!" + std::string(tokens.status().message());
  std::string out;
  bool is_data = false;
  for (const Token& token : *tokens) {
    if (&token == &tokens->back()) {
      EXPECT_EQ(token.kind, TokenKind::kEnd);
      break;
    }
    const bool joins = is_data && token.kind == TokenKind::kData;
    if (joins) out.pop_back();
    if (!out.empty() && !joins) out += ' ';
    out += joins ? std::string(token.text) + "]" : Show(token);
    is_data = token.kind == TokenKind::kData;
  }
  return out;
}

// What is wanted was printed by the lexer of Jinja2 3.1.6 (tokeniter) with
// trim_blocks and lstrip_blocks; the words of errors are ours.
void ExpectTokens(std::span<const Case> cases) {
  for (const Case& test : cases) {
    const std::string source = NormalizeNewlines(test.source);
    const std::string found = Dump(source);
    if (test.want.starts_with('!')) {
      EXPECT_TRUE(found.starts_with('!') &&
                  found.find(test.want.substr(1)) != std::string::npos)
          << test.source << "\nwants: " << test.want << "\nfound: " << found;
    } else {
      EXPECT_EQ(found, test.want) << test.source;
    }
  }
}

TEST(JinjaLexer, NumbersNamesAndOperators) {
  constexpr Case kCases[] = {
      {"{{ 1 1_000 1.5 1e5 1E-5 1.5e+5 0_0 00 }}",
       "{{ i:1 i:1_000 f:1.5 f:1e5 f:1E-5 f:1.5e+5 i:0_0 i:00 }}"},
      {"{{ 1__0 }}", "{{ i:1 n:__0 }}"},
      {"{{ 1_ }}", "{{ i:1 n:_ }}"},
      {"{{ 1.x 1. 1.e5 1e 1e+ }}",
       "{{ i:1 o:. n:x i:1 o:. i:1 o:. n:e5 i:1 n:e i:1 n:e o:+ }}"},
      {"{{ x.1.2 x.1e5 1.2.3 }}",
       "{{ n:x o:. i:1 o:. i:2 n:x o:. i:1 n:e5 f:1.2 o:. i:3 }}"},
      {"{{ .5 5.5.5 1..2 }}", "{{ o:. i:5 f:5.5 o:. i:5 i:1 o:. o:. i:2 }}"},
      {"{{ 1_0.2_5e1_0 }}", "{{ f:1_0.2_5e1_0 }}"},
      {"{{ abc _x x1 été 名前 x_1 }}",
       "{{ n:abc n:_x n:x1 n:été n:名前 n:x_1 }}"},
      {"{{ a+b-c*d**e/f//g%h~i|j }}",
       "{{ n:a o:+ n:b o:- n:c o:* n:d o:** n:e o:/ n:f o:// n:g o:% n:h o:~ "
       "n:i o:| n:j }}"},
      {"{{ a==b!=c<d<=e>f>=g=h }}",
       "{{ n:a o:== n:b o:!= n:c o:< n:d o:<= n:e o:> n:f o:>= n:g o:= n:h }}"},
      {"{{ (a)[b]{c:d},e;f.g }}",
       "{{ o:( n:a o:) o:[ n:b o:] o:{ n:c o:: n:d o:} o:, n:e o:; n:f o:. n:g "
       "}}"},
      {"{{ ***///=== }}", "{{ o:** o:* o:// o:/ o:== o:= }}"},
      {"{{ a is not in b }}", "{{ n:a n:is n:not n:in n:b }}"},
      {"{{ 0x1F }}", "!a number that is not decimal"},
      {"{{ 0o7 }}", "!a number that is not decimal"},
      {"{{ 0b1 }}", "!a number that is not decimal"},
      {"{{ a ? b }}", "!column 6: unexpected char '?'"},
      {"{{ a ! b }}", "!column 6: unexpected char '!'"},
      {"{{ € }}", "!column 4: unexpected char '€'"},
      {"{{ a \n $ }}", "!line 2, column 2: unexpected char '$'"},
      {"{{ a & b }}", "!unexpected char '&'"},
      {"{{ \\ }}", "!unexpected char '\\\\'"},
  };
  ExpectTokens(kCases);
}

TEST(JinjaLexer, StringsHideTagEndsAndQuotes) {
  constexpr Case kCases[] = {
      {"{{ 'a' \"b\" 'it\\'s' \"say \\\"x\\\"\" '' }}",
       "{{ s:'a' s:\"b\" s:'it\\'s' s:\"say \\\"x\\\"\" s:'' }}"},
      {"{{ '}}' \"%}\" '{{' '{#' }}", "{{ s:'}}' s:\"%}\" s:'{{' s:'{#' }}"},
      {"{{ '\\\\' 'a\\\\' }}", "{{ s:'\\\\' s:'a\\\\' }}"},
      {"{{ 'a\nb' }}", "{{ s:'a\nb' }}"},
      {"{{ 'é你' }}", "{{ s:'é你' }}"},
      {"{{ 'a' 'b\"' \"c'\" }}", "{{ s:'a' s:'b\"' s:\"c'\" }}"},
      {"{{ 'a }}", "!column 4: a string literal without its closing '"},
      {"{{ \"a' }}", "!column 4: a string literal without its closing \""},
      {"{{ 'a\\' }}", "!a string literal without its closing '"},
      {"{{ '", "!a string literal without its closing '"},
  };
  ExpectTokens(kCases);
}

TEST(JinjaLexer, BracketsMustMatchAndHideTagEnds) {
  constexpr Case kCases[] = {
      {"{{ {'a': {'b': 1}}}}", "{{ o:{ s:'a' o:: o:{ s:'b' o:: i:1 o:} o:} }}"},
      {"{{ {} }}{{ {}}}", "{{ o:{ o:} }} {{ o:{ o:} }}"},
      {"{% set x = {'a': [1, (2)]} %}",
       "{% n:set n:x o:= o:{ s:'a' o:: o:[ i:1 o:, o:( i:2 o:) o:] o:} %}"},
      {"{{ (1 }}", "!unexpected '}', expected ')'"},
      {"{{ 1) }}", "!column 5: unexpected ')'"},
      {"{{ [1) }}", "!column 6: unexpected ')', expected ']'"},
      {"{{ (] }}", "!unexpected ']', expected ')'"},
      {"{{ } }}", "!column 4: unexpected '}'"},
      {"{{ {'a': 1 }}", "!column 13: unexpected '}'"},
      {"{{ x", "!unexpected end of template, expected '}}'"},
      {"{% x", "!unexpected end of template, expected '%}'"},
      {"{% if x }}", "!unexpected '}'"},
      {"{{ x %}", "!unexpected '}'"},
  };
  ExpectTokens(kCases);
}

TEST(JinjaLexer, DashesAndPlusesControlWhiteSpace) {
  constexpr Case kCases[] = {
      {"a {{- 1 -}} b", "[a] {{ i:1 }} [b]"},
      {"a \n\t {{- 1 -}} \n \tb", "[a] {{ i:1 }} [b]"},
      {"a\n  {{ 1 }}\nb", "[a\n  ] {{ i:1 }} [\nb]"},
      {"a\n  {% x %}\nb", "[a\n] {% n:x %} [b]"},
      {"a\n  {%+ x +%}\nb", "[a\n  ] {% n:x %} [\nb]"},
      {"a\n  {%- x -%}\n \nb", "[a] {% n:x %} [b]"},
      {"  {% x %}  {% y %}\n\nz", "{% n:x %} [  ] {% n:y %} [\nz]"},
      {"a {% x %}\n\nb", "[a ] {% n:x %} [\nb]"},
      {"a {%- x %}\nb", "[a] {% n:x %} [b]"},
      {"\t {% x %}", "{% n:x %}"},
      {"x\n\n  {% y %}", "[x\n\n] {% n:y %}"},
      {"{{ 1 }}  {% x %}", "{{ i:1 }} [  ] {% n:x %}"},
      {"{% x %}\n  {% y %}  \n", "{% n:x %} {% n:y %} [  ]"},
      {"{{+ 1 }}", "{{ i:1 }}"},
      {"{{ 1 +}}", "{{ i:1 o:+ }}"},
      {"{{- -1 -}} a", "{{ o:- i:1 }} [a]"},
      {"{%-x-%} b", "{% n:x %} [b]"},
      {"{% x -%}{%- y %}", "{% n:x %} {% n:y %}"},
      {"a  {%- x %}", "[a] {% n:x %}"},
      {"a{% x -%}\n\n\n", "[a] {% n:x %}"},
      {"a\r\n  {% x %}\r\nb\rc", "[a\n] {% n:x %} [b\nc]"},
  };
  ExpectTokens(kCases);
}

TEST(JinjaLexer, CommentsVanishWithTheirLine) {
  constexpr Case kCases[] = {
      {"a{# b #}c", "[ac]"},
      {"a\n  {# b #}\nc", "[a\nc]"},
      {"a\n  {#- b -#}\n c", "[ac]"},
      {"a\n  {#+ b +#}\nc", "[a\n  \nc]"},
      {"{# {{ x }} {% y %} \n ' #}z", "[z]"},
      {"{#{#}#}", "[#}]"},
      {"{##}{#-#}{#--#}{#- -#}{#+#}", ""},
      {"{# a -#} b {#- c #}", "[b]"},
      {"a {#-#} b", "[a b]"},
      {"{# a", "!column 1: missing end of comment tag"},
      {"a\n{# b } #", "!line 2, column 1: missing end of comment tag"},
      {"{#}", "!missing end of comment tag"},
  };
  ExpectTokens(kCases);
}

TEST(JinjaLexer, RawTextIsKept) {
  constexpr Case kCases[] = {
      {"{% raw %}{{ x }}{% if %}{# #}{% endraw %}", "[{{ x }}{% if %}{# #}]"},
      {"{%raw%}a{%endraw%}b", "[ab]"},
      {"a\n  {% raw %}\n b \n  {% endraw %}\nc", "[a\n\n b \nc]"},
      {"{% raw -%} \n b \n {%- endraw -%} \n c", "[bc]"},
      {"{%- raw %} b {% endraw +%}\nc", "[ b \nc]"},
      {"{% raw %}{% raw %}{% endraw %}", "[{% raw %}]"},
      {"{% raw %}{% endraw x %}{% endraw %}", "[{% endraw x %}]"},
      {"{% rawx %}", "{% n:rawx %}"},
      {"{% raw x %}", "{% n:raw n:x %}"},
      {"{% raw %}a", "!column 1: missing end of raw directive"},
      {"{% raw %}{% endraw", "!missing end of raw directive"},
  };
  ExpectTokens(kCases);
}

TEST(JinjaLexer, LoneBracesAreText) {
  constexpr Case kCases[] = {
      {"{ { % } %} }} #} {", "[{ { % } %} }} #} {]"},
      {"{x {\n% {", "[{x {\n% {]"},
      {"{{{ 1 }}}", "{{ o:{ i:1 o:} }}"},
      {"{{{1: 2}}}", "{{ o:{ i:1 o:: i:2 o:} }}"},
  };
  ExpectTokens(kCases);
  EXPECT_TRUE(Dump("}}{{ 1 }}{%").starts_with("!chat template: line 1, "));
}

TEST(JinjaLexer, LineEndsAreNormalized) {
  EXPECT_EQ(NormalizeNewlines("a\r\nb\rc\n\r"), "a\nb\nc\n");
  EXPECT_EQ(NormalizeNewlines("\r\r\n\n"), "\n\n");
  EXPECT_EQ(NormalizeNewlines("\n"), "");
  EXPECT_EQ(NormalizeNewlines("\r\n"), "");
  EXPECT_EQ(NormalizeNewlines("a\x0b\n"), "a\x0b");
  EXPECT_EQ(NormalizeNewlines(""), "");
}

TEST(JinjaLexer, PositionsCountLinesAndCodePoints) {
  constexpr std::string_view kSource = "é你x\n\n\U0001f600y";
  EXPECT_EQ(DescribePosition(kSource, 0), "line 1, column 1");
  EXPECT_EQ(DescribePosition(kSource, 5), "line 1, column 3");
  EXPECT_EQ(DescribePosition(kSource, 6), "line 1, column 4");
  EXPECT_EQ(DescribePosition(kSource, 7), "line 2, column 1");
  EXPECT_EQ(DescribePosition(kSource, 8), "line 3, column 1");
  EXPECT_EQ(DescribePosition(kSource, 12), "line 3, column 2");
  EXPECT_EQ(DescribePosition(kSource, -1), "line 1, column 1");
  const absl::Status status =
      AtPosition(kSource, 12, absl::UnimplementedError("no"));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(status.message(), "chat template: line 3, column 2: no");
}

TEST(JinjaLexer, OffsetsPointIntoTheSource) {
  constexpr std::string_view kSource = "é{{ ab+'c' }}";
  const auto tokens = Tokenize(kSource);
  ASSERT_TRUE(tokens.ok());
  const std::vector<int> want = {0, 2, 5, 7, 8, 12, 14};
  ASSERT_EQ(tokens->size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ((*tokens)[i].offset, want[i]) << i;
  }
}

// What is wanted is Python's value of the same literal.
TEST(JinjaLexer, EscapesArePythons) {
  constexpr Case kCases[] = {
      {"'plain é你'", "plain é你"},
      {"\"\\n\\r\\t\\a\\b\\f\\v\\\\\\'\\\"\"", "\n\r\t\007\010\014\013\\'\""},
      // "'\\1\\12\\101\\1011\\08\\377\\400\\777'"
      {"'\\x41\\x7f\\xe9\\xFF'", "A\177éÿ"},
      {"'\\u00e9\\u4f60\\uFFFF'", "é你\357\277\277"},
      {"'\\U0001f600\\U0010FFFF'", "😀\364\217\277\277"},
      {"'\\q\\ \\%\\/'", "\\q\\ \\%\\/"},
      {"'a\\\nb'", "ab"},
      {"'\\x4'", "!a truncated escape"},
      {"'\\xg0'", "!a truncated escape"},
      {"'\\u12'", "!a truncated escape"},
      {"'\\U0001f60'", "!a truncated escape"},
      {"'\\ud800'", "!escapes U+D800, which is no character"},
      {"'\\udfff'", "!escapes U+DFFF, which is no character"},
      {"'\\U00110000'", "!escapes U+110000, which is no character"},
      {"'\\N{DIGIT ONE}'", "!\\N{...} in a string literal"},
  };
  for (const Case& test : kCases) {
    const absl::StatusOr<std::string> text = Unquote(test.source);
    if (test.want.starts_with('!')) {
      ASSERT_FALSE(text.ok()) << test.source;
      const std::string message(text.status().message());
      EXPECT_NE(message.find(test.want.substr(1)), std::string::npos)
          << message;
    } else {
      ASSERT_TRUE(text.ok()) << text.status();
      EXPECT_EQ(*text, test.want) << test.source;
    }
  }
  EXPECT_EQ(*Unquote("'a\\0b'"), std::string("a\0b", 3));
}

}  // namespace
}  // namespace zqfp::jinja
