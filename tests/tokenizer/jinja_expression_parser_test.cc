// SPDX-License-Identifier: Apache-2.0
// Precedence and shape of expressions are Jinja2's, operator by operator.
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
    EXPECT_EQ(ParsedTree("{{ " + std::string(test.source) + " }}"),
              "(out " + std::string(test.want) + ")")
        << test.source;
  }
}

TEST(JinjaExpressionParser, LiteralsAndNames) {
  constexpr Case kCases[] = {
      {"1_000", "1000"},
      {"0_0", "0"},
      {"1.5e-3", "0.0015"},
      {"1e100", "1e+100"},
      {"'a' \"b\" 'c'", "'abc'"},
      {"'a' 'b'.x", "(. 'ab' x)"},
      {"true, True, false, False, none, None",
       "(tuple True True False False None None)"},
      {"TRUE, nil, _x, été", "(tuple TRUE nil _x été)"},
      {"[]", "(list)"},
      {"[1,]", "(list 1)"},
      {"[a, [b], (c,)]", "(list a (list b) (tuple c))"},
      {"()", "(tuple)"},
      {"(a)", "a"},
      {"(a,)", "(tuple a)"},
      {"(a, b,)", "(tuple a b)"},
      {"((a))", "a"},
      {"a, b", "(tuple a b)"},
      {"a,", "(tuple a)"},
      {"{}", "(dict)"},
      {"{'a': 1,}", "(dict 'a' 1)"},
      {"{a: b, 1: {2: 3}, (1, 2): 4}", "(dict a b 1 (dict 2 3) (tuple 1 2) 4)"},
      {"{a if b else c: d or e}", "(dict (? b a c) (or d e))"},
      {"[a if b else c, d or e]", "(list (? b a c) (or d e))"},
  };
  ExpectTrees(kCases);
}

TEST(JinjaExpressionParser, ArithmeticPrecedence) {
  constexpr Case kCases[] = {
      {"a + b * c - d", "(- (+ a (* b c)) d)"},
      {"a * b + c * d", "(+ (* a b) (* c d))"},
      {"a - b - c", "(- (- a b) c)"},
      {"a / b * c // d % e", "(% (// (* (/ a b) c) d) e)"},
      {"a ~ b + c ~ d", "(+ (~ a b) (~ c d))"},
      {"a + b ~ c * d", "(+ a (~ b (* c d)))"},
      {"a * b ~ c", "(~ (* a b) c)"},
      {"a ~ b ~ c", "(~ a b c)"},
      {"(a ~ b) ~ c", "(~ (~ a b) c)"},
      {"a ** b ** c", "(** (** a b) c)"},
      {"-a ** b", "(** (neg a) b)"},
      {"a ** -b", "(** a (neg b))"},
      {"a * -b ** c", "(* a (** (neg b) c))"},
      {"--a", "(neg (neg a))"},
      {"+-a", "(pos (neg a))"},
      {"-a.b", "(neg (. a b))"},
      {"-a[0](1)", "(neg (call ([] a 0) 1))"},
      {"-a|abs", "(| (neg a) abs)"},
      {"(-a)|abs", "(| (neg a) abs)"},
      {"-1|abs", "(| (neg 1) abs)"},
      {"a + b|abs", "(+ a (| b abs))"},
      {"a ** b|abs", "(** a (| b abs))"},
      {"-a is odd", "(is (neg a) odd)"},
      {"a * b is odd", "(* a (is b odd))"},
      {"-(a + b) * c", "(* (neg (+ a b)) c)"},
  };
  ExpectTrees(kCases);
}

