// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_JINJA_PARSER_H_
#define ZQFP_TOKENIZER_JINJA_PARSER_H_

// From tokens to the syntax tree, with Jinja's grammar. Anything unknown is an
// error that names it.

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "tokenizer/jinja_ast.h"
#include "tokenizer/jinja_lexer.h"

namespace zqfp::jinja {

absl::StatusOr<std::shared_ptr<const Template>> ParseTemplate(
    std::string source);

// Recursive descent over the tokens of one template. The methods that read
// expressions are in jinja_expression_parser.cc, one per level of precedence.
class Parser {
 public:
  // `source` outlives the parser; the tokens point into it.
  Parser(std::string_view source, std::vector<Token> tokens)
      : source_(source), tokens_(std::move(tokens)) {}

  // Up to a tag whose name is in `ends`, which is left unread; no names: to
  // the end of the template. `opener` is the tag that awaits its end.
  absl::StatusOr<Block> ParseBlock(std::initializer_list<std::string_view> ends,
                                   const Token* opener);

 private:
  using ExprOr = absl::StatusOr<ExprPtr>;
  enum class Ternary { kAllowed, kNotAllowed };
  enum class Filters { kAllowed, kNotAllowed };

  // Statements.
  absl::Status ParseTag(Block* block);
  absl::Status ParseIf(Stmt* statement);
  absl::Status ParseFor(Stmt* statement);
  absl::Status ParseSet(Stmt* statement);
  absl::Status ParseMacro(Stmt* statement);
  absl::Status ParseCall(Stmt* statement);
  absl::Status ParseFilterBlock(Stmt* statement);
  absl::Status ParseWith(Stmt* statement);
  absl::Status ParseBody(std::string_view end, const Token& opener,
                         Block* body);
  // A body that is a function of its own: loops outside do not count, and
  // caller, varargs and kwargs are noted.
  absl::Status ParseMacroBody(std::string_view end, const Token& opener,
                              Stmt* statement);
  absl::Status ParseParameters(Stmt* statement);
  absl::StatusOr<Target> ParseTarget(bool namespaces_allowed);
  absl::StatusOr<Target> ParseOneTarget(bool namespaces_allowed);
  absl::Status Finish(std::unique_ptr<Stmt> statement, Block* block);

  // Expressions, loosest first.
  ExprOr ParseTuple(Ternary ternary, bool in_parentheses);
  ExprOr ParseExpression(Ternary ternary = Ternary::kAllowed);
  ExprOr ParseConditional();
  ExprOr ParseOr();
  ExprOr ParseAnd();
  ExprOr ParseNot();
  ExprOr ParseCompare();
  ExprOr ParseSum();
  ExprOr ParseConcat();
  ExprOr ParseProduct();
  ExprOr ParsePower();
  ExprOr ParseUnary(Filters filters);
  ExprOr ParsePrimary();
  ExprOr ParseName();
  ExprOr ParseStrings();
  ExprOr ParseNumber();
  ExprOr ParseListLiteral();
  ExprOr ParseDictLiteral();
  ExprOr ParsePostfix(ExprPtr expression);
  ExprOr ParseAttribute(ExprPtr expression);
  ExprOr ParseSubscript(ExprPtr expression);
  ExprOr ParseSliceOrIndex(int offset, ExprPtr expression);
  ExprOr ParseCallOf(ExprPtr expression);
  ExprOr ParseFiltersAndTests(ExprPtr expression);
  ExprOr ParseFilter(ExprPtr input);
  ExprOr ParseTest(ExprPtr input);
  absl::StatusOr<std::unique_ptr<const ArgumentList>> ParseArguments();
  absl::StatusOr<std::string> ParseDottedName();
  bool AtOperator(Operator* op) const;

  // Nodes. Finish computes the depth and holds the tree to its limits.
  std::unique_ptr<Expr> NewExpr(ExprKind kind, int offset) const;
  ExprOr Finish(std::unique_ptr<Expr> expression);
  ExprOr Finish(ExprKind kind, int offset, std::vector<ExprPtr> children);
  ExprOr Constant(int offset, Value value);

  // Tokens.
  const Token& Current() const { return tokens_[next_]; }
  const Token& Ahead() const {
    return tokens_[next_ + (next_ + 1 < tokens_.size())];
  }
  void Advance() { next_ += next_ + 1 < tokens_.size(); }
  bool Is(TokenKind kind, std::string_view text) const {
    return Current().kind == kind && Current().text == text;
  }
  bool IsOperator(std::string_view text) const {
    return Is(TokenKind::kOperator, text);
  }
  bool IsName(std::string_view text) const {
    return Is(TokenKind::kName, text);
  }
  bool SkipOperator(std::string_view text);
  bool SkipName(std::string_view text);
  absl::Status Expect(TokenKind kind, std::string_view text);
  absl::StatusOr<std::string_view> ExpectName();
  absl::Status Fail(int offset, const absl::Status& status) const;
  absl::Status Unexpected(std::string_view wanted) const;
  // Guards the recursion of the parser itself; use with Leave.
  absl::Status Enter();
  void Leave() { --recursion_; }

  const std::string_view source_;
  const std::vector<Token> tokens_;
  size_t next_ = 0;
  int recursion_ = 0;
  int num_nodes_ = 0;
  int loop_depth_ = 0;
  std::vector<Stmt*> macros_;  // around the current token, innermost last
};

}  // namespace zqfp::jinja

#endif  // ZQFP_TOKENIZER_JINJA_PARSER_H_
