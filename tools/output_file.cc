// SPDX-License-Identifier: Apache-2.0
#include "tools/output_file.h"

#include <errno.h>
#include <fmt/format.h>
#include <stdio.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "kernels/core/status_macros.h"

namespace zqfp::tools {
namespace {

namespace fs = std::filesystem;

absl::Status FileError(const std::string& path, const std::error_code& error) {
  const std::string message =
      fmt::format("{}: cannot write: {}", path, error.message());
  if (error == std::errc::no_space_on_device ||
      error == std::errc::file_too_large) {
    return absl::ResourceExhaustedError(message);
  }
  return absl::UnavailableError(message);
}

std::error_code LastError() { return {errno, std::generic_category()}; }

// Creates `path` with this content, on the disk.
std::error_code WriteAndSync(const std::string& path, std::string_view text) {
  FILE* file = fopen(path.c_str(), "wbe");
  if (file == nullptr) return LastError();
  std::error_code error;
  // Each step may be the one that notices a full disk.
  if (fwrite(text.data(), 1, text.size(), file) != text.size() ||
      fflush(file) != 0 || fsync(fileno(file)) != 0) {
    error = LastError();
  }
  if (fclose(file) != 0 && !error) error = LastError();
  return error;
}

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

std::string PartialOf(const std::string& path) {
  return fmt::format("{}.{}.partial", path, getpid());
}

}  // namespace

absl::Status WriteOutputFile(const std::string& path, std::string_view text) {
  ZQFP_RETURN_IF_ERROR(CheckNothingElse(path));
  const std::string partial = PartialOf(path);
  std::error_code error = WriteAndSync(partial, text);
  if (!error) fs::rename(partial, path, error);
  if (!error) return absl::OkStatus();
  std::error_code ignored;
  fs::remove(partial, ignored);
  return FileError(path, error);
}

absl::Status CheckOutputFile(const std::string& path) {
  ZQFP_RETURN_IF_ERROR(CheckNothingElse(path));
  const std::string partial = PartialOf(path);
  const std::error_code error = WriteAndSync(partial, "");
  std::error_code ignored;
  fs::remove(partial, ignored);
  return error ? FileError(path, error) : absl::OkStatus();
}

}  // namespace zqfp::tools
