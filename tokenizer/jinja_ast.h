// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_JINJA_AST_H_
#define ZQFP_TOKENIZER_JINJA_AST_H_

// The syntax tree of a template.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/jinja_value.h"

namespace zqfp::jinja {

struct Filter;  // jinja_filters.h
struct Test;    // jinja_tests.h
struct Expr;
struct Stmt;
using ExprPtr = std::unique_ptr<const Expr>;
using Block = std::vector<std::unique_ptr<const Stmt>>;

enum class ExprKind {
  kConstant,     // constant
  kName,         // name
  kList,         // children
  kTuple,        // children
  kDict,         // children: key, value, key, value, ...
  kAttribute,    // children[0] . name
  kSubscript,    // children[0] [ children[1] ]
  kSlice,        // children[0] [ children[1] : children[2] : children[3] ],
                 // absent ones null
  kCall,         // children[0] ( the arguments )
  kFilter,       // children[0] | filter ( the arguments ); null: a block's text
  kTest,         // children[0] is test ( the arguments )
  kNot,          // children[0]
  kNegate,       // children[0]
  kPlus,         // children[0]
  kBinary,       // children[0] operators[0] children[1]
  kCompare,      // children[0] operators[0] children[1] operators[1] ...
  kConcat,       // children joined by ~
  kAnd,          // children[0], children[1]
  kOr,           // children[0], children[1]
  kConditional,  // children[1] if children[0] else children[2] (may be null)
};

enum class Operator {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
};

struct ArgumentList {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> keyword;
  ExprPtr more_positional;  // *this, or null
  ExprPtr more_keyword;     // **this, or null
};

struct Expr {
  ExprKind kind;
  int offset;     // in the source, for error messages
  int depth = 1;  // one more than the deepest child's
  std::string name;
  Value constant;
  std::vector<ExprPtr> children;
  std::vector<Operator> operators;
  std::unique_ptr<const ArgumentList> arguments;
  const Filter* filter = nullptr;
  const Test* test = nullptr;
};

// What an assignment writes to: a name, an attribute of a namespace, or a
// tuple of targets.
struct Target {
  std::string name;
  std::string attribute;      // of the namespace `name`; empty: the name
  std::vector<Target> tuple;  // not empty: this is a tuple
};

struct Parameter {
  std::string name;
  ExprPtr default_value;  // or null
};

enum class StmtKind {
  kData,      // text
  kOutput,    // value
  kIf,        // branches, else_body
  kFor,       // target in value if condition: body, else_body
  kSet,       // target = value
  kSetBlock,  // target = text of body through filters
  kMacro,     // text (its name), parameters, body
  kCall,      // value (a call), parameters, body: `caller`
  kFilter,    // text of body through filters
  kWith,      // targets and values, body
  kScope,     // body: a `generation` block
  kBreak,
  kContinue,
};

struct Branch {
  ExprPtr condition;
  Block body;
};

struct Stmt {
  StmtKind kind;
  int offset;
  int depth = 1;
  std::string text;
  Target target;
  ExprPtr value;
  ExprPtr condition;
  std::vector<Branch> branches;
  std::vector<std::pair<Target, ExprPtr>> assignments;  // of `with`
  std::vector<ExprPtr> filters;  // innermost first, each without its input
  std::vector<Parameter> parameters;
  bool uses_caller = false;  // a macro that says caller, varargs or kwargs
  bool uses_varargs = false;
  bool uses_kwargs = false;
  Block body;
  Block else_body;
};

struct Template {
  std::string source;  // normalized
  Block body;
};

}  // namespace zqfp::jinja

#endif  // ZQFP_TOKENIZER_JINJA_AST_H_
