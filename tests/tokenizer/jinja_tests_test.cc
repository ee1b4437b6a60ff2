// SPDX-License-Identifier: Apache-2.0
// What `is` says of every kind of value, and what its tests refuse.
#include <gtest/gtest.h>

#include "tests/tokenizer/jinja_cases.h"

namespace zqfp {
namespace {

using testing::ExpectExpressions;
using testing::ExpectTemplates;
using testing::JinjaCase;

TEST(JinjaTests, KindsAreToldApart) {
  constexpr JinjaCase kCases[] = {
      {"1 is integer, true is integer, 1.0 is integer, '1' is integer",
       "(True, False, False, False)"},
      {"1.0 is float, 1 is float, true is float", "(True, False, False)"},
      {"1 is number, true is number, 1e9 is number, '1' is number, none is "
       "number",
       "(True, True, True, False, False)"},
      {"true is boolean, 0 is boolean, none is boolean",
       "(True, False, False)"},
      {"'' is string, ('a'|safe) is string, 1 is string, [] is string",
       "(True, True, False, False)"},
      {"{} is mapping, [] is mapping, {}.items() is mapping, namespace() is "
       "mapping",
       "(True, False, False, False)"},
      {"[] is sequence, () is sequence, '' is sequence, {} is sequence",
       "(True, True, True, True)"},
      {"range(1) is sequence, {}.keys() is sequence, {}.items() is sequence",
       "(True, False, False)"},
      {"([]|list) is sequence, 1 is sequence, none is sequence, nope is "
       "sequence",
       "(True, False, False, True)"},
      {"[] is iterable, '' is iterable, {} is iterable, range(1) is iterable",
       "(True, True, True, True)"},
      {"{}.values() is iterable, nope is iterable, 1 is iterable, none is "
       "iterable",
       "(True, True, False, False)"},
      {"([1]|reverse) is iterable, ([1]|reverse) is sequence", "(True, False)"},
      {"range is callable, ''.upper is callable, [] is callable, {} is "
       "callable",
       "(True, True, False, False)"},
      {"nope is callable, none is callable, namespace() is callable",
       "(True, False, False)"},
      {"none is none, nope is none, false is none, 0 is none",
       "(True, False, False, False)"},
      {"nope is defined, none is defined, {}.x is defined, [][0] is defined",
       "(False, True, False, False)"},
      {"nope is undefined, none is undefined, ''.x is undefined",
       "(True, False, True)"},
      {"true is true, 1 is true, false is false, 0 is false, none is false",
       "(True, False, True, False, False)"},
      {"('<'|e) is escaped, ('a'|safe) is escaped, 'a' is escaped, 1 is "
       "escaped",
       "(True, True, False, False)"},
      {"nope.x is defined", "!'nope' is undefined"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaTests, RemaindersDecideOddAndEven) {
  constexpr JinjaCase kCases[] = {
      {"-3 is odd, -3 is even, -4 is even, 0 is even, 3.0 is odd, 2.5 is even",
       "(True, False, True, True, True, False)"},
      {"true is odd, false is even, 9 is divisibleby(3), 9 is divisibleby(-3)",
       "(True, True, True, True)"},
      {"-9 is divisibleby 4, 7.5 is divisibleby 2.5, 0 is divisibleby 5",
       "(False, True, True)"},
      {"1 is divisibleby(0)", "!integer division or modulo by zero"},
      {"1 is divisibleby('a')",
       "!unsupported operand type(s) for %: 'int' and 'str'"},
      {"'a' is odd", "!not all arguments converted during string formatting"},
      {"none is even",
       "!unsupported operand type(s) for %: 'NoneType' and 'int'"},
      {"nope is odd", "!'nope' is undefined"},
      {"[] is divisibleby 2",
       "!unsupported operand type(s) for %: 'list' and 'int'"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaTests, ComparisonsHaveManyNames) {
  constexpr JinjaCase kCases[] = {
      {"1 is eq 1.0, 1 is equalto 2", "(True, False)"},
      {"1 is ne 2, 1 is lt 2, 2 is le 2, 2 is gt 2, 2 is ge 2",
       "(True, True, True, False, True)"},
      {"1 is lessthan 2, 1 is greaterthan 2", "(True, False)"},
      {"'a' is in 'abc', 1 is in [2], 'a' is in {'a': 1}, 1 is not in [2]",
       "(True, False, True, True)"},
      {"[1, 2]|select('==', 2)|list, [1, 2]|select('!=', 2)|list",
       "([2], [1])"},
      {"[1, 2, 3]|select('<', 2)|list, [1, 2, 3]|select('>=', 2)|list",
       "([1], [2, 3])"},
      {"[1, 2, 3]|select('<=', 2)|list, [1, 2, 3]|select('>', 2)|list",
       "([1, 2], [3])"},
      {"1 is lt 'a'",
       "!'<' not supported between instances of 'int' and 'str'"},
      {"1 is in 5", "!argument of type 'int' is not iterable"},
      {"nope is lt 1", "!'nope' is undefined"},
      {"nope is eq 1, nope is ne 1", "(False, True)"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaTests, SameasIsIdentity) {
  constexpr JinjaCase kCases[] = {
      {"none is sameas none, true is sameas true, 1 is sameas true",
       "(True, True, False)"},
      {"1 is sameas 1.0, 0 is sameas false, none is sameas false",
       "(False, False, False)"},
      {"[] is sameas [], 'a' is sameas 'a', 'a' is sameas 'b'",
       "(False, True, False)"},
      {"5 is sameas 6, false is sameas none", "(False, False)"},
  };
  ExpectExpressions(kCases);
  constexpr JinjaCase kTemplates[] = {
      {"{% set a = [1] %}{% set b = a %}{{ a is sameas b }}{{ a is sameas [1] "
       "}}",
       "TrueFalse"},
      {"{% set n = namespace() %}{% set m = n %}{{ n is sameas m }}", "True"},
      {"{% set n = namespace() %}{{ n is sameas namespace() }}", "False"},
      {"{% macro m() %}{% endmacro %}{% macro n() %}{% endmacro %}{{ m is "
       "sameas m }}{{ m is sameas n }}",
       "TrueFalse"},
      {"{% set r = range %}{{ r is sameas range }}{{ r is sameas dict }}",
       "TrueFalse"},
      {"{% set d = {'a': []} %}{{ d.a is sameas d['a'] }}", "True"},
  };
  ExpectTemplates(kTemplates);
}

TEST(JinjaTests, CaseCountsLettersOfBothCasesOnly) {
  constexpr JinjaCase kCases[] = {
      {"'ABC' is upper, 'AB1 !' is upper, 'ABc' is upper, '12' is upper, '' is "
       "upper",
       "(True, True, False, False, False)"},
      {"'abc' is lower, 'ab1 !' is lower, 'abC' is lower, '12' is lower, '' is "
       "lower",
       "(True, True, False, False, False)"},
      {"'ÄÖ' is upper, 'äö' is lower, 'Äö' is upper, '你' is lower, 'ß' is "
       "lower",
       "(True, True, False, False, True)"},
      {"none is upper, none is lower, true is lower, 5 is upper",
       "(False, False, False, False)"},
      {"'\\u01c5' is upper, '\\u01c5' is lower", "(False, False)"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaTests, NamesAndArgumentsAreChecked) {
  constexpr JinjaCase kCases[] = {
      {"'upper' is filter, 'tojson' is filter, 'nope' is filter",
       "(True, True, False)"},
      {"'odd' is test, '==' is test, 'nope' is test, 'upper' is test",
       "(True, True, False, True)"},
      {"1 is nope", "!no test named 'nope'"},
      {"1 is odd(2)", "!the test 'odd' takes 0 arguments, 1 were given"},
      {"1 is eq", "!the test 'eq' takes 1 arguments, 0 were given"},
      {"1 is eq(1, 2)", "!the test 'eq' takes 1 arguments, 2 were given"},
      {"1 is divisibleby(num=1)", "!'divisibleby' takes 1 arguments"},
      {"1 is odd is even", "!tests cannot be chained"},
      {"not 1 is odd, 1 is not odd, not 1 is not odd", "(False, False, True)"},
      {"2 is odd or 3 is odd and 4 is even", "True"},
      {"1 + 2 is odd, (1 + 2) is odd", "(1, True)"},
      {"3 is divisibleby 3 if true else 0", "True"},
      {"-1 is number, 2 ** 2 is even", "(True, 2)"},
  };
  ExpectExpressions(kCases);
}

}  // namespace
}  // namespace zqfp
