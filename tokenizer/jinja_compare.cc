// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/jinja_compare.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/status_macros.h"
#include "tokenizer/jinja_text.h"

namespace zqfp::jinja {
namespace {

// Sequences of the same kind, element by element.
bool EqualItems(Budget& budget, const std::vector<Value>& a,
                const std::vector<Value>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!Equal(budget, a[i], b[i])) return false;
  }
  return true;
}

// Dicts are equal whatever the order of their entries.
bool EqualDicts(Budget& budget, const Dict& a, const Dict& b) {
  if (a.entries.size() != b.entries.size()) return false;
  for (const auto& [hashed, entry] : a.index) {
    const auto found = b.index.find(hashed);
    if (found == b.index.end() || !Equal(budget, a.entries[entry].second,
                                         b.entries[found->second].second)) {
      return false;
    }
  }
  return true;
}

// A 64-bit integer and a double, exactly: -1, 0 or 1; nan is unordered (2).
int CompareMixed(int64_t a, double b) {
  if (std::isnan(b)) return 2;
  if (b >= 0x1p63) return -1;
  if (b < -0x1p63) return 1;
  const auto whole = static_cast<int64_t>(b);
  if (a != whole) return a < whole ? -1 : 1;
  const double fraction = b - static_cast<double>(whole);
  return fraction > 0 ? -1 : fraction < 0 ? 1 : 0;
}

// -1, 0 or 1; 2 where one is nan. Never rounds: 2**53 + 1 is not 2.0**53.
int CompareNumbers(const Value& a, const Value& b) {
  if (a.IsIntegral() && b.IsIntegral()) {
    return a.AsInteger() < b.AsInteger()   ? -1
           : a.AsInteger() > b.AsInteger() ? 1
                                           : 0;
  }
  if (a.IsIntegral()) return CompareMixed(a.AsInteger(), b.number);
  if (b.IsIntegral()) {
    const int order = CompareMixed(b.AsInteger(), a.number);
    return order == 2 ? 2 : -order;
  }
  if (std::isnan(a.number) || std::isnan(b.number)) return 2;
  return a.number < b.number ? -1 : a.number > b.number ? 1 : 0;
}

}  // namespace

// Python's bool(): empty and zero are false, and so is undefined. Iterators,
// macros and namespaces are true, whatever they hold.
bool IsTrue(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
      return value.boolean;
    case Kind::kInt:
      return value.integer != 0;
    case Kind::kFloat:
      return value.number != 0;
    case Kind::kString:
      return !value.text().empty();
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
    case Kind::kView:
      return !value.items().empty();
    case Kind::kDict:
      return !AsDict(value).entries.empty();
    default:
      return true;
  }
}

// Never an error. Values of different kinds differ, numbers aside; what has no
// content of its own is equal to itself only.
bool Equal(Budget& budget, const Value& a, const Value& b) {
  if (!budget.Step()) return false;
  if (a.IsNumber() && b.IsNumber()) return CompareNumbers(a, b) == 0;
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kString:
      budget.Scan(static_cast<int64_t>(a.text().size()));
      return a.text() == b.text();
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
      return EqualItems(budget, a.items(), b.items());
    case Kind::kDict:
      return EqualDicts(budget, AsDict(a), AsDict(b));
    case Kind::kNamespace:
      return a.space == b.space;
    case Kind::kMacro:
      return a.macro == b.macro;
    case Kind::kFunction:
      return a.text() == b.text();
    default:
      return a.object == b.object;
  }
}

