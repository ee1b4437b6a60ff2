// SPDX-License-Identifier: Apache-2.0
// Python's "%s and %05.2f" % (...) for the conversions templates use.
#include <stdio.h>

#include <algorithm>
#include <cmath>

#include "kernels/core/status_macros.h"
#include "tokenizer/jinja_print.h"
#include "tokenizer/jinja_text.h"

namespace zqfp::jinja {
namespace {

constexpr int kMaxWidth = 1000;

// One conversion: %[flags][width][.precision]letter.
struct Conversion {
  std::string flags;
  int width = 0;
  int precision = -1;
  char letter = 0;

  bool Has(char flag) const { return flags.find(flag) != std::string::npos; }
};

// Reads digits; more than kMaxWidth is an error.
absl::Status ReadNumber(std::string_view format, size_t* i, int* number) {
  *number = 0;
  for (; *i < format.size() && format[*i] >= '0' && format[*i] <= '9'; ++*i) {
    *number = *number * 10 + (format[*i] - '0');
    if (*number > kMaxWidth) {
      return Unsupported("a % format wider than {}", kMaxWidth);
    }
  }
  return absl::OkStatus();
}

// From behind the % to behind the letter.
absl::StatusOr<Conversion> ReadConversion(std::string_view format, size_t* i) {
  Conversion conversion;
  while (*i < format.size() &&
         std::string_view("-+ #0").find(format[*i]) != std::string_view::npos) {
    conversion.flags.push_back(format[(*i)++]);
  }
  ZQFP_RETURN_IF_ERROR(ReadNumber(format, i, &conversion.width));
  if (*i < format.size() && format[*i] == '.') {
    ++*i;
    ZQFP_RETURN_IF_ERROR(ReadNumber(format, i, &conversion.precision));
  }
  if (*i == format.size()) return Error("incomplete format");
  conversion.letter = format[(*i)++];
  return conversion;
}

// Widths count characters, not bytes, so C cannot do this.
std::string Pad(const Conversion& conversion, std::string text) {
  const int64_t missing = conversion.width - NumCodePoints(text);
  if (missing <= 0) return text;
  const auto count = static_cast<size_t>(missing);
  return conversion.Has('-') ? text + std::string(count, ' ')
                             : std::string(count, ' ') + text;
}

// Sign, prefix and digits in the width: zeros go between prefix and digits.
std::string PadNumber(const Conversion& conversion, std::string prefix,
                      std::string digits) {
  if (conversion.Has('0') && !conversion.Has('-')) {
    const size_t size = prefix.size() + digits.size();
    const auto width = static_cast<size_t>(conversion.width);
    if (size < width) digits.insert(0, width - size, '0');
  }
  return Pad(conversion, prefix + digits);
}

// + and a space in front of what is not negative.
std::string SignOf(const Conversion& conversion, bool is_negative) {
  if (is_negative) return "-";
  return conversion.Has('+') ? "+" : conversion.Has(' ') ? " " : "";
}

// The digits are C's; inf and nan are padded with zeros too, unlike in C.
std::string PrintFloat(const Conversion& conversion, double number) {
  std::string format = conversion.Has('#') ? "%#" : "%";
  if (conversion.precision >= 0) {
    format += fmt::format(".{}", conversion.precision);
  }
  format += conversion.letter;
  char buffer[kMaxWidth + 400];
  const bool is_negative = !std::isnan(number) && std::signbit(number);
  const int size =
      snprintf(buffer, sizeof(buffer), format.c_str(), std::fabs(number));
  return PadNumber(conversion, SignOf(conversion, is_negative),
                   std::string(buffer, static_cast<size_t>(size)));
}

// Unlike in C, zero has a digit and a prefix, and the octal prefix is 0o.
std::string PrintInteger(const Conversion& conversion, int64_t integer) {
  const bool is_negative = integer < 0;
  const uint64_t size = is_negative
                            ? uint64_t{0} - static_cast<uint64_t>(integer)
                            : static_cast<uint64_t>(integer);
  std::string digits;
  std::string prefix = SignOf(conversion, is_negative);
  const char letter = conversion.letter;
  if (letter == 'x' || letter == 'X' || letter == 'o') {
    digits = letter == 'x'   ? fmt::format("{:x}", size)
             : letter == 'X' ? fmt::format("{:X}", size)
                             : fmt::format("{:o}", size);
    if (conversion.Has('#')) prefix.append("0").append(1, letter);
  } else {
    digits = fmt::format("{}", size);
  }
  const auto precision = static_cast<size_t>(std::max(conversion.precision, 0));
  if (digits.size() < precision)
    digits.insert(0, precision - digits.size(), '0');
  return PadNumber(conversion, std::move(prefix), std::move(digits));
}

// %d takes a float and cuts it; the other integer conversions do not.
absl::StatusOr<std::string> FormatNumber(Conversion conversion,
                                         const Value& value) {
  if (!value.IsNumber()) {
    return Error("%{} format: a real number is required, not {}",
                 conversion.letter, TypeName(value));
  }
  if (std::string_view("fFeEgG").find(conversion.letter) !=
      std::string_view::npos) {
    return PrintFloat(conversion, value.AsNumber());
  }
  int64_t integer = 0;
  if (value.IsIntegral()) {
    integer = value.AsInteger();
  } else if (std::string_view("di").find(conversion.letter) ==
             std::string_view::npos) {
    return Error("%{} format: an integer is required, not float",
                 conversion.letter);
  } else if (!(value.number >= -0x1p63 && value.number < 0x1p63)) {
    return Error("cannot convert float {} to integer",
                 FormatFloat(value.number));
  } else {
    integer = static_cast<int64_t>(value.number);
  }
  return PrintInteger(conversion, integer);
}

// Dispatches on the letter; text is cut to its precision, then padded.
absl::StatusOr<std::string> FormatOne(Budget& budget,
                                      const Conversion& conversion,
                                      const Value& value) {
  std::string text;
  switch (conversion.letter) {
    case 's': {
      ZQFP_ASSIGN_OR_RETURN(text, ToStr(budget, value));
      break;
    }
    case 'r': {
      ZQFP_ASSIGN_OR_RETURN(text, ToRepr(budget, value));
      break;
    }
    case 'c':
      if (!value.IsString() || NumCodePoints(value.text()) != 1) {
        return Unsupported("%c of anything but one character");
      }
      return Pad(conversion, value.text());
    case 'd':
    case 'i':
    case 'f':
    case 'F':
    case 'e':
    case 'E':
    case 'g':
    case 'G':
    case 'x':
    case 'X':
    case 'o':
      return FormatNumber(conversion, value);
    default:
      return Unsupported("the % format character '{}'",
                         std::string(1, conversion.letter));
  }
  if (conversion.precision >= 0) {
    const std::vector<size_t> offsets = CodePointOffsets(text);
    const auto precision = static_cast<size_t>(conversion.precision);
    if (precision + 1 < offsets.size()) text.resize(offsets[precision]);
  }
  return Pad(conversion, std::move(text));
}

}  // namespace

// Arguments are used in order.
absl::StatusOr<Value> PercentFormat(Budget& budget, std::string_view format,
                                    std::span<const Value> arguments,
                                    UnusedArguments unused) {
  std::string out;
  size_t next = 0;
  for (size_t i = 0; i < format.size();) {
    if (format[i] != '%') {
      const size_t begin = i;
      i = std::min(format.find('%', i), format.size());
      out.append(format.substr(begin, i - begin));
      continue;
    }
    if (!budget.Step()) return budget.status();
    ++i;
    ZQFP_ASSIGN_OR_RETURN(const Conversion conversion,
                          ReadConversion(format, &i));
    if (conversion.letter == '%' && format[i - 2] == '%') {
      out.push_back('%');
      continue;
    }
    if (conversion.letter == '(') {
      return Unsupported("% formats with named keys");
    }
    if (next == arguments.size()) {
      return Error("not enough arguments for format string");
    }
    ZQFP_ASSIGN_OR_RETURN(std::string text,
                          FormatOne(budget, conversion, arguments[next++]));
    if (!budget.Bytes(static_cast<int64_t>(text.size()))) {
      return budget.status();
    }
    out.append(text);
  }
  if (next < arguments.size() && unused == UnusedArguments::kRefused) {
    return Error("not all arguments converted during string formatting");
  }
  return MakeString(budget, std::move(out));
}

}  // namespace zqfp::jinja
