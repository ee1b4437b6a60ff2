// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/jinja_lexer.h"

#include <algorithm>

#include "kernels/core/status_macros.h"
#include "tokenizer/jinja_budget.h"
#include "tokenizer/jinja_text.h"

namespace zqfp::jinja {
namespace {

bool IsAsciiDigit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  absl::StatusOr<std::vector<Token>> Run() {
    while (position_ < source_.size()) {
      const size_t tag = FindTag();
      const absl::Status status = tag == source_.size() ? Data(tag) : Tag(tag);
      if (!status.ok()) {
        return AtPosition(source_, static_cast<int>(tag_offset_), status);
      }
    }
    Push(TokenKind::kEnd, source_.size(), {});
    return std::move(tokens_);
  }

 private:
  void Push(TokenKind kind, size_t offset, std::string_view text) {
    tokens_.push_back({kind, static_cast<int>(offset), text});
  }

  bool StartsWith(std::string_view text, size_t at) const {
    return source_.substr(std::min(at, source_.size())).starts_with(text);
  }

  // The next {{, {% or {#, or the end.
  size_t FindTag() const {
    for (size_t i = source_.find('{', position_); i != source_.npos;
         i = source_.find('{', i + 1)) {
      if (i + 1 < source_.size() &&
          std::string_view("{%#").find(source_[i + 1]) != source_.npos) {
        return i;
      }
    }
    return source_.size();
  }

  // The text behind the last tag.
  absl::Status Data(size_t end) {
    if (end > position_) {
      Push(TokenKind::kData, position_,
           source_.substr(position_, end - position_));
    }
    position_ = end;
    return absl::OkStatus();
  }

  // The text up to a tag at `end`, shortened as the tag's sign asks.
  void DataBeforeTag(size_t end, char sign, bool is_variable) {
    std::string_view text = source_.substr(position_, end - position_);
    if (sign == '-') {
      text = StripSpace(text, Side::kRight);
    } else if (sign != '+' && !is_variable) {
      const size_t line = text.rfind('\n') + 1;  // npos + 1 is 0
      if ((line > 0 || line_starting_) &&
          StripSpace(text.substr(line), Side::kLeft).empty()) {
        text = text.substr(0, line);
      }
    }
    if (!text.empty()) Push(TokenKind::kData, position_, text);
  }

  // All of it, over lines too, as a minus sign asks.
  void SkipSpace() {
    const std::string_view rest = source_.substr(position_);
    position_ += rest.size() - StripSpace(rest, Side::kLeft).size();
  }

  // The - or + that controls white space, or nothing.
  char SignAt(size_t at) const {
    return at < source_.size() && (source_[at] == '-' || source_[at] == '+')
               ? source_[at]
               : '\0';
  }

  // Behind a tag: is the next text at the start of a line?
  void EndOfMatch() { line_starting_ = source_[position_ - 1] == '\n'; }

  // One tag of any type, with its end.
  absl::Status Tag(size_t tag) {
    tag_offset_ = tag;
    const char type = source_[tag + 1];
    const char sign = SignAt(tag + 2);
    DataBeforeTag(tag, sign, type == '{');
    position_ = tag + 2 + (sign != '\0');
    if (type == '#') return Comment();
    if (type == '%' && SkipRawTag()) return Raw();
    Push(type == '{' ? TokenKind::kVariableBegin : TokenKind::kBlockBegin, tag,
         {});
    return Inside(type == '%');
  }

  // Moves behind a tag's end if one is here: [+-]%} and so on.
  bool SkipTagEnd(std::string_view end, bool plus_allowed, bool trims_newline) {
    if (StartsWith(end, position_)) {
      position_ += end.size();
      if (trims_newline && StartsWith("\n", position_)) ++position_;
      return true;
    }
    const char sign = SignAt(position_);
    if (sign == '\0' || (sign == '+' && !plus_allowed) ||
        !StartsWith(end, position_ + 1)) {
      return false;
    }
    position_ += 1 + end.size();
    if (sign == '-') SkipSpace();
    return true;
  }

  // {# ... #}: nothing inside means anything.
  absl::Status Comment() {
    const size_t end = source_.find("#}", position_);
    if (end == source_.npos) return Error("missing end of comment tag");
    // A sign before #} belongs to the end, unless it opened the comment.
    position_ =
        std::max(position_, end - (end > position_ && SignAt(end - 1) != '\0'));
    SkipTagEnd("#}", true, true);
    EndOfMatch();
    return absl::OkStatus();
  }

  // Moves behind `name`, and the tag's end, if that is all there is.
  bool SkipWordTag(std::string_view name, bool plus_allowed,
                   bool trims_newline) {
    const size_t begin = position_;
    SkipSpace();
    if (StartsWith(name, position_)) {
      position_ += name.size();
      SkipSpace();
      if (SkipTagEnd("%}", plus_allowed, trims_newline)) return true;
    }
    position_ = begin;
    return false;
  }