TEST(JinjaExpressionParser, LogicAndComparisons) {
  constexpr Case kCases[] = {
      {"a or b and c", "(or a (and b c))"},
      {"a and b or c and d", "(or (and a b) (and c d))"},
      {"a or b or c", "(or (or a b) c)"},
      {"not a and b", "(and (not a) b)"},
      {"not a == b", "(not (cmp a == b))"},
      {"not not a", "(not (not a))"},
      {"not a in b", "(not (cmp a in b))"},
      {"not (a or b)", "(not (or a b))"},
      {"not a is odd", "(not (is a odd))"},
      {"a and not b", "(and a (not b))"},
      {"a < b < c", "(cmp a < b < c)"},
      {"a < b == c != d", "(cmp a < b == c != d)"},
      {"a in b not in c", "(cmp a in b not in c)"},
      {"a not in b", "(cmp a not in b)"},
      {"a == b and c == d", "(and (cmp a == b) (cmp c == d))"},
      {"a + b < c * d", "(cmp (+ a b) < (* c d))"},
      {"a ~ b == c", "(cmp (~ a b) == c)"},
      {"a < b + c or d", "(or (cmp a < (+ b c)) d)"},
      {"(a < b) < c", "(cmp (cmp a < b) < c)"},
      {"a >= b <= c > d", "(cmp a >= b <= c > d)"},
      {"a in b and c not in d", "(and (cmp a in b) (cmp c not in d))"},
  };
  ExpectTrees(kCases);
}

TEST(JinjaExpressionParser, Conditionals) {
  constexpr Case kCases[] = {
      {"a if b", "(? b a _)"},
      {"a if b else c", "(? b a c)"},
      {"a if b else c if d else e", "(? b a (? d c e))"},
      {"a if b if c", "(? c (? b a _) _)"},
      {"a if b else c if d", "(? b a (? d c _))"},
      {"(a if b) if c else d", "(? c (? b a _) d)"},
      {"a or b if c and d else e or f", "(? (and c d) (or a b) (or e f))"},
      {"a, b if c else d, e", "(tuple a (? c b d) e)"},
      {"a if b else c|upper", "(? b a (| c upper))"},
      {"a + b if c else d", "(? c (+ a b) d)"},
      {"f(a if b else c)", "(call f (? b a c))"},
      {"a[b if c else d]", "([] a (? c b d))"},
      {"a if not b else c", "(? (not b) a c)"},
  };
  ExpectTrees(kCases);
}

TEST(JinjaExpressionParser, AttributesSubscriptsAndCalls) {
  constexpr Case kCases[] = {
      {"a.b.c", "(. (. a b) c)"},
      {"a.if.else", "(. (. a if) else)"},
      {"a['b'].c[0]", "([] (. ([] a 'b') c) 0)"},
      {"a.0", "([] a 0)"},
      {"a.0.1", "([] ([] a 0) 1)"},
      {"a[-1]", "([] a (neg 1))"},
      {"a[b.c + 1]", "([] a (+ (. b c) 1))"},
      {"a[1:2]", "([:] a 1 2 _)"},
      {"a[1:2:3]", "([:] a 1 2 3)"},
      {"a[:]", "([:] a _ _ _)"},
      {"a[::]", "([:] a _ _ _)"},
      {"a[1:]", "([:] a 1 _ _)"},
      {"a[:2]", "([:] a _ 2 _)"},
      {"a[::2]", "([:] a _ _ 2)"},
      {"a[1::2]", "([:] a 1 _ 2)"},
      {"a[:b:c]", "([:] a _ b c)"},
      {"a[b|int:c if d else e]", "([:] a (| b int) (? d c e) _)"},
      {"a()", "(call a)"},
      {"a(b)(c)", "(call (call a b) c)"},
      {"a.b(c).d", "(. (call (. a b) c) d)"},
      {"a(1, b, c=2, d=3)", "(call a 1 b c=2 d=3)"},
      {"a(1,)", "(call a 1)"},
      {"a(b=1,)", "(call a b=1)"},
      {"a(*b)", "(call a *b)"},
      {"a(**b)", "(call a **b)"},
      {"a(1, c=2, *d, **e)", "(call a 1 c=2 *d **e)"},
      {"a(1, *d, c=2)", "(call a 1 c=2 *d)"},
      {"a((1, 2))", "(call a (tuple 1 2))"},
      {"'a'.b", "(. 'a' b)"},
      {"[1][0]", "([] (list 1) 0)"},
      {"{'a': 1}.a", "(. (dict 'a' 1) a)"},
      {"(a, b)[0]", "([] (tuple a b) 0)"},
      {"1 .x", "(. 1 x)"},
      {"a(b if c else d, e or f)", "(call a (? c b d) (or e f))"},
  };
  ExpectTrees(kCases);
}

