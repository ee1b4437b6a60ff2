// SPDX-License-Identifier: Apache-2.0
// The methods of str that templates call.
#include <algorithm>

#include "kernels/core/status_macros.h"
#include "tokenizer/jinja_attributes.h"
#include "tokenizer/jinja_compare.h"
#include "tokenizer/jinja_print.h"
#include "tokenizer/jinja_text.h"

namespace zqfp::jinja {
namespace {

using Result = absl::StatusOr<Value>;
using Arguments = BoundArguments;

struct StringMethod {
  std::string_view name;
  std::string_view parameters;
  int num_required;
  Result (*function)(Budget&, const std::string& self, const Arguments&);
};

// None stands for an argument that is absent.
bool IsGiven(const std::optional<Value>& argument) {
  return argument.has_value() && !argument->Is(Kind::kNone);
}

// The text of a value as a new list element.
Value Part(Budget& budget, std::string_view text) {
  return MakeString(budget, std::string(text));
}

// strip(chars), lstrip, rstrip: `chars` is a set of characters.
template <Side side>
Result StripMethod(Budget& budget, const std::string& self,
                   const Arguments& arguments) {
  if (!IsGiven(arguments[0])) return Part(budget, StripSpace(self, side));
  ZQFP_ASSIGN_OR_RETURN(const std::string set, TextArgument(arguments[0], ""));
  return Part(budget, Strip(self, set, side));
}

// Splits at runs of white space; `limit` < 0: everywhere.
std::vector<std::string_view> SplitSpace(std::string_view text, int64_t limit) {
  std::vector<std::string_view> parts;
  text = StripSpace(text, Side::kLeft);
  while (!text.empty()) {
    if (limit >= 0 && static_cast<int64_t>(parts.size()) == limit) {
      parts.push_back(text);  // the rest as it is
      break;
    }
    size_t end = 0;
    size_t next = 0;
    while (end < text.size() && !IsSpace(NextCodePoint(text, &next))) {
      end = next;
    }
    parts.push_back(text.substr(0, end));
    text = StripSpace(text.substr(end), Side::kLeft);
  }
  return parts;
}

// The same from the right, last part first.
std::vector<std::string_view> SplitSpaceFromRight(std::string_view text,
                                                  int64_t limit) {
  const std::vector<std::string_view> all = SplitSpace(text, -1);
  const auto count = static_cast<int64_t>(all.size());
  if (limit < 0 || count <= limit) return all;
  // The first parts stay together, with the space between them.
  const auto joined = static_cast<size_t>(count - limit - 1);
  const char* const end = all[joined].data() + all[joined].size();
  std::vector<std::string_view> parts = {
      text.substr(0, static_cast<size_t>(end - text.data()))};
  parts.insert(parts.end(), all.begin() + static_cast<int64_t>(joined) + 1,
               all.end());
  return parts;
}

// At most `limit` cuts (negative: all), from the left.
std::vector<std::string_view> SplitAt(std::string_view text,
                                      std::string_view separator,
                                      int64_t limit) {
  std::vector<std::string_view> parts;
  size_t from = 0;
  for (const size_t start : FindAll(text, separator, limit)) {
    parts.push_back(text.substr(from, start - from));
    from = start + separator.size();
  }
  parts.push_back(text.substr(from));
  return parts;
}

// From the right, on mirrored copies, so that it stays linear.
std::vector<std::string_view> SplitAtFromRight(std::string_view text,
                                               std::string_view separator,
                                               int64_t limit) {
  const std::string mirrored(text.rbegin(), text.rend());
  const std::string pattern(separator.rbegin(), separator.rend());
  std::vector<std::string_view> parts;
  size_t end = text.size();
  for (const size_t start : FindAll(mirrored, pattern, limit)) {
    const size_t behind = text.size() - start;  // the separator's end
    parts.push_back(text.substr(behind, end - behind));
    end = behind - separator.size();
  }
  parts.push_back(text.substr(0, end));
  std::reverse(parts.begin(), parts.end());
  return parts;
}

// split(sep, maxsplit) and rsplit: without sep, at runs of white space.
template <Side side>
Result SplitMethod(Budget& budget, const std::string& self,
                   const Arguments& arguments) {
  ZQFP_ASSIGN_OR_RETURN(const int64_t limit, IntegerArgument(arguments[1], -1));
  std::vector<std::string_view> parts;
  if (!IsGiven(arguments[0])) {
    parts = side == Side::kLeft ? SplitSpace(self, limit)
                                : SplitSpaceFromRight(self, limit);
  } else {
    ZQFP_ASSIGN_OR_RETURN(const std::string separator,
                          TextArgument(arguments[0], ""));
    if (separator.empty()) return Error("empty separator");
    parts = side == Side::kLeft ? SplitAt(self, separator, limit)
                                : SplitAtFromRight(self, separator, limit);
  }
  std::vector<Value> items;
  for (const std::string_view part : parts) {
    if (!budget.Step()) return budget.status();
    items.push_back(Part(budget, part));
  }
  return MakeSequence(budget, Kind::kList, std::move(items));
}

// What str.splitlines cuts at; more than a newline.
bool IsLineEnd(char32_t c) {
  return (c >= '\n' && c <= '\r') || (c >= 0x1C && c <= 0x1E) || c == 0x85 ||
         c == 0x2028 || c == 0x2029;
}

// splitlines(keepends): a newline at the end opens no further line.
Result SplitLines(Budget& budget, const std::string& self,
                  const Arguments& arguments) {
  const bool keep = FlagArgument(arguments[0], false);
  std::vector<Value> lines;
  size_t begin = 0;
  for (size_t i = 0; i < self.size();) {
    const size_t end = i;
    const char32_t c = NextCodePoint(self, &i);
    if (!IsLineEnd(c)) continue;
    if (c == '\r' && i < self.size() && self[i] == '\n') ++i;
    if (!budget.Step()) return budget.status();
    lines.push_back(Part(budget, std::string_view(self).substr(
                                     begin, (keep ? i : end) - begin)));
    begin = i;
  }
  if (begin < self.size()) {
    lines.push_back(Part(budget, std::string_view(self).substr(begin)));
  }
  return MakeSequence(budget, Kind::kList, std::move(lines));
}

// startswith(x) and endswith(x); x is a string or a tuple of strings.
template <bool at_start>
Result StartsOrEnds(Budget& budget, const std::string& self,
                    const Arguments& arguments) {
  const Value& wanted = *arguments[0];
  const auto matches = [&self](const Value& text) {
    return text.IsString() && (at_start ? self.starts_with(text.text())
                                        : self.ends_with(text.text()));
  };
  if (wanted.IsString()) return Bool(matches(wanted));
  if (!wanted.Is(Kind::kTuple)) {
    ZQFP_RETURN_IF_ERROR(RequireDefined(wanted));
    return Error("{} first arg must be str or a tuple of str, not {}",
                 at_start ? "startswith" : "endswith", TypeName(wanted));
  }
  budget.Step(static_cast<int64_t>(wanted.items().size()));
  for (const Value& text : wanted.items()) {
    if (matches(text)) return Bool(true);
    if (text.IsString()) continue;
    ZQFP_RETURN_IF_ERROR(RequireDefined(text));
    return Error("tuple for {} must only contain str, not {}",
                 at_start ? "startswith" : "endswith", TypeName(text));
  }
  return Bool(false);
}

// upper(), lower(), title(), capitalize().
template <std::string (*convert)(std::string_view)>
Result Convert(Budget& budget, const std::string& self, const Arguments&) {
  return MakeString(budget, convert(self));
}

// replace(old, new, count).
Result ReplaceMethod(Budget& budget, const std::string& self,
                     const Arguments& arguments) {
  ZQFP_ASSIGN_OR_RETURN(const std::string from, TextArgument(arguments[0], ""));
  ZQFP_ASSIGN_OR_RETURN(const std::string to, TextArgument(arguments[1], ""));
  ZQFP_ASSIGN_OR_RETURN(const int64_t limit, IntegerArgument(arguments[2], -1));
  // The result can be far longer than what goes in: count first.
  const int64_t hits =
      from.empty() ? NumCodePoints(self) + 1
                   : static_cast<int64_t>(FindAll(self, from, limit).size());
  if (!budget.TextBytes(hits * static_cast<int64_t>(to.size()))) {
    return budget.status();
  }
  return MakeString(budget, Replace(self, from, to, limit));
}

// sep.join(items); unlike the filter, it wants strings.
Result JoinMethod(Budget& budget, const std::string& self,
                  const Arguments& arguments) {
  ZQFP_ASSIGN_OR_RETURN(const std::vector<Value> items,
                        Iterate(budget, *arguments[0]));
  std::string out;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!items[i].IsString()) {
      return Error("sequence item {}: expected str instance, {} found", i,
                   TypeName(items[i]));
    }
    if (!budget.Bytes(
            static_cast<int64_t>(self.size() + items[i].text().size()))) {
      return budget.status();
    }
    if (i > 0) out += self;
    out += items[i].text();
  }
  return MakeString(budget, std::move(out));
}

