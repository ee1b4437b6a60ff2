// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/output_directory.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "kernels/core/status_macros.h"
#include "models/certificate.h"
#include "models/file_output.h"
#include "models/mapped_file.h"

namespace zqfp {
namespace {

namespace fs = std::filesystem;

// Absolute, links resolved, no slash at the end.
fs::path Canonical(const std::string& path) {
  std::error_code error;
  fs::path resolved = fs::weakly_canonical(fs::absolute(path, error), error);
  if (!resolved.has_filename()) resolved = resolved.parent_path();
  return resolved;
}

// Also true where both are the same.
bool IsInside(const fs::path& inner, const fs::path& outer) {
  const auto place =
      std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end());
  return place.first == outer.end();
}

// A list of what travels, not of what stays: weights in other formats, code
// and pictures of a model card are not carried along.
bool IsCompanion(const fs::path& path) {
  const std::string name = path.filename().string();
  const auto begins = [&](const char* text) {
    return name.rfind(text, 0) == 0;
  };
  if (begins("LICENSE") || begins("NOTICE") || begins("USE_POLICY")) {
    return true;
  }
  return name != "config.json" && IsModelText(name);
}

// Where a hub's cache keeps what the links of this directory lead to:
// REPOSITORY/blobs for REPOSITORY/snapshots/REVISION. Empty for others.
fs::path BlobsOf(const fs::path& input) {
  for (fs::path at = input; at.has_relative_path(); at = at.parent_path()) {
    if (at.filename() == "snapshots") return at.parent_path() / "blobs";
  }
  return {};
}

// The file that a name in the model directory stands for. A link out of it
// could bring any file of this machine into a model that is passed on.
absl::StatusOr<std::string> SourceOf(const fs::path& name,
                                     const fs::path& input) {
  const fs::path source = Canonical(name.string());
  const fs::path blobs = BlobsOf(input);
  if (IsInside(source, input) || (!blobs.empty() && IsInside(source, blobs))) {
    return source.string();
  }
  return absl::InvalidArgumentError(
      fmt::format("{}: want a file of the model directory, found a link to {}",
                  name.string(), source.string()));
}

}  // namespace

absl::Status CheckApart(const std::string& output, const std::string& input) {
  const fs::path target = Canonical(output);
  const fs::path source = Canonical(input);
  if (IsInside(target, source) || IsInside(source, target)) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: want an output apart from the input, found one inside the other "
        "({})",
        output, input));
  }
  return absl::OkStatus();
}

absl::StatusOr<OutputDirectory> OutputDirectory::Create(
    const std::string& output, const std::string& input, IfExists if_exists) {
  ZQFP_RETURN_IF_ERROR(CheckApart(output, input));
  const fs::path target = Canonical(output);
  std::error_code error;
  const bool exists = fs::exists(fs::symlink_status(target, error));
  if (exists && !fs::is_directory(target, error)) {
    return absl::AlreadyExistsError(
        fmt::format("{}: want a directory to create, found a file", output));
  }
  if (exists && !fs::is_empty(target, error) &&
      if_exists == IfExists::kRefuse) {
    return absl::AlreadyExistsError(
        fmt::format("{}: want a new or empty directory, found one with files "
                    "(--overwrite replaces it)",
                    output));
  }
  fs::create_directories(target.parent_path(), error);
  if (error) return FileError(output, "create its parent directory", error);
  const std::string partial =
      fmt::format("{}.partial-{}", target.string(), getpid());
  if (!fs::create_directory(partial, error)) {
    if (!error) error = std::make_error_code(std::errc::file_exists);
    return FileError(partial, "create", error);
  }
  return OutputDirectory(target.string(), partial, if_exists);
}

OutputDirectory::OutputDirectory(OutputDirectory&& other) noexcept
    : final_path_(std::move(other.final_path_)),
      partial_path_(std::exchange(other.partial_path_, std::string())),
      if_exists_(other.if_exists_) {}

OutputDirectory::~OutputDirectory() {
  if (partial_path_.empty()) return;
  std::error_code error;
  fs::remove_all(partial_path_, error);
}

std::string OutputDirectory::PathOf(const std::string& name) const {
  return (fs::path(partial_path_) / name).string();
}

absl::Status OutputDirectory::CheckSpace(int64_t num_bytes) const {
  std::error_code error;
  const fs::space_info space = fs::space(partial_path_, error);
  if (error || space.available >= static_cast<uintmax_t>(num_bytes)) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(
      fmt::format("{}: want {} bytes of disk space, found {}", final_path_,
                  num_bytes, space.available));
}

absl::Status OutputDirectory::WriteText(const std::string& name,
                                        std::string_view text) {
  return WriteSynced(PathOf(name), text);
}

absl::Status OutputDirectory::CopyCompanions(const std::string& input) {
  std::error_code error;
  fs::directory_iterator entry(input, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    std::error_code ignored;
    // Follows links: a hub cache keeps its files behind them.
    if (!fs::is_regular_file(entry->path(), ignored)) continue;
    if (!IsCompanion(entry->path())) continue;
    ZQFP_ASSIGN_OR_RETURN(const std::string source,
                          SourceOf(entry->path(), Canonical(input)));
    ZQFP_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(source));
    const absl::Span<const uint8_t> bytes = file.bytes();
    ZQFP_RETURN_IF_ERROR(
        WriteText(entry->path().filename().string(),
                  {reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
  }
  if (error) return FileError(input, "list", error);
  return absl::OkStatus();
}

absl::Status OutputDirectory::Commit() {
  ZQFP_RETURN_IF_ERROR(SyncDirectory(partial_path_));
  std::error_code error;
  // An empty directory gives way to rename by itself; one with files steps
  // aside first, so that a failure can put it back.
  std::string old_path;
  if (if_exists_ == IfExists::kReplace && fs::exists(final_path_, error) &&
      !fs::is_empty(final_path_, error)) {
    old_path = partial_path_ + ".old";
    fs::rename(final_path_, old_path, error);
    if (error) return FileError(final_path_, "replace", error);
  }
  fs::rename(partial_path_, final_path_, error);
  if (error) {
    std::error_code ignored;
    if (!old_path.empty()) fs::rename(old_path, final_path_, ignored);
    if (error == std::errc::directory_not_empty ||
        error == std::errc::file_exists) {
      return absl::AlreadyExistsError(fmt::format(
          "{}: want a new or empty directory, found one that was filled in the "
          "meantime (--overwrite replaces it)",
          final_path_));
    }
    return FileError(final_path_, "rename to it", error);
  }
  partial_path_.clear();
  ZQFP_RETURN_IF_ERROR(
      SyncDirectory(fs::path(final_path_).parent_path().string()));
  if (!old_path.empty()) fs::remove_all(old_path, error);
  return absl::OkStatus();
}

}  // namespace zqfp
