// SPDX-License-Identifier: Apache-2.0
#include "tools/terminal.h"

#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

namespace zqfp::tools {

bool HasColor(int file_descriptor) {
  const char* no_color = getenv("NO_COLOR");
  const char* term = getenv("TERM");
  return isatty(file_descriptor) != 0 &&
         (no_color == nullptr || *no_color == '\0') && term != nullptr &&
         *term != '\0' && std::string(term) != "dumb";
}

std::string WithoutControls(const std::string& text) {
  std::string plain;
  plain.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const uint8_t c = static_cast<uint8_t>(text[i]);
    if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f) continue;
    // U+0080 .. U+009F, the second set of controls, are C2 80 .. C2 9F.
    if (c == 0xc2 && i + 1 < text.size() &&
        static_cast<uint8_t>(text[i + 1]) < 0xa0) {
      ++i;
      continue;
    }
    plain += text[i];
  }
  return plain;
}

}  // namespace zqfp::tools
