// SPDX-License-Identifier: Apache-2.0
// Truth, equality, order, membership and length of every kind of value.
#include <gtest/gtest.h>

#include "tests/tokenizer/jinja_cases.h"

namespace zqfp {
namespace {

using testing::ExpectExpressions;
using testing::ExpectTemplates;
using testing::JinjaCase;

TEST(JinjaCompare, TruthIsPythons) {
  constexpr JinjaCase kCases[] = {
      {"not 0, not 0.0, not -0.0, not 1e-320, not ('nan'|float)",
       "(True, True, True, False, False)"},
      {"not '', not ' ', not '0', not '\\0'", "(True, False, False, False)"},
      {"not [], not [0], not (), not ((),), not {}, not {0: 0}",
       "(True, False, True, False, True, False)"},
      {"not none, not false, not nope, not range(0), not range(1)",
       "(True, True, True, True, False)"},
      {"not {}.keys(), not {'a': 1}.keys(), not {}.items()",
       "(True, False, True)"},
      {"not []|map('upper'), not namespace(), not range, not ''.upper",
       "(False, False, False, False)"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaCompare, NumbersCompareExactlyAcrossTypes) {
  constexpr JinjaCase kCases[] = {
      {"9007199254740993 == 9007199254740992.0", "False"},
      {"9007199254740993 > 9007199254740992.0", "True"},
      {"9007199254740992 == 9007199254740992.0", "True"},
      {"9223372036854775807 == 9223372036854775808.0", "False"},
      {"9223372036854775807 < 9223372036854775808.0", "True"},
      {"-9223372036854775807 - 1 == -9223372036854775808.0", "True"},
      {"1 < 1.5, 2 > 1.5, -1 > -1.5, -2 < -1.5, 0 == -0.0, 1 == true",
       "(True, True, True, True, True, True)"},
      {"5 < ('inf'|float), 5 > ('-inf'|float), 5 < ('-inf'|float)",
       "(True, True, False)"},
      {"5 < ('nan'|float), 5 > ('nan'|float), 5 == ('nan'|float)",
       "(False, False, False)"},
      {"('nan'|float) != 5, ('nan'|float) <= 5, 5 >= ('nan'|float)",
       "(True, False, False)"},
      {"('inf'|float) == ('inf'|float), true < 2, false >= 0.0",
       "(True, True, True)"},
      {"'1' == 1, none == false, none == 0, '' == none",
       "(False, False, False, False)"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaCompare, ContainersCompareByContent) {
  constexpr JinjaCase kCases[] = {
      {"[1, [2, {'a': (3,)}]] == [1.0, [2, {'a': (3,)}]]", "True"},
      {"[1, 2] == [1], [1] == (1,), [] == (), {} == []",
       "(False, False, False, False)"},
      {"{'a': 1, 'b': 2} == {'b': 2, 'a': 1}, {'a': 1} == {'a': 2}",
       "(True, False)"},
      {"{'a': 1} == {'b': 1}, {1: 'x'} == {true: 'x'}, {1: 2} == {1.0: 2}",
       "(False, True, True)"},
      {"{'a': 1} == {'a': 1, 'b': 2}", "False"},
      {"[1, 2] < [1, 2, 0], [1, 3] < [1, 2, 9], [] < [0], [2] > [1, 9]",
       "(True, False, True, True)"},
      {"(1, 'b') > (1, 'a'), (1,) <= (1,), [1, [2]] < [1, [3]]",
       "(True, True, True)"},
      {"range(0) == range(5, 5), range(0, 3, 2) == range(0, 4, 2)",
       "(True, True)"},
      {"range(3) == [0, 1, 2], range(3) == range(4)", "(False, False)"},
      {"'Z' < 'a', 'a' < 'aa', '' < 'a', 'é' > 'z', '\\uffff' < '\\U00010000'",
       "(True, True, True, True, True)"},
      {"nope == nope, nope == none, nope != 1, nope == ''",
       "(True, False, True, False)"},
      {"namespace() == namespace(), range == range, range == dict",
       "(False, True, False)"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaCompare, MembershipLooksAtKeysItemsOrText) {
  constexpr JinjaCase kCases[] = {
      {"'b' in 'abc', 'ac' in 'abc', '' in 'abc', '' in '', 'é' in "
       "'caf\\u00e9'",
       "(True, False, True, True, True)"},
      {"1 in {1.0: 'x'}, true in {1: 'x'}, '1' in {1: 'x'}, none in {none: 1}",
       "(True, True, False, True)"},
      {"(1, 2) in {(1, 2.0): 1}, (1, 2) in [(1, 2)], [1] in [[1.0]]",
       "(True, True, True)"},
      {"'x' in {'a': 'x'}, 'x' in {'a': 'x'}.values()", "(False, True)"},
      {"('a', 1) in {'a': 1}.items(), 'a' in {'a': 1}.keys()", "(True, True)"},
      {"2 in range(0, 5, 2), 3 in range(0, 5, 2), 1.0 in range(3)",
       "(True, False, True)"},
      {"1 in nope, nope in [nope], nope in [none]", "(False, True, False)"},
      {"1 not in (), 'a' not in 'b'", "(True, True)"},
      {"[1] in {}", "!unhashable type: 'list'"},
      {"1 in 'abc'", "!'in <string>' requires string as left operand, not int"},
      {"none in ''",
       "!'in <string>' requires string as left operand, not NoneType"},
      {"nope in 'abc'", "!'nope' is undefined"},
      {"1 in 5", "!argument of type 'int' is not iterable"},
      {"1 in none", "!argument of type 'NoneType' is not iterable"},
      {"1 in range", "!argument of type 'function' is not iterable"},
      {"1 in []|map('upper')", "False"},
      {"'A' in ['a']|map('upper')", "!'in' on a generator; add |list"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaCompare, LengthsAndIteration) {
  constexpr JinjaCase kCases[] = {
      {"'你好'|length, ''|length, nope|length, {'a': 1}|length",
       "(2, 0, 0, 1)"},
      {"(1, 2)|length, range(0, 10, 3)|length, {'a': 1}.items()|length",
       "(2, 4, 1)"},
      {"5|length", "!object of type 'int' has no len()"},
      {"none|length", "!object of type 'NoneType' has no len()"},
      {"1.5|length", "!object of type 'float' has no len()"},
      {"[]|map('upper')|length", "!object of type 'generator' has no len()"},
      {"range|length", "!object of type 'function' has no len()"},
      {"namespace()|length", "!object of type 'Namespace' has no len()"},
      {"'你a'|list, {'k': 'v'}|list, nope|list, (1, 2)|list, range(2)|list",
       "(['你', 'a'], ['k'], [], [1, 2], [0, 1])"},
      {"{'k': 'v'}.values()|list, {'k': 'v'}.items()|list",
       "(['v'], [('k', 'v')])"},
      {"5|list", "!'int' object is not iterable"},
      {"none|list", "!'NoneType' object is not iterable"},
      {"true|list", "!'bool' object is not iterable"},
      {"namespace(a=1)|list", "!'Namespace' object is not iterable"},
      {"(0).x", ""},
  };
  ExpectExpressions(kCases);
  constexpr JinjaCase kOnce[] = {
      {"{% set m = [1, 2]|map('string') %}{{ m|list }}{{ m|list }}",
       "['1', '2'][]"},
      {"{% set m = [1, 2]|map('string') %}{{ m|first }}", "1"},
      {"{% set r = {'a': 1}.keys() %}{{ r|list }}{{ r|list }}", "['a']['a']"},
      {"{% for a, b in 'xy' %}{% endfor %}", "!1 values to unpack, expected 2"},
      {"{% for a, b in ['xyz'] %}{% endfor %}",
       "!3 values to unpack, expected 2"},
      {"{% for a in {'x': 1} %}{{ a }}{% endfor %}", "x"},
  };
  ExpectTemplates(kOnce);
}

}  // namespace
}  // namespace zqfp
