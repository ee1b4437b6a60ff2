// SPDX-License-Identifier: Apache-2.0
#include "tools/file_hash.h"

#include <fmt/format.h>
#include <xxhash.h>

#include "kernels/core/status_macros.h"
#include "models/mapped_file.h"

namespace zqfp::tools {

absl::StatusOr<std::string> HashOfFile(const std::string& path) {
  ZQFP_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  return fmt::format("{:016x}",
                     XXH64(file.bytes().data(), file.bytes().size(), 0));
}

}  // namespace zqfp::tools
