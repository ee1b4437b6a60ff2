// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_JINJA_TEXT_H_
#define ZQFP_TOKENIZER_JINJA_TEXT_H_

// Python's view of a UTF-8 string: code points, character classes, case,
// trimming, searching and repr(). All inputs are valid UTF-8.

#include <stddef.h>
#include <stdint.h>

#include <string>
#include <string_view>
#include <vector>

namespace zqfp::jinja {

bool IsValidUtf8(std::string_view text);
// The code point at byte `*position`, which moves behind it.
char32_t NextCodePoint(std::string_view text, size_t* position);
void AppendUtf8(char32_t code_point, std::string* out);
int64_t NumCodePoints(std::string_view text);
// Byte offset of every code point, and the size as a last element.
std::vector<size_t> CodePointOffsets(std::string_view text);

bool IsSpace(char32_t c);     // str.isspace
bool IsLetter(char32_t c);    // str.isalpha
bool IsDigit(char32_t c);     // str.isdigit, without superscripts
bool IsWordChar(char32_t c);  // \w of a regular expression
bool IsUpper(char32_t c);
bool IsLower(char32_t c);
bool IsPrintable(char32_t c);

std::string Upper(std::string_view text);
std::string Lower(std::string_view text);
std::string Capitalize(std::string_view text);
std::string Title(std::string_view text);        // str.title
std::string FilterTitle(std::string_view text);  // the filter `title`

enum class Side { kLeft, kRight, kBoth };
std::string_view StripSpace(std::string_view text, Side side);
// Removes code points that occur in `characters`.
std::string_view Strip(std::string_view text, std::string_view characters,
                       Side side);

// std::string_view::npos if absent. Linear in the sum of the sizes.
size_t Find(std::string_view text, std::string_view pattern, size_t from = 0);
size_t FindLast(std::string_view text, std::string_view pattern);
// Starts of the non-overlapping occurrences of a pattern that is not empty,
// found from the left, at most `limit` of them (negative: all).
std::vector<size_t> FindAll(std::string_view text, std::string_view pattern,
                            int64_t limit);
std::string Replace(std::string_view text, std::string_view from,
                    std::string_view to, int64_t limit);

std::string Repr(std::string_view text);        // 'it', with escapes
std::string EscapeHtml(std::string_view text);  // as markupsafe does

}  // namespace zqfp::jinja

#endif  // ZQFP_TOKENIZER_JINJA_TEXT_H_
