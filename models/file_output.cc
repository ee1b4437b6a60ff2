// SPDX-License-Identifier: Apache-2.0
#include "models/file_output.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <unistd.h>

#include <filesystem>

namespace zqfp {
namespace {

std::error_code LastError() { return {errno, std::generic_category()}; }

std::string PartialOf(const std::string& path) {
  return fmt::format("{}.{}.partial", path, getpid());
}

std::error_code Write(const std::string& path, std::string_view text) {
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

}  // namespace

absl::Status FileError(const std::string& path, const char* action,
                       const std::error_code& error) {
  const std::string message =
      fmt::format("{}: cannot {}: {}", path, action, error.message());
  if (error == std::errc::no_space_on_device ||
      error == std::errc::file_too_large) {
    return absl::ResourceExhaustedError(message);
  }
  return absl::UnavailableError(message);
}

absl::Status WriteSynced(const std::string& path, std::string_view text) {
  const std::error_code error = Write(path, text);
  return error ? FileError(path, "write", error) : absl::OkStatus();
}

absl::Status SyncDirectory(const std::string& path) {
  const int directory = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return FileError(path, "open", LastError());
  std::error_code error;
  // Some file systems know no such thing for directories.
  if (fsync(directory) != 0 && errno != EINVAL) error = LastError();
  close(directory);
  return error ? FileError(path, "sync", error) : absl::OkStatus();
}

absl::Status ReplaceFile(const std::string& path, std::string_view text) {
  const std::string partial = PartialOf(path);
  std::error_code error = Write(partial, text), ignored;
  if (!error) std::filesystem::rename(partial, path, error);
  if (!error) return absl::OkStatus();
  std::filesystem::remove(partial, ignored);
  return FileError(path, "write", error);
}

absl::Status CheckReplaceable(const std::string& path) {
  const std::string partial = PartialOf(path);
  const std::error_code error = Write(partial, "");
  std::error_code ignored;
  std::filesystem::remove(partial, ignored);
  return error ? FileError(path, "write", error) : absl::OkStatus();
}

}  // namespace zqfp
