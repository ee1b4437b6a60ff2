// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/jinja_operators.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/status_macros.h"
#include "tokenizer/jinja_compare.h"
#include "tokenizer/jinja_print.h"
#include "tokenizer/jinja_text.h"

namespace zqfp::jinja {
namespace {

// In the order of the enum; as Python's messages spell them.
std::string_view Symbol(Operator op) {
  constexpr std::string_view kSymbols[] = {
      "+",  "-", "*",  "/", "//", "%",  "** or pow()", "==",
      "!=", "<", "<=", ">", ">=", "in", "not in"};
  return kSymbols[static_cast<int>(op)];
}

// Python's integers grow; these do not, and never wrap either.
absl::Status Overflow(Operator op) {
  return Error("the result of '{}' exceeds 64 bits", Symbol(op));
}

// By squaring: at most 63 rounds until it overflows or ends.
absl::StatusOr<Value> IntegerPower(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) {
      return Error("0.0 cannot be raised to a negative power");
    }
    return Float(pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) {
      return Overflow(Operator::kPower);
    }
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) {
      return Overflow(Operator::kPower);
    }
  }
  return Int(result);
}

// Booleans count as 0 and 1.
absl::StatusOr<Value> Integers(Operator op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case Operator::kAdd:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case Operator::kSubtract:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case Operator::kMultiply:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case Operator::kDivide:
      if (b == 0) return Error("division by zero");
      return Float(static_cast<double>(a) / static_cast<double>(b));
    case Operator::kFloorDivide:
    case Operator::kModulo:
      if (b == 0) return Error("integer division or modulo by zero");
      if (b == -1) {  // INT64_MIN / -1 has no machine answer
        if (op == Operator::kModulo) return Int(0);
        overflow = __builtin_sub_overflow(0, a, &result);
        break;
      }
      result = op == Operator::kModulo ? a % b : a / b;
      if (a % b != 0 && (a % b < 0) != (b < 0)) {  // C truncates, Python floors
        result += op == Operator::kModulo ? b : -1;
      }
      break;
    default:
      return IntegerPower(a, b);
  }
  if (overflow) return Overflow(op);
  return Int(result);
}

// Division by zero is an error in Python, also of floats; the floor division
// and the remainder follow CPython step by step.
absl::StatusOr<Value> Floats(Operator op, double a, double b) {
  switch (op) {
    case Operator::kAdd:
      return Float(a + b);
    case Operator::kSubtract:
      return Float(a - b);
    case Operator::kMultiply:
      return Float(a * b);
    case Operator::kDivide:
      if (b == 0) return Error("float division by zero");
      return Float(a / b);
    case Operator::kFloorDivide:
    case Operator::kModulo: {
      if (b == 0) return Error("float floor division or modulo by zero");
      double rest = fmod(a, b);
      double quotient = (a - rest) / b;
      if (rest != 0 && (rest < 0) != (b < 0)) {
        rest += b;
        quotient -= 1;
      }
      if (op == Operator::kModulo) {
        return Float(rest == 0 ? std::copysign(0.0, b) : rest);
      }
      if (quotient == 0) return Float(std::copysign(0.0, a / b));
      const double floored = floor(quotient);
      return Float(quotient - floored > 0.5 ? floored + 1 : floored);
    }
    default: {
      if (a < 0 && b != floor(b)) return Error("a power that is complex");
      if (a == 0 && b < 0) {
        return Error("0.0 cannot be raised to a negative power");
      }
      const double power = pow(a, b);
      if (std::isinf(power) && !std::isinf(a) && !std::isinf(b)) {
        return Error("the result of '**' is too large");
      }
      return Float(power);
    }
  }
}

// "ab" * 3 and [1] * 3: the size is known, and refused, before it is made.
absl::StatusOr<Value> Repeat(Budget& budget, const Value& value,
                             int64_t count) {
  count = std::max<int64_t>(count, 0);
  const bool is_string = value.IsString();
  const auto size = static_cast<int64_t>(is_string ? value.text().size()
                                                   : value.items().size());
  const int64_t unit = is_string ? 1 : static_cast<int64_t>(sizeof(Value));
  int64_t num_bytes = 0;
  if (__builtin_mul_overflow(size, count, &num_bytes) ||
      __builtin_mul_overflow(num_bytes, unit, &num_bytes)) {
    num_bytes = -1;  // refused
  }
  const bool fits =
      is_string ? budget.TextBytes(num_bytes) : budget.Bytes(num_bytes);
  if (!fits || !budget.Step(size == 0 ? 0 : count / 16)) {
    return budget.status();
  }
  if (size == 0) count = 0;
  if (is_string) {
    std::string text;
    text.reserve(static_cast<size_t>(num_bytes));
    for (int64_t i = 0; i < count; ++i) text += value.text();
    return MakeString(budget, std::move(text));
  }
  std::vector<Value> items;
  items.reserve(static_cast<size_t>(size * count));
  for (int64_t i = 0; i < count; ++i) {
    items.insert(items.end(), value.items().begin(), value.items().end());
  }
  return MakeSequence(budget, value.kind, std::move(items));
}

