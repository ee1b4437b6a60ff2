// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_JINJA_RUNTIME_H_
#define ZQFP_TOKENIZER_JINJA_RUNTIME_H_

// What one rendering shares with every filter, test and method it calls.

#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "tokenizer/jinja_value.h"

namespace zqfp::jinja {

struct Runtime {
  Budget budget;
  std::deque<Namespace> namespaces;  // addresses stay
  int64_t now_unix_seconds = 0;
};

struct CallArguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keyword;
};

// One slot per parameter of a native function, in the order of its
// declaration; absent ones were not given.
using BoundArguments = std::vector<std::optional<Value>>;

// `parameters` is a list of names separated by spaces; the first
// `num_required` must be given. Errors name `callee`.
absl::StatusOr<BoundArguments> Bind(std::string_view callee,
                                    std::string_view parameters,
                                    int num_required, CallArguments arguments);

// A required or optional argument of one type; an error says which type.
absl::StatusOr<int64_t> IntegerArgument(const std::optional<Value>& argument,
                                        int64_t otherwise);
absl::StatusOr<std::string> TextArgument(const std::optional<Value>& argument,
                                         std::string_view otherwise);
bool FlagArgument(const std::optional<Value>& argument, bool otherwise);

}  // namespace zqfp::jinja

#endif  // ZQFP_TOKENIZER_JINJA_RUNTIME_H_
