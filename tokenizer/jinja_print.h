// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_JINJA_PRINT_H_
#define ZQFP_TOKENIZER_JINJA_PRINT_H_

// Values as text: Python's str() and repr(), JSON both ways, and % formats.

#include <optional>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "tokenizer/jinja_value.h"

namespace zqfp::jinja {

std::string FormatFloat(double number);  // Python's repr(float)

absl::StatusOr<std::string> ToStr(Budget& budget, const Value& value);
absl::StatusOr<std::string> ToRepr(Budget& budget, const Value& value);

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;  // one level; absent: all on one line
  std::optional<std::string> item_separator;
  std::string key_separator = ": ";
};

// json.dumps.
absl::StatusOr<std::string> ToJson(Budget& budget, const Value& value,
                                   const JsonStyle& style);

// json.loads; `subject` begins the error message.
absl::StatusOr<Value> FromJson(Budget& budget, const std::string& json,
                               std::string_view subject);

// "..." % arguments, for the conversions s r d i f e g x X o c %.
enum class UnusedArguments { kRefused, kAllowed };
absl::StatusOr<Value> PercentFormat(Budget& budget, std::string_view format,
                                    std::span<const Value> arguments,
                                    UnusedArguments unused);

}  // namespace zqfp::jinja

#endif  // ZQFP_TOKENIZER_JINJA_PRINT_H_
