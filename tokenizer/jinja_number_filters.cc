// SPDX-License-Identifier: Apache-2.0
// Filters that make or handle numbers, and `default`.
#include <stdlib.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "kernels/core/status_macros.h"
#include "tokenizer/jinja_compare.h"
#include "tokenizer/jinja_filters.h"
#include "tokenizer/jinja_operators.h"
#include "tokenizer/jinja_print.h"
#include "tokenizer/jinja_text.h"

namespace zqfp::jinja {
namespace {

using Result = absl::StatusOr<Value>;
using Arguments = BoundArguments;

constexpr size_t kMaxNumberText = 4096;

// x|default(y): y where x is undefined; with boolean=true, where x is false.
Result Default(Runtime& runtime, const Value& input,
               const Arguments& arguments) {
  const bool use_default =
      input.IsUndefined() ||
      (FlagArgument(arguments[1], false) && !IsTrue(input));
  if (!use_default) return input;
  return arguments[0].has_value() ? *arguments[0]
                                  : MakeString(runtime.budget, "");
}

// Python allows single underscores between digits.
bool RemoveUnderscores(std::string* digits) {
  for (size_t i = 0; i < digits->size(); ++i) {
    if ((*digits)[i] != '_') continue;
    const bool between = i > 0 && i + 1 < digits->size() &&
                         isdigit((*digits)[i - 1]) && isdigit((*digits)[i + 1]);
    if (!between) return false;
  }
  digits->erase(std::remove(digits->begin(), digits->end(), '_'),
                digits->end());
  return true;
}

// int(text) in base 10; an error for an integer that 64 bits do not hold.
absl::StatusOr<std::optional<int64_t>> ParseInteger(std::string_view text) {
  std::string digits(StripSpace(text, Side::kBoth));
  const std::optional<int64_t> none;
  if (!RemoveUnderscores(&digits)) return none;
  const size_t sign = digits.starts_with('+');
  if (digits.size() > sign && sign == 1 && digits[1] == '-') return none;
  int64_t integer = 0;
  const char* const end = digits.data() + digits.size();
  const auto parsed = std::from_chars(digits.data() + sign, end, integer);
  if (parsed.ptr != end || parsed.ec == std::errc::invalid_argument) {
    return none;
  }
  if (parsed.ec != std::errc()) {
    return Error("the integer {} exceeds 64 bits", digits.substr(0, 80));
  }
  return std::optional<int64_t>(integer);
}

// A number has few characters; looking for one in megabytes takes long.
absl::Status CheckNumberText(Runtime& runtime, const char* filter,
                             std::string_view text) {
  if (!runtime.budget.Scan(static_cast<int64_t>(text.size()))) {
    return runtime.budget.status();
  }
  if (text.size() <= kMaxNumberText) return absl::OkStatus();
  return Error("the filter '{}' takes at most {} bytes, {} were given", filter,
               kMaxNumberText, text.size());
}

// float(text): decimal, inf or nan.
std::optional<double> ParseFloat(std::string_view text) {
  std::string digits = Lower(StripSpace(text, Side::kBoth));
  if (!RemoveUnderscores(&digits)) return std::nullopt;
  const char* begin = digits.data();
  const char* const end = begin + digits.size();
  const bool negative = begin < end && *begin == '-';
  if (begin < end && (*begin == '-' || *begin == '+')) ++begin;
  if (begin == end || *begin == '-' || *begin == '+') return std::nullopt;
  if (std::string_view(begin, static_cast<size_t>(end - begin))
          .starts_with("nan(")) {
    return std::nullopt;
  }
  double number = 0;
  const auto parsed = std::from_chars(begin, end, number);
  if (parsed.ptr != end) return std::nullopt;
  if (parsed.ec == std::errc::result_out_of_range) {
    number = strtod(std::string(begin, end).c_str(), nullptr);
  } else if (parsed.ec != std::errc()) {
    return std::nullopt;
  }
  return negative ? -number : number;
}

// int(number): toward zero; an error where 64 bits do not hold it.
absl::StatusOr<int64_t> Truncate(double number) {
  if (!(number >= -0x1p63 && number < 0x1p63)) {
    return Error("the integer {} exceeds 64 bits", number);
  }
  return static_cast<int64_t>(number);
}

// x|int(default=0): the default where x is no number.
Result ToInteger(Runtime& runtime, const Value& input,
                 const Arguments& arguments) {
  ZQFP_ASSIGN_OR_RETURN(const int64_t base, IntegerArgument(arguments[1], 10));
  const Value otherwise = arguments[0].value_or(Int(0));
  ZQFP_RETURN_IF_ERROR(RequireDefined(input));
  if (input.IsIntegral()) return Int(input.AsInteger());
  std::optional<double> number;
  if (input.Is(Kind::kFloat)) {
    if (std::isinf(input.number)) {
      return Error("cannot convert float infinity to integer");
    }
    number = input.number;
  } else if (input.IsString()) {
    if (base != 10) return Unsupported("the filter 'int' in base {}", base);
    ZQFP_RETURN_IF_ERROR(CheckNumberText(runtime, "int", input.text()));
    ZQFP_ASSIGN_OR_RETURN(const std::optional<int64_t> integer,
                          ParseInteger(input.text()));
    if (integer.has_value()) return Int(*integer);
    number = ParseFloat(input.text());  // as Jinja: "42.8" is 42
  }
  if (!number.has_value() || !std::isfinite(*number)) return otherwise;
  ZQFP_ASSIGN_OR_RETURN(const int64_t integer, Truncate(*number));
  return Int(integer);
}

// x|float(default=0.0).
Result ToFloat(Runtime& runtime, const Value& input,
               const Arguments& arguments) {
  ZQFP_RETURN_IF_ERROR(RequireDefined(input));
  if (input.IsNumber()) return Float(input.AsNumber());
  if (input.IsString()) {
    ZQFP_RETURN_IF_ERROR(CheckNumberText(runtime, "float", input.text()));
    const std::optional<double> number = ParseFloat(input.text());
    if (number.has_value()) return Float(*number);
  }
  return arguments[0].value_or(Float(0));
}

// x|abs.
Result Abs(Runtime&, const Value& input, const Arguments&) {
  if (input.Is(Kind::kFloat)) return Float(std::fabs(input.number));
  if (input.IsIntegral()) {
    return input.AsInteger() < 0 ? Negate(input) : Int(input.AsInteger());
  }
  ZQFP_RETURN_IF_ERROR(RequireDefined(input));
  return Error("bad operand type for abs(): '{}'", TypeName(input));
}

// round(): correctly rounded in decimal, ties to even, as Python does it.
double RoundDecimal(double number, int64_t precision) {
  if (!std::isfinite(number) || precision > 30) return number;
  if (precision < 0) {
    if (precision < -308) return 0;
    const double unit = std::pow(10.0, static_cast<double>(-precision));
    return std::nearbyint(number / unit) * unit;
  }
  const std::string digits = fmt::format("{:.{}f}", number, precision);
  return strtod(digits.c_str(), nullptr);
}

// x|round(precision=0, method='common'); an integer stays one with 'common'.
Result Round(Runtime&, const Value& input, const Arguments& arguments) {
  ZQFP_RETURN_IF_ERROR(RequireDefined(input));
  if (!input.IsNumber()) {
    return Error("type {} doesn't define __round__ method", TypeName(input));
  }
  ZQFP_ASSIGN_OR_RETURN(const int64_t precision,
                        IntegerArgument(arguments[0], 0));
  ZQFP_ASSIGN_OR_RETURN(const std::string method,
                        TextArgument(arguments[1], "common"));
  if (method == "common") {
    if (!input.IsIntegral()) {
      return Float(RoundDecimal(input.number, precision));
    }
    if (precision < 0) return Unsupported("round() of an integer to tens");
    return Int(input.AsInteger());
  }
  if (method != "ceil" && method != "floor") {
    return Error("method must be common, ceil or floor");
  }
  if (precision < -300 || precision > 300) {
    return Error("round: a precision of {}", precision);
  }
  const double unit = std::pow(10.0, static_cast<double>(precision));
  const double scaled = input.AsNumber() * unit;
  if (!std::isfinite(scaled)) {  // math.ceil makes an integer of it
    return Error("cannot convert float {} to integer",
                 std::isnan(scaled) ? "NaN" : "infinity");
  }
  return Float((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) /
               unit);
}

// x|sum(attribute, start=0): Python's +, so lists can be summed too.
Result Sum(Runtime& runtime, const Value& input, const Arguments& arguments) {
  Budget& budget = runtime.budget;
  ZQFP_ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(budget, input));
  Value sum = arguments[1].value_or(Int(0));
  if (sum.IsString()) return Error("sum() can't sum strings");
  for (const Value& item : items) {
    if (!budget.Step()) return budget.status();
    ZQFP_ASSIGN_OR_RETURN(const Value value,
                          AttributeOf(runtime, item, arguments[0]));
    ZQFP_ASSIGN_OR_RETURN(sum, Binary(budget, Operator::kAdd, sum, value));
  }
  return sum;
}

constexpr Filter kFilters[] = {
    {"default", "default_value boolean", 0, Default},
    {"d", "default_value boolean", 0, Default},
    {"int", "default base", 0, ToInteger},
    {"float", "default", 0, ToFloat},
    {"abs", "", 0, Abs},
    {"round", "precision method", 0, Round},
    {"sum", "attribute start", 0, Sum},
};

}  // namespace

std::span<const Filter> NumberFilters() { return kFilters; }

}  // namespace zqfp::jinja