  // {% raw %} alone keeps the newline behind it, unlike other tags.
  bool SkipRawTag() { return SkipWordTag("raw", false, false); }

  // The text up to {% endraw %}, as it stands.
  absl::Status Raw() {
    EndOfMatch();
    const size_t begin = position_;
    for (size_t tag = source_.find("{%", begin); tag != source_.npos;
         tag = source_.find("{%", tag + 1)) {
      const char sign = SignAt(tag + 2);
      position_ = tag + 2 + (sign != '\0');
      if (!SkipWordTag("endraw", true, true)) continue;
      const size_t end = position_;
      position_ = begin;
      DataBeforeTag(tag, sign, false);
      position_ = end;
      EndOfMatch();
      return absl::OkStatus();
    }
    return Error("missing end of raw directive");
  }

  // The tokens of one tag, up to its end.
  absl::Status Inside(bool is_block) {
    std::string brackets;  // closing ones that are awaited
    while (position_ < source_.size()) {
      tag_offset_ = position_;
      if (brackets.empty() &&
          SkipTagEnd(is_block ? "%}" : "}}", is_block, is_block)) {
        Push(is_block ? TokenKind::kBlockEnd : TokenKind::kVariableEnd,
             tag_offset_, {});
        EndOfMatch();
        return absl::OkStatus();
      }
      const size_t begin = position_;
      SkipSpace();
      if (position_ > begin) continue;
      ZQFP_RETURN_IF_ERROR(OneToken(&brackets));
    }
    return Error("unexpected end of template, expected '{}'",
                 is_block ? "%}" : "}}");
  }

  // Decided by its first character.
  absl::Status OneToken(std::string* brackets) {
    const char c = source_[position_];
    if (IsAsciiDigit(c)) return Number();
    if (c == '\'' || c == '"') return String(c);
    size_t next = position_;
    const char32_t code_point = NextCodePoint(source_, &next);
    if (IsWordChar(code_point)) return Name();
    return Operator(brackets);
  }

  // Letters, digits and underscores of any script.
  absl::Status Name() {
    const size_t begin = position_;
    size_t next = position_;
    while (position_ < source_.size() &&
           IsWordChar(NextCodePoint(source_, &next))) {
      position_ = next;
    }
    Push(TokenKind::kName, begin, source_.substr(begin, position_ - begin));
    return absl::OkStatus();
  }

  // A backslash hides what follows it from the search for the end.
  absl::Status String(char quote) {
    const size_t begin = position_;
    for (size_t i = begin + 1; i < source_.size(); ++i) {
      if (source_[i] == '\\') {
        ++i;
      } else if (source_[i] == quote) {
        position_ = i + 1;
        Push(TokenKind::kString, begin, source_.substr(begin, i + 1 - begin));
        return absl::OkStatus();
      }
    }
    return Error("a string literal without its closing {}",
                 std::string(1, quote));
  }

  // (\d+_)*\d+ from here; false leaves the position alone.
  bool SkipDigits(size_t* position) const {
    size_t i = *position;
    if (i >= source_.size() || !IsAsciiDigit(source_[i])) return false;
    while (i < source_.size() &&
           (IsAsciiDigit(source_[i]) ||
            (source_[i] == '_' && i + 1 < source_.size() &&
             IsAsciiDigit(source_[i + 1])))) {
      ++i;
    }
    *position = i;
    return true;
  }

  // e, an optional sign, digits; false leaves the position alone.
  bool SkipExponent(size_t* position) const {
    size_t i = *position;
    if (i >= source_.size() || (source_[i] | 0x20) != 'e') return false;
    ++i;
    if (SignAt(i) != '\0') ++i;
    if (!SkipDigits(&i)) return false;
    *position = i;
    return true;
  }

  // Behind a dot it is never a float: x.1.2 is x[1][2].
  absl::Status Number() {
    const size_t begin = position_;
    size_t end = begin;
    SkipDigits(&end);
    bool is_float = false;
    if (begin == 0 || source_[begin - 1] != '.') {
      size_t fraction = end + 1;
      if (StartsWith(".", end) && SkipDigits(&fraction)) {
        is_float = true;
        end = fraction;
      }
      is_float = SkipExponent(&end) || is_float;
    }
    if (!is_float && source_[begin] == '0' && end < source_.size() &&
        std::string_view("xXoObB").find(source_[end]) != source_.npos) {
      return Unsupported("a number that is not decimal");
    }
    position_ = end;
    Push(is_float ? TokenKind::kFloat : TokenKind::kInteger, begin,
         source_.substr(begin, end - begin));
    return absl::OkStatus();
  }

