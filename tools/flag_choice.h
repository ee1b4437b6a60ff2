// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_FLAG_CHOICE_H_
#define ZQFP_TOOLS_FLAG_CHOICE_H_

// Flags whose value is one name of a list.

#include <fmt/format.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/command_line.h"

namespace zqfp::tools {

// The enum value that `found`, the value of --flag, names with ToString. A
// usage error lists the names.
template <typename Enum>
absl::StatusOr<Enum> Choice(const char* flag, const std::string& found,
                            const std::vector<Enum>& values) {
  std::string wanted;
  for (const Enum value : values) {
    if (found == std::string(ToString(value))) return value;
    wanted += fmt::format("{}{}", wanted.empty() ? "" : ", ",
                          std::string(ToString(value)));
  }
  return UsageError(
      fmt::format("--{}: want one of {}, found '{}'", flag, wanted, found));
}

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_FLAG_CHOICE_H_
