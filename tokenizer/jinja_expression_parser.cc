// SPDX-License-Identifier: Apache-2.0
// Expressions, with the precedence of Jinja's own grammar.
#include <algorithm>
#include <charconv>

#include "kernels/core/status_macros.h"
#include "tokenizer/jinja_filters.h"
#include "tokenizer/jinja_parser.h"
#include "tokenizer/jinja_tests.h"

namespace zqfp::jinja {
namespace {

// An initializer list cannot hold what only moves.
template <typename... T>
std::vector<ExprPtr> Children(T... child) {
  std::vector<ExprPtr> children;
  (children.push_back(std::move(child)), ...);
  return children;
}

}  // namespace

// A node to be filled in, then handed to Finish.
std::unique_ptr<Expr> Parser::NewExpr(ExprKind kind, int offset) const {
  auto expression = std::make_unique<Expr>();
  expression->kind = kind;
  expression->offset = offset;
  return expression;
}

// Everything that recurses over the tree later (evaluation, destructors) relies
// on this limit, also where the parser itself is a loop, as in 1 + 1 + 1 + ...
Parser::ExprOr Parser::Finish(std::unique_ptr<Expr> expression) {
  int depth = 0;
  const auto add = [&depth](const ExprPtr& child) {
    if (child != nullptr) depth = std::max(depth, child->depth);
  };
  for (const ExprPtr& child : expression->children) add(child);
  if (expression->arguments != nullptr) {
    for (const ExprPtr& child : expression->arguments->positional) add(child);
    for (const auto& entry : expression->arguments->keyword) add(entry.second);
    add(expression->arguments->more_positional);
    add(expression->arguments->more_keyword);
  }
  expression->depth = depth + 1;
  if (expression->depth > kMaxNodeDepth || ++num_nodes_ > kMaxNodes) {
    return Fail(expression->offset,
                absl::ResourceExhaustedError("the template is too complex"));
  }
  return ExprPtr(std::move(expression));
}

// A node that is no more than its children.
Parser::ExprOr Parser::Finish(ExprKind kind, int offset,
                              std::vector<ExprPtr> children) {
  auto expression = NewExpr(kind, offset);
  expression->children = std::move(children);
  return Finish(std::move(expression));
}

// Constants are made once and shared by every rendering.
Parser::ExprOr Parser::Constant(int offset, Value value) {
  auto expression = NewExpr(ExprKind::kConstant, offset);
  expression->constant = std::move(value);
  return Finish(std::move(expression));
}

// a, b, c: the parentheses are not part of a tuple.
Parser::ExprOr Parser::ParseTuple(Ternary ternary, bool in_parentheses) {
  const int offset = Current().offset;
  const auto at_end = [this] {
    return Current().kind == TokenKind::kVariableEnd ||
           Current().kind == TokenKind::kBlockEnd || IsOperator(")");
  };
  std::vector<ExprPtr> items;
  bool is_tuple = false;
  while (!at_end()) {
    ZQFP_ASSIGN_OR_RETURN(ExprPtr item, ParseExpression(ternary));
    items.push_back(std::move(item));
    if (!SkipOperator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !items.empty()) return std::move(items[0]);
  if (!is_tuple && !in_parentheses) return Unexpected("an expression");
  return Finish(ExprKind::kTuple, offset, std::move(items));
}

// expression = conditional; without the ternary it is or: `for x in a if b`
// and `{% if %}` read an `if` behind the expression as their own.
Parser::ExprOr Parser::ParseExpression(Ternary ternary) {
  ZQFP_RETURN_IF_ERROR(Enter());
  ExprOr expression =
      ternary == Ternary::kAllowed ? ParseConditional() : ParseOr();
  Leave();
  return expression;
}

// conditional = or { "if" or [ "else" conditional ] }
Parser::ExprOr Parser::ParseConditional() {
  ZQFP_ASSIGN_OR_RETURN(ExprPtr expression, ParseOr());
  while (IsName("if")) {
    const int offset = Current().offset;
    Advance();
    ZQFP_ASSIGN_OR_RETURN(ExprPtr condition, ParseOr());
    ExprPtr otherwise;
    if (SkipName("else")) {
      ZQFP_ASSIGN_OR_RETURN(otherwise, ParseExpression());
    }
    ZQFP_ASSIGN_OR_RETURN(
        expression, Finish(ExprKind::kConditional, offset,
                           Children(std::move(condition), std::move(expression),
                                    std::move(otherwise))));
  }
  return expression;
}

// or = and { "or" and }
Parser::ExprOr Parser::ParseOr() {
  ZQFP_ASSIGN_OR_RETURN(ExprPtr left, ParseAnd());
  while (IsName("or")) {
    const int offset = Current().offset;
    Advance();
    ZQFP_ASSIGN_OR_RETURN(ExprPtr right, ParseAnd());
    ZQFP_ASSIGN_OR_RETURN(left,
                          Finish(ExprKind::kOr, offset,
                                 Children(std::move(left), std::move(right))));
  }
  return left;
}

// and = not { "and" not }
Parser::ExprOr Parser::ParseAnd() {
  ZQFP_ASSIGN_OR_RETURN(ExprPtr left, ParseNot());
  while (IsName("and")) {
    const int offset = Current().offset;
    Advance();
    ZQFP_ASSIGN_OR_RETURN(ExprPtr right, ParseNot());
    ZQFP_ASSIGN_OR_RETURN(left,
                          Finish(ExprKind::kAnd, offset,
                                 Children(std::move(left), std::move(right))));
  }
  return left;
}

// not = "not" not | compare
Parser::ExprOr Parser::ParseNot() {
  const int offset = Current().offset;
  if (!SkipName("not")) return ParseCompare();
  ZQFP_RETURN_IF_ERROR(Enter());
  ZQFP_ASSIGN_OR_RETURN(ExprPtr operand, ParseNot());
  Leave();
  return Finish(ExprKind::kNot, offset, Children(std::move(operand)));
}

// Reads nothing; `not in` is two tokens.
bool Parser::AtOperator(Operator* op) const {
  constexpr std::pair<std::string_view, Operator> kComparisons[] = {
      {"==", Operator::kEqual},  {"!=", Operator::kNotEqual},
      {"<", Operator::kLess},    {"<=", Operator::kLessEqual},
      {">", Operator::kGreater}, {">=", Operator::kGreaterEqual},
  };
  for (const auto& [text, comparison] : kComparisons) {
    if (IsOperator(text)) {
      *op = comparison;
      return true;
    }
  }
  if (IsName("in")) {
    *op = Operator::kIn;
    return true;
  }
  *op = Operator::kNotIn;
  return IsName("not") && Ahead().kind == TokenKind::kName &&
         Ahead().text == "in";
}

// compare = sum { ("==" | "!=" | "<" | ... | "in" | "not" "in") sum }
// One node for the chain, as a < b < c evaluates b once.
Parser::ExprOr Parser::ParseCompare() {
  const int offset = Current().offset;
  ZQFP_ASSIGN_OR_RETURN(ExprPtr first, ParseSum());
  Operator op;
  if (!AtOperator(&op)) return first;
  auto expression = NewExpr(ExprKind::kCompare, offset);
  expression->children.push_back(std::move(first));
  while (AtOperator(&op)) {
    Advance();
    if (op == Operator::kNotIn) Advance();
    ZQFP_ASSIGN_OR_RETURN(ExprPtr next, ParseSum());
    expression->operators.push_back(op);
    expression->children.push_back(std::move(next));
  }
  return Finish(std::move(expression));
}

// sum = concat { ("+" | "-") concat }
Parser::ExprOr Parser::ParseSum() {
  ZQFP_ASSIGN_OR_RETURN(ExprPtr left, ParseConcat());
  while (IsOperator("+") || IsOperator("-")) {
    auto expression = NewExpr(ExprKind::kBinary, Current().offset);
    expression->operators = {IsOperator("+") ? Operator::kAdd
                                             : Operator::kSubtract};
    Advance();
    ZQFP_ASSIGN_OR_RETURN(ExprPtr right, ParseConcat());
    expression->children = Children(std::move(left), std::move(right));
    ZQFP_ASSIGN_OR_RETURN(left, Finish(std::move(expression)));
  }
  return left;
}

// concat = product { "~" product }, which binds tighter than a sum.
Parser::ExprOr Parser::ParseConcat() {
  ZQFP_ASSIGN_OR_RETURN(ExprPtr first, ParseProduct());
  if (!IsOperator("~")) return first;
  auto expression = NewExpr(ExprKind::kConcat, Current().offset);
  expression->children.push_back(std::move(first));
  while (SkipOperator("~")) {
    ZQFP_ASSIGN_OR_RETURN(ExprPtr next, ParseProduct());
    expression->children.push_back(std::move(next));
  }
  return Finish(std::move(expression));
}

// product = power { ("*" | "/" | "//" | "%") power }
Parser::ExprOr Parser::ParseProduct() {
  constexpr std::pair<std::string_view, Operator> kProducts[] = {
      {"*", Operator::kMultiply},
      {"/", Operator::kDivide},
      {"//", Operator::kFloorDivide},
      {"%", Operator::kModulo},
  };
  ZQFP_ASSIGN_OR_RETURN(ExprPtr left, ParsePower());
  for (;;) {
    const auto* found = std::find_if(
        std::begin(kProducts), std::end(kProducts),
        [this](const auto& entry) { return IsOperator(entry.first); });
    if (found == std::end(kProducts)) return left;
    auto expression = NewExpr(ExprKind::kBinary, Current().offset);
    expression->operators = {found->second};
    Advance();
    ZQFP_ASSIGN_OR_RETURN(ExprPtr right, ParsePower());
    expression->children = Children(std::move(left), std::move(right));
    ZQFP_ASSIGN_OR_RETURN(left, Finish(std::move(expression)));
  }
}

// power = unary { "**" unary }
Parser::ExprOr Parser::ParsePower() {
  ZQFP_ASSIGN_OR_RETURN(ExprPtr left, ParseUnary(Filters::kAllowed));
  while (IsOperator("**")) {  // from the left, unlike Python
    auto expression = NewExpr(ExprKind::kBinary, Current().offset);
    expression->operators = {Operator::kPower};
    Advance();
    ZQFP_ASSIGN_OR_RETURN(ExprPtr right, ParseUnary(Filters::kAllowed));
    expression->children = Children(std::move(left), std::move(right));
    ZQFP_ASSIGN_OR_RETURN(left, Finish(std::move(expression)));
  }
  return left;
}

// unary = ("-" | "+") unary | primary, then postfix, then filters and tests.
// The operand of a sign takes no filter: -1|abs is (-1)|abs.
Parser::ExprOr Parser::ParseUnary(Filters filters) {
  const int offset = Current().offset;
  ExprPtr expression;
  if (IsOperator("-") || IsOperator("+")) {
    const ExprKind kind = IsOperator("-") ? ExprKind::kNegate : ExprKind::kPlus;
    Advance();
    ZQFP_RETURN_IF_ERROR(Enter());
    ZQFP_ASSIGN_OR_RETURN(ExprPtr operand, ParseUnary(Filters::kNotAllowed));
    Leave();
    ZQFP_ASSIGN_OR_RETURN(expression,
                          Finish(kind, offset, Children(std::move(operand))));
  } else {
    ZQFP_ASSIGN_OR_RETURN(expression, ParsePrimary());
  }
  ZQFP_ASSIGN_OR_RETURN(expression, ParsePostfix(std::move(expression)));
  if (filters == Filters::kNotAllowed) return expression;
  return ParseFiltersAndTests(std::move(expression));
}

// primary = name | literal | "(" tuple ")"
Parser::ExprOr Parser::ParsePrimary() {
  switch (Current().kind) {
    case TokenKind::kName:
      return ParseName();
    case TokenKind::kString:
      return ParseStrings();
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return ParseNumber();
    default:
      break;
  }
  if (IsOperator("[")) return ParseListLiteral();
  if (IsOperator("{")) return ParseDictLiteral();
  if (!SkipOperator("(")) return Unexpected("an expression");
  ZQFP_ASSIGN_OR_RETURN(ExprPtr inner, ParseTuple(Ternary::kAllowed, true));
  ZQFP_RETURN_IF_ERROR(Expect(TokenKind::kOperator, ")"));
  return inner;
}

// A name, or a constant that is spelled like one. The three names that only a
// macro's body knows are noted with the innermost macro.
Parser::ExprOr Parser::ParseName() {
  const Token token = Current();
  Advance();
  const std::string_view name = token.text;
  if (name == "true" || name == "True") {
    return Constant(token.offset, Bool(true));
  }
  if (name == "false" || name == "False") {
    return Constant(token.offset, Bool(false));
  }
  if (name == "none" || name == "None") return Constant(token.offset, None());
  if (!macros_.empty()) {
    if (name == "caller") macros_.back()->uses_caller = true;
    if (name == "varargs") macros_.back()->uses_varargs = true;
    if (name == "kwargs") macros_.back()->uses_kwargs = true;
  }
  auto expression = NewExpr(ExprKind::kName, token.offset);
  expression->name = name;
  return Finish(std::move(expression));
}

// Adjacent literals are one string.
Parser::ExprOr Parser::ParseStrings() {
  const int offset = Current().offset;
  std::string text;
  while (Current().kind == TokenKind::kString) {
    absl::StatusOr<std::string> part = Unquote(Current().text);
    if (!part.ok()) return Fail(Current().offset, part.status());
    text += *part;
    Advance();
  }
  Budget budget;  // of the parser: bounded by the size of the source
  return Constant(offset, MakeString(budget, std::move(text)));
}

// An integer beyond 64 bits is refused rather than rounded.
Parser::ExprOr Parser::ParseNumber() {
  const Token token = Current();
  Advance();
  std::string digits(token.text);
  digits.erase(std::remove(digits.begin(), digits.end(), '_'), digits.end());
  const char* const end = digits.data() + digits.size();
  if (token.kind == TokenKind::kFloat) {
    double number = 0;
    const auto parsed = std::from_chars(digits.data(), end, number);
    if (parsed.ec != std::errc() || parsed.ptr != end) {
      return Fail(token.offset, Error("the number {} is out of range", digits));
    }
    return Constant(token.offset, Float(number));
  }
  int64_t integer = 0;
  const auto parsed = std::from_chars(digits.data(), end, integer);
  if (parsed.ec != std::errc() || parsed.ptr != end) {
    return Fail(token.offset, Error("the integer {} exceeds 64 bits", digits));
  }
  if (digits.size() > 1 && digits[0] == '0' && integer != 0) {
    return Fail(token.offset, Error("the integer {} has a leading 0", digits));
  }
  return Constant(token.offset, Int(integer));
}

// "[" [ expression { "," expression } [ "," ] ] "]"
Parser::ExprOr Parser::ParseListLiteral() {
  const int offset = Current().offset;
  Advance();
  std::vector<ExprPtr> items;
  while (!IsOperator("]")) {
    if (!items.empty()) {
      ZQFP_RETURN_IF_ERROR(Expect(TokenKind::kOperator, ","));
      if (IsOperator("]")) break;
    }
    ZQFP_ASSIGN_OR_RETURN(ExprPtr item, ParseExpression());
    items.push_back(std::move(item));
  }
  Advance();
  return Finish(ExprKind::kList, offset, std::move(items));
}

// "{" [ key ":" value { "," key ":" value } [ "," ] ] "}"
Parser::ExprOr Parser::ParseDictLiteral() {
  const int offset = Current().offset;
  Advance();
  std::vector<ExprPtr> entries;
  while (!IsOperator("}")) {
    if (!entries.empty()) {
      ZQFP_RETURN_IF_ERROR(Expect(TokenKind::kOperator, ","));
      if (IsOperator("}")) break;
    }
    ZQFP_ASSIGN_OR_RETURN(ExprPtr key, ParseExpression());
    ZQFP_RETURN_IF_ERROR(Expect(TokenKind::kOperator, ":"));
    ZQFP_ASSIGN_OR_RETURN(ExprPtr value, ParseExpression());
    entries.push_back(std::move(key));
    entries.push_back(std::move(value));
  }
  Advance();
  return Finish(ExprKind::kDict, offset, std::move(entries));
}

// postfix = { "." name | "[" subscript "]" | "(" arguments ")" }
Parser::ExprOr Parser::ParsePostfix(ExprPtr expression) {
  for (;;) {
    if (IsOperator(".")) {
      ZQFP_ASSIGN_OR_RETURN(expression, ParseAttribute(std::move(expression)));
    } else if (IsOperator("[")) {
      ZQFP_ASSIGN_OR_RETURN(expression, ParseSubscript(std::move(expression)));
    } else if (IsOperator("(")) {
      ZQFP_ASSIGN_OR_RETURN(expression, ParseCallOf(std::move(expression)));
    } else {
      return expression;
    }
  }
}

// Underscores are refused here, before anything runs; names that are computed
// (map(attribute=...), x[name]) meet the same rule in GetAttribute.
Parser::ExprOr Parser::ParseAttribute(ExprPtr expression) {
  Advance();
  const int offset = Current().offset;
  if (Current().kind == TokenKind::kInteger) {  // x.0 is x[0]
    ZQFP_ASSIGN_OR_RETURN(ExprPtr index, ParseNumber());
    return Finish(ExprKind::kSubscript, offset,
                  Children(std::move(expression), std::move(index)));
  }
  ZQFP_ASSIGN_OR_RETURN(const std::string_view name, ExpectName());
  if (name.starts_with('_')) {
    return Fail(offset,
                Error("the attribute '{}' starts with an underscore", name));
  }
  auto attribute = NewExpr(ExprKind::kAttribute, offset);
  attribute->name = name;
  attribute->children = Children(std::move(expression));
  return Finish(std::move(attribute));
}

// "[" ( expression | slice ) "]"
Parser::ExprOr Parser::ParseSubscript(ExprPtr expression) {
  const int offset = Current().offset;
  Advance();
  ZQFP_ASSIGN_OR_RETURN(expression,
                        ParseSliceOrIndex(offset, std::move(expression)));
  if (IsOperator(",")) {
    return Fail(offset, Unsupported("subscripts with several indices"));
  }
  ZQFP_RETURN_IF_ERROR(Expect(TokenKind::kOperator, "]"));
  return expression;
}

// slice = [ start ] ":" [ stop ] [ ":" [ step ] ]; absent parts stay null.
Parser::ExprOr Parser::ParseSliceOrIndex(int offset, ExprPtr expression) {
  auto slice = NewExpr(ExprKind::kSlice, offset);
  slice->children.push_back(std::move(expression));
  ExprPtr part;
  if (!IsOperator(":")) {
    ZQFP_ASSIGN_OR_RETURN(part, ParseExpression());
    if (!IsOperator(":")) {
      slice->kind = ExprKind::kSubscript;
      slice->children.push_back(std::move(part));
      return Finish(std::move(slice));
    }
  }
  slice->children.push_back(std::move(part));
  for (int i = 0; i < 2; ++i) {  // the end and the step
    ExprPtr next;
    if (SkipOperator(":") && !IsOperator("]") && !IsOperator(":")) {
      ZQFP_ASSIGN_OR_RETURN(next, ParseExpression());
    }
    slice->children.push_back(std::move(next));
  }
  return Finish(std::move(slice));
}

// A call of whatever stands before the parenthesis.
Parser::ExprOr Parser::ParseCallOf(ExprPtr expression) {
  auto call = NewExpr(ExprKind::kCall, Current().offset);
  ZQFP_ASSIGN_OR_RETURN(call->arguments, ParseArguments());
  call->children = Children(std::move(expression));
  return Finish(std::move(call));
}

// arguments = positional ones, then name=value, with at most one *list and one
// **dict.
absl::StatusOr<std::unique_ptr<const ArgumentList>> Parser::ParseArguments() {
  ZQFP_RETURN_IF_ERROR(Expect(TokenKind::kOperator, "("));
  auto arguments = std::make_unique<ArgumentList>();
  bool is_first = true;
  while (!IsOperator(")")) {
    if (!is_first) {
      ZQFP_RETURN_IF_ERROR(Expect(TokenKind::kOperator, ","));
      if (IsOperator(")")) break;
    }
    is_first = false;
    if (IsOperator("*") || IsOperator("**")) {
      ExprPtr& slot = IsOperator("*") ? arguments->more_positional
                                      : arguments->more_keyword;
      if (slot != nullptr) return Unexpected("an argument");
      Advance();
      ZQFP_ASSIGN_OR_RETURN(slot, ParseExpression());
    } else if (Current().kind == TokenKind::kName &&
               Ahead().kind == TokenKind::kOperator && Ahead().text == "=") {
      std::string name(Current().text);
      Advance();
      Advance();
      ZQFP_ASSIGN_OR_RETURN(ExprPtr value, ParseExpression());
      arguments->keyword.emplace_back(std::move(name), std::move(value));
    } else {
      if (!arguments->keyword.empty() ||
          arguments->more_positional != nullptr ||
          arguments->more_keyword != nullptr) {
        return Unexpected("a keyword argument");
      }
      ZQFP_ASSIGN_OR_RETURN(ExprPtr value, ParseExpression());
      arguments->positional.push_back(std::move(value));
    }
  }
  Advance();
  return std::unique_ptr<const ArgumentList>(std::move(arguments));
}

// Names of filters and tests may hold dots; none that is known here does.
absl::StatusOr<std::string> Parser::ParseDottedName() {
  ZQFP_ASSIGN_OR_RETURN(const std::string_view first, ExpectName());
  std::string name(first);
  while (SkipOperator(".")) {
    ZQFP_ASSIGN_OR_RETURN(const std::string_view next, ExpectName());
    name.append(".").append(next);
  }
  return name;
}

// { "|" filter | "is" test | "(" arguments ")" }
Parser::ExprOr Parser::ParseFiltersAndTests(ExprPtr expression) {
  for (;;) {
    if (SkipOperator("|")) {
      ZQFP_ASSIGN_OR_RETURN(expression, ParseFilter(std::move(expression)));
    } else if (IsName("is")) {
      Advance();
      ZQFP_ASSIGN_OR_RETURN(expression, ParseTest(std::move(expression)));
    } else if (IsOperator("(")) {
      ZQFP_ASSIGN_OR_RETURN(expression, ParseCallOf(std::move(expression)));
    } else {
      return expression;
    }
  }
}

// Behind the | (or at the first word of a filter block; no input then).
Parser::ExprOr Parser::ParseFilter(ExprPtr input) {
  auto filter = NewExpr(ExprKind::kFilter, Current().offset);
  ZQFP_ASSIGN_OR_RETURN(filter->name, ParseDottedName());
  filter->filter = FindFilter(filter->name);
  if (filter->filter == nullptr) {
    return Fail(filter->offset,
                Unsupported("no filter named '{}'", filter->name));
  }
  if (IsOperator("(")) {
    ZQFP_ASSIGN_OR_RETURN(filter->arguments, ParseArguments());
  }
  filter->children = Children(std::move(input));
  return Finish(std::move(filter));
}

// Behind `is`.
Parser::ExprOr Parser::ParseTest(ExprPtr input) {
  const bool is_negated = SkipName("not");
  auto test = NewExpr(ExprKind::kTest, Current().offset);
  const int offset = test->offset;
  ZQFP_ASSIGN_OR_RETURN(test->name, ParseDottedName());
  test->test = FindTest(test->name);
  if (test->test == nullptr) {
    return Fail(offset, Unsupported("no test named '{}'", test->name));
  }
  const TokenKind next = Current().kind;
  const bool is_word = next == TokenKind::kName && !IsName("else") &&
                       !IsName("or") && !IsName("and");
  if (IsOperator("(")) {
    ZQFP_ASSIGN_OR_RETURN(test->arguments, ParseArguments());
  } else if (is_word || next == TokenKind::kString ||
             next == TokenKind::kInteger || next == TokenKind::kFloat ||
             IsOperator("[") || IsOperator("{")) {
    if (IsName("is")) {
      return Fail(offset, Error("tests cannot be chained with 'is'"));
    }
    auto arguments = std::make_unique<ArgumentList>();
    ZQFP_ASSIGN_OR_RETURN(ExprPtr argument, ParsePrimary());
    ZQFP_ASSIGN_OR_RETURN(argument, ParsePostfix(std::move(argument)));
    arguments->positional.push_back(std::move(argument));
    test->arguments = std::move(arguments);
  }
  test->children = Children(std::move(input));
  ZQFP_ASSIGN_OR_RETURN(ExprPtr expression, Finish(std::move(test)));
  if (!is_negated) return expression;
  return Finish(ExprKind::kNot, offset, Children(std::move(expression)));
}

}  // namespace zqfp::jinja