// Sequences compare by their first difference, as in Python.
absl::StatusOr<bool> Less(Budget& budget, const Value& a, const Value& b,
                          std::string_view symbol) {
  if (!budget.Step()) return budget.status();
  if (a.IsNumber() && b.IsNumber()) return CompareNumbers(a, b) == -1;
  if (a.IsString() && b.IsString()) {
    budget.Scan(static_cast<int64_t>(a.text().size()));
    return a.text() < b.text();  // UTF-8 keeps the order of code points
  }
  const bool lists = a.Is(Kind::kList) && b.Is(Kind::kList);
  if (lists || (a.Is(Kind::kTuple) && b.Is(Kind::kTuple))) {
    const size_t shared = std::min(a.items().size(), b.items().size());
    for (size_t i = 0; i < shared; ++i) {
      if (!Equal(budget, a.items()[i], b.items()[i])) {
        return Less(budget, a.items()[i], b.items()[i], symbol);
      }
    }
    return a.items().size() < b.items().size();
  }
  ZQFP_RETURN_IF_ERROR(RequireDefined(a));
  ZQFP_RETURN_IF_ERROR(RequireDefined(b));
  // Of a > b, which comes here as b < a, the template's order is shown.
  const bool flipped = symbol.starts_with('>');
  return Error("'{}' not supported between instances of '{}' and '{}'", symbol,
               TypeName(flipped ? b : a), TypeName(flipped ? a : b));
}

// item in container.
absl::StatusOr<bool> Contains(Budget& budget, const Value& container,
                              const Value& item) {
  if (container.IsUndefined()) return false;
  if (container.IsString()) {
    if (!item.IsString()) {
      ZQFP_RETURN_IF_ERROR(RequireDefined(item));
      return Error("'in <string>' requires string as left operand, not {}",
                   TypeName(item));
    }
    budget.Scan(static_cast<int64_t>(container.text().size()));
    return Find(container.text(), item.text()) != std::string_view::npos;
  }
  if (container.Is(Kind::kDict)) {
    std::string hashed;
    ZQFP_RETURN_IF_ERROR(DictKey(budget, item, &hashed));
    return FindHashed(container, hashed) != nullptr;
  }
  if (!container.IsSequence()) {
    return Error("argument of type '{}' is not iterable", TypeName(container));
  }
  if (container.Is(Kind::kIterator) && !container.items().empty()) {
    return Unsupported("'in' on a generator; add |list");
  }
  for (const Value& candidate : container.items()) {
    if (Equal(budget, candidate, item)) return true;
  }
  return false;
}

// Code points of a string; iterators have no length, as in Python.
absl::StatusOr<int64_t> Length(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      return NumCodePoints(value.text());
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
    case Kind::kView:
      return static_cast<int64_t>(value.items().size());
    case Kind::kDict:
      return static_cast<int64_t>(AsDict(value).entries.size());
    default:
      return Error("object of type '{}' has no len()", TypeName(value));
  }
}

// Copies the items (cheap: they are shared), so that a namespace that changes
// during a loop does not change the loop.
absl::StatusOr<std::vector<Value>> Iterate(Budget& budget, const Value& value) {
  std::vector<Value> items;
  const auto reserve = [&](int64_t count) {
    return budget.Step(count / 16) &&
           budget.Bytes(count * static_cast<int64_t>(sizeof(Value)));
  };
  if (value.IsSequence()) {
    if (value.Is(Kind::kIterator)) {
      const auto& iterator = static_cast<const Sequence&>(*value.object);
      if (std::exchange(iterator.read, true)) return items;
    }
    if (!reserve(static_cast<int64_t>(value.items().size()))) {
      return budget.status();
    }
    return value.items();
  }
  switch (value.kind) {
    case Kind::kUndefined:
      return items;
    case Kind::kString: {
      const std::string& text = value.text();
      for (size_t i = 0; i < text.size();) {
        const size_t begin = i;
        NextCodePoint(text, &i);
        if (!reserve(1)) return budget.status();
        items.push_back(MakeString(budget, text.substr(begin, i - begin)));
      }
      return items;
    }
    case Kind::kDict:
      if (!reserve(static_cast<int64_t>(AsDict(value).entries.size()))) {
        return budget.status();
      }
      for (const auto& entry : AsDict(value).entries) {
        items.push_back(entry.first);
      }
      return items;
    default:
      return Error("'{}' object is not iterable", TypeName(value));
  }
}

// The reason was written when the undefined value was made.
absl::Status RequireDefined(const Value& value) {
  if (!value.IsUndefined()) return absl::OkStatus();
  return Error("{}",
               value.text().empty() ? "the value is undefined" : value.text());
}

}  // namespace zqfp::jinja
