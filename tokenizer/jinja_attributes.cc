// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/jinja_attributes.h"

#include <algorithm>

#include "kernels/core/status_macros.h"
#include "tokenizer/jinja_compare.h"
#include "tokenizer/jinja_print.h"
#include "tokenizer/jinja_text.h"

namespace zqfp::jinja {
namespace {

bool IsOneOf(std::string_view name, std::span<const std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

constexpr std::string_view kDictMethods[] = {"get", "items", "keys", "values",
                                             "copy"};
constexpr std::string_view kListMethods[] = {"count", "index", "copy"};
// What the sandbox of Jinja forbids too: these change a value in place.
constexpr std::string_view kDictMutators[] = {"clear", "pop", "popitem",
                                              "setdefault", "update"};
constexpr std::string_view kListMutators[] = {
    "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"};
// Methods of Python's that are not known here; a name outside both lists is
// an undefined attribute, as in Python.
constexpr std::string_view kOtherStringMethods[] = {
    "casefold", "encode",       "expandtabs", "format",  "format_map",
    "isascii",  "isidentifier", "isnumeric",  "istitle", "maketrans",
    "swapcase", "translate",    "zfill",      "rindex",  "isprintable"};
constexpr std::string_view kOtherNumberMethods[] = {
    "as_integer_ratio", "bit_count", "bit_length", "conjugate",
    "denominator",      "fromhex",   "hex",        "imag",
    "is_integer",       "numerator", "real",       "to_bytes",
    "from_bytes"};

// A method that the sandbox refuses on purpose.
absl::Status ForbiddenMethod(const Value& value, std::string_view name) {
  return absl::PermissionDeniedError(
      fmt::format("the sandbox forbids {}.{}(): it changes a value in place",
                  TypeName(value), name));
}

// A method that Python has and this engine has not.
absl::Status UnknownMethod(const Value& value, std::string_view name) {
  return Unsupported("{}.{}() is not known here", TypeName(value), name);
}

// What an attribute that is missing evaluates to: it prints as nothing, and any
// other use of it is an error with this text.
Value NoAttribute(const Value& value, std::string_view name) {
  return Undefined(fmt::format("'{} object' has no attribute {}",
                               TypeName(value), Repr(name.substr(0, 80))));
}

// The attributes of the variable `loop`. The iteration that runs is the one the
// loop object is at now, also if the template kept the object.
absl::StatusOr<Value> LoopAttribute(Runtime& runtime, const Value& value,
                                    std::string_view name) {
  const Loop& loop = AsLoop(value);
  const auto index = static_cast<int64_t>(loop.index);
  const auto length = static_cast<int64_t>(loop.items.size());
  if (name == "index") return Int(index + 1);
  if (name == "index0") return Int(index);
  if (name == "revindex") return Int(length - index);
  if (name == "revindex0") return Int(length - index - 1);
  if (name == "first") return Bool(index == 0);
  if (name == "last") return Bool(index + 1 == length);
  if (name == "length") return Int(length);
  if (name == "depth") return Int(1);  // loops here are never recursive
  if (name == "depth0") return Int(0);
  if (name == "cycle") return MakeMethod(runtime.budget, value, "cycle");
  if (name == "changed") return Unsupported("loop.changed()");
  if (name == "previtem") {
    if (index == 0) return Undefined("there is no previous item");
    return loop.items[loop.index - 1];
  }
  if (name == "nextitem") {
    if (index + 1 >= length) return Undefined("there is no next item");
    return loop.items[loop.index + 1];
  }
  return NoAttribute(value, name);
}

// A namespace has no methods: every name is one that the template set.
Value NamespaceAttribute(const Value& value, std::string_view name) {
  for (const auto& [key, attribute] : value.space->attributes) {
    if (key == name) return attribute;
  }
  return Undefined(fmt::format("the namespace has no attribute {}",
                               Repr(name.substr(0, 80))));
}

// The method `name` of a value, or nothing if Python has none either.
absl::StatusOr<std::optional<Value>> FindMethod(Runtime& runtime,
                                                const Value& value,
                                                std::string_view name) {
  bool known = false;
  switch (value.kind) {
    case Kind::kString:
      known = IsStringMethod(name);
      if (IsOneOf(name, kOtherStringMethods)) return UnknownMethod(value, name);
      break;
    case Kind::kDict:
      known = IsOneOf(name, kDictMethods);
      if (IsOneOf(name, kDictMutators)) return ForbiddenMethod(value, name);
      if (name == "fromkeys") return UnknownMethod(value, name);
      break;
    case Kind::kList:
      known = IsOneOf(name, kListMethods);
      if (IsOneOf(name, kListMutators)) return ForbiddenMethod(value, name);
      break;
    case Kind::kTuple:
      known = name == "count" || name == "index";
      break;
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat:
      if (IsOneOf(name, kOtherNumberMethods)) return UnknownMethod(value, name);
      break;
    default:
      break;
  }
  if (!known) return std::optional<Value>();
  return std::optional<Value>(
      MakeMethod(runtime.budget, value, std::string(name)));
}

// Python's index: negative ones count from the end. False: out of range.
bool ResolveIndex(int64_t size, int64_t* index) {
  if (*index < 0) *index += size;
  return *index >= 0 && *index < size;
}

// The same for x[key]; the key is shown as far as it is short.
Value Missing(const Value& value, const Value& key) {
  std::string name = key.IsString()
                         ? Repr(std::string_view(key.text()).substr(0, 80))
                     : key.IsIntegral() ? fmt::format("{}", key.AsInteger())
                                        : std::string(TypeName(key));
  if (!IsValidUtf8(name)) name = "of that name";
  return Undefined(
      fmt::format("'{} object' has no element {}", TypeName(value), name));
}

// value[key] by index or dict key; nothing if there is none.
absl::StatusOr<std::optional<Value>> FindItem(Runtime& runtime,
                                              const Value& value,
                                              const Value& key) {
  Budget& budget = runtime.budget;
  if (value.Is(Kind::kDict)) {
    std::string hashed;
    if (!DictKey(budget, key, &hashed).ok()) return std::optional<Value>();
    const Value* found = FindHashed(value, hashed);
    return found == nullptr ? std::optional<Value>() : *found;
  }
  if (!key.IsIntegral()) return std::optional<Value>();
  int64_t index = key.AsInteger();
  if (value.Is(Kind::kList) || value.Is(Kind::kTuple) ||
      value.Is(Kind::kRange)) {
    const auto size = static_cast<int64_t>(value.items().size());
    if (!ResolveIndex(size, &index)) return std::optional<Value>();
    return value.items()[static_cast<size_t>(index)];
  }
  if (value.IsString()) {
    const std::string& text = value.text();
    budget.Step(static_cast<int64_t>(text.size()) / 64);
    if (!ResolveIndex(NumCodePoints(text), &index)) {
      return std::optional<Value>();
    }
    size_t begin = 0;
    while (index-- > 0) NextCodePoint(text, &begin);
    size_t end = begin;
    NextCodePoint(text, &end);
    return MakeString(budget, text.substr(begin, end - begin));
  }
  return std::optional<Value>();
}

// get(key, default), items(), keys(), values() and copy(). The views are lists
// that print with the view's name, as in Python.
absl::StatusOr<Value> CallDictMethod(Runtime& runtime, const Value& self,
                                     std::string_view name,
                                     CallArguments arguments) {
  Budget& budget = runtime.budget;
  if (name == "get") {
    ZQFP_ASSIGN_OR_RETURN(
        const BoundArguments bound,
        Bind("dict.get", "key default", 1, std::move(arguments)));
    std::string hashed;
    ZQFP_RETURN_IF_ERROR(DictKey(budget, *bound[0], &hashed));
    const Value* found = FindHashed(self, hashed);
    return found != nullptr ? *found : bound[1].value_or(None());
  }
  ZQFP_RETURN_IF_ERROR(Bind(name, "", 0, std::move(arguments)).status());
  if (name == "copy") return self;  // nothing can change either
  const auto& entries = AsDict(self).entries;
  if (!budget.Step(static_cast<int64_t>(entries.size()))) {
    return budget.status();
  }
  std::vector<Value> items;
  for (const auto& [key, value] : entries) {
    items.push_back(name == "keys" ? key
                    : name == "values"
                        ? value
                        : MakeSequence(budget, Kind::kTuple, {key, value}));
  }
  return MakeSequence(budget, Kind::kView, std::move(items),
                      fmt::format("dict_{}", name));
}

// count(value), index(value) and copy(), of lists and tuples.
absl::StatusOr<Value> CallListMethod(Runtime& runtime, const Value& self,
                                     std::string_view name,
                                     CallArguments arguments) {
  if (name == "copy") {
    ZQFP_RETURN_IF_ERROR(Bind(name, "", 0, std::move(arguments)).status());
    return self;
  }
  ZQFP_ASSIGN_OR_RETURN(const BoundArguments bound,
                        Bind(name, "value", 1, std::move(arguments)));
  int64_t count = 0;
  for (size_t i = 0; i < self.items().size(); ++i) {
    if (!Equal(runtime.budget, self.items()[i], *bound[0])) continue;
    if (name == "index") return Int(static_cast<int64_t>(i));
    ++count;
  }
  if (name == "index") return Error("the value is not in the list");
  return Int(count);
}

// One bound of a slice of `size` items, as Python clamps it.
absl::StatusOr<int64_t> SliceBound(const Value& bound, int64_t otherwise,
                                   int64_t size, bool backwards) {
  if (bound.Is(Kind::kNone)) return otherwise;
  if (!bound.IsIntegral()) {
    ZQFP_RETURN_IF_ERROR(RequireDefined(bound));
    return Error("slice indices must be integers or None, not {}",
                 TypeName(bound));
  }
  int64_t index = bound.AsInteger();
  if (index < 0) index += size;  // cannot overflow: the signs differ
  return std::clamp<int64_t>(index, backwards ? -1 : 0,
                             backwards ? size - 1 : size);
}

}  // namespace

// The order is Jinja's: the attributes of the Python object first, then its
// items. So {"items": 1}.items is the method.
absl::StatusOr<Value> GetAttribute(Runtime& runtime, const Value& value,
                                   std::string_view name) {
  ZQFP_RETURN_IF_ERROR(RequireDefined(value));
  if (name.starts_with('_')) {
    return absl::PermissionDeniedError(fmt::format(
        "the attribute '{}' starts with an underscore", name.substr(0, 80)));
  }
  if (value.Is(Kind::kLoop)) return LoopAttribute(runtime, value, name);
  if (value.Is(Kind::kNamespace)) return NamespaceAttribute(value, name);
  ZQFP_ASSIGN_OR_RETURN(std::optional<Value> method,
                        FindMethod(runtime, value, name));
  if (method.has_value()) return *std::move(method);
  if (value.Is(Kind::kDict)) {
    const Value* found = FindInDict(value, name);
    if (found != nullptr) return *found;
  }
  return NoAttribute(value, name);
}

// The other way round, for x['name'].
absl::StatusOr<Value> GetItem(Runtime& runtime, const Value& value,
                              const Value& key) {
  ZQFP_RETURN_IF_ERROR(RequireDefined(value));
  ZQFP_ASSIGN_OR_RETURN(std::optional<Value> item,
                        FindItem(runtime, value, key));
  if (item.has_value()) return *std::move(item);
  if (!key.IsString()) return Missing(value, key);
  if (value.Is(Kind::kNamespace)) return NamespaceAttribute(value, key.text());
  if (value.Is(Kind::kLoop)) return LoopAttribute(runtime, value, key.text());
  ZQFP_ASSIGN_OR_RETURN(std::optional<Value> method,
                        FindMethod(runtime, value, key.text()));
  if (method.has_value()) return *std::move(method);
  return Missing(value, key);
}

// Strings are sliced by code point. `distance` is how far the slice reaches in
// the direction of the step; walking it as a count cannot overflow.
absl::StatusOr<Value> GetSlice(Runtime& runtime, const Value& value,
                               const Value& start, const Value& stop,
                               const Value& step) {
  Budget& budget = runtime.budget;
  const bool is_string = value.IsString();
  if (!is_string && !value.Is(Kind::kList) && !value.Is(Kind::kTuple)) {
    ZQFP_RETURN_IF_ERROR(RequireDefined(value));
    if (value.Is(Kind::kRange)) return Unsupported("a slice of a range");
    return Undefined(
        fmt::format("'{} object' cannot be sliced", TypeName(value)));
  }
  if (is_string && !budget.Bytes(static_cast<int64_t>(value.text().size()))) {
    return budget.status();
  }
  const std::vector<size_t> offsets =
      is_string ? CodePointOffsets(value.text()) : std::vector<size_t>();
  const auto size = static_cast<int64_t>(is_string ? offsets.size() - 1
                                                   : value.items().size());
  if (!budget.Step(size / 16)) return budget.status();
  if (!step.Is(Kind::kNone) && !step.IsIntegral()) {
    return Error("slice steps must be integers or None");
  }
  const int64_t by = step.Is(Kind::kNone) ? 1 : step.AsInteger();
  if (by == 0) return Error("slice step cannot be zero");
  ZQFP_ASSIGN_OR_RETURN(const int64_t from,
                        SliceBound(start, by < 0 ? size - 1 : 0, size, by < 0));
  ZQFP_ASSIGN_OR_RETURN(const int64_t to,
                        SliceBound(stop, by < 0 ? -1 : size, size, by < 0));
  std::string text;
  std::vector<Value> items;
  const int64_t distance = by > 0 ? to - from : from - to;
  const uint64_t stride = by > 0 ? static_cast<uint64_t>(by)
                                 : uint64_t{0} - static_cast<uint64_t>(by);
  for (uint64_t moved = 0; static_cast<int64_t>(moved) < distance;) {
    const auto offset = static_cast<int64_t>(moved);
    const auto i = static_cast<size_t>(by > 0 ? from + offset : from - offset);
    if (is_string) {
      text.append(value.text(), offsets[i], offsets[i + 1] - offsets[i]);
    } else {
      items.push_back(value.items()[i]);
    }
    if (stride >= static_cast<uint64_t>(distance)) break;
    moved += stride;
  }
  return is_string ? MakeString(budget, std::move(text))
                   : MakeSequence(budget, value.kind, std::move(items));
}

// Only values with methods get here: FindMethod and LoopAttribute made them.
absl::StatusOr<Value> CallMethod(Runtime& runtime, const Value& method,
                                 CallArguments arguments) {
  const auto& bound = static_cast<const Method&>(*method.object);
  const Value& self = bound.self;
  switch (self.kind) {
    case Kind::kString:
      return CallStringMethod(runtime, self, bound.name, std::move(arguments));
    case Kind::kDict:
      return CallDictMethod(runtime, self, bound.name, std::move(arguments));
    case Kind::kList:
    case Kind::kTuple:
      return CallListMethod(runtime, self, bound.name, std::move(arguments));
    case Kind::kLoop: {
      if (arguments.positional.empty() || !arguments.keyword.empty()) {
        return Error("no items for cycling given");
      }
      const size_t index = AsLoop(self).index;
      return arguments.positional[index % arguments.positional.size()];
    }
    default:  // the budget was spent while the method was made
      return runtime.budget.ok() ? Error("not a method")
                                 : runtime.budget.status();
  }
}

}  // namespace zqfp::jinja