  // Brackets are matched here: inside them }} and %} are no end of the tag.
  absl::Status Operator(std::string* brackets) {
    constexpr std::string_view kDouble[] = {"//", "**", "==", "!=", ">=", "<="};
    std::string_view text = source_.substr(position_, 1);
    for (const std::string_view candidate : kDouble) {
      if (StartsWith(candidate, position_)) text = candidate;
    }
    const char c = text[0];
    if (text.size() == 1 &&
        std::string_view("+-/*%~[](){}><=.:|,;").find(c) == source_.npos) {
      size_t next = position_;
      NextCodePoint(source_, &next);
      return Error("unexpected char {}",
                   Repr(source_.substr(position_, next - position_)));
    }
    if (c == '(' || c == '[' || c == '{') {
      brackets->push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
    } else if (c == ')' || c == ']' || c == '}') {
      if (brackets->empty()) {
        return Error("unexpected '{}'", text);
      }
      if (brackets->back() != c) {
        return Error("unexpected '{}', expected '{}'", text,
                     std::string(1, brackets->back()));
      }
      brackets->pop_back();
    }
    Push(TokenKind::kOperator, position_, text);
    position_ += text.size();
    return absl::OkStatus();
  }

  const std::string_view source_;
  size_t position_ = 0;
  size_t tag_offset_ = 0;  // where an error is reported
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

// \xHH, \uHHHH or \UHHHHHHHH at `*i`, which is behind the letter.
absl::Status HexEscape(std::string_view body, size_t num_digits, size_t* i,
                       std::string* out) {
  uint32_t code_point = 0;
  for (size_t n = 0; n < num_digits; ++n, ++*i) {
    const char c = *i < body.size() ? body[*i] : '\0';
    const char lower = static_cast<char>(c | 0x20);
    if (IsAsciiDigit(c)) {
      code_point = code_point * 16 + static_cast<uint32_t>(c - '0');
    } else if (lower >= 'a' && lower <= 'f') {
      code_point = code_point * 16 + static_cast<uint32_t>(lower - 'a' + 10);
    } else {
      return Error("a truncated escape in a string literal");
    }
  }
  if (code_point > 0x10FFFF || (code_point >= 0xD800 && code_point < 0xE000)) {
    return Error("a string literal escapes U+{:04X}, which is no character",
                 code_point);
  }
  AppendUtf8(code_point, out);
  return absl::OkStatus();
}

// One to three octal digits.
void OctalEscape(std::string_view body, size_t* i, std::string* out) {
  uint32_t code_point = 0;
  for (int n = 0;
       n < 3 && *i < body.size() && body[*i] >= '0' && body[*i] <= '7';
       ++n, ++*i) {
    code_point = code_point * 8 + static_cast<uint32_t>(body[*i] - '0');
  }
  AppendUtf8(code_point, out);
}

}  // namespace

// One trailing newline is dropped, as files have one that nobody means.
std::string NormalizeNewlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
      out.push_back('\n');
    } else {
      out.push_back(source[i]);
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

// One pass; no step looks back.
absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source) {
  return Lexer(source).Run();
}

// Counts lines only when there is an error to report.
std::string DescribePosition(std::string_view source, int offset) {
  const std::string_view before =
      source.substr(0, static_cast<size_t>(std::max(offset, 0)));
  const size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  return fmt::format("line {}, column {}",
                     1 + std::count(before.begin(), before.end(), '\n'),
                     1 + NumCodePoints(before.substr(line_start)));
}

// Keeps the code of the status.
absl::Status AtPosition(std::string_view source, int offset,
                        const absl::Status& status) {
  const std::string message(status.message());
  return absl::Status(status.code(),
                      fmt::format("chat template: {}: {}",
                                  DescribePosition(source, offset), message));
}

// Unknown escapes stay as they are, backslash included, as in Python.
absl::StatusOr<std::string> Unquote(std::string_view token) {
  const std::string_view body = token.substr(1, token.size() - 2);
  std::string out;
  for (size_t i = 0; i < body.size();) {
    if (body[i] != '\\') {
      out.push_back(body[i++]);
      continue;
    }
    const char c = body[i + 1];  // a backslash is never last
    constexpr std::string_view kLetters = "ntrabfv\\'\"";
    constexpr std::string_view kMeaning = "\n\t\r\a\b\f\v\\'\"";
    const size_t simple = kLetters.find(c);
    if (c >= '0' && c <= '7') {
      ++i;
      OctalEscape(body, &i, &out);
      continue;
    }
    i += 2;
    if (simple != kLetters.npos) {
      out.push_back(kMeaning[simple]);
    } else if (c == 'x' || c == 'u' || c == 'U') {
      ZQFP_RETURN_IF_ERROR(HexEscape(body,
                                     c == 'x'   ? 2
                                     : c == 'u' ? 4
                                                : 8,
                                     &i, &out));
    } else if (c == 'N') {
      return Unsupported("\\N{{...}} in a string literal");
    } else if (c != '\n') {
      out.push_back('\\');
      out.push_back(c);
    }
  }
  return out;
}

}  // namespace zqfp::jinja
