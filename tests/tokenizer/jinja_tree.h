// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_TOKENIZER_JINJA_TREE_H_
#define ZQFP_TESTS_TOKENIZER_JINJA_TREE_H_

// A syntax tree as text, (operator operand ...), so that it can be held
// against the tree Jinja2 makes of the same template.

#include <string>
#include <string_view>

#include "tokenizer/jinja_ast.h"
#include "tokenizer/jinja_filters.h"
#include "tokenizer/jinja_parser.h"
#include "tokenizer/jinja_print.h"

namespace zqfp::testing {

// Absent expressions are "_", constants as Python prints them.
std::string ShowTree(const jinja::ExprPtr& expression);

inline std::string ShowArguments(const jinja::ArgumentList* arguments) {
  std::string out;
  if (arguments == nullptr) return out;
  for (const auto& value : arguments->positional) out += " " + ShowTree(value);
  for (const auto& [name, value] : arguments->keyword) {
    out += " " + name + "=" + ShowTree(value);
  }
  if (arguments->more_positional != nullptr) {
    out += " *" + ShowTree(arguments->more_positional);
  }
  if (arguments->more_keyword != nullptr) {
    out += " **" + ShowTree(arguments->more_keyword);
  }
  return out;
}

// (head child child ... tail)
inline std::string ShowNode(std::string_view head, const jinja::Expr& node,
                            std::string_view tail = "") {
  std::string out = "(" + std::string(head);
  for (const auto& child : node.children) out += " " + ShowTree(child);
  return out.append(tail) + ")";
}

inline std::string ShowComparison(const jinja::Expr& node) {
  static constexpr std::string_view kSymbols[] = {
      "+",  "-", "*",  "/", "//", "%",  "**",    "==",
      "!=", "<", "<=", ">", ">=", "in", "not in"};
  const auto symbol = [&node](size_t i) {
    return kSymbols[static_cast<size_t>(node.operators[i])];
  };
  if (node.kind == jinja::ExprKind::kBinary) return ShowNode(symbol(0), node);
  std::string out = "(cmp " + ShowTree(node.children[0]);
  for (size_t i = 0; i < node.operators.size(); ++i) {
    out.append(" ").append(symbol(i)).append(" ");
    out += ShowTree(node.children[i + 1]);
  }
  return out + ")";
}

inline std::string ShowTree(const jinja::ExprPtr& expression) {
  using jinja::ExprKind;
  if (expression == nullptr) return "_";
  const jinja::Expr& node = *expression;
  jinja::Budget budget;
  const std::string arguments =
      " " + node.name + ShowArguments(node.arguments.get());
  switch (node.kind) {
    case ExprKind::kConstant:
      return jinja::ToRepr(budget, node.constant).value_or("error");
    case ExprKind::kName:
      return node.name;
    case ExprKind::kList:
      return ShowNode("list", node);
    case ExprKind::kTuple:
      return ShowNode("tuple", node);
    case ExprKind::kDict:
      return ShowNode("dict", node);
    case ExprKind::kAttribute:
      return ShowNode(".", node, " " + node.name);
    case ExprKind::kSubscript:
      return ShowNode("[]", node);
    case ExprKind::kSlice:
      return ShowNode("[:]", node);
    case ExprKind::kCall:
      return ShowNode("call", node, ShowArguments(node.arguments.get()));
    case ExprKind::kFilter:
      return ShowNode("|", node, arguments);
    case ExprKind::kTest:
      return ShowNode("is", node, arguments);
    case ExprKind::kNot:
      return ShowNode("not", node);
    case ExprKind::kNegate:
      return ShowNode("neg", node);
    case ExprKind::kPlus:
      return ShowNode("pos", node);
    case ExprKind::kBinary:
    case ExprKind::kCompare:
      return ShowComparison(node);
    case ExprKind::kConcat:
      return ShowNode("~", node);
    case ExprKind::kAnd:
      return ShowNode("and", node);
    case ExprKind::kOr:
      return ShowNode("or", node);
    case ExprKind::kConditional:
      return ShowNode("?", node);
  }
  return "?";
}

inline std::string ShowTree(const jinja::Block& block);

inline std::string ShowTarget(const jinja::Target& target) {
  if (target.tuple.empty()) {
    return target.attribute.empty() ? target.name
                                    : target.name + "." + target.attribute;
  }
  std::string out = "(tuple";
  for (const auto& part : target.tuple) out += " " + ShowTarget(part);
  return out + ")";
}

// Filters are kept innermost first, each without its input: "_" there.
inline std::string ShowFilters(const std::vector<jinja::ExprPtr>& filters) {
  std::string out = "_";
  for (const auto& filter : filters) {
    out = "(| " + out + " " + filter->name +
          ShowArguments(filter->arguments.get()) + ")";
  }
  return out;
}

inline std::string ShowParameters(const jinja::Stmt& statement) {
  std::string out = "(";
  for (const auto& parameter : statement.parameters) {
    if (out.size() > 1) out += " ";
    out += parameter.name;
    if (parameter.default_value != nullptr) {
      out += "=" + ShowTree(parameter.default_value);
    }
  }
  return out + ")";
}

inline std::string ShowBranches(const jinja::Stmt& statement) {
  std::string out;
  for (const jinja::Branch& branch : statement.branches) {
    out += (out.empty() ? "(if " : " elif ") + ShowTree(branch.condition) +
           " " + ShowTree(branch.body);
  }
  return out;
}

inline std::string ShowTree(const jinja::Stmt& statement) {
  using jinja::StmtKind;
  jinja::Budget budget;
  const std::string body = " " + ShowTree(statement.body);
  const std::string tail =
      (statement.else_body.empty() ? ""
                                   : " else " + ShowTree(statement.else_body)) +
      ")";
  switch (statement.kind) {
    case StmtKind::kData:
      return "(data " +
             *jinja::ToRepr(budget, jinja::MakeString(budget, statement.text)) +
             ")";
    case StmtKind::kOutput:
      return "(out " + ShowTree(statement.value) + ")";
    case StmtKind::kIf:
      return ShowBranches(statement) + tail;
    case StmtKind::kFor:
      return "(for " + ShowTarget(statement.target) + " " +
             ShowTree(statement.value) +
             (statement.condition == nullptr
                  ? ""
                  : " if " + ShowTree(statement.condition)) +
             body + tail;
    case StmtKind::kSet:
      return "(set " + ShowTarget(statement.target) + " " +
             ShowTree(statement.value) + ")";
    case StmtKind::kSetBlock:
      return "(setblock " + ShowTarget(statement.target) + " " +
             ShowFilters(statement.filters) + body + ")";
    case StmtKind::kMacro:
      return "(macro " + statement.text + " " + ShowParameters(statement) +
             body + ")";
    case StmtKind::kCall:
      return "(callblock " + ShowTree(statement.value) + " " +
             ShowParameters(statement) + body + ")";
    case StmtKind::kFilter:
      return "(filterblock " + ShowFilters(statement.filters) + body + ")";
    case StmtKind::kWith: {
      std::string out = "(with";
      for (const auto& [target, value] : statement.assignments) {
        out += " " + ShowTarget(target) + " " + ShowTree(value);
      }
      return out + body + ")";
    }
    case StmtKind::kScope:
      return "(generation" + body + ")";
    case StmtKind::kBreak:
      return "break";
    case StmtKind::kContinue:
      return "continue";
  }
  return "?";
}

// [statement statement ...]
inline std::string ShowTree(const jinja::Block& block) {
  std::string out = "[";
  for (const auto& statement : block) {
    if (out.size() > 1) out += " ";
    out += ShowTree(*statement);
  }
  return out + "]";
}

// The tree of a template without the brackets around it, or "!" and the error.
inline std::string ParsedTree(std::string_view source) {
  const auto parsed = jinja::ParseTemplate(std::string(source));
  if (!parsed.ok()) return "!" + std::string(parsed.status().message());
  const std::string tree = ShowTree((*parsed)->body);
  return tree.substr(1, tree.size() - 2);
}

}  // namespace zqfp::testing

#endif  // ZQFP_TESTS_TOKENIZER_JINJA_TREE_H_
