// SPDX-License-Identifier: Apache-2.0
#include "tools/output_file.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "kernels/core/status_macros.h"
#include "models/file_output.h"

namespace zqfp::tools {
namespace {

namespace fs = std::filesystem;

// A link could lead to a terminal or a file of another's making (/dev/stdout).
absl::Status CheckNothingElse(const std::string& path) {
  std::error_code error;
  const fs::file_status found = fs::symlink_status(path, error);
  if (!fs::exists(found) || fs::is_regular_file(found)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      fmt::format("{}: want a file or a new name, found a {}", path,
                  fs::is_directory(found) ? "directory"
                  : fs::is_symlink(found) ? "link"
                                          : "device or pipe"));
}

}  // namespace

absl::Status WriteOutputFile(const std::string& path, std::string_view text) {
  ZQFP_RETURN_IF_ERROR(CheckNothingElse(path));
  return ReplaceFile(path, text);
}

absl::Status CheckOutputFile(const std::string& path) {
  ZQFP_RETURN_IF_ERROR(CheckNothingElse(path));
  return CheckReplaceable(path);
}

}  // namespace zqfp::tools
