// SPDX-License-Identifier: Apache-2.0
// range, dict, namespace, raise_exception and strftime_now.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <time.h>

#include "tests/tokenizer/jinja_cases.h"

namespace zqfp {
namespace {

using testing::ExpectExpressions;
using testing::ExpectTemplates;
using testing::JinjaCase;

TEST(JinjaFunctions, RangeCountsAsPythons) {
  constexpr JinjaCase kCases[] = {
      {"range(3)|list, range(-3)|list, range(2, 5)|list, range(5, 2)|list",
       "([0, 1, 2], [], [2, 3, 4], [])"},
      {"range(0, 10, 4)|list, range(10, 0, -4)|list, range(0, 10, -1)|list",
       "([0, 4, 8], [10, 6, 2], [])"},
      {"range(true)|list, range(-2, 2)|list, range(0, 0)|list",
       "([0], [-2, -1, 0, 1], [])"},
      {"range(3), range(1, 3), range(0, 3, 1), range(0, 9, 2), range(5, 1, -1)",
       "(range(0, 3), range(1, 3), range(0, 3), range(0, 9, 2), range(5, 1, "
       "-1))"},
      {"range(9223372036854775805, 9223372036854775807)|list",
       "[9223372036854775805, 9223372036854775806]"},
      {"range(9223372036854775800, 9223372036854775807, 5)|list",
       "[9223372036854775800, 9223372036854775805]"},
      {"range(-9223372036854775807, 9223372036854775807, "
       "9223372036854775807)|list",
       "[-9223372036854775807, 0]"},
      {"range(5)[1], range(5)[-1], range(5)|length, range(100000)|length",
       "(1, 4, 5, 100000)"},
      {"range(0, 1, 0)", "!range() arg 3 must not be zero"},
      {"range(1.0)", "!'float' object cannot be interpreted as an integer"},
      {"range('3')", "!'str' object cannot be interpreted as an integer"},
      {"range(none)", "!'NoneType' object cannot be interpreted as an integer"},
      {"range(nope)", "!'nope' is undefined"},
      {"range()", "!range() misses its argument"},
      {"range(1, 2, 3, 4)", "!range() takes at most 3 arguments"},
      {"range(100001)", "!range() has more than 100000 items"},
      {"range(0, -100001, -1)", "!range() has more than 100000 items"},
      {"range(0, 200000, 2)|length", "100000"},
      {"range(5)[1:]", "!a slice of a range"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaFunctions, DictTakesPairsDictsAndNames) {
  constexpr JinjaCase kCases[] = {
      {"dict(), dict(a=1), dict([('a', 1), ['b', 2]], a=3, c=4)",
       "({}, {'a': 1}, {'a': 3, 'b': 2, 'c': 4})"},
      {"dict({'a': 1, 2: 3}, a=5), dict(['ab', 'cd']), dict({'x': 1}.items())",
       "({'a': 5, 2: 3}, {'a': 'b', 'c': 'd'}, {'x': 1})"},
      {"dict([(1, 2), (1.0, 3), (true, 4)])", "{1: 4}"},
      {"dict(**{'b': 1}), dict(*[[('a', 1)]])", "({'b': 1}, {'a': 1})"},
      {"dict(1)", "!'int' object is not iterable"},
      {"dict([1])", "!'int' object is not iterable"},
      {"dict(['abc'])", "!a dict is made of pairs, found 3 items"},
      {"dict([()])", "!a dict is made of pairs, found 0 items"},
      {"dict([([], 1)])", "!unhashable type: 'list'"},
      {"dict({}, {})", "!dict expected at most 1 argument, got 2"},
      {"dict(none)", "!'NoneType' object is not iterable"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaFunctions, NamespacesAreTheOnlyThingThatChanges) {
  constexpr JinjaCase kCases[] = {
      {"{% set n = namespace(a=1, b=2) %}{{ n.a }}{{ n['b'] }}{{ n.c }}", "12"},
      {"{% set n = namespace({'a': 1}, a=2) %}{{ n.a }}", "2"},
      {"{% set n = namespace() %}{% set m = n %}{% set m.x = 3 %}{{ n.x }}",
       "3"},
      {"{% set n = namespace(l=[n]) %}{{ n.l }}", "[Undefined]"},
      {"{% set n = namespace(x=0) %}{% for i in range(3) %}{% for j in "
       "range(2) %}{% set n.x = n.x + 1 %}{% endfor %}{% endfor %}{{ n.x }}",
       "6"},
      {"{% macro m(n) %}{% set n.x = 7 %}{% endmacro %}{% set n = namespace() "
       "%}{{ m(n) }}{{ n.x }}",
       "7"},
      {"{% set n = namespace(x=1) %}{% set n.x, y = 2, 3 %}{{ n.x }}{{ y }}",
       "23"},
      {"{% set n = namespace(items=5) %}{{ n.items }}", "5"},
      {"{% set n = namespace(**{'a': 1}) %}{{ n.a is defined }}{{ n.b is "
       "defined }}",
       "TrueFalse"},
      {"{% set n = {'x': 1} %}{% set n.x = 2 %}",
       "!cannot assign attribute on non-namespace object"},
      {"{% set n = namespace() %}{{ n.a.b }}",
       "!the namespace has no attribute 'a'"},
      {"{% set n = namespace({1: 2}) %}", "!a namespace's names are strings"},
      {"{% set n = namespace(_a=1) %}", "!'_a' starts with an underscore"},
      {"{% set n = namespace() %}{% set n._a = 1 %}",
       "!starts with an underscore"},
      {"{{ namespace(1) }}", "!'int' object is not iterable"},
      {"{{ namespace({}, {}) }}", "!dict expected at most 1 argument, got 2"},
  };
  ExpectTemplates(kCases);
}

TEST(JinjaFunctions, RaiseExceptionIsTheAuthorsWord) {
  constexpr JinjaCase kCases[] = {
      {"raise_exception('roles must alternate: {} %s \"é\"')",
       "!roles must alternate: {} %s \"é\""},
      {"raise_exception(message='m')", "!m"},
      {"raise_exception(5)", "!5"},
      {"raise_exception()", "!raise_exception() misses its argument 'message'"},
      {"raise_exception(1, 2)", "!raise_exception() takes at most 1 arguments"},
      {"'x' if true else raise_exception('never')", "x"},
  };
  ExpectExpressions(kCases);
}

// The clock is 2024-07-26 12:00:00 UTC, a Friday; the strings are Python's.
TEST(JinjaFunctions, StrftimeNowIsTheClocksTime) {
  setenv("TZ", "UTC", 1);
  tzset();
  constexpr JinjaCase kCases[] = {
      {"strftime_now('%Y-%m-%d %H:%M:%S %j %U %W %w %u %y %C')",
       "2024-07-26 12:00:00 208 29 30 5 5 24 20"},
      {"strftime_now('%a %A %b %B %d %e %I %p %D %F %T %R')",
       "Fri Friday Jul July 26 26 12 PM 07/26/24 2024-07-26 12:00:00 12:00"},
      {"strftime_now('%-d %-m %_d %^a %%'), strftime_now(''), "
       "strftime_now('é')",
       "('26 7 26 FRI %', '', 'é')"},
      {"strftime_now('%G-W%V'), strftime_now('%Z')", "('2024-W30', 'UTC')"},
      {"strftime_now()", "!strftime_now() misses its argument 'format'"},
      {"strftime_now(5)", "!expected a string, found int"},
      {"strftime_now('%')", "!the time format '%'"},
      {"strftime_now('%Q')", "!the time format '%Q'"},
      {"strftime_now('%10d')", "!the time format '%10d'"},
      {"strftime_now('a\\x00b')", "!a time format with a NUL character"},
      {"strftime_now('x' * 257)", "!a time format of 257 bytes, at most 256"},
      {"strftime_now('x' * 256)|length", "256"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaFunctions, OtherGlobalsAreRefusedByName) {
  constexpr JinjaCase kCases[] = {
      {"cycler('a', 'b').next()", "!'cycler'"},
      {"joiner(',')()", "!'joiner'"},
      {"lipsum()", "!'lipsum'"},
      {"self", "!'self'"},
      {"super()", "!'super'"},
      {"cycler is defined", "!'cycler'"},
      {"nope()", "!'nope' is undefined"},
      {"5()", "!'int' object is not callable"},
      {"''()", "!'str' object is not callable"},
      {"none()", "!'NoneType' object is not callable"},
  };
  ExpectExpressions(kCases);
  constexpr JinjaCase kShadowed[] = {
      {"{% set cycler = 1 %}{{ cycler }}", "1"},
      {"{% set range = 5 %}{{ range }}", "5"},
      {"{% macro joiner() %}j{% endmacro %}{{ joiner() }}", "j"},
      {"{% for i in 'ab' %}{{ loop.cycle('x', 'y', 'z') }}{% endfor %}", "xy"},
  };
  ExpectTemplates(kShadowed);
}

}  // namespace
}  // namespace zqfp
