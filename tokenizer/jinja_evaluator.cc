// SPDX-License-Identifier: Apache-2.0
// Statements. Expressions are in jinja_expression_evaluator.cc.
#include "tokenizer/jinja_evaluator.h"

#include <algorithm>

#include "kernels/core/status_macros.h"
#include "tokenizer/jinja_compare.h"
#include "tokenizer/jinja_evaluator_guards.h"
#include "tokenizer/jinja_lexer.h"
#include "tokenizer/jinja_print.h"

namespace zqfp::jinja {
namespace {

constexpr int64_t kScopeBytes = 64;
constexpr int64_t kVariableBytes = 64;

}  // namespace

// The innermost node that fails gets here first; the ones around it pass the
// error on.
absl::Status Evaluator::AddPosition(int offset, const absl::Status& status) {
  if (std::exchange(has_position_, true)) return status;
  return AtPosition(source_, offset, status);
}

// Two scopes: the caller's variables, and above them what the template sets, so
// that a set at the top level shadows and never overwrites.
absl::StatusOr<std::string> Evaluator::Run(const Block& block,
                                           const Value& variables) {
  std::string out;
  out_ = &out;
  ScopeGuard context(*this);
  for (const auto& [name, value] : AsDict(variables).entries) {
    scope_->variables[name.text()] = value;
  }
  ScopeGuard globals(*this);
  ZQFP_RETURN_IF_ERROR(Execute(block).status());
  if (!budget_.ok()) return AddPosition(0, budget_.status());
  return out;
}

// Every character of the prompt passes here.
absl::Status Evaluator::Write(std::string_view text) {
  if (out_->size() + text.size() > static_cast<size_t>(kMaxOutputBytes)) {
    return absl::ResourceExhaustedError(
        fmt::format("more than {} MiB of text", kMaxOutputBytes >> 20));
  }
  budget_.Scan(static_cast<int64_t>(text.size()));
  out_->append(text);
  return budget_.status();
}

// {{ value }}: str(), without the copy where it is a string already.
absl::Status Evaluator::WriteValue(const Value& value) {
  if (value.IsString()) return Write(value.text());
  ZQFP_ASSIGN_OR_RETURN(const std::string text, ToStr(budget_, value));
  return Write(text);
}

// Stops at a break or continue, which the loop around it handles.
Evaluator::FlowOr Evaluator::Execute(const Block& block) {
  for (const auto& statement : block) {
    ZQFP_ASSIGN_OR_RETURN(const Flow flow, Execute(*statement));
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

// One statement: counts a step, checks the depth, adds the position of errors.
Evaluator::FlowOr Evaluator::Execute(const Stmt& statement) {
  if (!budget_.Step()) return AddPosition(statement.offset, budget_.status());
  DepthGuard depth(*this);
  FlowOr flow = Flow::kNext;
  switch (statement.kind) {
    case StmtKind::kIf:
      flow = If(statement);
      break;
    case StmtKind::kFor:
      flow = For(statement);
      break;
    case StmtKind::kWith:
      flow = With(statement);
      break;
    case StmtKind::kBreak:
      return Flow::kBreak;
    case StmtKind::kContinue:
      return Flow::kContinue;
    default: {
      const absl::Status status = ExecuteSimple(statement);
      if (!status.ok()) flow = status;
    }
  }
  if (flow.ok() && depth.ok() && budget_.ok()) return flow;
  return AddPosition(statement.offset, !flow.ok()    ? flow.status()
                                       : !depth.ok() ? depth.status()
                                                     : budget_.status());
}

// Statements that do not change the flow.
absl::Status Evaluator::ExecuteSimple(const Stmt& statement) {
  switch (statement.kind) {
    case StmtKind::kData:
      return Write(statement.text);
    case StmtKind::kOutput: {
      ZQFP_ASSIGN_OR_RETURN(const Value value, Evaluate(*statement.value));
      return WriteValue(value);
    }
    case StmtKind::kSet: {
      ZQFP_ASSIGN_OR_RETURN(const Value value, Evaluate(*statement.value));
      return Assign(statement.target, value);
    }
    case StmtKind::kSetBlock: {
      ZQFP_ASSIGN_OR_RETURN(const Value value, CaptureFiltered(statement));
      return Assign(statement.target, value);
    }
    case StmtKind::kFilter: {
      ZQFP_ASSIGN_OR_RETURN(const Value value, CaptureFiltered(statement));
      return WriteValue(value);
    }
    case StmtKind::kMacro:
      scope_->variables[statement.text] = DefineMacro(statement);
      return budget_.status();
    case StmtKind::kCall:
      return CallBlock(statement);
    case StmtKind::kScope: {
      ZQFP_ASSIGN_OR_RETURN(const std::string text, Capture(statement.body));
      return Write(text);
    }
    default:
      return Error("a statement that cannot stand here");
  }
}

// Branches open no scope: what they set stays set, as in Jinja.
Evaluator::FlowOr Evaluator::If(const Stmt& statement) {
  for (const Branch& branch : statement.branches) {
    ZQFP_ASSIGN_OR_RETURN(const Value condition, Evaluate(*branch.condition));
    if (IsTrue(condition)) return Execute(branch.body);
  }
  return Execute(statement.else_body);
}

// for x in items if condition: the condition sees the target but not `loop`,
// whose length counts only what is kept.
absl::StatusOr<std::vector<Value>> Evaluator::FilterItems(
    const Stmt& statement, std::vector<Value> items) {
  std::vector<Value> kept;
  for (Value& item : items) {
    ScopeGuard scope(*this);
    ZQFP_RETURN_IF_ERROR(Assign(statement.target, item));
    ZQFP_ASSIGN_OR_RETURN(const Value condition,
                          Evaluate(*statement.condition));
    if (IsTrue(condition)) kept.push_back(std::move(item));
  }
  return kept;
}

// Each iteration has a fresh scope, so a set inside is gone in the next one;
// namespaces are how templates carry values out.
Evaluator::FlowOr Evaluator::For(const Stmt& statement) {
  ZQFP_ASSIGN_OR_RETURN(const Value value, Evaluate(*statement.value));
  ZQFP_ASSIGN_OR_RETURN(std::vector<Value> items, Iterate(budget_, value));
  if (statement.condition != nullptr) {
    ZQFP_ASSIGN_OR_RETURN(items, FilterItems(statement, std::move(items)));
  }
  auto shared = std::make_shared<Loop>();
  const std::shared_ptr<Loop> loop = shared;
  loop->items = std::move(items);
  const Value loop_value = MakeLoop(budget_, std::move(shared));
  bool run_else = true;
  for (loop->index = 0; loop->index < loop->items.size(); ++loop->index) {
    if (!budget_.Step()) return budget_.status();
    ScopeGuard scope(*this);
    scope_->variables["loop"] = loop_value;
    ZQFP_RETURN_IF_ERROR(Assign(statement.target, loop->items[loop->index]));
    ZQFP_ASSIGN_OR_RETURN(const Flow flow, Execute(statement.body));
    if (flow == Flow::kBreak) break;
    // As in Jinja: else runs unless some iteration came to its end.
    if (flow == Flow::kNext) run_else = false;
  }
  if (!run_else || statement.else_body.empty()) return Flow::kNext;
  ScopeGuard scope(*this);
  return Execute(statement.else_body);
}

// All values are computed before any target is set, as in Jinja.
Evaluator::FlowOr Evaluator::With(const Stmt& statement) {
  std::vector<Value> values;
  for (const auto& assignment : statement.assignments) {
    ZQFP_ASSIGN_OR_RETURN(Value value, Evaluate(*assignment.second));
    values.push_back(std::move(value));
  }
  ScopeGuard scope(*this);
  for (size_t i = 0; i < values.size(); ++i) {
    ZQFP_RETURN_IF_ERROR(Assign(statement.assignments[i].first, values[i]));
  }
  return Execute(statement.body);
}

// Sends the text elsewhere while the block runs.
absl::StatusOr<std::string> Evaluator::Capture(const Block& block) {
  std::string text;
  std::string* const outer = std::exchange(out_, &text);
  absl::Status status;
  {
    ScopeGuard scope(*this);
    status = Execute(block).status();
  }
  out_ = outer;
  ZQFP_RETURN_IF_ERROR(status);
  if (!budget_.Bytes(static_cast<int64_t>(text.size()))) {
    return budget_.status();
  }
  return text;
}

// {% set x | filter %} and {% filter a | b %}.
Evaluator::ValueOr Evaluator::CaptureFiltered(const Stmt& statement) {
  ZQFP_ASSIGN_OR_RETURN(std::string text, Capture(statement.body));
  Value value = MakeString(budget_, std::move(text));
  for (const ExprPtr& filter : statement.filters) {
    ZQFP_ASSIGN_OR_RETURN(value, ApplyFilterTo(*filter, value));
  }
  return value;
}

// Writes to the innermost scope; tuples unpack to exactly as many values.
absl::Status Evaluator::Assign(const Target& target, const Value& value) {
  if (target.tuple.empty()) {
    if (!target.attribute.empty()) return AssignAttribute(target, value);
    if (!budget_.Bytes(kVariableBytes)) return budget_.status();
    scope_->variables[target.name] = value;
    return absl::OkStatus();
  }
  ZQFP_RETURN_IF_ERROR(RequireDefined(value));
  ZQFP_ASSIGN_OR_RETURN(const std::vector<Value> items,
                        Iterate(budget_, value));
  if (items.size() != target.tuple.size()) {
    return Error("{} values to unpack, expected {}", items.size(),
                 target.tuple.size());
  }
  for (size_t i = 0; i < items.size(); ++i) {
    ZQFP_RETURN_IF_ERROR(Assign(target.tuple[i], items[i]));
  }
  return absl::OkStatus();
}

// {% set ns.x = value %}: the only thing in the language that changes a value.
absl::Status Evaluator::AssignAttribute(const Target& target,
                                        const Value& value) {
  const Value* found = nullptr;
  for (const Scope* scope = scope_; scope != nullptr && found == nullptr;
       scope = scope->parent) {
    const auto variable = scope->variables.find(target.name);
    if (variable != scope->variables.end()) found = &variable->second;
  }
  if (found == nullptr || !found->Is(Kind::kNamespace)) {
    return Error("cannot assign attribute on non-namespace object '{}'",
                 target.name);
  }
  auto& attributes = found->space->attributes;
  // Few in templates; a step for each keeps hostile ones cheap.
  if (!budget_.Step(static_cast<int64_t>(attributes.size() / 8)) ||
      !budget_.Bytes(kVariableBytes)) {
    return budget_.status();
  }
  for (auto& [name, attribute] : attributes) {
    if (name == target.attribute) {
      attribute = value;
      return absl::OkStatus();
    }
  }
  attributes.emplace_back(target.attribute, value);
  return absl::OkStatus();
}

// The scope may end before the last call: it is kept from now on, and so are
// the scopes around it.
Value Evaluator::DefineMacro(const Stmt& statement) {
  for (const Scope* scope = scope_; scope != nullptr && !scope->is_captured;
       scope = scope->parent) {
    scope->is_captured = true;
  }
  budget_.Bytes(kScopeBytes);
  Value value;
  value.kind = Kind::kMacro;
  value.macro = &macros_.emplace_back(Macro{&statement, scope_});
  return value;
}

// {% call(x) m() %}: the body becomes the macro `caller` that m may call.
absl::Status Evaluator::CallBlock(const Stmt& statement) {
  const Value caller = DefineMacro(statement);
  absl::StatusOr<Value> result = Call(*statement.value, &caller);
  if (!result.ok()) {
    return AddPosition(statement.value->offset, result.status());
  }
  return WriteValue(*result);
}

// A macro's extra arguments; those it does not ask for are errors.
absl::Status Evaluator::BindExtras(const Stmt& macro,
                                   std::vector<Value> positional,
                                   CallArguments& keyword) {
  if (!positional.empty() && !macro.uses_varargs) {
    return Error("macro '{}' takes not more than {} argument(s)", macro.text,
                 macro.parameters.size());
  }
  if (macro.uses_varargs) {
    scope_->variables["varargs"] =
        MakeSequence(budget_, Kind::kTuple, std::move(positional));
  }
  if (macro.uses_caller) {
    scope_->variables["caller"] = Undefined("No caller defined");
  }
  DictBuilder rest(budget_);
  for (auto& [name, value] : keyword.keyword) {
    if (name == "caller" && macro.uses_caller) {
      scope_->variables["caller"] = std::move(value);
    } else if (macro.uses_kwargs && name != "caller") {
      rest.Set(name, std::move(value));
    } else {
      return Error("macro '{}' takes no keyword argument '{}'", macro.text,
                   name);
    }
  }
  if (macro.uses_kwargs) scope_->variables["kwargs"] = rest.Build();
  return absl::OkStatus();
}

// Sorts what a call gives into the parameters: by position, then by name, then
// the defaults.
absl::Status Evaluator::BindParameters(const Stmt& macro,
                                       CallArguments arguments) {
  const size_t num_parameters = macro.parameters.size();
  const size_t num_positional =
      std::min(num_parameters, arguments.positional.size());
  CallArguments extra_keyword;
  std::vector<std::optional<Value>> given(num_parameters);
  for (size_t i = 0; i < num_positional; ++i) {
    given[i] = std::move(arguments.positional[i]);
  }
  arguments.positional.erase(
      arguments.positional.begin(),
      arguments.positional.begin() + static_cast<int64_t>(num_positional));
  for (auto& argument : arguments.keyword) {
    const auto found =
        std::find_if(macro.parameters.begin(), macro.parameters.end(),
                     [&argument](const Parameter& parameter) {
                       return parameter.name == argument.first;
                     });
    const auto i = static_cast<size_t>(found - macro.parameters.begin());
    if (found == macro.parameters.end() || given[i].has_value()) {
      extra_keyword.keyword.push_back(std::move(argument));
    } else {
      given[i] = std::move(argument.second);
    }
  }
  ZQFP_RETURN_IF_ERROR(
      BindExtras(macro, std::move(arguments.positional), extra_keyword));
  // In order, so that a default may use the parameters before it.
  for (size_t i = 0; i < num_parameters; ++i) {
    const Parameter& parameter = macro.parameters[i];
    Value value;
    if (given[i].has_value()) {
      value = *std::move(given[i]);
    } else if (parameter.default_value != nullptr) {
      ZQFP_ASSIGN_OR_RETURN(value, Evaluate(*parameter.default_value));
    } else {
      value = Undefined(
          fmt::format("parameter '{}' was not provided", parameter.name));
    }
    scope_->variables[parameter.name] = std::move(value);
  }
  return absl::OkStatus();
}

// A macro sees the scope it was defined in, not the one it is called from, and
// returns the text it writes.
Evaluator::ValueOr Evaluator::CallMacro(const Macro& macro,
                                        CallArguments arguments) {
  if (macro_depth_ >= kMaxMacroDepth) {
    return absl::ResourceExhaustedError(
        fmt::format("macros call each other deeper than {}", kMaxMacroDepth));
  }
  ++macro_depth_;
  std::string text;
  std::string* const outer = std::exchange(out_, &text);
  absl::Status status;
  {
    ScopeGuard scope(*this, macro.scope);
    status = BindParameters(*macro.definition, std::move(arguments));
    if (status.ok()) status = Execute(macro.definition->body).status();
  }
  out_ = outer;
  --macro_depth_;
  ZQFP_RETURN_IF_ERROR(status);
  return MakeString(budget_, std::move(text));
}

}  // namespace zqfp::jinja
