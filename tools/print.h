// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_PRINT_H_
#define ZQFP_TOOLS_PRINT_H_

#include <fmt/format.h>
#include <stdio.h>

#include <string>
#include <utility>

namespace zqfp::tools {

// fmt::print that does not throw where a stream takes no more: what the stream
// remembers of that is looked at once, at the end (RunTool).
template <typename... Args>
void Print(FILE* stream, fmt::format_string<Args...> format, Args&&... args) {
  const std::string text = fmt::format(format, std::forward<Args>(args)...);
  (void)fwrite(text.data(), 1, text.size(), stream);
}

template <typename... Args>
void Print(fmt::format_string<Args...> format, Args&&... args) {
  Print(stdout, format, std::forward<Args>(args)...);
}

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_PRINT_H_
