// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_FILE_HASH_H_
#define ZQFP_TOOLS_FILE_HASH_H_

#include <string>

#include "absl/status/statusor.h"

namespace zqfp::tools {

// xxh64 of a file's bytes, as 16 hexadecimal digits.
absl::StatusOr<std::string> HashOfFile(const std::string& path);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_FILE_HASH_H_
