// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_OUTPUT_FILE_H_
#define ZQFP_TOOLS_OUTPUT_FILE_H_

// Files that appear under their name only when they are complete.

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace zqfp::tools {

// ReplaceFile (models/file_output.h) where a person named the file:
// FailedPrecondition where something else than a file is in its place.
absl::Status WriteOutputFile(const std::string& path, std::string_view text);

// Whether such a file could be written now, before hours of work and not after
// them. Errors as WriteOutputFile's.
absl::Status CheckOutputFile(const std::string& path);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_OUTPUT_FILE_H_
