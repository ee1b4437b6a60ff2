// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/jinja_text.h"

#include <fmt/format.h>
#include <string.h>
#include <utf8proc.h>

#include <algorithm>

namespace zqfp::jinja {
namespace {

constexpr size_t kNotFound = std::string_view::npos;

// Case mappings that turn one letter into several; utf8proc's simple
// mappings leave these alone.
void AppendUpper(char32_t c, std::string* out) {
  if (c < 0x80) {
    out->push_back(static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c));
  } else if (c == 0xDF) {  // sharp s
    out->append("SS");
  } else {
    AppendUtf8(static_cast<char32_t>(utf8proc_toupper(c)), out);
  }
}

// Title case differs from upper case for digraphs and this letter.
void AppendTitle(char32_t c, std::string* out) {
  if (c == 0xDF) {
    out->append("Ss");
  } else {
    AppendUtf8(static_cast<char32_t>(utf8proc_totitle(c)), out);
  }
}

// The one letter whose lower case is two code points.
void AppendLower(char32_t c, std::string* out) {
  if (c == 0x130) {  // capital i with dot above
    out->append("i\u0307");
  } else {
    AppendUtf8(static_cast<char32_t>(utf8proc_tolower(c)), out);
  }
}

// What title() takes for the inside of a word.
bool IsCased(char32_t c) { return IsUpper(c) || IsLower(c); }

// Unicode's general category.
utf8proc_category_t Category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

// Walks in from the ends, code point by code point.
template <typename Predicate>
std::string_view StripIf(std::string_view text, Side side, Predicate strip) {
  size_t begin = 0;
  while (side != Side::kRight && begin < text.size()) {
    size_t next = begin;
    if (!strip(NextCodePoint(text, &next))) break;
    begin = next;
  }
  size_t end = text.size();
  while (side != Side::kLeft && end > begin) {
    size_t last = end - 1;
    while (last > begin && (text[last] & 0xC0) == 0x80) --last;
    size_t next = last;
    if (!strip(NextCodePoint(text, &next))) break;
    end = last;
  }
  return text.substr(begin, end - begin);
}

}  // namespace

// Surrogates and overlong forms are not valid.
bool IsValidUtf8(std::string_view text) {
  size_t position = 0;
  while (position < text.size()) {
    if (static_cast<unsigned char>(text[position]) < 0x80) {
      ++position;
      continue;
    }
    utf8proc_int32_t c;
    const utf8proc_ssize_t size = utf8proc_iterate(
        reinterpret_cast<const utf8proc_uint8_t*>(text.data() + position),
        static_cast<utf8proc_ssize_t>(text.size() - position), &c);
    if (size <= 0) return false;
    position += static_cast<size_t>(size);
  }
  return true;
}

// ASCII is most of what there is: no table for it.
char32_t NextCodePoint(std::string_view text, size_t* position) {
  const auto first = static_cast<unsigned char>(text[*position]);
  if (first < 0x80) {
    ++*position;
    return first;
  }
  utf8proc_int32_t c;
  const utf8proc_ssize_t size = utf8proc_iterate(
      reinterpret_cast<const utf8proc_uint8_t*>(text.data() + *position),
      static_cast<utf8proc_ssize_t>(text.size() - *position), &c);
  if (size <= 0) {  // cannot be: inputs are valid
    ++*position;
    return 0xFFFD;
  }
  *position += static_cast<size_t>(size);
  return static_cast<char32_t>(c);
}

// `code_point` is a valid one.
void AppendUtf8(char32_t code_point, std::string* out) {
  utf8proc_uint8_t bytes[4];
  const utf8proc_ssize_t size =
      utf8proc_encode_char(static_cast<utf8proc_int32_t>(code_point), bytes);
  out->append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
}

// Every byte that does not continue a character begins one.
int64_t NumCodePoints(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (c & 0xC0) != 0x80; });
}

// Eight bytes per character: kMaxTextBytes bounds it.
std::vector<size_t> CodePointOffsets(std::string_view text) {
  std::vector<size_t> offsets;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((text[i] & 0xC0) != 0x80) offsets.push_back(i);
  }
  offsets.push_back(text.size());
  return offsets;
}

// The list of CPython; not Unicode's property, which lacks 1C to 1F.
bool IsSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 ||
         c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

// The five letter categories, modifiers included.
bool IsLetter(char32_t c) {
  const utf8proc_category_t category = Category(c);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool IsDigit(char32_t c) { return Category(c) == UTF8PROC_CATEGORY_ND; }

// Letters and numbers of any script, and the underscore.
bool IsWordChar(char32_t c) {
  const utf8proc_category_t category = Category(c);
  return c == '_' || IsLetter(c) ||
         (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO);
}

bool IsUpper(char32_t c) { return Category(c) == UTF8PROC_CATEGORY_LU; }
bool IsLower(char32_t c) { return Category(c) == UTF8PROC_CATEGORY_LL; }

// What repr() shows as it is: not controls, not odd spaces, not the unassigned.
bool IsPrintable(char32_t c) {
  switch (Category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    case UTF8PROC_CATEGORY_ZS:
      return c == ' ';
    default:
      return true;
  }
}

// By code point, without context; lengths may change.
std::string Upper(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();)
    AppendUpper(NextCodePoint(text, &i), &out);
  return out;
}

// The same.
std::string Lower(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();)
    AppendLower(NextCodePoint(text, &i), &out);
  return out;
}

// The first letter in title case, the rest in lower case.
std::string Capitalize(std::string_view text) {
  std::string out;
  if (text.empty()) return out;
  size_t rest = 0;
  AppendTitle(NextCodePoint(text, &rest), &out);
  return out + Lower(text.substr(rest));
}

