// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/jinja_value.h"

#include <math.h>

#include <algorithm>

#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"

namespace zqfp::jinja {
namespace {

// Roughly what one heap object costs beside its payload.
constexpr int64_t kObjectBytes = 64;

// A value of a kind with a heap part.
Value WithObject(Kind kind, std::shared_ptr<const Object> object) {
  Value value;
  value.kind = kind;
  value.object = std::move(object);
  return value;
}

// Kinds whose heap part is a string. Undefined ones draw on no budget: their
// reasons are short and come from here.
Value TextValue(Kind kind, std::string text) {
  auto object = std::make_shared<Text>();
  object->text = std::move(text);
  return WithObject(kind, std::move(object));
}

}  // namespace

// Empty for kinds without one, so that callers need not ask.
const std::string& Value::text() const {
  static const std::string* const kEmpty = new std::string;
  if (object == nullptr) return *kEmpty;
  switch (kind) {
    case Kind::kUndefined:
    case Kind::kString:
    case Kind::kFunction:
      return static_cast<const Text&>(*object).text;
    case Kind::kRange:
    case Kind::kView:
      return static_cast<const Sequence&>(*object).label;
    case Kind::kMethod:
      return static_cast<const Method&>(*object).name;
    default:
      return *kEmpty;
  }
}

// Shared, never copied by this.
const std::vector<Value>& Value::items() const {
  ZQFP_CHECK(IsSequence());
  return static_cast<const Sequence&>(*object).items;
}

Value Undefined(std::string reason) {
  return TextValue(Kind::kUndefined, std::move(reason));
}

Value None() {
  Value value;
  value.kind = Kind::kNone;
  return value;
}

Value Bool(bool boolean) {
  Value value;
  value.kind = Kind::kBool;
  value.boolean = boolean;
  return value;
}

Value Int(int64_t integer) {
  Value value;
  value.kind = Kind::kInt;
  value.integer = integer;
  return value;
}

Value Float(double number) {
  Value value;
  value.kind = Kind::kFloat;
  value.number = number;
  return value;
}

// Strings that are made count even after they are gone: the budget bounds work
// and memory alike.
Value MakeString(Budget& budget, std::string text) {
  if (!budget.TextBytes(static_cast<int64_t>(text.size())) ||
      !budget.Bytes(kObjectBytes)) {
    text.clear();
  }
  return TextValue(Kind::kString, std::move(text));
}

// Depth first, size second: both may refuse.
Value MakeSequence(Budget& budget, Kind kind, std::vector<Value> items,
                   std::string label) {
  const int64_t num_bytes =
      kObjectBytes + static_cast<int64_t>(items.size() * sizeof(Value));
  int depth = 1;
  for (const Value& item : items) depth = std::max(depth, item.depth() + 1);
  if (depth > kMaxValueDepth) budget.TooDeep();
  auto object = std::make_shared<Sequence>();
  if (budget.Step(static_cast<int64_t>(items.size() / 16)) &&
      budget.Bytes(num_bytes)) {
    object->depth = depth;
    object->items = std::move(items);
    object->label = std::move(label);
  }
  return WithObject(kind, std::move(object));
}

// Keeps its value alive, and so nests like a container.
Value MakeMethod(Budget& budget, Value self, std::string name) {
  auto object = std::make_shared<Method>();
  object->depth = self.depth() + 1;
  if (object->depth > kMaxValueDepth) {
    budget.TooDeep();
  } else if (budget.Bytes(kObjectBytes)) {
    object->self = std::move(self);
    object->name = std::move(name);
  }
  return WithObject(Kind::kMethod, std::move(object));
}

// A loop holds its items, and a template may keep the loop in a list.
Value MakeLoop(Budget& budget, std::shared_ptr<Loop> loop) {
  for (const Value& item : loop->items) {
    loop->depth = std::max(loop->depth, item.depth() + 1);
  }
  if (loop->depth > kMaxValueDepth) budget.TooDeep();
  budget.Bytes(kObjectBytes);
  return WithObject(Kind::kLoop, std::move(loop));
}

// Global functions are known by name.
Value MakeFunction(std::string name) {
  return TextValue(Kind::kFunction, std::move(name));
}

// A prefix keeps 1 and "1" apart; sizes keep tuples of strings apart.
absl::Status DictKey(Budget& budget, const Value& key, std::string* out) {
  switch (key.kind) {
    case Kind::kString:
      if (budget.Bytes(static_cast<int64_t>(key.text().size()))) {
        out->append("s").append(key.text());
      }
      return absl::OkStatus();
    case Kind::kNone:
      out->append("N");
      return absl::OkStatus();
    case Kind::kBool:
    case Kind::kInt:
      out->append(fmt::format("i{}", key.AsInteger()));
      return absl::OkStatus();
    case Kind::kFloat:
      if (key.number == floor(key.number) && fabs(key.number) < 9e18) {
        out->append(fmt::format("i{}", static_cast<int64_t>(key.number)));
      } else {
        out->append(fmt::format("f{}", key.number));
      }
      return absl::OkStatus();
    case Kind::kTuple:
      out->append("(");
      for (const Value& item : key.items()) {
        if (!budget.Step() || !budget.Bytes(24)) break;
        std::string part;
        ZQFP_RETURN_IF_ERROR(DictKey(budget, item, &part));
        out->append(fmt::format("{}:", part.size())).append(part);
      }
      out->append(")");
      return absl::OkStatus();
    default:
      return Error("unhashable type: '{}'", TypeName(key));
  }
}

// Entries are kept in a vector for their order; the index finds them.
void DictBuilder::SetHashed(std::string hashed, Value key, Value value) {
  const int depth = std::max(key.depth(), value.depth()) + 1;
  if (depth > kMaxValueDepth) {
    budget_.TooDeep();
    return;
  }
  const int64_t num_bytes =
      2 * static_cast<int64_t>(sizeof(Value) + sizeof(std::string)) +
      static_cast<int64_t>(hashed.size());
  if (!budget_.Bytes(num_bytes)) return;
  dict_->depth = std::max(dict_->depth, depth);
  auto [slot, is_new] =
      dict_->index.try_emplace(std::move(hashed), dict_->entries.size());
  if (is_new) {
    dict_->entries.emplace_back(std::move(key), std::move(value));
  } else {
    dict_->entries[slot->second].second = std::move(value);
  }
}

// For keys of any type.
absl::Status DictBuilder::Set(Value key, Value value) {
  std::string hashed;
  ZQFP_RETURN_IF_ERROR(DictKey(budget_, key, &hashed));
  SetHashed(std::move(hashed), std::move(key), std::move(value));
  return absl::OkStatus();
}

// For keys that are strings, which cannot fail.
void DictBuilder::Set(std::string_view key, Value value) {
  std::string hashed = "s";
  hashed.append(key);
  SetHashed(std::move(hashed), MakeString(budget_, std::string(key)),
            std::move(value));
}

// The builder is spent afterwards.
Value DictBuilder::Build() {
  budget_.Bytes(kObjectBytes);
  return WithObject(Kind::kDict, std::move(dict_));
}

const Loop& AsLoop(const Value& value) {
  ZQFP_CHECK(value.Is(Kind::kLoop));
  return static_cast<const Loop&>(*value.object);
}

const Dict& AsDict(const Value& value) {
  ZQFP_CHECK(value.Is(Kind::kDict));
  return static_cast<const Dict&>(*value.object);
}

// The pointer lives as long as the dict.
const Value* FindHashed(const Value& dict, const std::string& hashed) {
  const Dict& entries = AsDict(dict);
  const auto found = entries.index.find(hashed);
  return found == entries.index.end() ? nullptr
                                      : &entries.entries[found->second].second;
}

// The prefix is DictKey's.
const Value* FindInDict(const Value& dict, std::string_view key) {
  std::string hashed = "s";
  hashed.append(key);
  return FindHashed(dict, hashed);
}

// Views are named by what they print as.
std::string_view TypeName(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return "str";
    case Kind::kList:
      return "list";
    case Kind::kTuple:
      return "tuple";
    case Kind::kRange:
      return "range";
    case Kind::kView:
      return value.text();
    case Kind::kIterator:
      return "generator";
    case Kind::kDict:
      return "dict";
    case Kind::kNamespace:
      return "Namespace";
    case Kind::kLoop:
      return "LoopContext";
    case Kind::kMacro:
      return "Macro";
    case Kind::kMethod:
      return "builtin_function_or_method";
    case Kind::kFunction:
      return "function";
  }
  return "object";
}

}  // namespace zqfp::jinja
