// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_MAPPED_FILE_H_
#define ZQFP_MODELS_MAPPED_FILE_H_

// A regular file mapped read-only, or memory that behaves like one.
//
// Limits: a file that another process truncates while it is mapped raises
// SIGBUS when its lost pages are read; do not overwrite a model in place (our
// own writers rename a finished file into place, which is safe).

#include <stdint.h>

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace zqfp {

class MappedFile {
 public:
  // NotFound where there is no such file; InvalidArgument where it is not a
  // regular file (a pipe or a device could block or never end).
  static absl::StatusOr<MappedFile> Open(const std::string& path);
  // Memory of its own that `fill` writes once, read-only from then on. Shared,
  // so that DropPages leaves it as it is. ResourceExhausted where the system
  // refuses it.
  static absl::StatusOr<MappedFile> Filled(
      int64_t num_bytes, const std::function<void(uint8_t*)>& fill);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  absl::Span<const uint8_t> bytes() const {
    return {data_, static_cast<size_t>(num_bytes_)};
  }

 private:
  MappedFile(const uint8_t* data, int64_t num_bytes)
      : data_(data), num_bytes_(num_bytes) {}

  const uint8_t* data_ = nullptr;
  int64_t num_bytes_ = 0;
};

// The whole text of a small file. ResourceExhausted where it is larger.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path,
                                          int64_t max_bytes);

// Lets the kernel take back the pages of a mapped range; a later access reads
// them from the file again. Keeps resident memory small while streaming.
void DropPages(const void* data, int64_t num_bytes);

}  // namespace zqfp

#endif  // ZQFP_MODELS_MAPPED_FILE_H_