// The part of self between the optional code point bounds, and the number of
// code points before it.
struct Window {
  std::string_view text;
  int64_t start = 0;
  bool is_inside = true;  // false: start is behind the end of self
};

// Negative bounds count from the end.
absl::StatusOr<Window> MakeWindow(std::string_view self,
                                  const std::optional<Value>& start,
                                  const std::optional<Value>& stop) {
  Window window{self};
  if (!IsGiven(start) && !IsGiven(stop)) return window;
  const std::vector<size_t> offsets = CodePointOffsets(self);
  const auto size = static_cast<int64_t>(offsets.size()) - 1;
  int64_t bounds[2] = {0, size};
  const std::optional<Value>* const given[2] = {&start, &stop};
  for (int i = 0; i < 2; ++i) {
    if (!IsGiven(*given[i])) continue;
    ZQFP_ASSIGN_OR_RETURN(bounds[i], IntegerArgument(*given[i], 0));
    if (bounds[i] < 0) bounds[i] = std::max<int64_t>(0, bounds[i] + size);
  }
  const int64_t end = std::min(bounds[1], size);
  window.is_inside = bounds[0] <= end;
  window.start = std::min(bounds[0], size);
  const size_t begin = offsets[static_cast<size_t>(window.start)];
  const size_t limit =
      std::max(begin, offsets[static_cast<size_t>(std::max<int64_t>(end, 0))]);
  window.text = self.substr(begin, limit - begin);
  return window;
}

