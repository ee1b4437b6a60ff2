// SPDX-License-Identifier: Apache-2.0
// Filters over lists, dicts and generators.
#include <gtest/gtest.h>

#include "tests/tokenizer/jinja_cases.h"

namespace zqfp {
namespace {

using testing::ExpectExpressions;
using testing::ExpectTemplates;
using testing::JinjaCase;

TEST(JinjaSequenceFilters, EndsAndReversal) {
  constexpr JinjaCase kCases[] = {
      {"[1, 2]|first, [1, 2]|last, 'é你'|first, 'é你'|last, {'a': 1, 'b': "
       "2}|first",
       "(1, 2, 'é', '你', 'a')"},
      {"{'a': 1, 'b': 2}|last, range(3)|last, {'a': 1}.items()|first, "
       "(5,)|last",
       "('b', 2, ('a', 1), 5)"},
      {"[]|first, ''|last, nope|first is defined, ([]|first)|default('d')",
       "(Undefined, Undefined, False, 'd')"},
      {"[1, 2]|map('string')|first", "1"},
      {"[1, 2]|map('string')|last", "!'generator' object is not reversible"},
      {"5|first", "!'int' object is not iterable"},
      {"none|last", "!'NoneType' object is not iterable"},
      {"'aé你'|reverse, [1, 2]|reverse|list, {'a': 1, 'b': 2}|reverse|list, "
       "''|reverse",
       "('你éa', [2, 1], ['b', 'a'], '')"},
      {"range(3)|reverse|list, (1, 2)|reverse|first", "([2, 1, 0], 2)"},
      {"none|reverse", "!'NoneType' object is not iterable"},
      {"{'b': 1, 'a': 2}|items|list, {}|items|list, nope|items|list",
       "([('b', 1), ('a', 2)], [], [])"},
      {"[1]|items|list", "!Can only get item pairs from a mapping."},
      {"[]|first.x", "!no filter named 'first.x'"},
      {"([]|first).x", "!No first item, sequence was empty."},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaSequenceFilters, SortIsStableAndFoldsCase) {
  constexpr JinjaCase kCases[] = {
      {"['b', 'A', 'a', 'B']|sort, ['b', 'A', 'a', "
       "'B']|sort(case_sensitive=true)",
       "(['A', 'a', 'b', 'B'], ['A', 'B', 'a', 'b'])"},
      {"['b', 'A', 'a', 'B']|sort(true), [3, 1, 2, 1]|sort(reverse=true)",
       "(['b', 'B', 'A', 'a'], [3, 2, 1, 1])"},
      {"[(1, 'x'), (0, 'y'), (1, 'a')]|sort, [(1, 'x'), (0, 'y'), (1, "
       "'a')]|sort(attribute=0)",
       "([(0, 'y'), (1, 'a'), (1, 'x')], [(0, 'y'), (1, 'x'), (1, 'a')])"},
      {"[(1, 'x'), (0, 'y'), (1, 'a')]|sort(attribute=0, reverse=true)",
       "[(1, 'x'), (1, 'a'), (0, 'y')]"},
      {"[{'k': {'n': 2}}, {'k': {'n': 1}}]|sort(attribute='k.n')",
       "[{'k': {'n': 1}}, {'k': {'n': 2}}]"},
      {"[[2, 'b'], [1, 'a']]|sort(attribute='1'), [true, 0, 2.5]|sort",
       "([[1, 'a'], [2, 'b']], [0, True, 2.5])"},
      {"range(17)|reverse|sort|join(','), 'hello'|sort|join, {'b': 1, 'a': "
       "2}|sort, nope|sort",
       "('0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16', 'ehllo', ['a', 'b'], [])"},
      {"['é', 'z', 'É', 'Z', '']|sort", "['', 'z', 'Z', 'é', 'É']"},
      {"[1, none]|sort",
       "!'<' not supported between instances of 'NoneType' and 'int'"},
      {"[1, 'a']|sort",
       "!'<' not supported between instances of 'str' and 'int'"},
      {"[{}, {}]|sort", "[{}, {}]"},
      {"[none]|sort", "[None]"},
      {"[1, 2]|sort(attribute='x')", "[1, 2]"},
      {"[{'a': 1, 'b': 2}]|sort(attribute='a,b')", "!by several attributes"},
      {"{'b': 1, 'A': 3, 'c': 2}|dictsort, {'b': 1, 'A': 3}|dictsort(true)",
       "([('A', 3), ('b', 1), ('c', 2)], [('A', 3), ('b', 1)])"},
      {"{'b': 1, 'A': 3, 'c': 2}|dictsort(false, 'value'), {'a': 1, 'b': "
       "1}|dictsort(by='value', reverse=true)",
       "([('b', 1), ('c', 2), ('A', 3)], [('a', 1), ('b', 1)])"},
      {"{2: 'x', 10: 'y'}|dictsort, {'a': 'B', 'b': 'a'}|dictsort(by='value')",
       "([(2, 'x'), (10, 'y')], [('b', 'a'), ('a', 'B')])"},
      {"{1: 2, 'a': 3}|dictsort",
       "!'<' not supported between instances of 'str' and 'int'"},
      {"[1]|dictsort", "!'list' object has no attribute 'items'"},
      {"{}|dictsort(by='nope')",
       "!You can only sort by either \"key\" or \"value\""},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaSequenceFilters, ExtremesUniqueAndBatches) {
  constexpr JinjaCase kCases[] = {
      {"['b', 'A', 'C']|min, ['b', 'A', 'C']|max, ['b', 'A', 'C']|max(true), "
       "['B', 'a']|min(case_sensitive=true)",
       "('A', 'C', 'b', 'B')"},
      {"[1, 1.0, true]|min, [1, 1.0, true]|max, [[2], [1, 5]]|max, "
       "'hElLo'|max, {'a': 1, 'b': 0}|max",
       "(1, 1, [2], 'o', 'b')"},
      {"[{'n': 2, 'i': 0}, {'n': 1, 'i': 1}, {'n': 1, 'i': "
       "2}]|min(attribute='n')",
       "{'n': 1, 'i': 1}"},
      {"([]|min)|default('none'), (nope|max) is defined", "('none', False)"},
      {"[1, 'a']|min",
       "!'<' not supported between instances of 'str' and 'int'"},
      {"[none, none]|max",
       "!'>' not supported between instances of 'NoneType' and 'NoneType'"},
      {"[1, 1.0, true, '1', 'a', 'A', none, none]|unique|list, ['a', "
       "'A']|unique(true)|list",
       "([1, '1', 'a', None], ['a', 'A'])"},
      {"[{'k': 'x'}, {'k': 'X'}, {'k': 'y'}]|unique(attribute='k')|list, [(1, "
       "2), (1, 2)]|unique|list",
       "([{'k': 'x'}, {'k': 'y'}], [(1, 2)])"},
      {"[(1, 'a'), (1, 'A')]|unique|list, ''|unique|list",
       "([(1, 'a'), (1, 'A')], [])"},
      {"[[1]]|unique|list", "!unhashable type: 'list'"},
      {"[1, 2, 3, 4, 5]|batch(2)|list, [1, 2, 3]|batch(2, '-')|list, [1, "
       "2]|batch(2, '-')|list",
       "([[1, 2], [3, 4], [5]], [[1, 2], [3, '-']], [[1, 2]])"},
      {"[]|batch(3, 'x')|list, [1]|batch(5)|list, 'abc'|batch(2)|list, [1, 2, "
       "3]|batch(2, none)|list",
       "([], [[1]], [['a', 'b'], ['c']], [[1, 2], [3]])"},
      {"[1]|batch(0)", "!batch: a size of 0"},
      {"[1]|batch('2')|list", "!'str' object cannot be interpreted"},
      {"[1]|batch", "!batch() misses its argument"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaSequenceFilters, MapAppliesFiltersOrReadsAttributes) {
  constexpr JinjaCase kCases[] = {
      {"['a', 'b']|map('upper')|list, [[1, 2], [3]]|map('join', '+')|list, "
       "'ab'|map('upper')|join",
       "(['A', 'B'], ['1+2', '3'], 'AB')"},
      {"['a b', 'c']|map('replace', ' ', '_')|list, [1.234]|map('round', "
       "precision=1)|list",
       "(['a_b', 'c'], [1.2])"},
      {"[{'a': {'b': [7]}}]|map(attribute='a.b.0')|list, [[1, "
       "2]]|map(attribute=1)|list, [[1, 2]]|map(attribute='1')|list",
       "([7], [2], [2])"},
      {"[{'a': 1}, {}]|map(attribute='a', default='d')|list, [{'a': 1}, "
       "{}]|map(attribute='a')|list",
       "([1, 'd'], [1, Undefined])"},
      {"[{'a': none}]|map(attribute='a', default='d')|list, "
       "[{}]|map(attribute='a.b', default=0)|list",
       "([None], [0])"},
      {"['x', none]|map('default', 'd', true)|list, [[3, 1]]|map('sort')|list",
       "(['x', 'd'], [[1, 3]])"},
      {"[{'items': 3}]|map(attribute='items')|list", "[3]"},
      {"nope|map('upper')|list, {'k': 1}|map('upper')|list", "([], ['K'])"},
      {"[1]|map('nope')|list", "!no filter named 'nope'"},
      {"[1]|map(5)|list", "!no filter named that"},
      {"[1]|map|list", "!map() misses its argument 'attribute'"},
      {"[1]|map(default=1)|list", "!map() misses its argument 'attribute'"},
      {"[1]|map(attribute='a', x=1)|list",
       "!map() takes no keyword argument 'x'"},
      {"5|map('upper')|list", "!'int' object is not iterable"},
      {"[1]|map('upper', 2)|list", "!upper() takes at most 0 arguments"},
  };
  ExpectExpressions(kCases);
}

TEST(JinjaSequenceFilters, SelectAndRejectByTest) {
  constexpr JinjaCase kCases[] = {
      {"[0, 1, '', 'a', none, [], [0]]|select|list, [0, 1, '']|reject|list",
       "([1, 'a', [0]], [0, ''])"},
      {"[1, 2, 3]|select('odd')|list, [1, 2, 3]|reject('odd')|list, [1, "
       "'a']|select('string')|list",
       "([1, 3], [2], ['a'])"},
      {"[1, 2, 3]|select('gt', 1)|select('lt', 3)|list, ['a', "
       "'b']|select('in', ['b'])|list",
       "([2], ['b'])"},
      {"[{'a': 1}, {'a': 0}, {}]|selectattr('a')|list, [{'a': 1}, {'a': 0}, "
       "{}]|rejectattr('a')|list",
       "([{'a': 1}], [{'a': 0}, {}])"},
      {"[{'a': {'b': 1}}, {'a': {'b': 2}}]|selectattr('a.b', 'eq', 2)|list, "
       "[[1], [2]]|selectattr(0, 'even')|list",
       "([{'a': {'b': 2}}], [[2]])"},
      {"[{'a': 1}, {}]|selectattr('a', 'defined')|list, [{'a': none}, "
       "{}]|rejectattr('a', 'none')|list",
       "([{'a': 1}], [{}])"},
      {"[{}]|selectattr('a.b', 'defined')|list",
       "!'dict object' has no element 'a'"},
      {"[1]|select('nope')|list", "!no test named 'nope'"},
      {"[1]|select(1)|list", "!no test named that"},
      {"[1]|select('eq')|list",
       "!the test 'eq' takes 1 arguments, 0 were given"},
      {"[1]|select('odd', 1)|list", "!the test 'odd' takes 0 arguments"},
      {"[1]|selectattr|list", "!the filter misses its attribute"},
      {"['a']|select('odd')|list",
       "!not all arguments converted during string formatting"},
      {"none|select|list, 0|map('upper')|list, none|rejectattr('a')|list",
       "([], [], [])"},
      {"1|select|list", "!'int' object is not iterable"},
  };
  ExpectExpressions(kCases);
}

}  // namespace
}  // namespace zqfp
