// SPDX-License-Identifier: Apache-2.0
// Statements: the tags of a template.
#include "tokenizer/jinja_parser.h"

#include <algorithm>

#include "kernels/core/status_macros.h"
#include "tokenizer/jinja_text.h"

namespace zqfp::jinja {
namespace {

// A token as an error message shows it.
std::string Describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kEnd:
      return "the end of the template";
    case TokenKind::kData:
      return "text";
    case TokenKind::kVariableBegin:
      return "'{{'";
    case TokenKind::kVariableEnd:
      return "'}}'";
    case TokenKind::kBlockBegin:
      return "'{%'";
    case TokenKind::kBlockEnd:
      return "'%}'";
    default:
      return fmt::format("'{}'", token.text.substr(0, 40));
  }
}

// Names that are constants cannot be set.
bool IsReserved(std::string_view name) {
  constexpr std::string_view kReserved[] = {"true", "false", "none",
                                            "True", "False", "None"};
  return std::find(std::begin(kReserved), std::end(kReserved), name) !=
         std::end(kReserved);
}

// Of the deepest statement; 0 if there is none.
int DepthOf(const Block& block) {
  int depth = 0;
  for (const auto& statement : block) {
    depth = std::max(depth, statement->depth);
  }
  return depth;
}

// 0 for an expression that is absent.
int DepthOf(const ExprPtr& expression) {
  return expression == nullptr ? 0 : expression->depth;
}

}  // namespace

// The tokens point into the template's own copy of the source.
absl::StatusOr<std::shared_ptr<const Template>> ParseTemplate(
    std::string source) {
  if (source.size() > kMaxSourceBytes) {
    return absl::ResourceExhaustedError(
        fmt::format("chat template: {} bytes, at most {} are accepted",
                    source.size(), kMaxSourceBytes));
  }
  if (!IsValidUtf8(source)) {
    return Error("chat template: the source is not valid UTF-8");
  }
  auto result = std::make_shared<Template>();
  result->source = NormalizeNewlines(source);
  ZQFP_ASSIGN_OR_RETURN(std::vector<Token> tokens, Tokenize(result->source));
  Parser parser(result->source, std::move(tokens));
  ZQFP_ASSIGN_OR_RETURN(result->body, parser.ParseBlock({}, nullptr));
  return std::shared_ptr<const Template>(std::move(result));
}

// The parser's errors carry the position of a token.
absl::Status Parser::Fail(int offset, const absl::Status& status) const {
  return AtPosition(source_, offset, status);
}

// At the current token, which is shown.
absl::Status Parser::Unexpected(std::string_view wanted) const {
  return Fail(Current().offset,
              Error("expected {}, found {}", wanted, Describe(Current())));
}

// An error ends the parse, so only the paths of success call Leave.
absl::Status Parser::Enter() {
  if (++recursion_ > kMaxNodeDepth) {
    return Fail(Current().offset, absl::ResourceExhaustedError(fmt::format(
                                      "nested deeper than {}", kMaxNodeDepth)));
  }
  return absl::OkStatus();
}

// True if it was there.
bool Parser::SkipOperator(std::string_view text) {
  if (!IsOperator(text)) return false;
  Advance();
  return true;
}

// The same for a word.
bool Parser::SkipName(std::string_view text) {
  if (!IsName(text)) return false;
  Advance();
  return true;
}

// An error if it is not there.
absl::Status Parser::Expect(TokenKind kind, std::string_view text) {
  if (!Is(kind, text)) {
    return Unexpected(Describe({kind, 0, text}));
  }
  Advance();
  return absl::OkStatus();
}

// Any word.
absl::StatusOr<std::string_view> Parser::ExpectName() {
  if (Current().kind != TokenKind::kName) return Unexpected("a name");
  const std::string_view name = Current().text;
  Advance();
  return name;
}

// As for expressions: the depth is known and bounded before the node is kept.
absl::Status Parser::Finish(std::unique_ptr<Stmt> statement, Block* block) {
  int depth = std::max(DepthOf(statement->body), DepthOf(statement->else_body));
  depth = std::max(depth, DepthOf(statement->value));
  depth = std::max(depth, DepthOf(statement->condition));
  for (const Branch& branch : statement->branches) {
    depth = std::max({depth, DepthOf(branch.condition), DepthOf(branch.body)});
  }
  for (const auto& assignment : statement->assignments) {
    depth = std::max(depth, DepthOf(assignment.second));
  }
  for (const ExprPtr& filter : statement->filters) {
    depth = std::max(depth, DepthOf(filter));
  }
  for (const Parameter& parameter : statement->parameters) {
    depth = std::max(depth, DepthOf(parameter.default_value));
  }
  statement->depth = depth + 1;
  if (statement->depth > kMaxNodeDepth || ++num_nodes_ > kMaxNodes) {
    return Fail(statement->offset,
                absl::ResourceExhaustedError("the template is too complex"));
  }
  block->push_back(std::move(statement));
  return absl::OkStatus();
}

