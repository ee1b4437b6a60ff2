// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_UTF8_H_
#define ZQFP_TOKENIZER_UTF8_H_

// UTF-8: lengths, validity, code points.

#include <stdint.h>

#include <string>
#include <string_view>

namespace zqfp {

// Bytes that a character starting with this byte has; 0 for a byte that starts
// none.
inline int Utf8Length(uint8_t first) {
  if (first < 0x80) return 1;
  if (first < 0xc2) return 0;
  if (first < 0xe0) return 2;
  if (first < 0xf0) return 3;
  return first < 0xf5 ? 4 : 0;
}

// Length of the valid character at the front of `text`, or 0. `incomplete` (if
// not null) tells whether more bytes could still make it one.
int ValidUtf8Prefix(std::string_view text, bool* incomplete);

// Offset of the first byte that is not part of valid UTF-8, or npos.
size_t FirstInvalidUtf8(std::string_view text);

// Appends a code point.
void AppendUtf8(uint32_t code_point, std::string* text);

// The code point of the valid character at the front of `text`.
uint32_t DecodeUtf8(std::string_view text);

// Unicode's property White_Space.
inline bool IsWhiteSpace(uint32_t c) {
  return (c >= 0x9 && c <= 0xd) || c == 0x20 || c == 0x85 || c == 0xa0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
         c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

// Replaces what is not UTF-8 by U+FFFD, one per maximal broken part.
std::string ReplaceInvalidUtf8(std::string_view text);

}  // namespace zqfp

#endif  // ZQFP_TOKENIZER_UTF8_H_
