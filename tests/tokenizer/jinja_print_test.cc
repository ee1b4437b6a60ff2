// SPDX-License-Identifier: Apache-2.0
// What a value prints as: Python's str() and repr().
#include <gtest/gtest.h>

#include "tests/tokenizer/jinja_cases.h"

namespace zqfp {
namespace {

using testing::ExpectExpressions;
using testing::ExpectTemplates;
using testing::JinjaCase;

TEST(JinjaPrint, FloatsAreShortestAndInPythonsLayout) {
  constexpr JinjaCase kCases[] = {
      {"1e15, 1e16, 123456789012345.6, 1234567890123456.0, 9999999999999998.0",
       "(1000000000000000.0, 1e+16, 123456789012345.6, 1234567890123456.0, "
       "9999999999999998.0)"},
      {"12345678901234567.0, 9007199254740993.0, 1e17, 1.5e16, 1e21, 1e22",
       "(1.2345678901234568e+16, 9007199254740992.0, 1e+17, 1.5e+16, 1e+21, "
       "1e+22)"},
      {"0.0001, 0.00001, 0.00012345, 0.000099999, 1.5e-5, 1e-10",
       "(0.0001, 1e-05, 0.00012345, 9.9999e-05, 1.5e-05, 1e-10)"},
      {"5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e-100",
       "(5e-324, 2.2250738585072014e-308, 1.7976931348623157e+308, 1e-100)"},
      {"0.1, 0.30000000000000004, 100.0, -0.0, 1e0, 3.14, 2.5e3",
       "(0.1, 0.30000000000000004, 100.0, -0.0, 1.0, 3.14, 2500.0)"},
      {"1e308 * 10, -1e308 * 10, 1e308 * 10 - 1e308 * 10", "(inf, -inf, nan)"},
      {"4.35, 0.1 + 0.7, 1 / 3, 2 / 3, 1e23, 8.41e21, 2.0 ** 70",
       "(4.35, 0.7999999999999999, 0.3333333333333333, 0.6666666666666666, "
       "1e+23, 8.41e+21, 1.1805916207174113e+21)"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaPrint, StringsInsideOfContainersAreQuoted) {
  constexpr JinjaCase kCases[] = {
      {"[\"it's\"], ['say \"x\"'], ['both \\' \"'], ['']",
       "([\"it's\"], ['say \"x\"'], ['both \\' \"'], [''])"},
      {"['a\\tb\\nc\\rd\\\\e'], ['\\x00\\x1f\\x7f\\x80\\xa0\\xad'], "
       "['\\x1b[0m']",
       "(['a\\tb\\nc\\rd\\\\e'], ['\\x00\\x1f\\x7f\\x80\\xa0\\xad'], "
       "['\\x1b[0m'])"},
      {"['é你\\U0001f600'], ['\\u200b\\u2028\\ufeff\\ue000\\uffff']",
       "(['é你😀'], ['\\u200b\\u2028\\ufeff\\ue000\\uffff'])"},
      {"['\\u0301'], ['\\U000e0001'], ['\\u00a1\\u0378']",
       "(['\314\201'], ['\\U000e0001'], ['¡\\u0378'])"},
      {"'a\\x00b'|length, 'it\\'s', '\\u200b'|length", "(3, \"it's\", 1)"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaPrint, ContainersNest) {
  constexpr JinjaCase kCases[] = {
      {"[], (), {}, [()], ((),), ({},), [[[]]], (1,), (1, 2), [(1,)]",
       "([], (), {}, [()], ((),), ({},), [[[]]], (1,), (1, 2), [(1,)])"},
      {"{'a': {1: [none, true, (2.0,)]}, none: 'x', (1, 'b'): {}}",
       "{'a': {1: [None, True, (2.0,)]}, None: 'x', (1, 'b'): {}}"},
      {"{'k': 'v'}.items(), {'k': 'v'}.keys(), {1: 2}.values(), {}.items()",
       "(dict_items([('k', 'v')]), dict_keys(['k']), dict_values([2]), "
       "dict_items([]))"},
      {"[{'k': 'v'}.items()], [range(3)], range(3), range(1, 9, 3), range(3, "
       "0)",
       "([dict_items([('k', 'v')])], [range(0, 3)], range(0, 3), range(1, 9, "
       "3), range(3, 0))"},
      {"range(5, 0, -1), {'r': range(0)}",
       "(range(5, 0, -1), {'r': range(0, 0)})"},
      {"[nope], [nope.x is defined], (nope,), {'a': nope}",
       "!'nope' is undefined"},
      {"[none, true, false, 0, -0.0, 1e16]",
       "[None, True, False, 0, -0.0, 1e+16]"},
      {"[('a\\'<'|e), 'b'|safe], ('c'|safe,)",
       "([Markup('a&#39;&lt;'), Markup('b')], (Markup('c'),))"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaPrint, WhatWouldShowAnAddressIsAnError) {
  constexpr JinjaCase kCases[] = {
      {"namespace(a=1)", "!a namespace cannot be printed"},
      {"[namespace()]", "!a namespace cannot be printed"},
      {"range", "!a function cannot be printed"},
      {"''.upper", "!a builtin_function_or_method cannot be printed"},
      {"[1]|map('string')", "!a generator cannot be printed"},
      {"[[1]|reverse]", "!a generator cannot be printed"},
      {"{'a': [range]}", "!a function cannot be printed"},
  };
  ExpectExpressions(kCases);
  constexpr JinjaCase kTemplates[] = {
      {"{% macro m() %}{% endmacro %}{{ m }}", "!a Macro cannot be printed"},
      {"{% for i in [1] %}{{ loop }}{% endfor %}", "!LoopContext cannot be"},
      {"{{ nope }}|{{ nope ~ 'x' }}|{{ none }}|{{ none ~ 'x' }}",
       "|x|None|Nonex"},
  };
  ExpectTemplates(kTemplates);
}

}  // namespace
}  // namespace zqfp
