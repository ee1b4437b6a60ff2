// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/byte_level.h"

#include <stdint.h>

#include <array>

#include "tokenizer/utf8.h"

namespace zqfp {
namespace {

// Bytes that are visible in Latin-1 stand for themselves; the other 68 get the
// characters from U+0100 on, in order.
bool StandsForItself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) ||
         byte >= 0xae;
}

struct Alphabet {
  std::array<uint32_t, 256> visible;
  std::array<int, 0x144> byte;  // by code point; -1: none
};

const Alphabet& TheAlphabet() {
  static const Alphabet& alphabet = *[] {
    auto* made = new Alphabet;
    made->byte.fill(-1);
    uint32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const uint32_t c =
          StandsForItself(byte) ? static_cast<uint32_t>(byte) : next++;
      made->visible[static_cast<size_t>(byte)] = c;
      made->byte[c] = byte;
    }
    return made;
  }();
  return alphabet;
}

}  // namespace

std::string BytesToVisible(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const char byte : bytes) {
    AppendUtf8(TheAlphabet().visible[static_cast<uint8_t>(byte)], &text);
  }
  return text;
}

std::string VisibleToBytes(std::string_view text) {
  std::string bytes;
  for (size_t at = 0; at < text.size();) {
    const int length = ValidUtf8Prefix(text.substr(at), nullptr);
    const size_t step = static_cast<size_t>(length > 0 ? length : 1);
    const uint32_t c = DecodeUtf8(text.substr(at));
    const int byte = length > 0 && c < TheAlphabet().byte.size()
                         ? TheAlphabet().byte[c]
                         : -1;
    if (byte >= 0) {
      bytes.push_back(static_cast<char>(byte));
    } else {
      bytes += text.substr(at, step);
    }
    at += step;
  }
  return bytes;
}

}  // namespace zqfp
