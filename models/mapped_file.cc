// SPDX-License-Identifier: Apache-2.0
#include "models/mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "kernels/core/status_macros.h"

namespace zqfp {
namespace {

absl::Status SystemError(const std::string& path, const char* action) {
  const int code = errno;
  const std::string message =
      fmt::format("{}: cannot {}: {}", path, action, strerror(code));
  if (code == ENOENT || code == ENOTDIR) return absl::NotFoundError(message);
  if (code == EACCES || code == EPERM) {
    return absl::PermissionDeniedError(message);
  }
  if (code == ENOMEM || code == EMFILE || code == ENFILE) {
    return absl::ResourceExhaustedError(message);
  }
  return absl::UnavailableError(message);
}

// An error after the file was opened.
absl::StatusOr<MappedFile> Fail(int descriptor, absl::Status status) {
  close(descriptor);
  return status;
}

}  // namespace

absl::StatusOr<MappedFile> MappedFile::Open(const std::string& path) {
  // O_NONBLOCK: opening a pipe that nobody writes to must not hang.
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return SystemError(path, "open");
  struct stat status = {};
  if (fstat(descriptor, &status) != 0) {
    return Fail(descriptor, SystemError(path, "read its size"));
  }
  if (!S_ISREG(status.st_mode)) {
    return Fail(descriptor, absl::InvalidArgumentError(fmt::format(
                                "{}: want a regular file, found {}", path,
                                S_ISDIR(status.st_mode) ? "a directory"
                                                        : "a special file")));
  }
  const void* data = nullptr;
  if (status.st_size > 0) {
    data = mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ,
                MAP_PRIVATE, descriptor, 0);
    if (data == MAP_FAILED) return Fail(descriptor, SystemError(path, "map"));
  }
  // The mapping keeps the file alive, also when it is unlinked or replaced.
  close(descriptor);
  return MappedFile(static_cast<const uint8_t*>(data), status.st_size);
}

absl::StatusOr<MappedFile> MappedFile::Filled(
    int64_t num_bytes, const std::function<void(uint8_t*)>& fill) {
  const auto size = static_cast<size_t>(num_bytes);
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        fmt::format("memory: want {} bytes, the system refused", num_bytes));
  }
  MappedFile memory(static_cast<const uint8_t*>(data), num_bytes);
  fill(static_cast<uint8_t*>(data));
  mprotect(data, size, PROT_READ);
  return memory;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      num_bytes_(std::exchange(other.num_bytes_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(num_bytes_, other.num_bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) {
    munmap(const_cast<uint8_t*>(data_), static_cast<size_t>(num_bytes_));
  }
}

absl::StatusOr<std::string> ReadSmallFile(const std::string& path,
                                          int64_t max_bytes) {
  ZQFP_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  const auto size = static_cast<int64_t>(file.bytes().size());
  if (size > max_bytes) {
    return absl::ResourceExhaustedError(fmt::format(
        "{}: want at most {} bytes, found {}", path, max_bytes, size));
  }
  return std::string(file.bytes().begin(), file.bytes().end());
}

void DropPages(const void* data, int64_t num_bytes) {
  // Whole pages only: a neighbour's bytes on the same page may be in use.
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(data);
  const uintptr_t first = (begin + page - 1) / page * page;
  const uintptr_t last =
      (begin + static_cast<uintptr_t>(num_bytes)) / page * page;
  if (last > first) {
    madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
  }
}

}  // namespace zqfp
