// SPDX-License-Identifier: Apache-2.0
// x.name, x[key], x[a:b:c] and the methods of dicts and lists.
#include <gtest/gtest.h>

#include "tests/tokenizer/jinja_cases.h"

namespace zqfp {
namespace {

using testing::ExpectExpressions;
using testing::ExpectTemplates;
using testing::JinjaCase;

TEST(JinjaAttributes, MethodsWinWithADotAndKeysWithBrackets) {
  constexpr JinjaCase kCases[] = {
      {"{'items': 1, 'a': 2}['items'], {'items': 1}.items()|list, {'get': "
       "1}.get('get')",
       "(1, [('items', 1)], 1)"},
      {"{'a': 1}['keys']()|list, {'a': 1}.a, {'a': 1}['a'], {'a b': 1}['a b'], "
       "{1: 2}[1], {1: 2}['1'] is defined",
       "(['a'], 1, 1, 1, 2, False)"},
      {"{1: 2}.1, {1: 2}[1.0], {1: 2}[true], {none: 3}[none], {(1, 2): 3}[(1, "
       "2)], {'a': none}.a",
       "(2, 2, 2, 3, 3, None)"},
      {"{'a': 1}.b is defined, {'a': 1}['b'] is defined, {'a': 1}[[]] is "
       "defined, {'a': 1}[{}] is defined",
       "(False, False, False, False)"},
      {"{'a': 1}.b.c", "!'dict object' has no attribute 'b'"},
      {"{'a': 1}['b'].c", "!'dict object' has no element 'b'"},
      {"{}['a']['b']", "!'dict object' has no element 'a'"},
      {"[][0].x", "!'list object' has no element 0"},
      {"none.x.y", "!'NoneType object' has no attribute 'x'"},
      {"(5).x.y", "!'int object' has no attribute 'x'"},
      {"nope['a']", "!'nope' is undefined"},
      {"nope[0]", "!'nope' is undefined"},
      {"nope.a", "!'nope' is undefined"},
      {"{'_a': 1}._a", "!the attribute '_a' starts with an underscore"},
      {"{'_a': 1}['_a']", "1"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaAttributes, IndicesCountCodePointsAndFromTheEnd) {
  constexpr JinjaCase kCases[] = {
      {"[1, 2, 3][-3], [1, 2, 3][-4] is defined, [1, 2][2] is defined, (1, "
       "2)[-1], range(5)[-5], range(5)[5] is defined",
       "(1, False, False, 2, 0, False)"},
      {"'é你a'[1], 'é你a'[-1], 'é你a'[-3], 'é你a'[3] is defined, 'é你a'[-4] is "
       "defined, ''[0] is defined",
       "('你', 'a', 'é', False, False, False)"},
      {"[1, 2][true], [1, 2][false], [1, 2][1.0] is defined, [1, 2]['0'] is "
       "defined, [1, 2][none] is defined, [1, 2].1",
       "(2, 1, False, False, False, 2)"},
      {"[1][9223372036854775807] is defined, [1][-9223372036854775807] is "
       "defined",
       "(False, False)"},
      {"{'a': 1}.items()[0] is defined, ([1]|reverse)[0] is defined, (5)[0] is "
       "defined, none[0] is defined",
       "(False, False, False, False)"},
      {"[[1, [2]]][0][1][0], 'abc'[1][0][0]", "(2, 'b')"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaAttributes, SlicesClampAndStep) {
  constexpr JinjaCase kCases[] = {
      {"[0, 1, 2, 3, 4][1:3], [0, 1, 2][-2:], [0, 1, 2][:-5], [0, 1, 2][5:], "
       "[0, 1, 2][2:1], [0, 1, 2][:], [0, 1, 2][::]",
       "([1, 2], [1, 2], [], [], [], [0, 1, 2], [0, 1, 2])"},
      {"[0, 1, 2, 3][::2], [0, 1, 2, 3][1::2], [0, 1, 2, 3][::-1], [0, 1, 2, "
       "3][::-3], [0, 1, 2, 3][2::-1], [0, 1, 2, 3][:1:-1]",
       "([0, 2], [1, 3], [3, 2, 1, 0], [3, 0], [2, 1, 0], [3, 2])"},
      {"[0, 1, 2, 3][-1:-3:-1], [0, 1, 2, 3][10:-10:-1], [0, 1, 2, 3][-10:10], "
       "[][::-1], [0, 1][0:2:9], [0, 1, 2][::true]",
       "([3, 2], [3, 2, 1, 0], [0, 1, 2, 3], [], [0], [0, 1, 2])"},
      {"[0, 1, 2][::9223372036854775807], [0, 1, 2][::-9223372036854775807], "
       "[0, 1][-9223372036854775807:9223372036854775807]",
       "([0], [2], [0, 1])"},
      {"[0, 1, 2][9223372036854775807::-1], [0, 1, "
       "2][:-9223372036854775807:-1], [0, 1, 2][::-9223372036854775807 - 1]",
       "([2, 1, 0], [2, 1, 0], [2])"},
      {"'é你a'[1:], 'é你a'[::-1], 'é你a'[:-1], ''[1:], 'é你a'[-2:2], (1, 2, "
       "3)[1:], ()[:1], [0, 1, 2][none:none:none], [0, 1][false:true]",
       "('你a', 'a你é', 'é你', '', '你', (2, 3), (), [0, 1, 2], [0])"},
      {"[0][nope:]", "!'nope' is undefined"},
      {"nope[1:]", "!'nope' is undefined"},
  };
  ExpectExpressions(kCases);
  // Of variables: Jinja2 folds what is constant, with other errors.
  constexpr JinjaCase kVariables[] = {
      {"{% set l = [0] %}{{ l['a':] }}",
       "!slice indices must be integers or None"},
      {"{% set l = [0] %}{{ l[:1.5] }}",
       "!slice indices must be integers or None"},
      {"{% set l = [0] %}{{ l[::'a'] }}",
       "!slice steps must be integers or None"},
      {"{% set l = [0] %}{{ l[::0] }}", "!slice step cannot be zero"},
      {"{% set s = 'a' %}{{ s[::0] }}", "!slice step cannot be zero"},
      {"{% set n = 0 %}{{ [1, 2][n - 1:] }}", "[2]"},
  };
  ExpectTemplates(kVariables);
}

TEST(JinjaAttributes, DictsAndListsHaveTheirReadingMethods) {
  constexpr JinjaCase kCases[] = {
      {"{'a': 1}.get('a'), {'a': 1}.get('b'), {'a': 1}.get('b', 2), {1: "
       "2}.get(true), {'a': none}.get('a', 5)",
       "(1, None, 2, 2, None)"},
      {"{'b': 1, 'a': 2}.keys(), {'b': 1, 'a': 2}.values(), {'b': 1}.items(), "
       "{}.keys(), {'a': 1}.copy()",
       "(dict_keys(['b', 'a']), dict_values([1, 2]), dict_items([('b', 1)]), "
       "dict_keys([]), {'a': 1})"},
      {"[1, 2, 1.0].count(1), [1].count('1'), [[1]].count([1]), (1, "
       "2).index(2), ['a', 'b'].index('b'), [1].copy(), ().count(1)",
       "(2, 0, 1, 1, 1, [1], 0)"},
      {"{}.get([])", "!unhashable type: 'list'"},
      {"{}.get()", "!dict.get() misses its argument 'key'"},
      {"{}.get(1, 2, 3)", "!dict.get() takes at most 2 arguments"},
      {"{}.items(1)", "!items() takes at most 0 arguments"},
      {"[1].index(5)", "!the value is not in the list"},
      {"[1].count()", "!count() misses its argument"},
      {"[].nope()", "!'list object' has no attribute 'nope'"},
      {"{}.nope()", "!'dict object' has no attribute 'nope'"},
      {"().copy()", "!'tuple object' has no attribute 'copy'"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaAttributes, NothingChangesInPlace) {
  constexpr JinjaCase kCases[] = {
      {"[].append(1)", "!the sandbox forbids list.append()"},
      {"[1].clear()", "!the sandbox forbids list.clear()"},
      {"[].extend([1])", "!the sandbox forbids list.extend()"},
      {"[].insert(0, 1)", "!the sandbox forbids list.insert()"},
      {"[1].pop()", "!the sandbox forbids list.pop()"},
      {"[1].remove(1)", "!the sandbox forbids list.remove()"},
      {"[1].reverse()", "!the sandbox forbids list.reverse()"},
      {"[1].sort()", "!the sandbox forbids list.sort()"},
      {"{}.clear()", "!the sandbox forbids dict.clear()"},
      {"{}.pop('a')", "!the sandbox forbids dict.pop()"},
      {"{}.popitem()", "!the sandbox forbids dict.popitem()"},
      {"{}.setdefault('a', 1)", "!the sandbox forbids dict.setdefault()"},
      {"{}.update({})", "!the sandbox forbids dict.update()"},
      {"[]['append'](1)", "!the sandbox forbids list.append()"},
      {"{'pop': 1}['pop'], {'update': 2}['update']", "(1, 2)"},
      {"{}.fromkeys([1])", "!dict.fromkeys() is not known here"},
      {"(5).bit_length()", "!int.bit_length() is not known here"},
      {"(1.5).is_integer()", "!float.is_integer() is not known here"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaAttributes, TheLoopShowsItsIteration) {
  constexpr JinjaCase kCases[] = {
      {"{% for i in 'abc' %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex "
       "}}{{ loop.revindex0 }}{{ loop.length }}{{ loop.first }}{{ loop.last "
       "}};{% endfor %}",
       "10323TrueFalse;21213FalseFalse;32103FalseTrue;"},
      {"{% for i in 'abc' %}{{ loop.previtem }}{{ loop['nextitem'] }}{{ "
       "loop.nope }};{% endfor %}",
       "b;ac;b;"},
      {"{% for i in 'a' %}{{ loop.previtem.x }}{% endfor %}",
       "!there is no previous item"},
      {"{% for i in 'a' %}{{ loop.nextitem is defined }}{{ loop.depth }}{{ "
       "loop.depth0 }}{% endfor %}",
       "False10"},
      {"{% for i in 'abc' %}{{ loop.cycle(*'xy') }}{% endfor %}", "xyx"},
      {"{% for i in 'ab' %}{% set l = loop %}{% for j in 'c' %}{{ l.index }}{% "
       "endfor %}{% endfor %}",
       "12"},
      {"{% for i in 'a' %}{{ loop.cycle() }}{% endfor %}",
       "!no items for cycling given"},
      {"{% for i in 'a' %}{{ loop.changed(i) }}{% endfor %}",
       "!loop.changed()"},
      {"{% for i in [1, 2, 3] if i != 2 %}{{ loop.index }}{{ loop.length }}{{ "
       "loop.previtem }};{% endfor %}",
       "12;221;"},
  };
  ExpectTemplates(kCases);
}

}  // namespace
}  // namespace zqfp
