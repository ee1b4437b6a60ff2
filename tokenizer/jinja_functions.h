// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_JINJA_FUNCTIONS_H_
#define ZQFP_TOKENIZER_JINJA_FUNCTIONS_H_

// The global functions: range, namespace, dict, raise_exception, strftime_now.

#include <string_view>

#include "absl/status/statusor.h"
#include "tokenizer/jinja_runtime.h"

namespace zqfp::jinja {

bool IsFunction(std::string_view name);
// Globals of Jinja that are not known here; using one is an error.
bool IsUnsupportedGlobal(std::string_view name);
absl::StatusOr<Value> CallFunction(Runtime& runtime, std::string_view name,
                                   CallArguments arguments);

}  // namespace zqfp::jinja

#endif  // ZQFP_TOKENIZER_JINJA_FUNCTIONS_H_
