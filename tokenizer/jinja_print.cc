// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/jinja_print.h"

#include <charconv>
#include <cmath>

#include "kernels/core/status_macros.h"
#include "tokenizer/jinja_text.h"

namespace zqfp::jinja {
namespace {

// Writes repr()s; the budget bounds the text even where a small value that
// shares its parts prints as a huge one.
class ReprWriter {
 public:
  explicit ReprWriter(Budget& budget) : budget_(budget) {}

  // Recursion is bounded by kMaxValueDepth, the work by the budget.
  absl::Status Write(const Value& value) {
    if (!budget_.Step()) return budget_.status();
    switch (value.kind) {
      case Kind::kString:
        Append(value.markup ? "Markup(" + Repr(value.text()) + ")"
                            : Repr(value.text()));
        return budget_.status();
      case Kind::kList:
        return WriteItems("[", value.items(), "]");
      case Kind::kTuple:
        return WriteItems("(", value.items(),
                          value.items().size() == 1 ? ",)" : ")");
      case Kind::kView:
        Append(value.text());
        return WriteItems("([", value.items(), "])");
      case Kind::kDict:
        return WriteDict(AsDict(value));
      case Kind::kNamespace:
        return Error("a namespace cannot be printed");
      default:
        return WriteScalar(value);
    }
  }

  std::string Take() { return std::move(out_); }

 private:
  void Append(std::string_view text) {
    if (budget_.Bytes(static_cast<int64_t>(text.size()))) out_.append(text);
  }

  // What has no parts.
  absl::Status WriteScalar(const Value& value) {
    switch (value.kind) {
      case Kind::kUndefined:
        Append("Undefined");
        return budget_.status();
      case Kind::kNone:
        Append("None");
        return budget_.status();
      case Kind::kBool:
        Append(value.boolean ? "True" : "False");
        return budget_.status();
      case Kind::kInt:
        Append(fmt::format("{}", value.integer));
        return budget_.status();
      case Kind::kFloat:
        Append(FormatFloat(value.number));
        return budget_.status();
      case Kind::kRange:
        Append(value.text());
        return budget_.status();
      default:  // Python would show an address
        return Error("a {} cannot be printed", TypeName(value));
    }
  }

  // A tuple of one closes with ",)".
  absl::Status WriteItems(std::string_view open,
                          const std::vector<Value>& items,
                          std::string_view close) {
    Append(open);
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) Append(", ");
      ZQFP_RETURN_IF_ERROR(Write(items[i]));
    }
    Append(close);
    return budget_.status();
  }

  // {'a': 1, 2: None}
  absl::Status WriteDict(const Dict& dict) {
    Append("{");
    for (size_t i = 0; i < dict.entries.size(); ++i) {
      if (i > 0) Append(", ");
      ZQFP_RETURN_IF_ERROR(Write(dict.entries[i].first));
      Append(": ");
      ZQFP_RETURN_IF_ERROR(Write(dict.entries[i].second));
    }
    Append("}");
    return budget_.status();
  }

  Budget& budget_;
  std::string out_;
};

}  // namespace

// The shortest digits that read back as the same number, in Python's layout.
std::string FormatFloat(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
  char digits[40];
  const auto end = std::to_chars(digits, digits + sizeof(digits), number,
                                 std::chars_format::scientific);
  const std::string shortest(digits, end.ptr);
  const size_t e = shortest.find('e');
  const int exponent = atoi(shortest.c_str() + e + 1);
  // Python writes the exponent outside 1e-4 .. 1e16.
  if (exponent < -4 || exponent >= 16) return shortest;
  const auto fixed = std::to_chars(digits, digits + sizeof(digits), number,
                                   std::chars_format::fixed);
  std::string out(digits, fixed.ptr);
  if (out.find('.') == std::string::npos) out += ".0";
  return out;
}

// As lists show their elements: strings in quotes.
absl::StatusOr<std::string> ToRepr(Budget& budget, const Value& value) {
  ReprWriter writer(budget);
  ZQFP_RETURN_IF_ERROR(writer.Write(value));
  return writer.Take();
}

// As {{ }} shows a value: strings as they are, undefined as nothing.
absl::StatusOr<std::string> ToStr(Budget& budget, const Value& value) {
  if (value.IsUndefined()) return std::string();
  if (value.IsString()) {
    if (!budget.Bytes(static_cast<int64_t>(value.text().size()))) {
      return budget.status();
    }
    return value.text();
  }
  return ToRepr(budget, value);
}

}  // namespace zqfp::jinja
