// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/jinja_filters.h"

#include "kernels/core/status_macros.h"
#include "tokenizer/jinja_attributes.h"

namespace zqfp::jinja {

// Runs at parse time, and for the names that map() gets; tables are short.
const Filter* FindFilter(std::string_view name) {
  for (const auto table : {TextFilters(), SequenceFilters(), NumberFilters()}) {
    for (const Filter& filter : table) {
      if (filter.name == name) return &filter;
    }
  }
  return nullptr;
}

// Counts a step by itself, as map() applies filters without tree nodes.
absl::StatusOr<Value> ApplyFilter(Runtime& runtime, const Filter& filter,
                                  const Value& input, CallArguments arguments) {
  if (!runtime.budget.Step()) return runtime.budget.status();
  if (filter.forwarding != nullptr) {
    return filter.forwarding(runtime, input, std::move(arguments));
  }
  ZQFP_ASSIGN_OR_RETURN(const BoundArguments bound,
                        Bind(filter.name, filter.parameters,
                             filter.num_required, std::move(arguments)));
  return filter.function(runtime, input, bound);
}

// "a.0.b" is item['a'][0]['b']: digits are indices, as in Jinja.
absl::StatusOr<Value> AttributeOf(Runtime& runtime, const Value& item,
                                  const std::optional<Value>& attribute,
                                  const std::optional<Value>& otherwise) {
  const auto or_else = [&otherwise](Value value) {
    return value.IsUndefined() && otherwise.has_value() &&
                   !otherwise->Is(Kind::kNone)
               ? *otherwise
               : value;
  };
  if (!attribute.has_value() || attribute->Is(Kind::kNone)) return item;
  if (!attribute->IsString()) {
    ZQFP_ASSIGN_OR_RETURN(Value found, GetItem(runtime, item, *attribute));
    return or_else(std::move(found));
  }
  std::string_view path = attribute->text();
  Value value = item;
  for (;;) {
    const size_t end = std::min(path.find('.'), path.size());
    const std::string_view part = path.substr(0, end);
    const bool is_index =
        !part.empty() && part.size() < 10 &&
        part.find_first_not_of("0123456789") == std::string_view::npos;
    const Value key = is_index ? Int(atoll(std::string(part).c_str()))
                               : MakeString(runtime.budget, std::string(part));
    ZQFP_ASSIGN_OR_RETURN(Value found, GetItem(runtime, value, key));
    value = or_else(std::move(found));
    if (!runtime.budget.Step()) return runtime.budget.status();
    if (end == path.size()) return value;
    path.remove_prefix(end + 1);
  }
}

}  // namespace zqfp::jinja
