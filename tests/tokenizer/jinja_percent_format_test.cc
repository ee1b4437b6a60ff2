// SPDX-License-Identifier: Apache-2.0
// Python's % on strings: flags, widths, precisions and their errors.
#include <gtest/gtest.h>

#include "tests/tokenizer/jinja_cases.h"

namespace zqfp {
namespace {

using testing::ExpectExpressions;
using testing::ExpectTemplates;
using testing::JinjaCase;

TEST(JinjaPercentFormat, IntegerFlagsWidthsAndPrecisions) {
  constexpr JinjaCase kCases[] = {
      {"'%d|%i|%5d|%-5d|%05d|%+d|% d' % (1, -2, 3, 4, -5, 6, 7)",
       "1|-2|    3|4    |-0005|+6| 7"},
      {"'%+05d|%-05d|%+ d|% 05d|%5.3d|%.5d|%-8.3d|' % (1, 2, 3, 4, 5, -6, 7)",
       "+0001|2    |+3| 0004|  005|-00006|007     |"},
      {"'%.0d' % 0", "0"},
      {"'%05.3d' % 42", "00042"},
      {"'%d' % true, '%d' % 2.9, '%d' % -2.9, '%i' % 1e15",
       "('1', '2', '-2', '1000000000000000')"},
      {"'%x|%X|%o|%#x|%#X|%8x|%08x|%.4x' % (255, 255, 8, 255, 255, 10, 10, 10)",
       "ff|FF|10|0xff|0XFF|       a|0000000a|000a"},
      {"'%#o' % 8", "0o10"},
      {"'%#x' % 0", "0x0"},
      {"'%+x' % 255", "+ff"},
      {"'% x' % 255", " ff"},
      {"'%#08x' % 255", "0x0000ff"},
      {"'%x' % true", "1"},
      {"'%d' % 9223372036854775807", "9223372036854775807"},
      {"'%d' % (-9223372036854775807 - 1)", "-9223372036854775808"},
      {"'%x' % 9223372036854775807", "7fffffffffffffff"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaPercentFormat, FloatsAreCs) {
  constexpr JinjaCase kCases[] = {
      {"'%f|%.0f|%.1f|%.3f|%10.2f|%-10.2f|%010.2f' % (1.5, 2.5, 0.25, 1, 2, 3, "
       "-4)",
       "1.500000|2|0.2|1.000|      2.00|3.00      |-000004.00"},
      {"'%e|%.2E|%g|%G|%g|%.3g|%#g' % (12345.678, 0.00012, 1e-5, 1e20, 100000, "
       "1234.5, 1)",
       "1.234568e+04|1.20E-04|1e-05|1E+20|100000|1.23e+03|1.00000"},
      {"'%+.2f|% .2f|%#.0f' % (1, 2, 3)", "+1.00| 2.00|3."},
      {"'%f|%F|%e|%5f' % ('inf'|float, 'nan'|float, '-inf'|float, 'nan'|float)",
       "inf|NAN|-inf|  nan"},
      {"'%05f' % ('inf'|float)", "00inf"},
      {"'%.20f' % 0.1", "0.10000000000000000555"},
      {"'%.30f' % 1e300",
       "10000000000000000525047602552044202487044685811081591549158541155118024"
       "57988908195786371375080447864043704443832883878176942523235360430575644"
       "79218478670698284838720092657580373783023379478809005936895323497079994"
       "50811190389676408800746527427801424945792587888200568428381156694721963"
       "86865459400540160.000000000000000000000000000000"},
      {"'%f' % 9007199254740993", "9007199254740992.000000"},
      {"'%.2f' % true", "1.00"},
      {"'%.0f' % 0.5, '%.0f' % 1.5, '%.2f' % 2.675", "('0', '2', '2.67')"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaPercentFormat, TextIsPaddedAndCutInCharacters) {
  constexpr JinjaCase kCases[] = {
      {"'%s|%5s|%-5s|%.2s|%5.1s|%05s' % ('abc', 'é', 'é', '你好吗', 'xyz', "
       "'z')",
       "abc|    é|é    |你好|    x|    z"},
      {"'%r|%7r|%.2r' % ('a', 'é', 'abc')", "'a'|    'é'|'a"},
      {"'%s|%s|%s|%r' % (none, true, [1, 'a'], (1,))",
       "None|True|[1, 'a']|(1,)"},
      {"'%s' % {'a': 1}", "{'a': 1}"},
      {"'%s' % ((1, 2),)", "(1, 2)"},
      {"'%c|%3c|%-3c|' % ('x', 'é', 'y')", "x|  é|y  |"},
      {"'%.0s|' % 'abc'", "|"},
      {"'%s' % nope", ""},
      {"'100%%|%%d' % ()", "100%|%d"},
      {"'abc' % ()", "abc"},
      {"'é%s你' % 'ü'", "éü你"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaPercentFormat, ArgumentsMustFit) {
  constexpr JinjaCase kCases[] = {
      {"'%s %s' % 'a'", "!not enough arguments for format string"},
      {"'%s' % ()", "!not enough arguments for format string"},
      {"'a' % 'b'", "!not all arguments converted during string formatting"},
      {"'%s' % (1, 2)",
       "!not all arguments converted during string formatting"},
      {"'abc' % [1]", "abc"},
      {"'abc' % {'a': 1}", "abc"},
      {"'%d' % 'a'", "!%d format: a real number is required, not str"},
      {"'%d' % none", "!%d format: a real number is required, not NoneType"},
      {"'%f' % 'a'", "!a real number is required, not str"},
      {"'%x' % 1.5", "!%x format: an integer is required, not float"},
      {"'%d' % ('inf'|float)", "!cannot convert float inf"},
      {"'%d' % ('nan'|float)", "!cannot convert float nan"},
      {"'%' % 1", "!incomplete format"},
      {"'%5' % 1", "!incomplete format"},
      {"'%5%' % 1", "!the % format character '%'"},
      {"'%x|%#X|%o|%08x|%+d' % (-255, -255, -8, -10, -9223372036854775807 - 1)",
       "-ff|-0XFF|-10|-000000a|-9223372036854775808"},
      {"'%d' % -9223372036854775808.0", "-9223372036854775808"},
      {"'%d' % 1e19", "!cannot convert float 1e+19 to integer"},
      {"'abc' % range(2)", "abc"},
      {"'%s' % [1, 2]", "[1, 2]"},
      {"'abc' % none", "!not all arguments converted during string formatting"},
      {"'abc'|format([1])",
       "!not all arguments converted during string formatting"},
      {"'%z' % 1", "!the % format character 'z'"},
      {"'%c' % 'ab'", "!%c of anything but one character"},
      {"'%c' % 65", "!%c of anything but one character"},
      {"'%x' % -1 ", "-1"},
      {"'%(a)s' % {'a': 1}", "!% formats with named keys"},
      {"'%*d' % (5, 1)", "!the % format character '*'"},
      {"'%a' % 'a'", "!the % format character 'a'"},
      {"'%1001d' % 1", "!a % format wider than 1000"},
      {"'%.1001f' % 1", "!a % format wider than 1000"},
      {"'%1000d'|format(1)|length", "1000"},
      {"'%s and %s'|format('a', 2)", "a and 2"},
      {"'%s'|format() ", "!not enough arguments for format string"},
      {"'%s'|format(1, 2)",
       "!not all arguments converted during string formatting"},
      {"'%s'|format(x=1)", "!the filter 'format' with keyword arguments"},
  };
  ExpectExpressions(kCases);
}

}  // namespace
}  // namespace zqfp