// find, rfind and index(sub, start, end), in code points.
template <bool last, bool must_exist>
Result FindMethodOf(Budget& budget, const std::string& self,
                    const Arguments& arguments) {
  ZQFP_ASSIGN_OR_RETURN(const std::string pattern,
                        TextArgument(arguments[0], ""));
  ZQFP_ASSIGN_OR_RETURN(const Window window,
                        MakeWindow(self, arguments[1], arguments[2]));
  budget.Step(static_cast<int64_t>(self.size()) / 64);
  const size_t found = !window.is_inside ? std::string_view::npos
                       : last            ? FindLast(window.text, pattern)
                                         : Find(window.text, pattern);
  if (found == std::string_view::npos) {
    if (must_exist) return Error("substring not found");
    return Int(-1);
  }
  return Int(window.start + NumCodePoints(window.text.substr(0, found)));
}

// count(sub, start, end): occurrences that do not overlap.
Result CountMethod(Budget& budget, const std::string& self,
                   const Arguments& arguments) {
  ZQFP_ASSIGN_OR_RETURN(const std::string pattern,
                        TextArgument(arguments[0], ""));
  ZQFP_ASSIGN_OR_RETURN(const Window window,
                        MakeWindow(self, arguments[1], arguments[2]));
  budget.Step(static_cast<int64_t>(self.size()) / 64);
  if (!window.is_inside) return Int(0);
  if (pattern.empty()) return Int(NumCodePoints(window.text) + 1);
  return Int(static_cast<int64_t>(FindAll(window.text, pattern, -1).size()));
}

// removeprefix(x) and removesuffix(x).
template <bool at_start>
Result RemoveAffix(Budget& budget, const std::string& self,
                   const Arguments& arguments) {
  ZQFP_ASSIGN_OR_RETURN(const std::string affix,
                        TextArgument(arguments[0], ""));
  std::string_view rest = self;
  if (at_start && rest.starts_with(affix)) {
    rest.remove_prefix(affix.size());
  } else if (!at_start && rest.ends_with(affix)) {
    rest.remove_suffix(affix.size());
  }
  return Part(budget, rest);
}

// partition(sep) and rpartition(sep): always three parts.
template <bool last>
Result Partition(Budget& budget, const std::string& self,
                 const Arguments& arguments) {
  ZQFP_ASSIGN_OR_RETURN(const std::string separator,
                        TextArgument(arguments[0], ""));
  if (separator.empty()) return Error("empty separator");
  const size_t found = last ? FindLast(self, separator) : Find(self, separator);
  const std::string_view text = self;
  std::string_view parts[3] = {text, "", ""};
  if (found != std::string_view::npos) {
    parts[0] = text.substr(0, found);
    parts[1] = separator;
    parts[2] = text.substr(found + separator.size());
  } else if (last) {
    std::swap(parts[0], parts[2]);
  }
  std::vector<Value> items;
  for (const std::string_view part : parts) {
    items.push_back(Part(budget, part));
  }
  return MakeSequence(budget, Kind::kTuple, std::move(items));
}

// isdigit() and its kin: false for the empty string.
template <bool (*predicate)(char32_t)>
Result AllAre(Budget& budget, const std::string& self, const Arguments&) {
  budget.Step(static_cast<int64_t>(self.size()) / 64);
  for (size_t i = 0; i < self.size();) {
    if (!predicate(NextCodePoint(self, &i))) return Bool(false);
  }
  return Bool(!self.empty());
}

// str.isalnum, for which an underscore does not count.
bool IsLetterOrDigit(char32_t c) { return c != '_' && IsWordChar(c); }

