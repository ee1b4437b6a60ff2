// SPDX-License-Identifier: Apache-2.0
// Filters whose result is text.
#include <algorithm>

#include "kernels/core/status_macros.h"
#include "tokenizer/jinja_attributes.h"
#include "tokenizer/jinja_compare.h"
#include "tokenizer/jinja_filters.h"
#include "tokenizer/jinja_print.h"
#include "tokenizer/jinja_text.h"

namespace zqfp::jinja {
namespace {

using Result = absl::StatusOr<Value>;
using Arguments = BoundArguments;

// x|string: str(x), and markup stays markup.
Result StringFilter(Runtime& runtime, const Value& input, const Arguments&) {
  if (input.IsString()) return input;
  ZQFP_ASSIGN_OR_RETURN(std::string text, ToStr(runtime.budget, input));
  return MakeString(runtime.budget, std::move(text));
}

// x|upper, lower, title, capitalize. Jinja's title puts its result together
// from plain parts, so that it is no markup.
template <std::string (*convert)(std::string_view)>
Result Convert(Runtime& runtime, const Value& input, const Arguments&) {
  ZQFP_ASSIGN_OR_RETURN(const std::string text, ToStr(runtime.budget, input));
  runtime.budget.Scan(static_cast<int64_t>(text.size()));
  Value result = MakeString(runtime.budget, convert(text));
  result.markup = input.markup && convert != FilterTitle;
  return result;
}

// x|trim(chars): white space at both ends, or a set of characters.
Result Trim(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ZQFP_ASSIGN_OR_RETURN(const std::string text, ToStr(runtime.budget, input));
  runtime.budget.Scan(static_cast<int64_t>(text.size()));
  std::string_view trimmed = StripSpace(text, Side::kBoth);
  if (arguments[0].has_value() && !arguments[0]->Is(Kind::kNone)) {
    ZQFP_ASSIGN_OR_RETURN(const std::string set,
                          TextArgument(arguments[0], ""));
    trimmed = Strip(text, set, Side::kBoth);
  }
  Value result = MakeString(runtime.budget, std::string(trimmed));
  result.markup = input.markup;
  return result;
}

// A method of str on str(input), with the arguments as they came.
Result CallOn(Runtime& runtime, const Value& input, std::string_view method,
              std::vector<Value> arguments) {
  ZQFP_ASSIGN_OR_RETURN(std::string text, ToStr(runtime.budget, input));
  const Value self = MakeString(runtime.budget, std::move(text));
  return CallStringMethod(runtime, self, method, {std::move(arguments), {}});
}

// x|replace(old, new, count), on str() of all three.
Result ReplaceFilter(Runtime& runtime, const Value& input,
                     const Arguments& arguments) {
  std::vector<Value> forwarded;
  for (int i = 0; i < 2; ++i) {
    ZQFP_ASSIGN_OR_RETURN(
        std::string text,
        ToStr(runtime.budget, *arguments[static_cast<size_t>(i)]));
    forwarded.push_back(MakeString(runtime.budget, std::move(text)));
  }
  if (arguments[2].has_value() && !arguments[2]->Is(Kind::kNone)) {
    forwarded.push_back(*arguments[2]);
  }
  return CallOn(runtime, input, "replace", std::move(forwarded));
}

// x|center(width=80).
Result Center(Runtime& runtime, const Value& input,
              const Arguments& arguments) {
  return CallOn(runtime, input, "center", {arguments[0].value_or(Int(80))});
}

// x|join(separator='', attribute=none): str() of the items.
Result Join(Runtime& runtime, const Value& input, const Arguments& arguments) {
  Budget& budget = runtime.budget;
  ZQFP_ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(budget, input));
  std::string separator;
  if (arguments[0].has_value()) {
    ZQFP_ASSIGN_OR_RETURN(separator, ToStr(budget, *arguments[0]));
  }
  std::string out;
  for (size_t i = 0; i < items.size(); ++i) {
    ZQFP_ASSIGN_OR_RETURN(const Value item,
                          AttributeOf(runtime, items[i], arguments[1]));
    ZQFP_ASSIGN_OR_RETURN(const std::string text, ToStr(budget, item));
    if (!budget.Step() ||
        !budget.Bytes(static_cast<int64_t>(separator.size() + text.size()))) {
      return budget.status();
    }
    if (i > 0) out += separator;
    out += text;
  }
  return MakeString(budget, std::move(out));
}

// The lines of a text; line ends as str.splitlines knows them.
absl::StatusOr<std::vector<Value>> Lines(Runtime& runtime, std::string text) {
  const Value self = MakeString(runtime.budget, std::move(text));
  ZQFP_ASSIGN_OR_RETURN(const Value lines,
                        CallStringMethod(runtime, self, "splitlines", {}));
  return lines.items();
}

// x|indent(width=4, first=false, blank=false); width may be the text itself.
Result Indent(Runtime& runtime, const Value& input,
              const Arguments& arguments) {
  Budget& budget = runtime.budget;
  if (!input.IsString()) {  // Jinja adds a newline, and so must this
    ZQFP_RETURN_IF_ERROR(RequireDefined(input));
    return Error("unsupported operand type(s) for +=: '{}' and 'str'",
                 TypeName(input));
  }
  ZQFP_ASSIGN_OR_RETURN(std::string text, ToStr(budget, input));
  std::string prefix;
  if (arguments[0].has_value() && arguments[0]->IsString()) {
    prefix = arguments[0]->text();
  } else {
    ZQFP_ASSIGN_OR_RETURN(const int64_t width,
                          IntegerArgument(arguments[0], 4));
    if (!budget.Bytes(std::max<int64_t>(width, 0))) return budget.status();
    prefix.assign(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
  }
  const bool first = FlagArgument(arguments[1], false);
  const bool blank = FlagArgument(arguments[2], false);
  text += '\n';  // as Jinja does, so that a last empty line counts
  ZQFP_ASSIGN_OR_RETURN(const std::vector<Value> lines,
                        Lines(runtime, std::move(text)));
  std::string out;
  for (size_t i = 0; i < lines.size(); ++i) {
    const std::string& line = lines[i].text();
    if (!budget.Bytes(static_cast<int64_t>(prefix.size() + line.size() + 1))) {
      return budget.status();
    }
    if (i > 0) out += '\n';
    const bool wanted = i == 0 ? first : blank || !line.empty();
    if (wanted) out += prefix;
    out += line;
  }
  return MakeString(budget, std::move(out));
}

// x|safe marks a text as HTML: nothing is escaped here, but + remembers.
Result Safe(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ZQFP_ASSIGN_OR_RETURN(Value text, StringFilter(runtime, input, arguments));
  text.markup = true;
  return text;
}

// x|escape, also called e; a second time changes nothing.
Result Escape(Runtime& runtime, const Value& input,
              const Arguments& arguments) {
  if (input.markup) return input;
  ZQFP_ASSIGN_OR_RETURN(Value text, StringFilter(runtime, input, arguments));
  if (!runtime.budget.Bytes(5 * static_cast<int64_t>(text.text().size()))) {
    return runtime.budget.status();
  }
  Value escaped = MakeString(runtime.budget, EscapeHtml(text.text()));
  escaped.markup = true;
  return escaped;
}

// "..." | format(a, b): the operator %.
Result Format(Runtime& runtime, const Value& input, CallArguments arguments) {
  if (!arguments.keyword.empty()) {
    return Unsupported("the filter 'format' with keyword arguments");
  }
  ZQFP_ASSIGN_OR_RETURN(const std::string format, ToStr(runtime.budget, input));
  return PercentFormat(runtime.budget, format, arguments.positional,
                       UnusedArguments::kRefused);
}

// The arguments as json.dumps understands them.
absl::StatusOr<JsonStyle> MakeJsonStyle(const Arguments& arguments) {
  JsonStyle style;
  style.ensure_ascii = FlagArgument(arguments[0], false);
  style.sort_keys = FlagArgument(arguments[3], false);
  const std::optional<Value>& indent = arguments[1];
  if (indent.has_value() && !indent->Is(Kind::kNone)) {
    constexpr int64_t kMaxIndent = 64;
    if (indent->IsString()) {
      style.indent = indent->text();
    } else {
      ZQFP_ASSIGN_OR_RETURN(const int64_t width, IntegerArgument(indent, 0));
      if (width > kMaxIndent) {
        return Unsupported("an indent of more than {}", kMaxIndent);
      }
      style.indent =
          std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
    }
  }
  const std::optional<Value>& separators = arguments[2];
  if (separators.has_value() && !separators->Is(Kind::kNone)) {
    if (!separators->IsSequence() || separators->items().size() != 2 ||
        !separators->items()[0].IsString() ||
        !separators->items()[1].IsString()) {
      return Error("tojson: separators wants two strings");
    }
    style.item_separator = separators->items()[0].text();
    style.key_separator = separators->items()[1].text();
  }
  return style;
}

// x|tojson(ensure_ascii=false, indent=none, separators=none, sort_keys=false):
// the filter of transformers, not Jinja's, which escapes HTML.
Result ToJsonFilter(Runtime& runtime, const Value& input,
                    const Arguments& arguments) {
  ZQFP_ASSIGN_OR_RETURN(const JsonStyle style, MakeJsonStyle(arguments));
  ZQFP_ASSIGN_OR_RETURN(std::string json, ToJson(runtime.budget, input, style));
  return MakeString(runtime.budget, std::move(json));
}

// Runs of letters, digits and underscores.
Result WordCount(Runtime& runtime, const Value& input, const Arguments&) {
  ZQFP_ASSIGN_OR_RETURN(const std::string text, ToStr(runtime.budget, input));
  runtime.budget.Scan(4 * static_cast<int64_t>(text.size()));
  int64_t count = 0;
  bool in_word = false;
  for (size_t i = 0; i < text.size();) {
    const bool is_word = IsWordChar(NextCodePoint(text, &i));
    count += is_word && !in_word;
    in_word = is_word;
  }
  return Int(count);
}

constexpr Filter kFilters[] = {
    {"string", "", 0, StringFilter},
    {"upper", "", 0, Convert<Upper>},
    {"lower", "", 0, Convert<Lower>},
    {"title", "", 0, Convert<FilterTitle>},
    {"capitalize", "", 0, Convert<Capitalize>},
    {"trim", "chars", 0, Trim},
    {"replace", "old new count", 2, ReplaceFilter},
    {"center", "width", 0, Center},
    {"join", "d attribute", 0, Join},
    {"indent", "width first blank", 0, Indent},
    {"safe", "", 0, Safe},
    {"escape", "", 0, Escape},
    {"e", "", 0, Escape},
    {"format", "", 0, nullptr, Format},
    {"tojson", "ensure_ascii indent separators sort_keys", 0, ToJsonFilter},
    {"wordcount", "", 0, WordCount},
};

}  // namespace

std::span<const Filter> TextFilters() { return kFilters; }

}  // namespace zqfp::jinja
