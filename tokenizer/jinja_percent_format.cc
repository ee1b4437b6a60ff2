// SPDX-License-Identifier: Apache-2.0
// Python's "%s and %05.2f" % (...) for the conversions templates use.
#include <stdio.h>

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

// Lets C write a number: its rules for flags are Python's.
template <typename T>
std::string PrintNumber(const Conversion& conversion, const char* length,
                        T number) {
  std::string format = "%" + conversion.flags;
  if (conversion.width > 0) format += fmt::format("{}", conversion.width);
  if (conversion.precision >= 0) {
    format += fmt::format(".{}", conversion.precision);
  }
  format += length;
  format += conversion.letter;
  char buffer[2 * kMaxWidth + 400];
  const int size = snprintf(buffer, sizeof(buffer), format.c_str(), number);
  return std::string(buffer, static_cast<size_t>(size));
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
    return PrintNumber(conversion, "", value.AsNumber());
  }
  int64_t integer = 0;
  if (value.IsIntegral()) {
    integer = value.AsInteger();
  } else if (std::string_view("di").find(conversion.letter) ==
             std::string_view::npos) {
    return Error("%{} format: an integer is required, not float",
                 conversion.letter);
  } else if (!(std::fabs(value.number) < 9.2e18)) {
    return Error("cannot convert float {} to integer",
                 FormatFloat(value.number));
  } else {
    integer = static_cast<int64_t>(value.number);
  }
  if (conversion.letter == 'd' || conversion.letter == 'i') {
    return PrintNumber(conversion, "l", static_cast<long>(integer));
  }
  if (integer < 0) {
    return Unsupported("%{} of a negative number", conversion.letter);
  }
  return PrintNumber(conversion, "l", static_cast<unsigned long>(integer));
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

// Arguments are used in order, and all of them must be.
absl::StatusOr<Value> PercentFormat(Budget& budget, std::string_view format,
                                    std::span<const Value> arguments) {
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
    if (conversion.letter == '%') {
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
  if (next < arguments.size()) {
    return Error("not all arguments converted during string formatting");
  }
  return MakeString(budget, std::move(out));
}

}  // namespace zqfp::jinja
