// SPDX-License-Identifier: Apache-2.0
// int, float, abs, round, sum and default.
#include <gtest/gtest.h>

#include "tests/tokenizer/jinja_cases.h"

namespace zqfp {
namespace {

using testing::ExpectExpressions;
using testing::ExpectTemplates;
using testing::JinjaCase;

TEST(JinjaNumberFilters, IntReadsWhatPythonReads) {
  constexpr JinjaCase kCases[] = {
      {"' +7 '|int, '-7'|int, '1_000'|int, '1__0'|int, '_1'|int, '1_'|int, "
       "'+-1'|int, '--1'|int, '- 1'|int",
       "(7, -7, 1000, 0, 0, 0, 0, 0, 0)"},
      {"'42.9'|int, '-42.9'|int, '1e3'|int, '.5'|int, '5.'|int, '1e-5'|int, "
       "'0x10'|int, '007'|int, '\\u20035\\n'|int",
       "(42, -42, 1000, 0, 5, 0, 0, 7, 5)"},
      {"''|int, 'x'|int, 'x'|int(9), 'x'|int(default='d'), []|int(3), {}|int, "
       "none|int, none|int('n')",
       "(0, 0, 9, 'd', 3, 0, 0, 'n')"},
      {"2.9|int, -2.9|int, 1e15|int, true|int, false|int, 'true'|int, "
       "'1,5'|int, '1 2'|int",
       "(2, -2, 1000000000000000, 1, 0, 0, 0, 0)"},
      {"'9223372036854775807'|int, '-9223372036854775808'|int",
       "(9223372036854775807, -9223372036854775808)"},
      {"'9223372036854775808'|int",
       "!the integer 9223372036854775808 exceeds 64 bits"},
      {"'-9223372036854775809'|int", "!exceeds 64 bits"},
      {"'1e30'|int", "!exceeds 64 bits"},
      {"1e19|int", "!exceeds 64 bits"},
      {"-9223372036854775808.0|int", "-9223372036854775808"},
      {"'inf'|int, 'nan'|int, '-inf'|int(5), '1e999'|int", "(0, 0, 5, 0)"},
      {"('nan'|float)|int(4)", "4"},
      {"('inf'|float)|int", "!cannot convert float infinity to integer"},
      {"'ff'|int(0, 16)", "!the filter 'int' in base 16"},
      {"nope|int", "!'nope' is undefined"},
      {"'5'|int(nope)", "5"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaNumberFilters, FloatReadsWhatPythonReads) {
  constexpr JinjaCase kCases[] = {
      {"'1.5'|float, ' -1e-3\\n'|float, '.5'|float, '5.'|float, '1_0.5'|float, "
       "'1e1_0'|float, '1._5'|float, '+1'|float",
       "(1.5, -0.001, 0.5, 5.0, 10.5, 10000000000.0, 0.0, 1.0)"},
      {"'inf'|float, '-Infinity'|float, 'NAN'|float, '+inf'|float, "
       "'infinit'|float, 'nan(1)'|float, '0x1p3'|float",
       "(inf, -inf, nan, inf, 0.0, 0.0, 0.0)"},
      {"'1e400'|float, '-1e400'|float, '1e-400'|float, '5e-324'|float, "
       "'1.7976931348623159e308'|float",
       "(inf, -inf, 0.0, 5e-324, inf)"},
      {"''|float, 'x'|float(2), 'x'|float('d'), none|float, []|float, "
       "'1,5'|float, '--1'|float, '+-1'|float, 'e5'|float",
       "(0.0, 2, 'd', 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)"},
      {"3|float, true|float, 9007199254740993|float, '9007199254740993'|float, "
       "'0.1'|float",
       "(3.0, 1.0, 9007199254740992.0, 9007199254740992.0, 0.1)"},
      {"nope|float", "!'nope' is undefined"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaNumberFilters, AbsAndRound) {
  constexpr JinjaCase kCases[] = {
      {"-3|abs, -0.0|abs, true|abs, ('-inf'|float)|abs, "
       "-9223372036854775807|abs",
       "(3, 0.0, 1, inf, 9223372036854775807)"},
      {"'a'|abs", "!bad operand type for abs(): 'str'"},
      {"none|abs", "!bad operand type for abs(): 'NoneType'"},
      {"nope|abs", "!'nope' is undefined"},
      {"0.5|round, 1.5|round, 2.5|round, -0.5|round, -1.5|round, "
       "2.675|round(2), 1.005|round(2), 2.5|round|int",
       "(0.0, 2.0, 2.0, -0.0, -2.0, 2.67, 1.0, 2)"},
      {"1234.5678|round(2), 1234.5678|round(-2), 1250.0|round(-2), "
       "1350.0|round(-2), 15.0|round(-1), 1e300|round(5)",
       "(1234.57, 1200.0, 1200.0, 1400.0, 20.0, 1e+300)"},
      {"0.1|round(20), 5e-324|round(3), 1.1|round(0), 1e16|round(1), "
       "123.456|round(-5), 7|round, 7|round(2), true|round",
       "(0.1, 0.0, 1.0, 1e+16, 0.0, 7, 7, 1)"},
      {"('nan'|float)|round(2), ('inf'|float)|round(1)", "(nan, inf)"},
      {"1.21|round(1, 'ceil'), 1.29|round(1, 'floor'), -1.21|round(1, 'ceil'), "
       "-1.29|round(1, 'floor'), 7|round(0, 'ceil')",
       "(1.3, 1.2, -1.2, -1.3, 7.0)"},
      {"1234.5|round(-2, 'ceil'), 1234.5|round(-2, 'floor'), "
       "0.0|round(method='ceil')",
       "(1300.0, 1200.0, 0.0)"},
      {"3|round(-1)", "!round() of an integer to tens"},
      {"'a'|round", "!type str doesn't define __round__ method"},
      {"nope|round", "!'nope' is undefined"},
      {"1.5|round(0, 'up')", "!method must be common, ceil or floor"},
      {"1.5|round('a')", "!'str' object cannot be interpreted as an integer"},
      {"1.5|round(301, 'ceil')", "!round: a precision of 301"},
      {"('inf'|float)|round(0, 'ceil')", "!cannot convert float infinity"},
      {"('nan'|float)|round(0, 'floor')", "!cannot convert float NaN"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaNumberFilters, SumAddsFromItsStart) {
  constexpr JinjaCase kCases[] = {
      {"[1, 2, 3]|sum, []|sum, [1, 0.5]|sum, [true, true]|sum, nope|sum, [0.1, "
       "0.2, 0.3]|sum, {1: 'a', 2: 'b'}|sum",
       "(6, 0, 1.5, 2, 0, 0.6000000000000001, 3)"},
      {"[1]|sum(start=10), [[1], [2]]|sum(start=[]), [(1,)]|sum(start=()), "
       "[{'a': {'b': 2}}]|sum('a.b')",
       "(11, [1, 2], (1,), 2)"},
      {"[{'a': 1}, {'a': 2}]|sum(attribute='a', start=0.5), [[1, 5], [2, "
       "6]]|sum(attribute=1)",
       "(3.5, 11)"},
      {"[9223372036854775807, 1]|sum", "!exceeds 64 bits"},
      {"['a']|sum", "!unsupported operand type(s) for +: 'int' and 'str'"},
      {"['a']|sum(start='')", "!sum() can't sum strings"},
      {"[[1]]|sum", "!unsupported operand type(s) for +: 'int' and 'list'"},
      {"[nope]|sum", "!'nope' is undefined"},
      {"[{}]|sum(attribute='a')", "!'dict object' has no element 'a'"},
      {"5|sum", "!'int' object is not iterable"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaNumberFilters, DefaultReplacesWhatIsUndefinedOrFalse) {
  constexpr JinjaCase kCases[] = {
      {"nope|default, nope|default(none), nope|d([1]), none|d(1), ''|d(1), "
       "0|d(1), false|d(1)",
       "('', None, [1], None, '', 0, False)"},
      {"none|d(1, true), ''|d(1, boolean=true), [0]|d(1, true), 0.0|d(1, "
       "true), 'a'|d(1, true), {}|d(default_value=2, boolean=true)",
       "(1, 1, [0], 1, 'a', 2)"},
      {"{}.x|d('k'), [][0]|d('k'), nope|d(nope2)|d('z'), (nope|d('a'))|upper",
       "('k', 'k', 'z', 'A')"},
      {"nope.x|d('k')", "!'nope' is undefined"},
      {"nope|d(1, 2, 3)", "!d() takes at most 2 arguments"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaNumberFilters, NumbersAreShort) {
  constexpr JinjaCase kCases[] = {
      {"('0' * 4095 ~ '7')|int, (' ' * 4095 ~ '7')|float", "(7, 7.0)"},
      {"(' ' * 4096 ~ '7')|int",
       "!the filter 'int' takes at most 4096 bytes, 4097 were given"},
      {"('x' * 16000000)|float", "!the filter 'float' takes at most 4096"}};
  ExpectExpressions(kCases);
}

}  // namespace
}  // namespace zqfp