// Text and tags in turn. The tag that ends the block is left at its name, so
// that the caller sees which one it was.
absl::StatusOr<Block> Parser::ParseBlock(
    std::initializer_list<std::string_view> ends, const Token* opener) {
  ZQFP_RETURN_IF_ERROR(Enter());
  Block block;
  for (;;) {
    const Token token = Current();
    if (token.kind == TokenKind::kEnd) {
      if (opener == nullptr) break;
      return Fail(opener->offset, Error("'{}' is never closed: expected '{}'",
                                        opener->text, *(ends.end() - 1)));
    }
    Advance();
    auto statement = std::make_unique<Stmt>();
    statement->offset = token.offset;
    if (token.kind == TokenKind::kData) {
      statement->kind = StmtKind::kData;
      statement->text = token.text;
    } else if (token.kind == TokenKind::kVariableBegin) {
      statement->kind = StmtKind::kOutput;
      ZQFP_ASSIGN_OR_RETURN(statement->value,
                            ParseTuple(Ternary::kAllowed, false));
      ZQFP_RETURN_IF_ERROR(Expect(TokenKind::kVariableEnd, ""));
    } else {
      if (Current().kind == TokenKind::kName &&
          std::find(ends.begin(), ends.end(), Current().text) != ends.end()) {
        break;
      }
      ZQFP_RETURN_IF_ERROR(ParseTag(&block));
      ZQFP_RETURN_IF_ERROR(Expect(TokenKind::kBlockEnd, ""));
      continue;
    }
    ZQFP_RETURN_IF_ERROR(Finish(std::move(statement), &block));
  }
  Leave();
  return block;
}

// Behind {%; stops before its %}.
absl::Status Parser::ParseTag(Block* block) {
  const Token tag = Current();
  ZQFP_RETURN_IF_ERROR(ExpectName().status());
  auto statement = std::make_unique<Stmt>();
  statement->offset = tag.offset;
  absl::Status status;
  if (tag.text == "if") {
    status = ParseIf(statement.get());
  } else if (tag.text == "for") {
    status = ParseFor(statement.get());
  } else if (tag.text == "set") {
    status = ParseSet(statement.get());
  } else if (tag.text == "macro") {
    status = ParseMacro(statement.get());
  } else if (tag.text == "call") {
    status = ParseCall(statement.get());
  } else if (tag.text == "filter") {
    status = ParseFilterBlock(statement.get());
  } else if (tag.text == "with") {
    status = ParseWith(statement.get());
  } else if (tag.text == "generation") {
    statement->kind = StmtKind::kScope;
    status = ParseMacroBody("endgeneration", tag, statement.get());
  } else if (tag.text == "break" || tag.text == "continue") {
    statement->kind =
        tag.text == "break" ? StmtKind::kBreak : StmtKind::kContinue;
    if (loop_depth_ == 0) {
      return Fail(tag.offset, Error("'{}' outside a loop", tag.text));
    }
  } else {
    return Fail(tag.offset,
                Unsupported("the tag '{}' is unknown here", tag.text));
  }
  ZQFP_RETURN_IF_ERROR(status);
  return Finish(std::move(statement), block);
}

// From behind the tag's own words to its end tag.
absl::Status Parser::ParseBody(std::string_view end, const Token& opener,
                               Block* body) {
  SkipOperator(":");
  ZQFP_RETURN_IF_ERROR(Expect(TokenKind::kBlockEnd, ""));
  ZQFP_ASSIGN_OR_RETURN(*body, ParseBlock({end}, &opener));
  return Expect(TokenKind::kName, end);
}

// The statement stays where it is while its body is parsed.
absl::Status Parser::ParseMacroBody(std::string_view end, const Token& opener,
                                    Stmt* statement) {
  const int loop_depth = std::exchange(loop_depth_, 0);
  macros_.push_back(statement);
  ZQFP_RETURN_IF_ERROR(ParseBody(end, opener, &statement->body));
  macros_.pop_back();
  loop_depth_ = loop_depth;
  return absl::OkStatus();
}

