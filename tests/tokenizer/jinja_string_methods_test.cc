// SPDX-License-Identifier: Apache-2.0
// The methods of str, in code points and with Python's edge cases.
#include <gtest/gtest.h>

#include "tests/tokenizer/jinja_cases.h"

namespace zqfp {
namespace {

using testing::ExpectExpressions;
using testing::ExpectTemplates;
using testing::JinjaCase;

TEST(JinjaStringMethods, StripTakesSpaceOrASetOfCharacters) {
  constexpr JinjaCase kCases[] = {
      {"['\\u2003\\x1c\\x85 a b \\x0b\\u2029'.strip()]", "['a b']"},
      {"['\\u200bx\\ufeff'.strip()], ['\\x00a'.strip()]",
       "(['\\u200bx\\ufeff'], ['\\x00a'])"},
      {"'abcxcba'.strip('cab'), 'abcxcba'.lstrip('ab'), "
       "'abcxcba'.rstrip('bax')",
       "('x', 'cxcba', 'abcxc')"},
      {"'éüaüé'.strip('üé'), 'aaa'.strip('a')|length, 'aaa'.strip('')",
       "('a', 0, 'aaa')"},
      {"'  a '.strip(none), ['  a '.lstrip()], ['  a '.rstrip()]",
       "('a', ['a '], ['  a'])"},
      {"'a'.strip(5)", "!expected a string, found int"},
      {"'a'.strip('a', 'b')", "!str.strip() takes at most 1 arguments"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaStringMethods, SplitsAtSpaceOrASeparator) {
  constexpr JinjaCase kCases[] = {
      {"' a\\u3000b\\x1fc '.split(), '   '.split(), ''.split()",
       "(['a', 'b', 'c'], [], [])"},
      {"' a b  c '.split(none, 1), ' a b  c '.split(none, 0), 'a'.split(none, "
       "5)",
       "(['a', 'b  c '], ['a b  c '], ['a'])"},
      {"' a b  c '.rsplit(none, 1), ' a b  c '.rsplit(none, 0), ' a "
       "'.rsplit(none, 9)",
       "([' a b', 'c'], [' a b  c'], ['a'])"},
      {"' a b  c '.rsplit(none, 2), '   '.rsplit(none, 1)",
       "([' a', 'b', 'c'], [])"},
      {"'a,b,,c,'.split(','), 'a,b,,c,'.split(',', 2), ','.split(','), "
       "''.split(',')",
       "(['a', 'b', '', 'c', ''], ['a', 'b', ',c,'], ['', ''], [''])"},
      {"'a,b,,c,'.rsplit(',', 2), 'a,b'.rsplit(',', 0), "
       "'aXXbXXXc'.rsplit('XX')",
       "(['a,b,', 'c', ''], ['a,b'], ['a', 'bX', 'c'])"},
      {"'aXXbXXXc'.split('XX'), 'aaaa'.rsplit('aa', 1), 'aaaaa'.rsplit('aa')",
       "(['a', 'b', 'Xc'], ['aa', ''], ['a', '', ''])"},
      {"'é–ü'.split('–'), 'é–ü–ß'.rsplit('–', 1), 'a,b,c'.split(sep=',', "
       "maxsplit=1)",
       "(['é', 'ü'], ['é–ü', 'ß'], ['a', 'b,c'])"},
      {"'a b'.split(' ', -5), 'a,b'.split(',', true)",
       "(['a', 'b'], ['a', 'b'])"},
      {"'a'.split('')", "!empty separator"},
      {"'a'.rsplit('')", "!empty separator"},
      {"'a'.split(1)", "!expected a string, found int"},
      {"'a'.split(',', 'x')",
       "!'str' object cannot be interpreted as an integer"},
      {"'a'.split(',', none)",
       "!'NoneType' object cannot be interpreted as an integer"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaStringMethods, LinesEndInManyWays) {
  constexpr JinjaCase kCases[] = {
      {"'a\\nb\\r\\nc\\rd'.splitlines(), 'a\\n'.splitlines(), "
       "'\\n\\n'.splitlines()",
       "(['a', 'b', 'c', 'd'], ['a'], ['', ''])"},
      {"'a\\n\\rb'.splitlines(), '\\r\\n'.splitlines(true), "
       "'a\\r\\nb'.splitlines(true)",
       "(['a', '', 'b'], ['\\r\\n'], ['a\\r\\n', 'b'])"},
      {"'a\\x0bb\\x0cc\\x1cd\\x1de\\x1ef\\x85g\\u2028h\\u2029i'.splitlines()|"
       "length",
       "9"},
      {"'a\\x1fb'.splitlines()|length, ''.splitlines(), "
       "'é\\u2028'.splitlines(true)",
       "(1, [], ['é\\u2028'])"},
      {"'a\\nb'.splitlines(keepends=1)", "['a\\n', 'b']"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaStringMethods, SearchesCountCodePoints) {
  constexpr JinjaCase kCases[] = {
      {"'é你a你'.find('你'), 'é你a你'.rfind('你'), 'é你a你'.find('你', 2)",
       "(1, 3, 3)"},
      {"'é你a你'.find('a', 0, 2), 'é你a你'.find('你', -1), 'é你a你'.find('é', "
       "-9)",
       "(-1, 3, 0)"},
      {"'abcabc'.rfind('abc', 0, 5), 'abcabc'.rfind(''), 'abc'.find('', 3), "
       "'abc'.find('', 4)",
       "(0, 6, 3, -1)"},
      {"'abc'.rfind('', 1, 2), 'abc'.find('', 2, 1), ''.find(''), ''.rfind('')",
       "(2, -1, 0, 0)"},
      {"'abc'.index('c'), 'abc'.index('c', -1), 'abcabc'.index('b', 2)",
       "(2, 2, 4)"},
      {"'aaaa'.count('aa'), 'abab'.count('ab', 1), 'éé'.count('é', 1, 9), "
       "'abc'.count('')",
       "(2, 1, 1, 4)"},
      {"'abc'.count('', 1, 2), 'abc'.count('', 3), 'abc'.count('', 4), "
       "''.count('', 1)",
       "(2, 1, 0, 0)"},
      {"'a'.find('ab'), 'aab'.find('ab'), 'ababac'.find('abac'), "
       "'abcd'.find('bcd')",
       "(-1, 1, 2, 1)"},
      {"'abc'.find('b', none, none), 'abc'.find('c', 0, -1)", "(1, -1)"},
      {"'abc'.index('z')", "!substring not found"},
      {"'abc'.index('a', 1)", "!substring not found"},
      {"'abc'.find(1)", "!expected a string, found int"},
      {"'abc'.find('a', 'b')",
       "!'str' object cannot be interpreted as an integer"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaStringMethods, PrefixesSuffixesAndParts) {
  constexpr JinjaCase kCases[] = {
      {"'abc'.startswith('ab'), 'abc'.startswith(''), 'abc'.startswith('abcd')",
       "(True, True, False)"},
      {"'abc'.startswith(('x', 'a')), 'abc'.endswith(('x', 'bc')), "
       "'a'.endswith(())",
       "(True, True, False)"},
      {"'abab'.removeprefix('ab'), 'abab'.removesuffix('ab'), "
       "'ab'.removeprefix('')",
       "('ab', 'ab', 'ab')"},
      {"'ab'.removesuffix(''), 'a'.removeprefix('ab'), "
       "'x'.removesuffix('x')|length",
       "('ab', 'a', 0)"},
      {"'a–b–c'.partition('–'), 'a–b–c'.rpartition('–'), 'abc'.partition('z')",
       "(('a', '–', 'b–c'), ('a–b', '–', 'c'), ('abc', '', ''))"},
      {"'abc'.rpartition('z'), ''.partition('a'), 'a'.partition('a'), "
       "'aaa'.rpartition('aa')",
       "(('', '', 'abc'), ('', '', ''), ('', 'a', ''), ('a', 'aa', ''))"},
      {"'a'.startswith(1)",
       "!startswith first arg must be str or a tuple of str, not int"},
      {"'a'.endswith(['a'])",
       "!endswith first arg must be str or a tuple of str, not list"},
      {"'a'.startswith(('b', 1))",
       "!tuple for startswith must only contain str"},
      {"'a'.startswith(('a', 1)), 'ab'.endswith((['b'], 'b')[1:])",
       "(True, True)"},
      {"'a'.endswith(('b', none))",
       "!tuple for endswith must only contain str"},
      {"'a'.startswith(nope)", "!'nope' is undefined"},
      {"'a'.partition('')", "!empty separator"},
      {"'a'.rpartition('')", "!empty separator"},
      {"'a'.removeprefix(none)", "!expected a string, found NoneType"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaStringMethods, CaseAndClasses) {
  constexpr JinjaCase kCases[] = {
      {"'straße'.upper(), 'İI'.lower()|length, 'ÀÉ Я'.lower()",
       "('STRASSE', 3, 'àé я')"},
      {"\"it's a-b c1d\".title(), 'ÉCOLE été'.title(), '\\u01c6a'.title(), "
       "'ßa'.title()",
       "(\"It'S A-B C1D\", 'École Été', 'ǅa', 'Ssa')"},
      {"'hELLO wORLD'.capitalize(), 'ßA'.capitalize(), "
       "'\\u01c6A'.capitalize(), ''.title()",
       "('Hello world', 'Ssa', 'ǅa', '')"},
      {"'ÀB'.isupper(), 'àb'.islower(), 'A1'.isupper(), '1'.isupper(), "
       "'\\u01c5'.isupper()",
       "(True, True, True, False, False)"},
      {"'aB'.islower(), ''.islower(), '你'.isupper()", "(False, False, False)"},
      {"'٣5'.isdigit(), '٣5'.isdecimal(), '½'.isdigit(), '-1'.isdigit(), "
       "'1.5'.isdigit()",
       "(True, True, False, False, False)"},
      {"'é你'.isalpha(), 'a_'.isalpha(), 'a '.isalpha(), ''.isalpha(), "
       "'ʰ'.isalpha()",
       "(True, False, False, False, True)"},
      {"'a1é'.isalnum(), 'a_1'.isalnum(), 'a-'.isalnum(), ''.isalnum(), "
       "'½'.isalnum()",
       "(True, False, False, False, True)"},
      {"' \\t\\u2003'.isspace(), '\\u200b'.isspace(), '\\x1c\\x85'.isspace(), "
       "''.isspace()",
       "(True, False, True, False)"},
      {"'a\\u0301'.isalpha(), '\\u0301'.isalnum()", "(False, False)"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaStringMethods, ReplaceJoinAndJustify) {
  constexpr JinjaCase kCases[] = {
      {"'aaaa'.replace('aa', 'b'), 'aaa'.replace('aa', ''), 'abc'.replace('', "
       "'-')",
       "('bb', 'a', '-a-b-c-')"},
      {"'é你'.replace('', '.', 2), ''.replace('', 'x'), ''.replace('a', 'x'), "
       "'a'.replace('', '', 0)",
       "('.é.你', 'x', '', 'a')"},
      {"'aaa'.replace('a', 'b', 0), 'aaa'.replace('a', 'b', -1), "
       "'aba'.replace('a', 'aa', 1)",
       "('aaa', 'bbb', 'aaba')"},
      {"''.join('abc'), '-'.join([]), '-'.join(['x']), ', '.join({'a': 1, 'b': "
       "2}), '–'.join(('a', 'b'))",
       "('abc', '', 'x', 'a, b', 'a–b')"},
      {"'é'.ljust(3) ~ '|', 'é'.rjust(3), 'ab'.center(5, '你'), "
       "'abc'.center(6, '.')",
       "('é  |', '  é', '你你ab你', '.abc..')"},
      {"'a'.center(4, '.'), 'ab'.center(7, '.'), 'a'.ljust(0), 'a'.rjust(-5), "
       "''.center(3, '*')",
       "('.a..', '...ab..', 'a', 'a', '***')"},
      {"'a'.replace('a')", "!str.replace() misses its argument 'new'"},
      {"'a'.replace(1, 'b')", "!expected a string, found int"},
      {"'a'.replace('a', 'b', 'c')",
       "!'str' object cannot be interpreted as an integer"},
      {"','.join(['a', none])",
       "!sequence item 1: expected str instance, NoneType found"},
      {"','.join(5)", "!'int' object is not iterable"},
      {"','.join([nope])",
       "!sequence item 0: expected str instance, Undefined found"},
      {"'a'.ljust(3, '')",
       "!the fill character must be exactly one character long"},
      {"'a'.center(3, 'ab')",
       "!the fill character must be exactly one character long"},
      {"'a'.rjust('3')", "!'str' object cannot be interpreted as an integer"},
      {"'a'.ljust()", "!str.ljust() misses its argument 'width'"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaStringMethods, WhatPythonHasAndWeHaveNotIsNamed) {
  constexpr JinjaCase kCases[] = {
      {"'a'.zfill(3)", "!str.zfill() is not known here"},
      {"'a'.encode()", "!str.encode() is not known here"},
      {"'a'.format()", "!str.format() is not known here"},
      {"'a'.casefold()", "!str.casefold() is not known here"},
      {"'a'.nope()", "!'str object' has no attribute 'nope'"},
      {"'a'.nope is defined", "False"},
      {"'a'.upper(1)", "!str.upper() takes at most 0 arguments"},
      {"'a'.upper(x=1)", "!str.upper() takes no keyword argument 'x'"},
      {"'a,b'.split(',', sep=',')", "!str.split() got two values for 'sep'"},
      {"'a'.__class__", "!'__class__' starts with an underscore"},
  };
  ExpectExpressions(kCases);
}

}  // namespace
}  // namespace zqfp