// isupper() and islower(): some letter, and none of the other case.
template <bool upper>
Result HasCase(Budget& budget, const std::string& self, const Arguments&) {
  budget.Step(static_cast<int64_t>(self.size()) / 64);
  bool found = false;
  for (size_t i = 0; i < self.size();) {
    const char32_t c = NextCodePoint(self, &i);
    if (upper ? IsLower(c) : IsUpper(c)) return Bool(false);
    found = found || (upper ? IsUpper(c) : IsLower(c));
  }
  return Bool(found);
}

// ljust, rjust and center put the missing width on the given side(s).
template <Side side>
Result Justify(Budget& budget, const std::string& self,
               const Arguments& arguments) {
  ZQFP_ASSIGN_OR_RETURN(const int64_t width, IntegerArgument(arguments[0], 0));
  ZQFP_ASSIGN_OR_RETURN(const std::string fill,
                        TextArgument(arguments[1], " "));
  if (NumCodePoints(fill) != 1) {
    return Error("the fill character must be exactly one character long");
  }
  const int64_t missing = std::max<int64_t>(0, width - NumCodePoints(self));
  if (missing > kMaxValueBytes || !budget.Bytes(missing * 4)) {
    budget.Bytes(-1);
    return budget.status();
  }
  // As CPython rounds: an odd rest goes left if the width is odd.
  const int64_t left = side == Side::kLeft ? missing
                       : side == Side::kRight
                           ? 0
                           : missing / 2 + (missing & width & 1);
  std::string out;
  for (int64_t i = 0; i < left; ++i) out += fill;
  out += self;
  for (int64_t i = left; i < missing; ++i) out += fill;
  return MakeString(budget, std::move(out));
}

constexpr StringMethod kMethods[] = {
    {"strip", "chars", 0, StripMethod<Side::kBoth>},
    {"lstrip", "chars", 0, StripMethod<Side::kLeft>},
    {"rstrip", "chars", 0, StripMethod<Side::kRight>},
    {"split", "sep maxsplit", 0, SplitMethod<Side::kLeft>},
    {"rsplit", "sep maxsplit", 0, SplitMethod<Side::kRight>},
    {"splitlines", "keepends", 0, SplitLines},
    {"startswith", "prefix", 1, StartsOrEnds<true>},
    {"endswith", "suffix", 1, StartsOrEnds<false>},
    {"upper", "", 0, Convert<Upper>},
    {"lower", "", 0, Convert<Lower>},
    {"title", "", 0, Convert<Title>},
    {"capitalize", "", 0, Convert<Capitalize>},
    {"replace", "old new count", 2, ReplaceMethod},
    {"join", "iterable", 1, JoinMethod},
    {"find", "sub start end", 1, FindMethodOf<false, false>},
    {"rfind", "sub start end", 1, FindMethodOf<true, false>},
    {"index", "sub start end", 1, FindMethodOf<false, true>},
    {"count", "sub start end", 1, CountMethod},
    {"removeprefix", "prefix", 1, RemoveAffix<true>},
    {"removesuffix", "suffix", 1, RemoveAffix<false>},
    {"partition", "sep", 1, Partition<false>},
    {"rpartition", "sep", 1, Partition<true>},
    {"isdigit", "", 0, AllAre<IsDigit>},
    {"isdecimal", "", 0, AllAre<IsDigit>},
    {"isalpha", "", 0, AllAre<IsLetter>},
    {"isalnum", "", 0, AllAre<IsLetterOrDigit>},
    {"isspace", "", 0, AllAre<IsSpace>},
    {"isupper", "", 0, HasCase<true>},
    {"islower", "", 0, HasCase<false>},
    {"ljust", "width fillchar", 1, Justify<Side::kRight>},
    {"rjust", "width fillchar", 1, Justify<Side::kLeft>},
    {"center", "width fillchar", 1, Justify<Side::kBoth>},
};

// Null if there is none.
const StringMethod* FindStringMethod(std::string_view name) {
  for (const StringMethod& method : kMethods) {
    if (method.name == name) return &method;
  }
  return nullptr;
}

}  // namespace

// Asked when the attribute is read, before any call.
bool IsStringMethod(std::string_view name) {
  return FindStringMethod(name) != nullptr;
}

// Every method may read or copy the whole string: that is paid for here.
absl::StatusOr<Value> CallStringMethod(Runtime& runtime, const Value& self,
                                       std::string_view name,
                                       CallArguments arguments) {
  const StringMethod* method = FindStringMethod(name);
  if (method == nullptr) return Unsupported("str.{}()", name);
  Budget& budget = runtime.budget;
  const auto size = static_cast<int64_t>(self.text().size());
  if (!budget.Bytes(size) || !budget.Scan(size)) return budget.status();
  ZQFP_ASSIGN_OR_RETURN(const BoundArguments bound,
                        Bind(fmt::format("str.{}", name), method->parameters,
                             method->num_required, std::move(arguments)));
  return method->function(budget, self.text(), bound);
}

}  // namespace zqfp::jinja
