// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/utf8.h"

namespace zqfp {
namespace {

// Whether `byte` may be the second one after `first`: no overlong forms, no
// surrogates, nothing above U+10FFFF.
bool IsSecond(uint8_t first, uint8_t byte) {
  if (first == 0xe0) return byte >= 0xa0 && byte <= 0xbf;
  if (first == 0xed) return byte >= 0x80 && byte <= 0x9f;
  if (first == 0xf0) return byte >= 0x90 && byte <= 0xbf;
  if (first == 0xf4) return byte >= 0x80 && byte <= 0x8f;
  return (byte & 0xc0) == 0x80;
}

// How many bytes at the front belong together, valid or not (at least 1);
// `complete` tells whether they are a whole character.
size_t MaximalPart(std::string_view text, bool* complete, bool* incomplete) {
  const uint8_t first = static_cast<uint8_t>(text[0]);
  const int length = Utf8Length(first);
  *complete = false;
  *incomplete = false;
  if (length == 0) return 1;
  int have = 1;
  while (have < length) {
    if (static_cast<size_t>(have) == text.size()) {
      *incomplete = true;
      return static_cast<size_t>(have);
    }
    const uint8_t byte = static_cast<uint8_t>(text[have]);
    const bool fits = have == 1 ? IsSecond(first, byte) : (byte & 0xc0) == 0x80;
    if (!fits) return static_cast<size_t>(have);
    ++have;
  }
  *complete = true;
  return static_cast<size_t>(length);
}

}  // namespace

int ValidUtf8Prefix(std::string_view text, bool* incomplete) {
  bool complete = false, partial = false;
  const size_t length =
      text.empty() ? 0 : MaximalPart(text, &complete, &partial);
  if (incomplete != nullptr) *incomplete = partial || text.empty();
  return complete ? static_cast<int>(length) : 0;
}

size_t FirstInvalidUtf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    if (static_cast<uint8_t>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const int length = ValidUtf8Prefix(text.substr(at), nullptr);
    if (length == 0) return at;
    at += static_cast<size_t>(length);
  }
  return std::string_view::npos;
}

void AppendUtf8(uint32_t c, std::string* text) {
  if (c < 0x80) {
    text->push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    text->push_back(static_cast<char>(0xc0 | c >> 6));
    text->push_back(static_cast<char>(0x80 | (c & 0x3f)));
  } else if (c < 0x10000) {
    text->push_back(static_cast<char>(0xe0 | c >> 12));
    text->push_back(static_cast<char>(0x80 | (c >> 6 & 0x3f)));
    text->push_back(static_cast<char>(0x80 | (c & 0x3f)));
  } else {
    text->push_back(static_cast<char>(0xf0 | c >> 18));
    text->push_back(static_cast<char>(0x80 | (c >> 12 & 0x3f)));
    text->push_back(static_cast<char>(0x80 | (c >> 6 & 0x3f)));
    text->push_back(static_cast<char>(0x80 | (c & 0x3f)));
  }
}

uint32_t DecodeUtf8(std::string_view text) {
  const uint8_t first = static_cast<uint8_t>(text[0]);
  const int length = Utf8Length(first);
  if (length <= 1) return first;
  uint32_t c = first & (0xffu >> (length + 1));
  for (int i = 1; i < length; ++i) {
    c = c << 6 | (static_cast<uint8_t>(text[static_cast<size_t>(i)]) & 0x3f);
  }
  return c;
}

std::string ReplaceInvalidUtf8(std::string_view text) {
  std::string clean;
  while (!text.empty()) {
    bool complete, incomplete;
    const size_t length = MaximalPart(text, &complete, &incomplete);
    if (complete) {
      clean += text.substr(0, length);
    } else {
      clean += "\xef\xbf\xbd";
    }
    text.remove_prefix(length);
  }
  return clean;
}

}  // namespace zqfp