TEST(JinjaExpressionParser, FiltersAndTests) {
  constexpr Case kCases[] = {
      {"a|upper|trim", "(| (| a upper) trim)"},
      {"a|replace('x', 'y')|trim", "(| (| a replace 'x' 'y') trim)"},
      {"a|default(b|lower)", "(| a default (| b lower))"},
      {"a|join(d=',')", "(| a join d=',')"},
      {"a.b|upper", "(| (. a b) upper)"},
      {"a|upper ~ b|lower", "(~ (| a upper) (| b lower))"},
      {"(a|first).b", "(. (| a first) b)"},
      {"(a|first)[0]", "([] (| a first) 0)"},
      {"a|default('x')(1)", "(call (| a default 'x') 1)"},
      {"a + 1|abs", "(+ a (| 1 abs))"},
      {"not a|length", "(not (| a length))"},
      {"a is defined", "(is a defined)"},
      {"a is not defined", "(not (is a defined))"},
      {"a is divisibleby 3", "(is a divisibleby 3)"},
      {"a is divisibleby(3)", "(is a divisibleby 3)"},
      {"a is divisibleby b.c", "(is a divisibleby (. b c))"},
      {"a is divisibleby 3 + 1", "(+ (is a divisibleby 3) 1)"},
      {"a is eq [1]", "(is a eq (list 1))"},
      {"a is eq {}", "(is a eq (dict))"},
      {"a is eq 'x' 'y'", "(is a eq 'xy')"},
      {"a is eq b(1)[0]", "(is a eq ([] (call b 1) 0))"},
      {"a is in b", "(is a in b)"},
      {"a is not in [1]", "(not (is a in (list 1)))"},
      {"a is odd and b is even", "(and (is a odd) (is b even))"},
      {"a is odd or b", "(or (is a odd) b)"},
      {"a is odd == b", "(cmp (is a odd) == b)"},
      {"a is odd|string", "(| (is a odd) string)"},
      {"a|length is odd", "(is (| a length) odd)"},
      {"a is eq(1, 2)", "(is a eq 1 2)"},
      {"a is sameas none", "(is a sameas None)"},
      {"a is true", "(is a true)"},
      {"a is odd not in b", "(cmp (is a odd not) in b)"},
      {"a is number ** 2", "(** (is a number) 2)"},
      {"a is eq -1", "(- (is a eq) 1)"},
  };
  ExpectTrees(kCases);
}

