// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_JINJA_TESTS_H_
#define ZQFP_TOKENIZER_JINJA_TESTS_H_

// The tests behind `is`.

#include <string_view>

#include "absl/status/statusor.h"
#include "tokenizer/jinja_runtime.h"

namespace zqfp::jinja {

struct Test;

const Test* FindTest(std::string_view name);  // null if there is none
absl::StatusOr<bool> ApplyTest(Runtime& runtime, const Test& test,
                               const Value& value, CallArguments arguments);

}  // namespace zqfp::jinja

#endif  // ZQFP_TOKENIZER_JINJA_TESTS_H_