// if a %} ... {% elif b %} ... {% else %} ... {% endif
absl::Status Parser::ParseIf(Stmt* statement) {
  statement->kind = StmtKind::kIf;
  for (;;) {
    const Token opener = tokens_[next_ - 1];
    Branch branch;
    ZQFP_ASSIGN_OR_RETURN(branch.condition,
                          ParseTuple(Ternary::kNotAllowed, false));
    SkipOperator(":");
    ZQFP_RETURN_IF_ERROR(Expect(TokenKind::kBlockEnd, ""));
    ZQFP_ASSIGN_OR_RETURN(branch.body,
                          ParseBlock({"elif", "else", "endif"}, &opener));
    statement->branches.push_back(std::move(branch));
    if (!SkipName("elif")) break;
  }
  const Token opener = Current();
  if (SkipName("else"))
    return ParseBody("endif", opener, &statement->else_body);
  return Expect(TokenKind::kName, "endif");
}

// for target in value [if condition] %} ... [{% else %} ...] {% endfor
absl::Status Parser::ParseFor(Stmt* statement) {
  const Token opener = tokens_[next_ - 1];
  statement->kind = StmtKind::kFor;
  ZQFP_ASSIGN_OR_RETURN(statement->target, ParseTarget(false));
  if (statement->target.name == "loop") {
    return Fail(opener.offset, Error("cannot assign to 'loop'"));
  }
  ZQFP_RETURN_IF_ERROR(Expect(TokenKind::kName, "in"));
  ZQFP_ASSIGN_OR_RETURN(statement->value,
                        ParseTuple(Ternary::kNotAllowed, false));
  if (SkipName("if")) {
    ZQFP_ASSIGN_OR_RETURN(statement->condition, ParseExpression());
  }
  if (IsName("recursive")) {
    return Fail(Current().offset, Unsupported("recursive loops"));
  }
  SkipOperator(":");
  ZQFP_RETURN_IF_ERROR(Expect(TokenKind::kBlockEnd, ""));
  ++loop_depth_;
  ZQFP_ASSIGN_OR_RETURN(statement->body,
                        ParseBlock({"else", "endfor"}, &opener));
  --loop_depth_;
  const Token middle = Current();
  if (SkipName("else")) {
    return ParseBody("endfor", middle, &statement->else_body);
  }
  return Expect(TokenKind::kName, "endfor");
}

// set target = value, or: set target [| filter] %} ... {% endset
absl::Status Parser::ParseSet(Stmt* statement) {
  const Token opener = tokens_[next_ - 1];
  ZQFP_ASSIGN_OR_RETURN(statement->target, ParseTarget(true));
  if (SkipOperator("=")) {
    statement->kind = StmtKind::kSet;
    ZQFP_ASSIGN_OR_RETURN(statement->value,
                          ParseTuple(Ternary::kAllowed, false));
    return absl::OkStatus();
  }
  statement->kind = StmtKind::kSetBlock;
  while (SkipOperator("|")) {
    ZQFP_ASSIGN_OR_RETURN(ExprPtr filter, ParseFilter(nullptr));
    statement->filters.push_back(std::move(filter));
  }
  return ParseBody("endset", opener, &statement->body);
}

// filter a | b(1) %} ... {% endfilter
absl::Status Parser::ParseFilterBlock(Stmt* statement) {
  const Token opener = tokens_[next_ - 1];
  statement->kind = StmtKind::kFilter;
  do {
    ZQFP_ASSIGN_OR_RETURN(ExprPtr filter, ParseFilter(nullptr));
    statement->filters.push_back(std::move(filter));
  } while (SkipOperator("|"));
  return ParseBody("endfilter", opener, &statement->body);
}

// with a = 1, b = 2 %} ... {% endwith
absl::Status Parser::ParseWith(Stmt* statement) {
  const Token opener = tokens_[next_ - 1];
  statement->kind = StmtKind::kWith;
  while (Current().kind != TokenKind::kBlockEnd) {
    if (!statement->assignments.empty()) {
      ZQFP_RETURN_IF_ERROR(Expect(TokenKind::kOperator, ","));
    }
    ZQFP_ASSIGN_OR_RETURN(Target target, ParseOneTarget(false));
    ZQFP_RETURN_IF_ERROR(Expect(TokenKind::kOperator, "="));
    ZQFP_ASSIGN_OR_RETURN(ExprPtr value, ParseExpression());
    statement->assignments.emplace_back(std::move(target), std::move(value));
  }
  return ParseBody("endwith", opener, &statement->body);
}

