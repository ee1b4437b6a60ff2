// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_JINJA_VALUE_H_
#define ZQFP_TOKENIZER_JINJA_VALUE_H_

// The values a template computes with: Python's, as far as templates see them.

#include <stdint.h>

#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "tokenizer/jinja_budget.h"

namespace zqfp::jinja {

enum class Kind : uint8_t {
  kUndefined,  // text: why, for the error message
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kTuple,
  kRange,     // sequence; text: how range() prints
  kView,      // sequence; text: dict_keys, dict_values or dict_items
  kIterator,  // sequence read once: what map, select, ... return
  kDict,
  kNamespace,
  kLoop,
  kMacro,
  kMethod,    // a method of `self`, named by text
  kFunction,  // a global function, named by text
};

struct Value;
struct Macro;  // jinja_evaluator.h
struct Namespace;

// What a heap value shares. `depth` is one more than its deepest child's, and
// never above kMaxValueDepth: recursion over values, destructors included, is
// bounded by it. Nothing in a template can change a heap value after it is
// made, so there are no cycles; namespaces, the exception, belong to the
// runtime and are only pointed at.
struct Object {
  int depth = 1;
  virtual ~Object() = default;
};

// One template value; copies share the heap part.
struct Value {
  Kind kind = Kind::kUndefined;
  bool markup = false;  // a string that `safe` or `escape` returned
  union {
    bool boolean;
    int64_t integer = 0;
    double number;
    Namespace* space;
    const Macro* macro;
  };
  std::shared_ptr<const Object> object;

  const std::string& text() const;
  const std::vector<Value>& items() const;
  int depth() const { return object == nullptr ? 1 : object->depth; }

  bool Is(Kind k) const { return kind == k; }
  bool IsString() const { return kind == Kind::kString; }
  bool IsUndefined() const { return kind == Kind::kUndefined; }
  bool IsIntegral() const { return kind == Kind::kInt || kind == Kind::kBool; }
  bool IsNumber() const { return IsIntegral() || kind == Kind::kFloat; }
  // Holds items(): list, tuple, range, view or iterator.
  bool IsSequence() const {
    return kind >= Kind::kList && kind <= Kind::kIterator;
  }
  int64_t AsInteger() const {  // of IsIntegral()
    return kind == Kind::kBool ? boolean : integer;
  }
  double AsNumber() const {  // of IsNumber()
    return kind == Kind::kFloat ? number : static_cast<double>(AsInteger());
  }
};

struct Text : Object {
  std::string text;
};

struct Sequence : Object {
  std::vector<Value> items;
  std::string label;          // of a range or a view
  mutable bool read = false;  // of an iterator
};

struct Dict : Object {
  std::vector<std::pair<Value, Value>> entries;    // in insertion order
  absl::flat_hash_map<std::string, size_t> index;  // DictKey -> entry
};

struct Method : Object {
  Value self;
  std::string name;
};

struct Loop : Object {  // the variable `loop`
  std::vector<Value> items;
  mutable size_t index = 0;
};

struct Namespace {
  std::vector<std::pair<std::string, Value>> attributes;
};

Value Undefined(std::string reason);
Value None();
Value Bool(bool boolean);
Value Int(int64_t integer);
Value Float(double number);
// The Make functions draw on the budget; when that is spent they return an
// empty value of the kind.
Value MakeString(Budget& budget, std::string text);
Value MakeSequence(Budget& budget, Kind kind, std::vector<Value> items,
                   std::string label = {});
// Its depth is set here; a loop too deep spends the budget.
Value MakeLoop(Budget& budget, std::shared_ptr<Loop> loop);
Value MakeMethod(Budget& budget, Value self, std::string name);
Value MakeFunction(std::string name);

// The key under which a dict finds `key`: equal for what Python holds equal
// (1, 1.0 and True). An unhashable key is an error.
absl::Status DictKey(Budget& budget, const Value& key, std::string* out);

// Collects entries in order; the last value of a repeated key wins, in the
// place of the first, as in Python.
class DictBuilder {
 public:
  explicit DictBuilder(Budget& budget)
      : budget_(budget), dict_(std::make_shared<Dict>()) {}
  absl::Status Set(Value key, Value value);
  void Set(std::string_view key, Value value);
  Value Build();

 private:
  void SetHashed(std::string hashed, Value key, Value value);

  Budget& budget_;
  std::shared_ptr<Dict> dict_;
};

const Loop& AsLoop(const Value& value);
const Dict& AsDict(const Value& value);
// Null if there is none. `key` is a string.
const Value* FindInDict(const Value& dict, std::string_view key);
const Value* FindHashed(const Value& dict, const std::string& hashed);

// "str", "int", "NoneType", ...: as Python's error messages name types.
std::string_view TypeName(const Value& value);

}  // namespace zqfp::jinja

#endif  // ZQFP_TOKENIZER_JINJA_VALUE_H_
