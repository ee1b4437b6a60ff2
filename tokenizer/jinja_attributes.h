// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_JINJA_ATTRIBUTES_H_
#define ZQFP_TOKENIZER_JINJA_ATTRIBUTES_H_

// x.name, x[key], x[a:b:c], and the methods they may return: the only doors
// into a value.

#include <optional>
#include <string_view>

#include "absl/status/statusor.h"
#include "tokenizer/jinja_runtime.h"

namespace zqfp::jinja {

// A method wins over a dict's key of the same name. What is missing is an
// undefined value; methods that would change a value, and those of Python's
// that are not known here, are errors.
absl::StatusOr<Value> GetAttribute(Runtime& runtime, const Value& value,
                                   std::string_view name);
// A dict's key wins over a method.
absl::StatusOr<Value> GetItem(Runtime& runtime, const Value& value,
                              const Value& key);
// Absent bounds are None.
absl::StatusOr<Value> GetSlice(Runtime& runtime, const Value& value,
                               const Value& start, const Value& stop,
                               const Value& step);

absl::StatusOr<Value> CallMethod(Runtime& runtime, const Value& method,
                                 CallArguments arguments);

// The method tables; each says whether it knows a name.
bool IsStringMethod(std::string_view name);
absl::StatusOr<Value> CallStringMethod(Runtime& runtime, const Value& self,
                                       std::string_view name,
                                       CallArguments arguments);

}  // namespace zqfp::jinja

#endif  // ZQFP_TOKENIZER_JINJA_ATTRIBUTES_H_
