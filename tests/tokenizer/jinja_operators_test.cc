// SPDX-License-Identifier: Apache-2.0
// Arithmetic where Python's integers, floors and signs are not C's.
#include <gtest/gtest.h>

#include "tests/tokenizer/jinja_cases.h"

namespace zqfp {
namespace {

using testing::ExpectExpressions;
using testing::ExpectTemplates;
using testing::JinjaCase;

TEST(JinjaOperators, IntegersEndAt64BitsAndNeverWrap) {
  constexpr JinjaCase kCases[] = {
      {"9223372036854775806 + 1", "9223372036854775807"},
      {"-9223372036854775807 - 1", "-9223372036854775808"},
      {"9223372036854775807 + 1", "!the result of '+' exceeds 64 bits"},
      {"-9223372036854775807 - 2", "!the result of '-' exceeds 64 bits"},
      {"3037000500 * 3037000500", "!the result of '*' exceeds 64 bits"},
      {"3037000499 * 3037000499", "9223372030926249001"},
      {"-(-9223372036854775807 - 1)", "!exceeds 64 bits"},
      {"(-9223372036854775807 - 1) // -1", "!the result of '//' exceeds"},
      {"(-9223372036854775807 - 1) % -1", "0"},
      {"(-9223372036854775807 - 1) // 1", "-9223372036854775808"},
      {"(-9223372036854775807 - 1)|abs", "!exceeds 64 bits"},
      {"(-2) ** 63", "-9223372036854775808"},
      {"2 ** 63", "!the result of '** or pow()' exceeds 64 bits"},
      {"(-3) ** 41", "!exceeds 64 bits"},
      {"3 ** 39", "4052555153018976267"},
      {"1 ** 9223372036854775807", "1"},
      {"(-1) ** 9223372036854775807", "-1"},
      {"0 ** 0", "1"},
      {"9223372036854775807 + 1.0", "9.223372036854776e+18"},
      {"9007199254740993 + 0.0", "9007199254740992.0"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaOperators, FloorsAndRemaindersFollowTheDivisorsSign) {
  constexpr JinjaCase kCases[] = {
      {"-7 // 3, -7 % 3, 7 // -3, 7 % -3, -7 // -3, -7 % -3",
       "(-3, 2, -3, -2, 2, -1)"},
      {"-6 // 3, -6 % 3, 6 // -3, 6 % -3", "(-2, 0, -2, 0)"},
      {"0 // -5, 0 % -5, 1 // 9, -1 // 9", "(0, 0, 0, -1)"},
      {"-1 % 9223372036854775807", "9223372036854775806"},
      {"5 // -9223372036854775807", "-1"},
      {"-0.0 // 3, -0.0 % 3, 0.0 % -3, 0.0 // -3", "(-0.0, 0.0, -0.0, -0.0)"},
      {"-1e-20 % 3, 1e-20 % -3", "(3.0, -3.0)"},
      {"1 // 0.1, 1 % 0.1, -1 // 0.1, -1 % 0.1",
       "(9.0, 0.09999999999999995, -10.0, 5.551115123125783e-17)"},
      {"5.5 // -2, 5.5 % -2, -5.5 // 2, -5.5 % 2", "(-3.0, -0.5, -3.0, 0.5)"},
      {"1e308 // 1e-10", "inf"},
      {"('inf'|float) // 1, ('inf'|float) % 2, 3 % ('inf'|float)",
       "(nan, nan, 3.0)"},
      {"-3 % ('inf'|float), -3 // ('inf'|float), 3 // ('-inf'|float)",
       "(inf, -1.0, -1.0)"},
      {"('nan'|float) // 1", "nan"},
      {"true // true, true % true, true / 2, -true, +true, false * 3",
       "(1, 0, 0.5, -1, 1, 0)"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaOperators, DivisionByZeroIsAnErrorInEveryForm) {
  constexpr JinjaCase kCases[] = {
      {"1 / 0", "!division by zero"},
      {"1 / false", "!division by zero"},
      {"1 // 0", "!integer division or modulo by zero"},
      {"1 % 0", "!integer division or modulo by zero"},
      {"1 / 0.0", "!float division by zero"},
      {"1.0 / 0", "!float division by zero"},
      {"1.0 // 0", "!float floor division or modulo by zero"},
      {"1.0 % 0", "!float floor division or modulo by zero"},
      {"0 ** -1", "!0.0 cannot be raised to a negative power"},
      {"0.0 ** -1", "!0.0 cannot be raised to a negative power"},
      {"1 / -0.0", "!float division by zero"},
      {"'a' % 0", "!not all arguments converted during string formatting"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaOperators, QuotientsAndPowersAreThoseOfDoubles) {
  constexpr JinjaCase kCases[] = {
      {"9223372036854775807 / 9223372036854775807", "1.0"},
      {"1 / 3, 2 / 3, -1 / 3, 4 / 2, 10 / 4",
       "(0.3333333333333333, 0.6666666666666666, -0.3333333333333333, 2.0, "
       "2.5)"},
      {"2 ** -2, (-2) ** -3, 10 ** -5, 4 ** 0.5, 2.0 ** 3",
       "(0.25, -0.125, 1e-05, 2.0, 8.0)"},
      {"(-8) ** (1 / 3)", "!a power that is complex"},
      {"10.0 ** 400", "!the result of '**' is too large"},
      {"0.0 ** 0, 0 ** 0.0, ('inf'|float) ** 0, 1 ** ('nan'|float)",
       "(1.0, 1.0, 1.0, 1.0)"},
      {"2.0 ** -1074, 2.0 ** -1075", "(5e-324, 0.0)"},
      {"1e308 * 10, -1e308 * 10, 1e308 - 1e308 * 10", "(inf, -inf, -inf)"},
      {"0.1 + 0.2, 0.1 * 3, 1.1 - 1",
       "(0.30000000000000004, 0.30000000000000004, 0.10000000000000009)"},
      {"1 - 0.9, 1e16 + 1, 1e16 - 1.0", "(0.09999999999999998, 1e+16, 1e+16)"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaOperators, StringsAndListsAddAndRepeat) {
  constexpr JinjaCase kCases[] = {
      {"'ab' * 3, 3 * 'ab', 'ab' * true, 'ab' * -1, 'ab' * 0, '' * 99",
       "('ababab', 'ababab', 'ab', '', '', '')"},
      {"[1, 'x'] * 2, 2 * (1,), [] * 5, [[]] * 2, (1, 2) * -3",
       "([1, 'x', 1, 'x'], (1, 1), [], [[], []], ())"},
      {"[1] + [], [] + [], (1,) + (), () + ()", "([1], [], (1,), ())"},
      {"'é' * 2 + '你'", "éé你"},
      {"'a' * 2.0", "!unsupported operand type(s) for *: 'str' and 'float'"},
      {"'a' * 'b'", "!unsupported operand type(s) for *: 'str' and 'str'"},
      {"[1] * [1]", "!unsupported operand type(s) for *: 'list' and 'list'"},
      {"'a' + 1", "!can only concatenate str (not \"int\") to str"},
      {"[1] + (1,)", "!can only concatenate list (not \"tuple\") to list"},
      {"(1,) + [1]", "!unsupported operand type(s) for +: 'tuple' and 'list'"},
      {"1 + 'a'", "!unsupported operand type(s) for +: 'int' and 'str'"},
      {"[1] - [1]", "!unsupported operand type(s) for -: 'list' and 'list'"},
      {"{} + {}", "!unsupported operand type(s) for +: 'dict' and 'dict'"},
      {"none + none",
       "!unsupported operand type(s) for +: 'NoneType' and 'NoneType'"},
      {"{} * 2", "!unsupported operand type(s) for *: 'dict' and 'int'"},
      {"range(2) * 2", "!unsupported operand type(s) for *: 'range' and 'int'"},
      {"range(2) + [1]",
       "!unsupported operand type(s) for +: 'range' and 'list'"},
      {"nope + 1", "!'nope' is undefined"},
      {"1 + nope", "!'nope' is undefined"},
      {"-nope", "!'nope' is undefined"},
      {"+nope", "!'nope' is undefined"},
      {"-none", "!bad operand type for unary -: 'NoneType'"},
      {"+[1]", "!bad operand type for unary +: 'list'"},
      {"-'a'", "!bad operand type for unary -: 'str'"},
      {"'a' - 'b'", "!unsupported operand type(s) for -: 'str' and 'str'"},
      {"'a' / 2", "!unsupported operand type(s) for /: 'str' and 'int'"},
      {"2 ** 'a'",
       "!unsupported operand type(s) for ** or pow(): 'int' and 'str'"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaOperators, MarkupEscapesWhatIsAddedToIt) {
  constexpr JinjaCase kCases[] = {
      {"('<'|safe) + '<'", "<&lt;"},
      {"'<' + ('<'|safe)", "&lt;<"},
      {"('<'|safe) + ('<'|safe)", "<<"},
      {"('<'|e) + '&' + '\"' + \"'\"", "&lt;&amp;&#34;&#39;"},
      {"(('<'|safe) + 'x') + '<'", "<x&lt;"},
      {"(('a'|safe) + 'x') is escaped, ('a' + 'x') is escaped",
       "(True, False)"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaOperators, ComparisonsChainAndEvaluateOnce) {
  constexpr JinjaCase kCases[] = {
      {"1 < 3 > 2, 1 < 3 < 2, 3 > 2 > 1 > 0, 1 == 1 != 2",
       "(True, False, True, True)"},
      {"1 in [1] == true, 2 not in [1] in [[1]]", "(False, True)"},
      {"1 < 0 < nope.x", "False"},
      {"1 <= 1 >= 1, 'a' <= 'a' < 'b'", "(True, True)"},
      {"1 < none",
       "!'<' not supported between instances of 'int' and 'NoneType'"},
      {"[] <= 1", "!'<=' not supported between instances of 'list' and 'int'"},
      {"{} < {}", "!'<' not supported between instances of 'dict' and 'dict'"},
      {"(1,) < [1]",
       "!'<' not supported between instances of 'tuple' and 'list'"},
      {"none <= none",
       "!'<=' not supported between instances of 'NoneType' and 'NoneType'"},
      {"1 >= 'a'", "!'>=' not supported between instances of 'int' and 'str'"},
      {"1 > 'a'", "!'>' not supported between instances of 'int' and 'str'"},
      {"[1, 'a'] > [1, 2]",
       "!'>' not supported between instances of 'str' and 'int'"},
      {"['b', 1]|max",
       "!'>' not supported between instances of 'int' and 'str'"},
      {"['b', 1]|min",
       "!'<' not supported between instances of 'int' and 'str'"},
      {"[1, 'a'] < [1, 2]",
       "!'<' not supported between instances of 'str' and 'int'"},
      {"[1, 'a'] < [2, 2]", "True"},
  };
  ExpectExpressions(kCases);
}

}  // namespace
}  // namespace zqfp