// Words are runs of cased letters: "it's" becomes "It'S".
std::string Title(std::string_view text) {
  std::string out;
  bool in_word = false;
  for (size_t i = 0; i < text.size();) {
    const char32_t c = NextCodePoint(text, &i);
    if (in_word) {
      AppendLower(c, &out);
    } else {
      AppendTitle(c, &out);
    }
    in_word = IsCased(c);
  }
  return out;
}

std::string FilterTitle(std::string_view text) {
  // Jinja starts a word behind white space and - ( { [ < only.
  std::string out;
  bool in_word = false;
  for (size_t i = 0; i < text.size();) {
    const char32_t c = NextCodePoint(text, &i);
    const bool is_break =
        IsSpace(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
    if (in_word) {
      AppendLower(c, &out);
    } else {
      AppendUpper(c, &out);
    }
    in_word = !is_break;
  }
  return out;
}

// Python's strip() without an argument.
std::string_view StripSpace(std::string_view text, Side side) {
  return StripIf(text, side, IsSpace);
}

// A sorted set, as both can be long.
std::string_view Strip(std::string_view text, std::string_view characters,
                       Side side) {
  std::vector<char32_t> set;
  for (size_t i = 0; i < characters.size();) {
    set.push_back(NextCodePoint(characters, &i));
  }
  std::sort(set.begin(), set.end());
  return StripIf(text, side, [&set](char32_t c) {
    return std::binary_search(set.begin(), set.end(), c);
  });
}

size_t Find(std::string_view text, std::string_view pattern, size_t from) {
  if (from > text.size()) return kNotFound;
  if (pattern.empty()) return from;
  // glibc's memmem is linear also for the worst patterns; string_view's find
  // is not. The windows grow, so that a near hit costs what is before it, also
  // where a sanitizer looks at every byte that memmem may read.
  size_t window = 4 * pattern.size() + 64;
  while (pattern.size() <= text.size() - from) {
    const size_t size = std::min(window, text.size() - from);
    const void* found =
        memmem(text.data() + from, size, pattern.data(), pattern.size());
    if (found != nullptr) {
      return static_cast<size_t>(static_cast<const char*>(found) - text.data());
    }
    from += size - (pattern.size() - 1);
    window *= 2;
  }
  return kNotFound;
}

// Finds the mirrored pattern in the mirrored text: bytes will do for that.
size_t FindLast(std::string_view text, std::string_view pattern) {
  if (pattern.empty()) return text.size();
  const std::string mirrored_text(text.rbegin(), text.rend());
  const std::string mirrored_pattern(pattern.rbegin(), pattern.rend());
  const size_t found = Find(mirrored_text, mirrored_pattern);
  return found == kNotFound ? kNotFound : text.size() - found - pattern.size();
}

// As split and replace cut: the next search starts behind the last hit.
std::vector<size_t> FindAll(std::string_view text, std::string_view pattern,
                            int64_t limit) {
  std::vector<size_t> starts;
  size_t from = 0;
  while (limit < 0 || static_cast<int64_t>(starts.size()) < limit) {
    const size_t start = Find(text, pattern, from);
    if (start == kNotFound) break;
    starts.push_back(start);
    from = start + pattern.size();
  }
  return starts;
}

// The caller has checked the size of the result.
std::string Replace(std::string_view text, std::string_view from,
                    std::string_view to, int64_t limit) {
  std::string out;
  if (from.empty()) {  // Python puts `to` around every character
    int64_t done = 0;
    for (size_t i = 0; i <= text.size(); ++done) {
      if (limit >= 0 && done >= limit) return out.append(text.substr(i));
      out.append(to);
      if (i == text.size()) break;
      const size_t begin = i;
      NextCodePoint(text, &i);
      out.append(text.substr(begin, i - begin));
    }
    return out;
  }
  size_t copied = 0;
  for (const size_t start : FindAll(text, from, limit)) {
    out.append(text.substr(copied, start - copied)).append(to);
    copied = start + from.size();
  }
  return out.append(text.substr(copied));
}

// Single quotes, unless the text holds some and no double ones.
std::string Repr(std::string_view text) {
  const char quote =
      text.find('\'') != kNotFound && text.find('"') == kNotFound ? '"' : '\'';
  std::string out(1, quote);
  for (size_t i = 0; i < text.size();) {
    const char32_t c = NextCodePoint(text, &i);
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      out.push_back('\\');
      out.push_back(static_cast<char>(c));
    } else if (c == '\n' || c == '\r' || c == '\t') {
      out.append(c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
    } else if (IsPrintable(c)) {
      AppendUtf8(c, &out);
    } else if (c < 0x100) {
      out.append(fmt::format("\\x{:02x}", static_cast<uint32_t>(c)));
    } else if (c < 0x10000) {
      out.append(fmt::format("\\u{:04x}", static_cast<uint32_t>(c)));
    } else {
      out.append(fmt::format("\\U{:08x}", static_cast<uint32_t>(c)));
    }
  }
  out.push_back(quote);
  return out;
}

// The five characters, with the entities that markupsafe chooses.
std::string EscapeHtml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out.append("&amp;");
        break;
      case '<':
        out.append("&lt;");
        break;
      case '>':
        out.append("&gt;");
        break;
      case '\'':
        out.append("&#39;");
        break;
      case '"':
        out.append("&#34;");
        break;
      default:
        out.push_back(c);
    }
  }
  return out;
}

}  // namespace zqfp::jinja
