// SPDX-License-Identifier: Apache-2.0
// Expressions.
#include "kernels/core/status_macros.h"
#include "tokenizer/jinja_attributes.h"
#include "tokenizer/jinja_compare.h"
#include "tokenizer/jinja_evaluator.h"
#include "tokenizer/jinja_evaluator_guards.h"
#include "tokenizer/jinja_filters.h"
#include "tokenizer/jinja_functions.h"
#include "tokenizer/jinja_operators.h"
#include "tokenizer/jinja_print.h"
#include "tokenizer/jinja_tests.h"

namespace zqfp::jinja {

// One node: counts a step, checks the depth, adds the position of errors. A
// budget that ran dry inside is noticed here at the latest.
Evaluator::ValueOr Evaluator::Evaluate(const Expr& expression) {
  if (!budget_.Step()) return AddPosition(expression.offset, budget_.status());
  DepthGuard depth(*this);
  if (!depth.ok()) return AddPosition(expression.offset, depth.status());
  ValueOr value = EvaluateKind(expression);
  if (value.ok() && budget_.ok()) return value;
  return AddPosition(expression.offset,
                     value.ok() ? budget_.status() : value.status());
}

// Kept apart from the cases with locals of their own, so that the frames of a
// deep recursion stay small.
Evaluator::ValueOr Evaluator::EvaluateKind(const Expr& expression) {
  switch (expression.kind) {
    case ExprKind::kConstant:
      return expression.constant;
    case ExprKind::kName:
      return Name(expression);
    case ExprKind::kList:
    case ExprKind::kTuple:
      return ListOrTuple(expression);
    case ExprKind::kDict:
      return DictLiteral(expression);
    case ExprKind::kSlice:
      return Slice(expression);
    case ExprKind::kCall:
      return Call(expression, nullptr);
    case ExprKind::kTest:
      return Test(expression);
    case ExprKind::kCompare:
      return Comparison(expression);
    case ExprKind::kConcat:
      return Concat(expression);
    case ExprKind::kConditional:
      return Conditional(expression);
    default:
      break;
  }
  // The others begin with the value of their first child.
  ZQFP_ASSIGN_OR_RETURN(const Value first, Evaluate(*expression.children[0]));
  switch (expression.kind) {
    case ExprKind::kAttribute:
      return GetAttribute(runtime_, first, expression.name);
    case ExprKind::kFilter:
      return ApplyFilterTo(expression, first);
    case ExprKind::kNot:
      return Bool(!IsTrue(first));
    case ExprKind::kNegate:
      return Negate(first);
    case ExprKind::kPlus:
      return Plus(first);
    case ExprKind::kAnd:
      return IsTrue(first) ? Evaluate(*expression.children[1]) : first;
    case ExprKind::kOr:
      return IsTrue(first) ? first : Evaluate(*expression.children[1]);
    default:
      break;
  }
  ZQFP_ASSIGN_OR_RETURN(const Value second, Evaluate(*expression.children[1]));
  if (expression.kind == ExprKind::kSubscript) {
    return GetItem(runtime_, first, second);
  }
  return Binary(budget_, expression.operators[0], first, second);
}

// Variables first, then globals: a template may shadow range or dict.
Evaluator::ValueOr Evaluator::Name(const Expr& expression) {
  int64_t num_scopes = 0;
  for (const Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
    const auto found = scope->variables.find(expression.name);
    if (found != scope->variables.end()) return found->second;
    ++num_scopes;
  }
  budget_.Step(num_scopes / 4);
  if (IsFunction(expression.name)) return MakeFunction(expression.name);
  if (IsUnsupportedGlobal(expression.name)) {
    return Unsupported("the global '{}' is not known here", expression.name);
  }
  return Undefined(fmt::format("'{}' is undefined", expression.name));
}

// [a, b] and (a, b).
Evaluator::ValueOr Evaluator::ListOrTuple(const Expr& expression) {
  std::vector<Value> items;
  items.reserve(expression.children.size());
  for (const ExprPtr& child : expression.children) {
    ZQFP_ASSIGN_OR_RETURN(Value item, Evaluate(*child));
    items.push_back(std::move(item));
  }
  const Kind kind =
      expression.kind == ExprKind::kList ? Kind::kList : Kind::kTuple;
  return MakeSequence(budget_, kind, std::move(items));
}

// {key: value, ...}; a repeated key keeps its first place and its last value.
Evaluator::ValueOr Evaluator::DictLiteral(const Expr& expression) {
  DictBuilder dict(budget_);
  for (size_t i = 0; i < expression.children.size(); i += 2) {
    ZQFP_ASSIGN_OR_RETURN(Value key, Evaluate(*expression.children[i]));
    ZQFP_ASSIGN_OR_RETURN(Value value, Evaluate(*expression.children[i + 1]));
    ZQFP_RETURN_IF_ERROR(dict.Set(std::move(key), std::move(value)));
  }
  return dict.Build();
}

// value[start:stop:step].
Evaluator::ValueOr Evaluator::Slice(const Expr& expression) {
  ZQFP_ASSIGN_OR_RETURN(const Value value, Evaluate(*expression.children[0]));
  Value bounds[3] = {None(), None(), None()};
  for (size_t i = 0; i < 3; ++i) {
    if (expression.children[i + 1] == nullptr) continue;
    ZQFP_ASSIGN_OR_RETURN(bounds[i], Evaluate(*expression.children[i + 1]));
  }
  return GetSlice(runtime_, value, bounds[0], bounds[1], bounds[2]);
}

// a < b < c is a < b and b < c, with b evaluated once.
Evaluator::ValueOr Evaluator::Comparison(const Expr& expression) {
  ZQFP_ASSIGN_OR_RETURN(Value left, Evaluate(*expression.children[0]));
  for (size_t i = 0; i < expression.operators.size(); ++i) {
    ZQFP_ASSIGN_OR_RETURN(Value right, Evaluate(*expression.children[i + 1]));
    ZQFP_ASSIGN_OR_RETURN(
        const bool holds,
        Compare(budget_, expression.operators[i], left, right));
    if (!holds) return Bool(false);
    left = std::move(right);
  }
  return Bool(true);
}

// a ~ b ~ c: str() of each.
Evaluator::ValueOr Evaluator::Concat(const Expr& expression) {
  std::string out;
  for (const ExprPtr& child : expression.children) {
    ZQFP_ASSIGN_OR_RETURN(const Value value, Evaluate(*child));
    if (value.IsString()) {
      if (!budget_.Bytes(static_cast<int64_t>(value.text().size()))) break;
      out += value.text();
    } else {
      ZQFP_ASSIGN_OR_RETURN(const std::string text, ToStr(budget_, value));
      out += text;
    }
  }
  return MakeString(budget_, std::move(out));
}

// Only the branch that counts is evaluated.
Evaluator::ValueOr Evaluator::Conditional(const Expr& expression) {
  ZQFP_ASSIGN_OR_RETURN(const Value condition,
                        Evaluate(*expression.children[0]));
  if (IsTrue(condition)) return Evaluate(*expression.children[1]);
  if (expression.children[2] != nullptr) {
    return Evaluate(*expression.children[2]);
  }
  return Undefined("the inline if-expression has no else and was false");
}

// value is test(argument); `is not` is a Not around this.
Evaluator::ValueOr Evaluator::Test(const Expr& expression) {
  ZQFP_ASSIGN_OR_RETURN(const Value value, Evaluate(*expression.children[0]));
  ZQFP_ASSIGN_OR_RETURN(CallArguments arguments,
                        Arguments(expression.arguments.get()));
  ZQFP_ASSIGN_OR_RETURN(
      const bool passes,
      ApplyTest(runtime_, *expression.test, value, std::move(arguments)));
  return Bool(passes);
}

// The input is evaluated by the caller: a filter block has none in the tree.
Evaluator::ValueOr Evaluator::ApplyFilterTo(const Expr& expression,
                                            const Value& input) {
  ZQFP_ASSIGN_OR_RETURN(CallArguments arguments,
                        Arguments(expression.arguments.get()));
  return ApplyFilter(runtime_, *expression.filter, input, std::move(arguments));
}

// Evaluates arguments in the order they are written, *a and **b unpacked.
absl::StatusOr<CallArguments> Evaluator::Arguments(const ArgumentList* list) {
  CallArguments arguments;
  if (list == nullptr) return arguments;
  for (const ExprPtr& child : list->positional) {
    ZQFP_ASSIGN_OR_RETURN(Value value, Evaluate(*child));
    arguments.positional.push_back(std::move(value));
  }
  for (const auto& [name, child] : list->keyword) {
    ZQFP_ASSIGN_OR_RETURN(Value value, Evaluate(*child));
    arguments.keyword.emplace_back(name, std::move(value));
  }
  if (list->more_positional != nullptr) {
    ZQFP_ASSIGN_OR_RETURN(const Value more, Evaluate(*list->more_positional));
    ZQFP_ASSIGN_OR_RETURN(const std::vector<Value> items,
                          Iterate(budget_, more));
    arguments.positional.insert(arguments.positional.end(), items.begin(),
                                items.end());
  }
  if (list->more_keyword != nullptr) {
    ZQFP_ASSIGN_OR_RETURN(const Value more, Evaluate(*list->more_keyword));
    if (!more.Is(Kind::kDict)) {
      return Error("argument after ** must be a mapping, not {}",
                   TypeName(more));
    }
    for (const auto& [key, value] : AsDict(more).entries) {
      if (!key.IsString()) return Error("keywords must be strings");
      if (!budget_.Step() ||
          !budget_.Bytes(static_cast<int64_t>(key.text().size()))) {
        return budget_.status();
      }
      arguments.keyword.emplace_back(key.text(), value);
    }
  }
  return arguments;
}

// `caller` is what a call block hands to the macro; null outside of one.
Evaluator::ValueOr Evaluator::Call(const Expr& expression,
                                   const Value* caller) {
  ZQFP_ASSIGN_OR_RETURN(const Value callee, Evaluate(*expression.children[0]));
  ZQFP_ASSIGN_OR_RETURN(CallArguments arguments,
                        Arguments(expression.arguments.get()));
  if (caller != nullptr) arguments.keyword.emplace_back("caller", *caller);
  return CallValue(callee, std::move(arguments));
}

// What can be called: macros, methods, global functions.
Evaluator::ValueOr Evaluator::CallValue(const Value& callee,
                                        CallArguments arguments) {
  switch (callee.kind) {
    case Kind::kMacro:
      return CallMacro(*callee.macro, std::move(arguments));
    case Kind::kMethod:
      return CallMethod(runtime_, callee, std::move(arguments));
    case Kind::kFunction:
      return CallFunction(runtime_, callee.text(), std::move(arguments));
    case Kind::kLoop:
      return Unsupported("recursive loops");
    default:
      ZQFP_RETURN_IF_ERROR(RequireDefined(callee));
      return Error("'{}' object is not callable", TypeName(callee));
  }
}

}  // namespace zqfp::jinja