// Jinja2 refuses all of these too; the words and columns are ours.
constexpr Case kErrors[] = {
    {"1 +", "column 8: expected an expression, found '}}'"},
    {"* 2", "column 4: expected an expression, found '*'"},
    {"a **", "column 9: expected an expression, found '}}'"},
    {"1 + * 2", "column 8: expected an expression, found '*'"},
    {"not", "column 8: expected an expression, found '}}'"},
    {"a and", "column 10: expected an expression, found '}}'"},
    {"or a", "column 7: expected '}}', found 'a'"},
    {"a if", "column 9: expected an expression, found '}}'"},
    {"a if b else", "column 16: expected an expression, found '}}'"},
    {"if a", "column 7: expected '}}', found 'a'"},
    {"a b", "column 6: expected '}}', found 'b'"},
    {"1 2", "column 6: expected '}}', found '2'"},
    {"'a' 1", "column 8: expected '}}', found '1'"},
    {"(a", "column 7: unexpected '}', expected ')'"},
    {"(a,", "column 8: unexpected '}', expected ')'"},
    {"(,)", "column 5: expected an expression, found ','"},
    {"[,]", "column 5: expected an expression, found ','"},
    {"[a b]", "column 7: expected ',', found 'b'"},
    {"[a,,b]", "column 7: expected an expression, found ','"},
    {"{a}", "column 6: expected ':', found '}'"},
    {"{a: }", "column 8: expected an expression, found '}'"},
    {"{: a}", "column 5: expected an expression, found ':'"},
    {"{'a' 1}", "column 9: expected ':', found '1'"},
    {"{a: 1 b: 2}", "column 10: expected ',', found 'b'"},
    {"{a: 1,, b: 2}", "column 10: expected an expression, found ','"},
    {"a.", "column 7: expected a name, found '}}'"},
    {".a", "column 4: expected an expression, found '.'"},
    {"a.'b'", "column 6: expected a name, found ''b''"},
    {"a.(b)", "column 6: expected a name, found '('"},
    {"a[", "column 7: unexpected '}', expected ']'"},
    {"a[1", "column 8: unexpected '}', expected ']'"},
    {"a[1:2:3:4]", "column 11: expected ']', found ':'"},
    {"a[:::]", "column 8: expected ']', found ':'"},
    {"f(", "column 7: unexpected '}', expected ')'"},
    {"f(a", "column 8: unexpected '}', expected ')'"},
    {"f(a b)", "column 8: expected ',', found 'b'"},
    {"f(,)", "column 6: expected an expression, found ','"},
    {"f(a,,b)", "column 8: expected an expression, found ','"},
    {"f(a=1, 2)", "column 11: expected a keyword argument, found '2'"},
    {"f(*a, 1)", "column 10: expected a keyword argument, found '1'"},
    {"f(*a, *b)", "column 10: expected an argument, found '*'"},
    {"f(**a, **b)", "column 11: expected an argument, found '**'"},
    {"f(a=)", "column 8: expected an expression, found ')'"},
    {"f(1=2)", "column 7: expected ',', found '='"},
    {"a|", "column 7: expected a name, found '}}'"},
    {"a|1", "column 6: expected a name, found '1'"},
    {"a|nope", "column 6: no filter named 'nope'"},
    {"a|nope.x", "column 6: no filter named 'nope.x'"},
    {"a|first.b", "column 6: no filter named 'first.b'"},
    {"a is", "column 9: expected a name, found '}}'"},
    {"a is nope", "column 9: no test named 'nope'"},
    {"a is 1", "column 9: expected a name, found '1'"},
    {"a is not", "column 13: expected a name, found '}}'"},
    {"a is defined is odd", "column 9: tests cannot be chained with 'is'"},
    {"a = 1", "column 6: expected '}}', found '='"},
    {"a := 1", "column 6: expected '}}', found ':'"},
    {"a not b", "column 6: expected '}}', found 'not'"},
    {"a < < b", "column 8: expected an expression, found '<'"},
    {"a ? b : c", "column 6: unexpected char '?'"},
    {"a; b", "column 5: expected '}}', found ';'"},
    {"08", "column 4: the integer 08 has a leading 0"},
    {"1_a", "column 5: expected '}}', found '_a'"},
    {"a.b.1.c.", "column 13: expected a name, found '}}'"},
    {"a in", "column 9: expected an expression, found '}}'"},
    {"a == ", "column 10: expected an expression, found '}}'"},
    {"~a", "column 4: expected an expression, found '~'"},
    {"a ~", "column 8: expected an expression, found '}}'"},
};

TEST(JinjaExpressionParser, ErrorsNamePlaceAndReason) {
  for (const Case& test : kErrors) {
    EXPECT_EQ(ParsedTree("{{ " + std::string(test.source) + " }}"),
              "!chat template: line 1, " + std::string(test.want))
        << test.source;
  }
}

// Jinja2 takes these; 64 bits and the sandbox do not.
TEST(JinjaExpressionParser, LimitsAreNamed) {
  constexpr Case kCases[] = {
      {"9223372036854775808",
       "column 4: the integer 9223372036854775808 exceeds 64 bits"},
      {"123456789012345678901234567890",
       "column 4: the integer 123456789012345678901234567890 exceeds 64 bits"},
      {"1e999", "column 4: the number 1e999 is out of range"},
      {"'\\N{DIGIT ONE}'", "column 4: \\N{...} in a string literal"},
      {"a[1, 2]", "column 5: subscripts with several indices"},
      {"0x10", "column 4: a number that is not decimal"},
      {"a._b", "column 6: the attribute '_b' starts with an underscore"},
      {"a.__class__",
       "column 6: the attribute '__class__' starts with an underscore"},
      {"a[]", "column 6: expected an expression, found ']'"},
  };
  for (const Case& test : kCases) {
    EXPECT_EQ(ParsedTree("{{ " + std::string(test.source) + " }}"),
              "!chat template: line 1, " + std::string(test.want))
        << test.source;
  }
}

}  // namespace
}  // namespace zqfp::jinja
