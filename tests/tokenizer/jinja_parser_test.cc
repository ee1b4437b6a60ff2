// SPDX-License-Identifier: Apache-2.0
// Every statement's tree is Jinja2's, and every broken one names place and
// reason.
#include "tokenizer/jinja_parser.h"

#include <gtest/gtest.h>

#include <span>

#include "tests/tokenizer/jinja_tree.h"

namespace zqfp::jinja {
namespace {

using zqfp::testing::ParsedTree;

struct Case {
  std::string_view source;
  std::string_view want;
};

// Trees were printed from jinja2.nodes (Jinja2 3.1.6, Environment.parse) by a
// printer with the rules of jinja_tree.h.
void ExpectTrees(std::span<const Case> cases) {
  for (const Case& test : cases) {
    EXPECT_EQ(ParsedTree(test.source), test.want) << test.source;
  }
}

TEST(JinjaParser, OutputAndData) {
  constexpr Case kCases[] = {
      {"", ""},
      {"a\nb\n", "(data 'a\\nb')"},
      {"a{{ b }}c{{ d, e }}{{ () }}",
       "(data 'a') (out b) (data 'c') (out (tuple d e)) (out (tuple))"},
      {"{{ a if b }}{{ a, }}", "(out (? b a _)) (out (tuple a))"},
      {"{# c #}x{% raw %}{{ y }}{% endraw %}", "(data 'x') (data '{{ y }}')"},
  };
  ExpectTrees(kCases);
}

TEST(JinjaParser, IfChains) {
  constexpr Case kCases[] = {
      {"{% if a %}b{% endif %}", "(if a [(data 'b')])"},
      {"{% if a %}{% else %}c{% endif %}", "(if a [] else [(data 'c')])"},
      {"{% if a %}1{% elif b %}2{% elif c %}3{% else %}4{% endif %}",
       "(if a [(data '1')] elif b [(data '2')] elif c [(data '3')] else [(data "
       "'4')])"},
      {"{% if a: %}b{% elif c: %}d{% else: %}e{% endif %}",
       "(if a [(data 'b')] elif c [(data 'd')] else [(data 'e')])"},
      {"{% if a, b %}c{% endif %}", "(if (tuple a b) [(data 'c')])"},
      {"{% if a %}{% if b %}c{% endif %}{% else %}{% if d %}{% endif %}{% "
       "endif %}",
       "(if a [(if b [(data 'c')])] else [(if d [])])"},
      {"{% if (a if b else c) %}{% endif %}", "(if (? b a c) [])"},
  };
  ExpectTrees(kCases);
}

TEST(JinjaParser, Loops) {
  constexpr Case kCases[] = {
      {"{% for a in b %}{{ a }}{% endfor %}", "(for a b [(out a)])"},
      {"{% for a, b in c %}{% endfor %}", "(for (tuple a b) c [])"},
      {"{% for a, (b, c) in d %}{% endfor %}",
       "(for (tuple a (tuple b c)) d [])"},
      {"{% for (a, b), c in d %}{% endfor %}",
       "(for (tuple (tuple a b) c) d [])"},
      {"{% for (a) in b %}{% endfor %}", "(for a b [])"},
      {"{% for a in b, c %}{% endfor %}", "(for a (tuple b c) [])"},
      {"{% for a in b if c and d %}x{% else %}y{% endfor %}",
       "(for a b if (and c d) [(data 'x')] else [(data 'y')])"},
      {"{% for a in b if c if d else e %}{% endfor %}",
       "(for a b if (? d c e) [])"},
      {"{% for a in (b if c else d): %}{% endfor %}", "(for a (? c b d) [])"},
      {"{% for a in b %}{% break %}{% continue %}{% endfor %}",
       "(for a b [break continue])"},
      {"{% for a in b %}{% if c %}{% for d in e %}{% endfor %}{% break %}{% "
       "endif %}{% endfor %}",
       "(for a b [(if c [(for d e []) break])])"},
      {"{% for a in b|c1 %}{% endfor %}",
       "!chat template: line 1, column 15: no filter named 'c1'"},
  };
  ExpectTrees(kCases);
}

TEST(JinjaParser, Assignments) {
  constexpr Case kCases[] = {
      {"{% set a = 1 %}", "(set a 1)"},
      {"{% set a = 1, 2 %}", "(set a (tuple 1 2))"},
      {"{% set a, b = c, d %}", "(set (tuple a b) (tuple c d))"},
      {"{% set (a, b) = c %}", "(set (tuple a b) c)"},
      {"{% set ((a, b), c) = d %}", "(set (tuple (tuple a b) c) d)"},
      {"{% set a = b if c else d %}", "(set a (? c b d))"},
      {"{% set ns.a = 1 %}", "(set ns.a 1)"},
      {"{% set ns.a, b = c %}", "(set (tuple ns.a b) c)"},
      {"{% set a %}x{{ y }}{% endset %}",
       "(setblock a _ [(data 'x') (out y)])"},
      {"{% set a|upper %}x{% endset %}",
       "(setblock a (| _ upper) [(data 'x')])"},
      {"{% set a|trim|replace('x', y) %}z{% endset %}",
       "(setblock a (| (| _ trim) replace 'x' y) [(data 'z')])"},
      {"{% set ns.a %}x{% endset %}", "(setblock ns.a _ [(data 'x')])"},
  };
  ExpectTrees(kCases);
}

TEST(JinjaParser, MacrosAndCalls) {
  constexpr Case kCases[] = {
      {"{% macro m() %}x{% endmacro %}", "(macro m () [(data 'x')])"},
      {"{% macro m(a, b=1, c='x') %}{{ a }}{% endmacro %}",
       "(macro m (a b=1 c='x') [(out a)])"},
      {"{% macro m(a, b=a|upper) %}{% endmacro %}",
       "(macro m (a b=(| a upper)) [])"},
      {"{% macro m(): %}{% endmacro %}", "(macro m () [])"},
      {"{% call m() %}x{% endcall %}", "(callblock (call m) () [(data 'x')])"},
      {"{% call(a, b=2) m(1, k=3) %}{{ a }}{% endcall %}",
       "(callblock (call m 1 k=3) (a b=2) [(out a)])"},
      {"{% call a.b(c)(d) %}{% endcall %}",
       "(callblock (call (call (. a b) c) d) () [])"},
      {"{% macro m() %}{% for a in b %}{% break %}{% endfor %}{% endmacro %}",
       "(macro m () [(for a b [break])])"},
  };
  ExpectTrees(kCases);
}

TEST(JinjaParser, FilterWithAndGenerationBlocks) {
  constexpr Case kCases[] = {
      {"{% filter upper %}x{% endfilter %}",
       "(filterblock (| _ upper) [(data 'x')])"},
      {"{% filter trim|replace('a', 'b') %}x{% endfilter %}",
       "(filterblock (| (| _ trim) replace 'a' 'b') [(data 'x')])"},
      {"{% with %}x{% endwith %}", "(with [(data 'x')])"},
      {"{% with a = 1, b = a + 1 %}x{% endwith %}",
       "(with a 1 b (+ a 1) [(data 'x')])"},
      {"{% with a = b if c else d %}{% endwith %}", "(with a (? c b d) [])"},
      {"{% generation %}x{{ y }}{% endgeneration %}",
       "(generation [(data 'x') (out y)])"},
  };
  ExpectTrees(kCases);
}

// A macro notes which of the three names only it knows its body says.
TEST(JinjaParser, MacrosNoteTheirHiddenNames) {
  const auto parsed = ParseTemplate(
      "{% macro a() %}{{ caller() }}{% endmacro %}"
      "{% macro b() %}{{ varargs }}{% if x %}{{ kwargs }}{% endif %}"
      "{% endmacro %}"
      "{% macro c() %}{% macro d() %}{{ caller() }}{% endmacro %}"
      "{% endmacro %}");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const Block& body = (*parsed)->body;
  ASSERT_EQ(body.size(), 3u);
  EXPECT_TRUE(body[0]->uses_caller);
  EXPECT_FALSE(body[0]->uses_varargs || body[0]->uses_kwargs);
  EXPECT_FALSE(body[1]->uses_caller);
  EXPECT_TRUE(body[1]->uses_varargs && body[1]->uses_kwargs);
  EXPECT_FALSE(body[2]->uses_caller);
  EXPECT_TRUE(body[2]->body[0]->uses_caller);
}

// Jinja2 refuses all of these too; the words and columns are ours.
constexpr Case kErrors[] = {
    {"{% if %}{% endif %}",
     "line 1, column 7: expected an expression, found '%}'"},
    {"{% if a %}b", "line 1, column 4: 'if' is never closed: expected 'endif'"},
    {"{% if a %}b{% else %}c",
     "line 1, column 15: 'else' is never closed: expected 'endif'"},
    {"{% if a %}{% elif b %}c",
     "line 1, column 14: 'elif' is never closed: expected 'endif'"},
    {"{% if a %}{% endfor %}",
     "line 1, column 14: the tag 'endfor' is unknown here"},
    {"{% if a b %}{% endif %}", "line 1, column 9: expected '%}', found 'b'"},
    {"{% elif a %}", "line 1, column 4: the tag 'elif' is unknown here"},
    {"{% else %}", "line 1, column 4: the tag 'else' is unknown here"},
    {"{% endif %}", "line 1, column 4: the tag 'endif' is unknown here"},
    {"{% if a %}{% else %}{% else %}{% endif %}",
     "line 1, column 24: the tag 'else' is unknown here"},
    {"{% if a %}{% else %}{% elif b %}{% endif %}",
     "line 1, column 24: the tag 'elif' is unknown here"},
    {"{% if a %}{% endif x %}", "line 1, column 20: expected '%}', found 'x'"},
    {"{% if a if b else c %}{% endif %}",
     "line 1, column 9: expected '%}', found 'if'"},
    {"{% for %}{% endfor %}", "line 1, column 8: expected a name, found '%}'"},
    {"{% for a %}{% endfor %}", "line 1, column 10: expected 'in', found '%}'"},
    {"{% for a in %}{% endfor %}",
     "line 1, column 13: expected an expression, found '%}'"},
    {"{% for a of b %}{% endfor %}",
     "line 1, column 10: expected 'in', found 'of'"},
    {"{% for in b %}{% endfor %}",
     "line 1, column 11: expected 'in', found 'b'"},
    {"{% for 1 in b %}{% endfor %}",
     "line 1, column 8: expected a name, found '1'"},
    {"{% for a.b in c %}{% endfor %}",
     "line 1, column 9: expected 'in', found '.'"},
    {"{% for loop in b %}{% endfor %}",
     "line 1, column 4: cannot assign to 'loop'"},
    {"{% for true in b %}{% endfor %}",
     "line 1, column 8: cannot assign to 'true'"},
    {"{% for (a in b %}{% endfor %}",
     "line 1, column 17: unexpected '}', expected ')'"},
    {"{% for a in b %}\n\nx",
     "line 1, column 4: 'for' is never closed: expected 'endfor'"},
    {"{% for a in b %}{% else %}",
     "line 1, column 20: 'else' is never closed: expected 'endfor'"},
    {"{% for a in b %}{% endif %}",
     "line 1, column 20: the tag 'endif' is unknown here"},
    {"{% break %}", "line 1, column 4: 'break' outside a loop"},
    {"{% if a %}{% continue %}{% endif %}",
     "line 1, column 14: 'continue' outside a loop"},
    {"{% for a in b %}{% else %}{% break %}{% endfor %}",
     "line 1, column 30: 'break' outside a loop"},
    {"{% for a in b %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
     "line 1, column 35: 'break' outside a loop"},
    {"{% for a in b %}{% generation %}{% break %}{% endgeneration %}{% endfor "
     "%}",
     "line 1, column 36: 'break' outside a loop"},
    {"{% set %}", "line 1, column 8: expected a name, found '%}'"},
    {"{% set a %}b",
     "line 1, column 4: 'set' is never closed: expected 'endset'"},
    {"{% set a = %}", "line 1, column 12: expected an expression, found '%}'"},
    {"{% set 1 = a %}", "line 1, column 8: expected a name, found '1'"},
    {"{% set none = 1 %}", "line 1, column 8: cannot assign to 'none'"},
    {"{% set a.b.c = 1 %}", "line 1, column 11: expected '%}', found '.'"},
    {"{% set a[0] = 1 %}", "line 1, column 9: expected '%}', found '['"},
    {"{% set a, True = b %}", "line 1, column 11: cannot assign to 'True'"},
    {"{% set a b = 1 %}", "line 1, column 10: expected '%}', found 'b'"},
    {"{% set a == 1 %}", "line 1, column 10: expected '%}', found '=='"},
    {"{% set a| %}{% endset %}",
     "line 1, column 11: expected a name, found '%}'"},
    {"{% macro %}{% endmacro %}",
     "line 1, column 10: expected a name, found '%}'"},
    {"{% macro m %}{% endmacro %}",
     "line 1, column 12: expected '(', found '%}'"},
    {"{% macro m( %}{% endmacro %}",
     "line 1, column 14: unexpected '}', expected ')'"},
    {"{% macro m(a %}{% endmacro %}",
     "line 1, column 15: unexpected '}', expected ')'"},
    {"{% macro m(a=1, b) %}{% endmacro %}",
     "line 1, column 18: expected a default, as the parameter before has one, "
     "found ')'"},
    {"{% macro m(a.b) %}{% endmacro %}",
     "line 1, column 13: expected ',', found '.'"},
    {"{% macro m(1) %}{% endmacro %}",
     "line 1, column 12: expected a name, found '1'"},
    {"{% macro m(*a) %}{% endmacro %}",
     "line 1, column 12: expected a name, found '*'"},
    {"{% macro m(none) %}{% endmacro %}",
     "line 1, column 12: cannot assign to 'none'"},
    {"{% macro m(a,) %}{% endmacro %}",
     "line 1, column 14: expected a name, found ')'"},
    {"{% macro true() %}{% endmacro %}",
     "line 1, column 4: cannot assign to 'true'"},
    {"{% macro m() %}a",
     "line 1, column 4: 'macro' is never closed: expected 'endmacro'"},
    {"{% call %}{% endcall %}",
     "line 1, column 9: expected an expression, found '%}'"},
    {"{% call a %}{% endcall %}",
     "line 1, column 4: expected a call behind 'call'"},
    {"{% call a() %}b",
     "line 1, column 4: 'call' is never closed: expected 'endcall'"},
    {"{% call a()|upper %}{% endcall %}",
     "line 1, column 4: expected a call behind 'call'"},
    {"{% filter %}{% endfilter %}",
     "line 1, column 11: expected a name, found '%}'"},
    {"{% filter upper %}a",
     "line 1, column 4: 'filter' is never closed: expected 'endfilter'"},
    {"{% filter nope %}{% endfilter %}",
     "line 1, column 11: no filter named 'nope'"},
    {"{% with a %}{% endwith %}",
     "line 1, column 11: expected '=', found '%}'"},
    {"{% with a = 1 b = 2 %}{% endwith %}",
     "line 1, column 15: expected ',', found 'b'"},
    {"{% with a = 1 %}b",
     "line 1, column 4: 'with' is never closed: expected 'endwith'"},
    {"{% with a.b = 1 %}{% endwith %}",
     "line 1, column 10: expected '=', found '.'"},
    {"{% generation %}a",
     "line 1, column 4: 'generation' is never closed: expected "
     "'endgeneration'"},
    {"{% generation x %}{% endgeneration %}",
     "line 1, column 15: expected '%}', found 'x'"},
    {"{% endmacro %}", "line 1, column 4: the tag 'endmacro' is unknown here"},
    {"{% nope %}", "line 1, column 4: the tag 'nope' is unknown here"},
    {"a\né {% nope %}", "line 2, column 6: the tag 'nope' is unknown here"},
    {"{% %}", "line 1, column 4: expected a name, found '%}'"},
    {"{% 1 %}", "line 1, column 4: expected a name, found '1'"},
    {"{% \"a\" %}", "line 1, column 4: expected a name, found '\"a\"'"},
    {"{{ a }", "line 1, column 6: unexpected '}'"},
    {"{{ }}", "line 1, column 4: expected an expression, found '}}'"},
    {"{{ a b }}", "line 1, column 6: expected '}}', found 'b'"},
    {"{{ , }}", "line 1, column 4: expected an expression, found ','"},
    {"{% do a %}", "line 1, column 4: the tag 'do' is unknown here"},
};

TEST(JinjaParser, ErrorsNamePlaceAndReason) {
  for (const Case& test : kErrors) {
    EXPECT_EQ(ParsedTree(test.source),
              "!chat template: " + std::string(test.want))
        << test.source;
  }
}

// Jinja2 knows these; a template that uses them is refused by name.
TEST(JinjaParser, WhatIsNotKnownIsNamed) {
  constexpr Case kCases[] = {
      {"{% include 'x' %}", "column 4: the tag 'include' is unknown here"},
      {"{% extends 'x' %}", "column 4: the tag 'extends' is unknown here"},
      {"{% import 'x' as y %}", "column 4: the tag 'import' is unknown here"},
      {"{% from 'x' import y %}", "column 4: the tag 'from' is unknown here"},
      {"{% block b %}{% endblock %}",
       "column 4: the tag 'block' is unknown here"},
      {"{% autoescape true %}{% endautoescape %}",
       "column 4: the tag 'autoescape' is unknown here"},
      {"{% for a in b recursive %}{% endfor %}", "column 15: recursive loops"},
      {"{{ a[1, 2] }}", "column 5: subscripts with several indices"},
  };
  for (const Case& test : kCases) {
    const auto parsed = ParseTemplate(std::string(test.source));
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kUnimplemented);
    EXPECT_EQ(std::string(parsed.status().message()),
              "chat template: line 1, " + std::string(test.want))
        << test.source;
  }
}

// One more than fits is an error, as many as fit are none.
TEST(JinjaParser, NestingEndsAtItsLimit) {
  const auto nested = [](int count) {
    std::string source;
    for (int i = 0; i < count; ++i) source += "{% if 1 %}";
    for (int i = 0; i < count; ++i) source += "{% endif %}";
    return ParseTemplate(source).status();
  };
  EXPECT_TRUE(nested(kMaxNodeDepth - 2).ok()) << nested(kMaxNodeDepth - 2);
  EXPECT_EQ(nested(kMaxNodeDepth).code(), absl::StatusCode::kResourceExhausted);
  const auto sum = [](int count) {
    std::string source = "{{ 1";
    for (int i = 0; i < count; ++i) source += "+1";
    return ParseTemplate(source + " }}").status();
  };
  EXPECT_TRUE(sum(kMaxNodeDepth - 2).ok()) << sum(kMaxNodeDepth - 2);
  EXPECT_EQ(std::string(sum(kMaxNodeDepth).message()),
            "chat template: line 1, column 323: the template is too complex");
}

}  // namespace
}  // namespace zqfp::jinja