// a + b of strings: where one is safe markup, the other is escaped.
absl::StatusOr<Value> AddStrings(Budget& budget, const Value& a,
                                 const Value& b) {
  if (!budget.Bytes(static_cast<int64_t>(a.text().size() + b.text().size()))) {
    return budget.status();
  }
  if (a.markup == b.markup) {
    Value sum = MakeString(budget, a.text() + b.text());
    sum.markup = a.markup;
    return sum;
  }
  Value sum = MakeString(budget, a.markup ? a.text() + EscapeHtml(b.text())
                                          : EscapeHtml(a.text()) + b.text());
  sum.markup = true;
  return sum;
}

// list + list and tuple + tuple; the result is a new one.
absl::StatusOr<Value> AddSequences(Budget& budget, const Value& a,
                                   const Value& b) {
  const size_t size = a.items().size() + b.items().size();
  if (!budget.Bytes(static_cast<int64_t>(size * sizeof(Value))) ||
      !budget.Step(static_cast<int64_t>(size / 16))) {
    return budget.status();
  }
  std::vector<Value> items = a.items();
  items.insert(items.end(), b.items().begin(), b.items().end());
  return MakeSequence(budget, a.kind, std::move(items));
}

// An undefined operand says why it is undefined; others name their types.
absl::Status BadOperands(Operator op, const Value& a, const Value& b) {
  ZQFP_RETURN_IF_ERROR(RequireDefined(a));
  ZQFP_RETURN_IF_ERROR(RequireDefined(b));
  if (op == Operator::kAdd && (a.IsString() || a.Is(Kind::kList))) {
    return Error("can only concatenate {} (not \"{}\") to {}", TypeName(a),
                 TypeName(b), TypeName(a));
  }
  return Error("unsupported operand type(s) for {}: '{}' and '{}'", Symbol(op),
               TypeName(a), TypeName(b));
}

// Python also repeats bytes, which templates do not have.
bool IsRepeatable(const Value& value) {
  return value.IsString() || value.Is(Kind::kList) || value.Is(Kind::kTuple);
}

}  // namespace

// Integers stay integers; one float makes the result a float.
absl::StatusOr<Value> Binary(Budget& budget, Operator op, const Value& a,
                             const Value& b) {
  if (a.IsIntegral() && b.IsIntegral()) {
    return Integers(op, a.AsInteger(), b.AsInteger());
  }
  if (a.IsNumber() && b.IsNumber()) {
    return Floats(op, a.AsNumber(), b.AsNumber());
  }
  if (op == Operator::kAdd && a.kind == b.kind) {
    if (a.IsString()) return AddStrings(budget, a, b);
    if (a.Is(Kind::kList) || a.Is(Kind::kTuple)) {
      return AddSequences(budget, a, b);
    }
  }
  if (op == Operator::kMultiply && IsRepeatable(a) && b.IsIntegral()) {
    return Repeat(budget, a, b.AsInteger());
  }
  if (op == Operator::kMultiply && a.IsIntegral() && IsRepeatable(b)) {
    return Repeat(budget, b, a.AsInteger());
  }
  if (op == Operator::kModulo && a.IsString()) {
    if (b.Is(Kind::kTuple)) {
      return PercentFormat(budget, a.text(), b.items(),
                           UnusedArguments::kRefused);
    }
    // What has subscripts might be meant for %(name)s, says Python.
    const bool is_mapping =
        b.Is(Kind::kDict) || b.Is(Kind::kList) || b.Is(Kind::kRange);
    return PercentFormat(
        budget, a.text(), std::span(&b, 1),
        is_mapping ? UnusedArguments::kAllowed : UnusedArguments::kRefused);
  }
  return BadOperands(op, a, b);
}

// a > b is b < a; a <= b is a < b or a == b, which is the same for what has an
// order here, nan included.
absl::StatusOr<bool> Compare(Budget& budget, Operator op, const Value& a,
                             const Value& b) {
  switch (op) {
    case Operator::kEqual:
      return Equal(budget, a, b);
    case Operator::kNotEqual:
      return !Equal(budget, a, b);
    case Operator::kLess:
      return Less(budget, a, b, "<");
    case Operator::kGreater:
      return Less(budget, b, a, ">");
    case Operator::kLessEqual:
    case Operator::kGreaterEqual: {
      const bool flip = op == Operator::kGreaterEqual;
      ZQFP_ASSIGN_OR_RETURN(const bool less, Less(budget, flip ? b : a,
                                                  flip ? a : b, Symbol(op)));
      return less || Equal(budget, a, b);
    }
    case Operator::kIn:
      return Contains(budget, b, a);
    default: {
      ZQFP_ASSIGN_OR_RETURN(const bool contains, Contains(budget, b, a));
      return !contains;
    }
  }
}

// -x.
absl::StatusOr<Value> Negate(const Value& value) {
  if (value.IsIntegral()) {
    return Integers(Operator::kSubtract, 0, value.AsInteger());
  }
  if (value.Is(Kind::kFloat)) return Float(-value.number);
  ZQFP_RETURN_IF_ERROR(RequireDefined(value));
  return Error("bad operand type for unary -: '{}'", TypeName(value));
}

// +x: makes an integer of a boolean.
absl::StatusOr<Value> Plus(const Value& value) {
  if (value.IsIntegral()) return Int(value.AsInteger());
  if (value.Is(Kind::kFloat)) return value;
  ZQFP_RETURN_IF_ERROR(RequireDefined(value));
  return Error("bad operand type for unary +: '{}'", TypeName(value));
}

}  // namespace zqfp::jinja
