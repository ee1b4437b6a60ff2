// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_JINJA_FILTERS_H_
#define ZQFP_TOKENIZER_JINJA_FILTERS_H_

// The filters behind `|`.

#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "tokenizer/jinja_runtime.h"

namespace zqfp::jinja {

struct Filter {
  std::string_view name;
  std::string_view parameters;  // names separated by spaces
  int num_required;
  // One of the two: most filters take bound arguments; map, select and their
  // kin pass what they are given on to another filter or test.
  absl::StatusOr<Value> (*function)(Runtime&, const Value& input,
                                    const BoundArguments& arguments);
  absl::StatusOr<Value> (*forwarding)(Runtime&, const Value& input,
                                      CallArguments arguments) = nullptr;
};

const Filter* FindFilter(std::string_view name);  // null if there is none
absl::StatusOr<Value> ApplyFilter(Runtime& runtime, const Filter& filter,
                                  const Value& input, CallArguments arguments);

// The tables, by kind of input.
std::span<const Filter> TextFilters();
std::span<const Filter> SequenceFilters();
std::span<const Filter> NumberFilters();

// What `attribute=` means to map, sort, sum, ...: a dotted path of keys, or an
// index; absent: the item itself. What a part of the path does not find is
// `otherwise`, unless that is absent or None.
absl::StatusOr<Value> AttributeOf(Runtime& runtime, const Value& item,
                                  const std::optional<Value>& attribute,
                                  const std::optional<Value>& otherwise = {});

}  // namespace zqfp::jinja

#endif  // ZQFP_TOKENIZER_JINJA_FILTERS_H_