// (a, b=1, c=2): behind a default all have one.
absl::Status Parser::ParseParameters(Stmt* statement) {
  ZQFP_RETURN_IF_ERROR(Expect(TokenKind::kOperator, "("));
  while (!IsOperator(")")) {
    if (!statement->parameters.empty()) {
      ZQFP_RETURN_IF_ERROR(Expect(TokenKind::kOperator, ","));
    }
    ZQFP_ASSIGN_OR_RETURN(const Target name, ParseOneTarget(false));
    if (!name.tuple.empty()) return Unexpected("a parameter's name");
    Parameter parameter;
    parameter.name = name.name;
    if (SkipOperator("=")) {
      ZQFP_ASSIGN_OR_RETURN(parameter.default_value, ParseExpression());
    } else if (!statement->parameters.empty() &&
               statement->parameters.back().default_value != nullptr) {
      return Unexpected("a default, as the parameter before has one");
    }
    statement->parameters.push_back(std::move(parameter));
  }
  return Expect(TokenKind::kOperator, ")");
}

// macro name(parameters) %} ... {% endmacro
absl::Status Parser::ParseMacro(Stmt* statement) {
  const Token opener = tokens_[next_ - 1];
  statement->kind = StmtKind::kMacro;
  ZQFP_ASSIGN_OR_RETURN(const std::string_view name, ExpectName());
  if (IsReserved(name)) {
    return Fail(opener.offset, Error("cannot assign to '{}'", name));
  }
  statement->text = name;
  ZQFP_RETURN_IF_ERROR(ParseParameters(statement));
  return ParseMacroBody("endmacro", opener, statement);
}

// call [(parameters)] macro(arguments) %} ... {% endcall
absl::Status Parser::ParseCall(Stmt* statement) {
  const Token opener = tokens_[next_ - 1];
  statement->kind = StmtKind::kCall;
  statement->text = "caller";
  if (IsOperator("(")) ZQFP_RETURN_IF_ERROR(ParseParameters(statement));
  ZQFP_ASSIGN_OR_RETURN(statement->value, ParseExpression());
  if (statement->value->kind != ExprKind::kCall) {
    return Fail(opener.offset, Error("expected a call behind 'call'"));
  }
  return ParseMacroBody("endcall", opener, statement);
}

// A name, a namespace's attribute, or targets in parentheses.
absl::StatusOr<Target> Parser::ParseOneTarget(bool namespaces_allowed) {
  if (SkipOperator("(")) {
    ZQFP_RETURN_IF_ERROR(Enter());
    ZQFP_ASSIGN_OR_RETURN(Target target, ParseTarget(namespaces_allowed));
    ZQFP_RETURN_IF_ERROR(Expect(TokenKind::kOperator, ")"));
    Leave();
    return target;
  }
  Target target;
  const int offset = Current().offset;
  ZQFP_ASSIGN_OR_RETURN(const std::string_view name, ExpectName());
  if (IsReserved(name)) {
    return Fail(offset, Error("cannot assign to '{}'", name));
  }
  target.name = name;
  if (namespaces_allowed && SkipOperator(".")) {
    ZQFP_ASSIGN_OR_RETURN(const std::string_view attribute, ExpectName());
    if (attribute.starts_with('_')) {
      return Fail(offset, Error("the attribute '{}' starts with an underscore",
                                attribute));
    }
    target.attribute = attribute;
  }
  return target;
}

// One target, or several with commas.
absl::StatusOr<Target> Parser::ParseTarget(bool namespaces_allowed) {
  ZQFP_ASSIGN_OR_RETURN(Target first, ParseOneTarget(namespaces_allowed));
  if (!IsOperator(",")) return first;
  Target tuple;
  tuple.tuple.push_back(std::move(first));
  while (SkipOperator(",")) {
    if (Current().kind != TokenKind::kName && !IsOperator("(")) break;
    ZQFP_ASSIGN_OR_RETURN(Target next, ParseOneTarget(namespaces_allowed));
    tuple.tuple.push_back(std::move(next));
  }
  return tuple;
}

}  // namespace zqfp::jinja
