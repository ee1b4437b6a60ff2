// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/jinja_tests.h"

#include <cmath>

#include "kernels/core/status_macros.h"
#include "tokenizer/jinja_compare.h"
#include "tokenizer/jinja_filters.h"
#include "tokenizer/jinja_operators.h"
#include "tokenizer/jinja_print.h"
#include "tokenizer/jinja_text.h"

namespace zqfp::jinja {

// `other` is the argument of a test with one, else undefined.
using TestFunction = absl::StatusOr<bool> (*)(Runtime&, const Value& value,
                                              const Value& other);
struct Test {
  std::string_view name;
  int num_arguments;
  TestFunction function;
};

namespace {

using Outcome = absl::StatusOr<bool>;

// A kind that is a Python type of its own.
template <Kind kind>
Outcome IsKind(Runtime&, const Value& value, const Value&) {
  return value.kind == kind;
}

// The one use of an undefined name that is no error.
Outcome Defined(Runtime&, const Value& value, const Value&) {
  return !value.IsUndefined();
}

// Booleans are numbers in Python.
Outcome Number(Runtime&, const Value& value, const Value&) {
  return value.IsNumber();
}

// `is true` is about the constant, not about truth.
template <bool wanted>
Outcome IsLiteral(Runtime&, const Value& value, const Value&) {
  return value.Is(Kind::kBool) && value.boolean == wanted;
}

// What has a length and indices.
Outcome IsSequence(Runtime&, const Value& value, const Value&) {
  return value.IsUndefined() || value.IsString() || value.Is(Kind::kDict) ||
         value.Is(Kind::kList) || value.Is(Kind::kTuple) ||
         value.Is(Kind::kRange);
}

// What `for` accepts, None not included.
Outcome IsIterable(Runtime&, const Value& value, const Value&) {
  return value.IsUndefined() || value.IsString() || value.Is(Kind::kDict) ||
         value.IsSequence() || value.Is(Kind::kLoop);
}

Outcome IsCallable(Runtime&, const Value& value, const Value&) {
  // Undefined and the loop have a __call__ too.
  return value.kind >= Kind::kLoop || value.IsUndefined();
}

// value % divisor == wanted; what has no remainder is an error.
Outcome Remainder(Runtime& runtime, const Value& value, int64_t divisor,
                  int64_t wanted) {
  ZQFP_ASSIGN_OR_RETURN(
      const Value rest,
      Binary(runtime.budget, Operator::kModulo, value, Int(divisor)));
  return Equal(runtime.budget, rest, Int(wanted));
}

Outcome IsOdd(Runtime& runtime, const Value& value, const Value&) {
  return Remainder(runtime, value, 2, 1);
}

Outcome IsEven(Runtime& runtime, const Value& value, const Value&) {
  return Remainder(runtime, value, 2, 0);
}

// Zero as a divisor is an error, as in Python.
Outcome DivisibleBy(Runtime& runtime, const Value& value, const Value& other) {
  ZQFP_ASSIGN_OR_RETURN(
      const Value rest,
      Binary(runtime.budget, Operator::kModulo, value, other));
  return Equal(runtime.budget, rest, Int(0));
}

// Python's `is`. Objects are the same if they share their heap part.
Outcome SameAs(Runtime& runtime, const Value& value, const Value& other) {
  if (value.kind != other.kind) return false;
  if (value.IsString() &&
      !runtime.budget.Scan(static_cast<int64_t>(value.text().size()))) {
    return runtime.budget.status();
  }
  switch (value.kind) {
    case Kind::kNone:
      return true;
    case Kind::kBool:
      return value.boolean == other.boolean;
    case Kind::kInt:  // CPython shares small integers
      return value.integer == other.integer;
    case Kind::kString:
    case Kind::kFunction:
      return value.text() == other.text();
    case Kind::kNamespace:
      return value.space == other.space;
    case Kind::kMacro:
      return value.macro == other.macro;
    default:
      return value.object != nullptr && value.object == other.object;
  }
}

// The operators under their names.
template <Operator op>
Outcome Compares(Runtime& runtime, const Value& value, const Value& other) {
  return Compare(runtime.budget, op, value, other);
}

// str.isupper: some letter has case, and none has the other one.
template <bool upper>
Outcome HasCase(Runtime& runtime, const Value& value, const Value&) {
  ZQFP_ASSIGN_OR_RETURN(const std::string text, ToStr(runtime.budget, value));
  bool found = false;
  for (size_t i = 0; i < text.size();) {
    const char32_t c = NextCodePoint(text, &i);
    if (upper ? IsLower(c) : IsUpper(c)) return false;
    found = found || (upper ? IsUpper(c) : IsLower(c));
  }
  return found;
}

// 'upper' is filter: so that a template may ask what there is.
Outcome NamesFilter(Runtime&, const Value& value, const Value&) {
  return value.IsString() && FindFilter(value.text()) != nullptr;
}

// The same for tests.
Outcome NamesTest(Runtime&, const Value& value, const Value&) {
  return value.IsString() && FindTest(value.text()) != nullptr;
}

// What `safe` and `escape` return.
Outcome IsEscaped(Runtime&, const Value& value, const Value&) {
  return value.markup;
}

constexpr Test kTests[] = {
    {"defined", 0, Defined},
    {"undefined", 0, IsKind<Kind::kUndefined>},
    {"none", 0, IsKind<Kind::kNone>},
    {"boolean", 0, IsKind<Kind::kBool>},
    {"integer", 0, IsKind<Kind::kInt>},
    {"float", 0, IsKind<Kind::kFloat>},
    {"string", 0, IsKind<Kind::kString>},
    {"mapping", 0, IsKind<Kind::kDict>},
    {"number", 0, Number},
    {"true", 0, IsLiteral<true>},
    {"false", 0, IsLiteral<false>},
    {"sequence", 0, IsSequence},
    {"iterable", 0, IsIterable},
    {"callable", 0, IsCallable},
    {"odd", 0, IsOdd},
    {"even", 0, IsEven},
    {"divisibleby", 1, DivisibleBy},
    {"sameas", 1, SameAs},
    {"upper", 0, HasCase<true>},
    {"lower", 0, HasCase<false>},
    {"filter", 0, NamesFilter},
    {"test", 0, NamesTest},
    {"escaped", 0, IsEscaped},
    {"in", 1, Compares<Operator::kIn>},
    {"eq", 1, Compares<Operator::kEqual>},
    {"equalto", 1, Compares<Operator::kEqual>},
    {"==", 1, Compares<Operator::kEqual>},
    {"ne", 1, Compares<Operator::kNotEqual>},
    {"!=", 1, Compares<Operator::kNotEqual>},
    {"lt", 1, Compares<Operator::kLess>},
    {"lessthan", 1, Compares<Operator::kLess>},
    {"<", 1, Compares<Operator::kLess>},
    {"le", 1, Compares<Operator::kLessEqual>},
    {"<=", 1, Compares<Operator::kLessEqual>},
    {"gt", 1, Compares<Operator::kGreater>},
    {"greaterthan", 1, Compares<Operator::kGreater>},
    {">", 1, Compares<Operator::kGreater>},
    {"ge", 1, Compares<Operator::kGreaterEqual>},
    {">=", 1, Compares<Operator::kGreaterEqual>},
};

}  // namespace

// Runs at parse time, and for the names that select() gets.
const Test* FindTest(std::string_view name) {
  for (const Test& test : kTests) {
    if (test.name == name) return &test;
  }
  return nullptr;
}

// No test has optional arguments.
absl::StatusOr<bool> ApplyTest(Runtime& runtime, const Test& test,
                               const Value& value, CallArguments arguments) {
  if (!arguments.keyword.empty() ||
      arguments.positional.size() != static_cast<size_t>(test.num_arguments)) {
    return Error("the test '{}' takes {} arguments, {} were given", test.name,
                 test.num_arguments,
                 arguments.positional.size() + arguments.keyword.size());
  }
  if (test.num_arguments == 0) return test.function(runtime, value, Value());
  return test.function(runtime, value, arguments.positional[0]);
}

}  // namespace zqfp::jinja
