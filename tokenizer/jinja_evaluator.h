// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_JINJA_EVALUATOR_H_
#define ZQFP_TOKENIZER_JINJA_EVALUATOR_H_

// Walks the syntax tree once and writes the text it describes.

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "tokenizer/jinja_ast.h"
#include "tokenizer/jinja_runtime.h"

namespace zqfp::jinja {

// The variables of a template, a loop's iteration, a macro's call, ...; names
// point into the syntax tree.
struct Scope {
  const Scope* parent = nullptr;
  absl::flat_hash_map<std::string_view, Value> variables;
  // A macro defined inside may be called after the scope ends: keep it.
  mutable bool is_captured = false;
};

// A macro, or the body of a call block, with the scope it was defined in.
struct Macro {
  const Stmt* definition;
  const Scope* scope;
};

class Evaluator {
 public:
  // `source` is shown in errors; `variables` is a dict.
  Evaluator(std::string_view source, Runtime& runtime)
      : source_(source), runtime_(runtime), budget_(runtime.budget) {}

  absl::StatusOr<std::string> Run(const Block& block, const Value& variables);

 private:
  enum class Flow { kNext, kBreak, kContinue };
  using FlowOr = absl::StatusOr<Flow>;
  using ValueOr = absl::StatusOr<Value>;
  class ScopeGuard;  // a scope for as long as it lives
  class DepthGuard;  // one level of recursion

  // Statements: jinja_evaluator.cc.
  FlowOr Execute(const Block& block);
  FlowOr Execute(const Stmt& statement);
  FlowOr If(const Stmt& statement);
  FlowOr For(const Stmt& statement);
  FlowOr With(const Stmt& statement);
  absl::Status ExecuteSimple(const Stmt& statement);
  absl::Status CallBlock(const Stmt& statement);
  absl::Status Write(std::string_view text);
  absl::Status WriteValue(const Value& value);
  // The text a block writes, in a scope of its own.
  absl::StatusOr<std::string> Capture(const Block& block);
  ValueOr CaptureFiltered(const Stmt& statement);
  absl::Status Assign(const Target& target, const Value& value);
  absl::Status AssignAttribute(const Target& target, const Value& value);
  absl::StatusOr<std::vector<Value>> FilterItems(const Stmt& statement,
                                                 std::vector<Value> items);
  Value DefineMacro(const Stmt& statement);
  ValueOr CallMacro(const Macro& macro, CallArguments arguments);
  absl::Status BindParameters(const Stmt& macro, CallArguments arguments);
  absl::Status BindExtras(const Stmt& macro, std::vector<Value> positional,
                          CallArguments& keyword);

  // Expressions: jinja_expression_evaluator.cc.
  ValueOr Evaluate(const Expr& expression);
  ValueOr EvaluateKind(const Expr& expression);
  ValueOr Name(const Expr& expression);
  ValueOr ListOrTuple(const Expr& expression);
  ValueOr DictLiteral(const Expr& expression);
  ValueOr Slice(const Expr& expression);
  ValueOr Comparison(const Expr& expression);
  ValueOr Concat(const Expr& expression);
  ValueOr Conditional(const Expr& expression);
  ValueOr Test(const Expr& expression);
  ValueOr ApplyFilterTo(const Expr& expression, const Value& input);
  ValueOr Call(const Expr& expression, const Value* caller);
  ValueOr CallValue(const Value& callee, CallArguments arguments);
  absl::StatusOr<CallArguments> Arguments(const ArgumentList* list);

  absl::Status AddPosition(int offset, const absl::Status& status);

  const std::string_view source_;
  Runtime& runtime_;
  Budget& budget_;
  std::string* out_ = nullptr;
  Scope* scope_ = nullptr;
  std::vector<std::unique_ptr<Scope>> captured_scopes_;
  std::deque<Macro> macros_;  // addresses stay
  int depth_ = 0;
  int macro_depth_ = 0;
  bool has_position_ = false;  // the error that unwinds carries its position
};

}  // namespace zqfp::jinja

#endif  // ZQFP_TOKENIZER_JINJA_EVALUATOR_H_
