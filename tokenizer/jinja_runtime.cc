// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/jinja_runtime.h"

#include <algorithm>

#include "kernels/core/status_macros.h"
#include "tokenizer/jinja_compare.h"

namespace zqfp::jinja {
namespace {

// Tables write parameter lists as one literal.
std::vector<std::string_view> SplitNames(std::string_view names) {
  std::vector<std::string_view> out;
  while (!names.empty()) {
    const size_t end = std::min(names.find(' '), names.size());
    out.push_back(names.substr(0, end));
    names.remove_prefix(std::min(end + 1, names.size()));
  }
  return out;
}

}  // namespace

// Python's rules, except that every parameter may be given by name.
absl::StatusOr<BoundArguments> Bind(std::string_view callee,
                                    std::string_view parameters,
                                    int num_required, CallArguments arguments) {
  const std::vector<std::string_view> names = SplitNames(parameters);
  if (arguments.positional.size() > names.size()) {
    return Error("{}() takes at most {} arguments, {} were given", callee,
                 names.size(), arguments.positional.size());
  }
  BoundArguments bound(names.size());
  for (size_t i = 0; i < arguments.positional.size(); ++i) {
    bound[i] = std::move(arguments.positional[i]);
  }
  for (auto& [name, value] : arguments.keyword) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) {
      return Error("{}() takes no keyword argument '{}'", callee, name);
    }
    std::optional<Value>& slot =
        bound[static_cast<size_t>(found - names.begin())];
    if (slot.has_value()) {
      return Error("{}() got two values for '{}'", callee, name);
    }
    slot = std::move(value);
  }
  for (int i = 0; i < num_required; ++i) {
    if (!bound[static_cast<size_t>(i)].has_value()) {
      return Error("{}() misses its argument '{}'", callee,
                   names[static_cast<size_t>(i)]);
    }
  }
  return bound;
}

// True and False are integers, floats are not.
absl::StatusOr<int64_t> IntegerArgument(const std::optional<Value>& argument,
                                        int64_t otherwise) {
  if (!argument.has_value()) return otherwise;
  if (argument->IsIntegral()) return argument->AsInteger();
  ZQFP_RETURN_IF_ERROR(RequireDefined(*argument));
  return Error("'{}' object cannot be interpreted as an integer",
               TypeName(*argument));
}

// No conversion: str methods want strings.
absl::StatusOr<std::string> TextArgument(const std::optional<Value>& argument,
                                         std::string_view otherwise) {
  if (!argument.has_value()) return std::string(otherwise);
  if (argument->IsString()) return argument->text();
  ZQFP_RETURN_IF_ERROR(RequireDefined(*argument));
  return Error("expected a string, found {}", TypeName(*argument));
}

// Any value can be a flag.
bool FlagArgument(const std::optional<Value>& argument, bool otherwise) {
  return argument.has_value() ? IsTrue(*argument) : otherwise;
}

}  // namespace zqfp::jinja
