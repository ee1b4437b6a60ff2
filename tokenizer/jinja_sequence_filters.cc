// SPDX-License-Identifier: Apache-2.0
// Filters over lists, dicts and other things one can walk over.
#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "kernels/core/status_macros.h"
#include "tokenizer/jinja_compare.h"
#include "tokenizer/jinja_filters.h"
#include "tokenizer/jinja_print.h"
#include "tokenizer/jinja_tests.h"
#include "tokenizer/jinja_text.h"

namespace zqfp::jinja {
namespace {

using Result = absl::StatusOr<Value>;
using Arguments = BoundArguments;

// x|length, also called count.
Result LengthFilter(Runtime& runtime, const Value& input, const Arguments&) {
  // The code points of a string are counted.
  if (input.IsString() &&
      !runtime.budget.Scan(static_cast<int64_t>(input.text().size()))) {
    return runtime.budget.status();
  }
  ZQFP_ASSIGN_OR_RETURN(const int64_t length, Length(input));
  return Int(length);
}

// x|list: the characters of a string, the keys of a dict.
Result ListFilter(Runtime& runtime, const Value& input, const Arguments&) {
  ZQFP_ASSIGN_OR_RETURN(std::vector<Value> items,
                        Iterate(runtime.budget, input));
  return MakeSequence(runtime.budget, Kind::kList, std::move(items));
}

// x|first and x|last, without a copy where the item lies ready.
template <bool first>
Result End(Runtime& runtime, const Value& input, const Arguments&) {
  if (!first && input.Is(Kind::kIterator)) {
    return Error("'generator' object is not reversible");
  }
  if (input.IsString() && !input.text().empty()) {
    const std::vector<size_t> offsets = CodePointOffsets(input.text());
    const size_t at = first ? 0 : offsets.size() - 2;
    runtime.budget.Bytes(static_cast<int64_t>(input.text().size()));
    return MakeString(
        runtime.budget,
        input.text().substr(offsets[at], offsets[at + 1] - offsets[at]));
  }
  if (input.IsSequence() && !input.Is(Kind::kIterator) &&
      !input.items().empty()) {
    return first ? input.items().front() : input.items().back();
  }
  ZQFP_ASSIGN_OR_RETURN(const std::vector<Value> items,
                        Iterate(runtime.budget, input));
  if (!items.empty()) return first ? items.front() : items.back();
  return Undefined(first ? "No first item, sequence was empty."
                         : "No last item, sequence was empty.");
}

// x|reverse: a string stays a string, the rest becomes an iterator.
Result Reverse(Runtime& runtime, const Value& input, const Arguments&) {
  ZQFP_ASSIGN_OR_RETURN(std::vector<Value> items,
                        Iterate(runtime.budget, input));
  std::reverse(items.begin(), items.end());
  if (!input.IsString()) {
    return MakeSequence(runtime.budget, Kind::kIterator, std::move(items));
  }
  std::string text;
  for (const Value& item : items) text += item.text();
  return MakeString(runtime.budget, std::move(text));
}

// x|items: like x.items(), but undefined has none.
Result Items(Runtime& runtime, const Value& input, const Arguments&) {
  std::vector<Value> pairs;
  if (!input.IsUndefined()) {
    if (!input.Is(Kind::kDict)) {
      return Error("Can only get item pairs from a mapping.");
    }
    for (const auto& [key, value] : AsDict(input).entries) {
      if (!runtime.budget.Step()) return runtime.budget.status();
      pairs.push_back(MakeSequence(runtime.budget, Kind::kTuple, {key, value}));
    }
  }
  return MakeSequence(runtime.budget, Kind::kIterator, std::move(pairs));
}

// Items with the keys they are ordered by.
struct Keyed {
  Value key;
  Value item;
};

// The lower case of a text, unless case counts.
Value FoldCase(Runtime& runtime, const Value& value, bool case_sensitive) {
  if (case_sensitive || !value.IsString()) return value;
  runtime.budget.Scan(static_cast<int64_t>(value.text().size()));
  return MakeString(runtime.budget, Lower(value.text()));
}

// A merge sort, so that it is stable, as Python's is, and an error of a
// comparison ends it at once.
absl::Status SortKeyed(Budget& budget, std::vector<Keyed>& items,
                       bool descending) {
  std::vector<Keyed> merged(items.size());
  for (size_t width = 1; width < items.size(); width *= 2) {
    for (size_t begin = 0; begin < items.size(); begin += 2 * width) {
      const size_t middle = std::min(begin + width, items.size());
      const size_t end = std::min(begin + 2 * width, items.size());
      size_t a = begin;
      size_t b = middle;
      for (size_t out = begin; out < end; ++out) {
        bool take_b = a == middle;
        if (a < middle && b < end) {
          const Value& left = items[a].key;
          const Value& right = items[b].key;
          ZQFP_ASSIGN_OR_RETURN(take_b, descending
                                            ? Less(budget, left, right, "<")
                                            : Less(budget, right, left, "<"));
        }
        merged[out] = std::move(items[take_b ? b++ : a++]);
      }
    }
    std::swap(items, merged);
  }
  return budget.status();
}

// x|sort(reverse=false, case_sensitive=false, attribute=none).
Result SortFilter(Runtime& runtime, const Value& input,
                  const Arguments& arguments) {
  const bool descending = FlagArgument(arguments[0], false);
  const bool case_sensitive = FlagArgument(arguments[1], false);
  ZQFP_ASSIGN_OR_RETURN(const std::vector<Value> items,
                        Iterate(runtime.budget, input));
  if (arguments[2].has_value() && arguments[2]->IsString() &&
      arguments[2]->text().find(',') != std::string::npos) {
    return Unsupported("the filter 'sort' by several attributes");
  }
  std::vector<Keyed> keyed;
  for (const Value& item : items) {
    ZQFP_ASSIGN_OR_RETURN(const Value key,
                          AttributeOf(runtime, item, arguments[2]));
    // Jinja's keys are lists of one: items that are equal need no order.
    keyed.push_back({MakeSequence(runtime.budget, Kind::kList,
                                  {FoldCase(runtime, key, case_sensitive)}),
                     item});
  }
  ZQFP_RETURN_IF_ERROR(SortKeyed(runtime.budget, keyed, descending));
  std::vector<Value> sorted;
  for (Keyed& entry : keyed) sorted.push_back(std::move(entry.item));
  return MakeSequence(runtime.budget, Kind::kList, std::move(sorted));
}

// x|dictsort(case_sensitive=false, by='key', reverse=false): pairs.
Result DictSort(Runtime& runtime, const Value& input,
                const Arguments& arguments) {
  const bool case_sensitive = FlagArgument(arguments[0], false);
  ZQFP_ASSIGN_OR_RETURN(const std::string by,
                        TextArgument(arguments[1], "key"));
  const bool descending = FlagArgument(arguments[2], false);
  if (by != "key" && by != "value") {
    return Error("You can only sort by either \"key\" or \"value\"");
  }
  ZQFP_RETURN_IF_ERROR(RequireDefined(input));
  if (!input.Is(Kind::kDict)) {
    return Error("'{}' object has no attribute 'items'", TypeName(input));
  }
  std::vector<Keyed> keyed;
  for (const auto& [key, value] : AsDict(input).entries) {
    if (!runtime.budget.Step()) return runtime.budget.status();
    keyed.push_back(
        {FoldCase(runtime, by == "key" ? key : value, case_sensitive),
         MakeSequence(runtime.budget, Kind::kTuple, {key, value})});
  }
  ZQFP_RETURN_IF_ERROR(SortKeyed(runtime.budget, keyed, descending));
  std::vector<Value> sorted;
  for (Keyed& entry : keyed) sorted.push_back(std::move(entry.item));
  return MakeSequence(runtime.budget, Kind::kList, std::move(sorted));
}

// x|min and x|max(case_sensitive=false, attribute=none): the first of equals.
template <bool smallest>
Result Extreme(Runtime& runtime, const Value& input,
               const Arguments& arguments) {
  const bool case_sensitive = FlagArgument(arguments[0], false);
  ZQFP_ASSIGN_OR_RETURN(const std::vector<Value> items,
                        Iterate(runtime.budget, input));
  if (items.empty()) {
    return Undefined("No aggregated item, sequence was empty.");
  }
  size_t best = 0;
  Value best_key;
  for (size_t i = 0; i < items.size(); ++i) {
    ZQFP_ASSIGN_OR_RETURN(const Value attribute,
                          AttributeOf(runtime, items[i], arguments[1]));
    Value key = FoldCase(runtime, attribute, case_sensitive);
    bool better = i == 0;
    if (!better) {
      ZQFP_ASSIGN_OR_RETURN(
          better, smallest ? Less(runtime.budget, key, best_key, "<")
                           : Less(runtime.budget, best_key, key, ">"));
    }
    if (better) {
      best = i;
      best_key = std::move(key);
    }
  }
  return items[best];
}

// x|unique(case_sensitive=false, attribute=none), in order of appearance.
Result Unique(Runtime& runtime, const Value& input,
              const Arguments& arguments) {
  const bool case_sensitive = FlagArgument(arguments[0], false);
  ZQFP_ASSIGN_OR_RETURN(const std::vector<Value> items,
                        Iterate(runtime.budget, input));
  std::vector<Value> unique;
  absl::flat_hash_set<std::string> seen;
  for (const Value& item : items) {
    ZQFP_ASSIGN_OR_RETURN(const Value attribute,
                          AttributeOf(runtime, item, arguments[1]));
    std::string key;
    ZQFP_RETURN_IF_ERROR(DictKey(
        runtime.budget, FoldCase(runtime, attribute, case_sensitive), &key));
    if (!runtime.budget.Bytes(static_cast<int64_t>(key.size()))) {
      return runtime.budget.status();
    }
    if (seen.insert(std::move(key)).second) unique.push_back(item);
  }
  return MakeSequence(runtime.budget, Kind::kIterator, std::move(unique));
}

// x|batch(n, fill_with=none): lists of n, the last one maybe filled up.
Result Batch(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ZQFP_ASSIGN_OR_RETURN(const std::vector<Value> items,
                        Iterate(runtime.budget, input));
  ZQFP_ASSIGN_OR_RETURN(const int64_t size, IntegerArgument(arguments[0], 1));
  if (size < 1 || size > kMaxRange) {
    return Error("batch: a size of {}", size);
  }
  std::vector<Value> batches;
  for (size_t i = 0; i < items.size(); i += static_cast<size_t>(size)) {
    const size_t end = std::min(items.size(), i + static_cast<size_t>(size));
    std::vector<Value> batch(items.begin() + static_cast<int64_t>(i),
                             items.begin() + static_cast<int64_t>(end));
    if (arguments[1].has_value() && !arguments[1]->Is(Kind::kNone)) {
      batch.resize(static_cast<size_t>(size), *arguments[1]);
    }
    batches.push_back(
        MakeSequence(runtime.budget, Kind::kList, std::move(batch)));
  }
  return MakeSequence(runtime.budget, Kind::kIterator, std::move(batches));
}

// The first positional argument, removed; `what` names it if it is missing.
absl::StatusOr<Value> TakeFirst(CallArguments& arguments,
                                std::string_view what) {
  if (arguments.positional.empty()) {
    return Error("the filter misses its {}", what);
  }
  Value first = std::move(arguments.positional.front());
  arguments.positional.erase(arguments.positional.begin());
  return first;
}

// map(attribute='a.b', default=x).
Result MapAttribute(Runtime& runtime, const std::vector<Value>& items,
                    CallArguments arguments) {
  ZQFP_ASSIGN_OR_RETURN(
      const BoundArguments bound,
      Bind("map", "attribute default", 1, std::move(arguments)));
  std::vector<Value> mapped;
  for (const Value& item : items) {
    if (!runtime.budget.Step()) return runtime.budget.status();
    ZQFP_ASSIGN_OR_RETURN(Value value,
                          AttributeOf(runtime, item, bound[0], bound[1]));
    mapped.push_back(std::move(value));
  }
  return MakeSequence(runtime.budget, Kind::kIterator, std::move(mapped));
}

// What map and select walk over: of None and 0 nothing, as in Jinja.
absl::StatusOr<std::vector<Value>> ItemsIfTrue(Runtime& runtime,
                                               const Value& input) {
  if (!IsTrue(input)) return std::vector<Value>();
  return Iterate(runtime.budget, input);
}

// x|map('filter', arguments...) or x|map(attribute='a').
Result Map(Runtime& runtime, const Value& input, CallArguments arguments) {
  ZQFP_ASSIGN_OR_RETURN(const std::vector<Value> items,
                        ItemsIfTrue(runtime, input));
  if (arguments.positional.empty()) {
    return MapAttribute(runtime, items, std::move(arguments));
  }
  ZQFP_ASSIGN_OR_RETURN(const Value name,
                        TakeFirst(arguments, "name of a filter"));
  const Filter* filter = name.IsString() ? FindFilter(name.text()) : nullptr;
  if (filter == nullptr) {
    return Unsupported("map: no filter named {}",
                       name.IsString() ? Repr(name.text()) : "that");
  }
  std::vector<Value> mapped;
  for (const Value& item : items) {
    ZQFP_ASSIGN_OR_RETURN(Value value,
                          ApplyFilter(runtime, *filter, item, arguments));
    mapped.push_back(std::move(value));
  }
  return MakeSequence(runtime.budget, Kind::kIterator, std::move(mapped));
}

// select, reject (of the items) and selectattr, rejectattr (of an attribute).
template <bool wanted, bool by_attribute>
Result Select(Runtime& runtime, const Value& input, CallArguments arguments) {
  ZQFP_ASSIGN_OR_RETURN(const std::vector<Value> items,
                        ItemsIfTrue(runtime, input));
  std::optional<Value> attribute;
  if (by_attribute) {
    ZQFP_ASSIGN_OR_RETURN(attribute, TakeFirst(arguments, "attribute"));
  }
  const Test* test = nullptr;
  if (!arguments.positional.empty()) {
    ZQFP_ASSIGN_OR_RETURN(const Value name,
                          TakeFirst(arguments, "name of a test"));
    test = name.IsString() ? FindTest(name.text()) : nullptr;
    if (test == nullptr) {
      return Unsupported("no test named {}",
                         name.IsString() ? Repr(name.text()) : "that");
    }
  }
  std::vector<Value> selected;
  for (const Value& item : items) {
    if (!runtime.budget.Step()) return runtime.budget.status();
    ZQFP_ASSIGN_OR_RETURN(const Value value,
                          AttributeOf(runtime, item, attribute));
    bool passes = IsTrue(value);
    if (test != nullptr) {
      ZQFP_ASSIGN_OR_RETURN(passes,
                            ApplyTest(runtime, *test, value, arguments));
    }
    if (passes == wanted) selected.push_back(item);
  }
  return MakeSequence(runtime.budget, Kind::kIterator, std::move(selected));
}

constexpr Filter kFilters[] = {
    {"length", "", 0, LengthFilter},
    {"count", "", 0, LengthFilter},
    {"list", "", 0, ListFilter},
    {"first", "", 0, End<true>},
    {"last", "", 0, End<false>},
    {"reverse", "", 0, Reverse},
    {"items", "", 0, Items},
    {"sort", "reverse case_sensitive attribute", 0, SortFilter},
    {"dictsort", "case_sensitive by reverse", 0, DictSort},
    {"min", "case_sensitive attribute", 0, Extreme<true>},
    {"max", "case_sensitive attribute", 0, Extreme<false>},
    {"unique", "case_sensitive attribute", 0, Unique},
    {"batch", "linecount fill_with", 1, Batch},
    {"map", "", 0, nullptr, Map},
    {"select", "", 0, nullptr, Select<true, false>},
    {"reject", "", 0, nullptr, Select<false, false>},
    {"selectattr", "", 0, nullptr, Select<true, true>},
    {"rejectattr", "", 0, nullptr, Select<false, true>},
};

}  // namespace

std::span<const Filter> SequenceFilters() { return kFilters; }

}  // namespace zqfp::jinja
