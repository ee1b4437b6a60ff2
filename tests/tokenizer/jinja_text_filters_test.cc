// SPDX-License-Identifier: Apache-2.0
// Filters whose result is text.
#include <gtest/gtest.h>

#include "tests/tokenizer/jinja_cases.h"

namespace zqfp {
namespace {

using testing::ExpectExpressions;
using testing::ExpectTemplates;
using testing::JinjaCase;

TEST(JinjaTextFilters, CaseFiltersTakeAnyValue) {
  constexpr JinjaCase kCases[] = {
      {"'ß'|upper, none|upper, [1, 'a']|upper, 1.5|lower, nope|upper|length, "
       "true|lower",
       "('SS', 'NONE', \"[1, 'A']\", '1.5', 0, 'true')"},
      {"'foo bar-baz (qux) <x> [y] {z}'|title, \"it's\"|title, 'fOO'|title, "
       "'a.b/c'|title, 'éa ÉA'|title, 'a\\tb\\nc'|title",
       "('Foo Bar-Baz (Qux) <X> [Y] {Z}', \"It's\", 'Foo', 'A.b/c', 'Éa Éa', "
       "'A\\tB\\nC')"},
      {"'hELLO wORLD'|capitalize, 5|capitalize, ''|capitalize, ' a'|capitalize",
       "('Hello world', '5', '', ' a')"},
      {"('a<'|e|upper) is escaped, ('a<'|safe|title) is escaped, ('a'|upper) "
       "is escaped",
       "(True, False, False)"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaTextFilters, TrimReplaceCenterString) {
  constexpr JinjaCase kCases[] = {
      {"[' \\u3000a\\n'|trim], ['xxaxx'|trim('x')], ['  a'|trim(none)], "
       "[5|trim], [none|trim], [nope|trim], ['[a]'|trim('[]')]",
       "(['a'], ['a'], ['a'], ['5'], ['None'], [''], ['a'])"},
      {"'aaa'|replace('a', 'b', 2), 'aaa'|replace('a', 'b', none), "
       "505|replace(5, 6), none|replace('N', 'M'), 'a'|replace('', '-')",
       "('bba', 'bbb', '606', 'Mone', '-a-')"},
      {"'a1b'|replace(1, none), ('a<'|safe)|replace('a', 'b'), "
       "'aaa'|replace('a', '', 0)",
       "('aNoneb', 'b<', 'aaa')"},
      {"['ab'|center(5)], ['é'|center(4)], ['abc'|center(2)], "
       "['x'|center|length], [5|center(3)]",
       "(['  ab '], [' é  '], ['abc'], [80], [' 5 '])"},
      {"[1, 'a']|string, none|string, 1.0|string, nope|string|length, "
       "('<'|safe|string) is escaped",
       "(\"[1, 'a']\", 'None', '1.0', 0, True)"},
      {"'a'|trim(5)", "!expected a string, found int"},
      {"'a'|replace('a')", "!replace() misses its argument 'new'"},
      {"'a'|center('5')", "!'str' object cannot be interpreted as an integer"},
      {"'a'|center(1.5)",
       "!'float' object cannot be interpreted as an integer"},
      {"'a'|replace('a', 'b', 'c')",
       "!'str' object cannot be interpreted as an integer"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaTextFilters, JoinTakesStrOfEveryItem) {
  constexpr JinjaCase kCases[] = {
      {"[1, none, 'a', [2], true]|join('-'), []|join(','), ['a']|join(','), "
       "'abc'|join('.'), {'a': 1, 'b': 2}|join, (1, 2)|join(3)",
       "('1-None-a-[2]-True', '', 'a', 'a.b.c', 'ab', '132')"},
      {"[{'a': 1}, {'a': {'b': 2}}]|join(',', attribute='a'), "
       "[{}]|join(attribute='a')|length, [[1, 2], [3, 4]]|join('+', 1)",
       "(\"1,{'b': 2}\", 0, '2+4')"},
      {"[nope, 1]|join(','), nope|join(','), range(3)|join(none), [1, "
       "2]|join(d=';')",
       "(',1', '', '0None1None2', '1;2')"},
      {"['<', '<'|safe]|join('&')", "<&<"},
      {"5|join", "!'int' object is not iterable"},
      {"none|join(',')", "!'NoneType' object is not iterable"},
      {"[namespace()]|join", "!a namespace cannot be printed"},
      {"[1]|join(',', nope=1)", "!join() takes no keyword argument 'nope'"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaTextFilters, IndentSparesFirstAndBlankLines) {
  constexpr JinjaCase kCases[] = {
      {"['a\\n\\n b\\n'|indent], ['a\\n\\n b\\n'|indent(2, true)], ['a\\n\\n "
       "b\\n'|indent(2, true, true)], ['a\\n\\nb'|indent(blank=true)]",
       "(['a\\n\\n     b\\n'], ['  a\\n\\n   b\\n'], ['  a\\n  \\n   b\\n  '], "
       "['a\\n    \\n    b'])"},
      {"['a\\r\\nb\\rc'|indent(1)], ['a\\u2028b'|indent(1)], "
       "['a\\x0bb'|indent(1)], ['a\\nb'|indent('> ', true)], "
       "['a\\nb'|indent('')]",
       "(['a\\n b\\n c'], ['a\\n b'], ['a\\n b'], ['> a\\n> b'], ['a\\nb'])"},
      {"['\\n'|indent(2, true)], [''|indent(2, true)], ['a\\nb'|indent(0)], "
       "['a\\nb'|indent(-3)], ['\\n\\n'|indent(1, false, true)]",
       "(['  \\n'], ['  '], ['a\\nb'], ['a\\nb'], ['\\n \\n '])"},
      {"[none|indent(first=true)], [12|indent(2, true)], "
       "['a\\nb'|indent(true)]",
       "!unsupported operand type(s) for +=: 'NoneType' and 'str'"},
      {"'a'|indent(1.5)",
       "!'float' object cannot be interpreted as an integer"},
      {"'a'|indent(none)",
       "!'NoneType' object cannot be interpreted as an integer"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaTextFilters, EscapingHappensOnce) {
  constexpr JinjaCase kCases[] = {
      {"'<a href=\"x\">\\'&\\'</a>'|e, ('&'|e)|e, '&amp;'|e, ('<'|safe)|e, "
       "5|e, none|e, ['<']|e, nope|e|length",
       "(Markup('&lt;a href=&#34;x&#34;&gt;&#39;&amp;&#39;&lt;/a&gt;'), "
       "Markup('&amp;'), Markup('&amp;amp;'), Markup('<'), Markup('5'), "
       "Markup('None'), Markup('[&#39;&lt;&#39;]'), 0)"},
      {"('<'|e) ~ '<', '<' ~ ('&'|e), [('<'|e)], ('<'|e)|replace('&', '+'), "
       "('<'|e)|length",
       "('&lt;<', '<&amp;', [Markup('&lt;')], '+lt;', 4)"},
      {"('<'|e)|string is escaped, ('<'|e)|trim is escaped, ('a'|safe)|safe, "
       "5|safe is escaped",
       "(True, True, Markup('a'), True)"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaTextFilters, WordsAreRunsOfWordCharacters) {
  constexpr JinjaCase kCases[] = {
      {"'a b-c_d e1'|wordcount, ''|wordcount, '  '|wordcount, "
       "\"it's\"|wordcount, '你好 é'|wordcount, 12.5|wordcount, none|wordcount",
       "(4, 0, 0, 2, 2, 2, 1)"},
      {"'a\\u0301b'|wordcount, '½ ²'|wordcount, 'a\\u200bb'|wordcount, "
       "nope|wordcount",
       "(2, 2, 2, 0)"},
  };
  ExpectExpressions(kCases);
}

}  // namespace
}  // namespace zqfp
