// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_OUTPUT_FILE_H_
#define ZQFP_TOOLS_OUTPUT_FILE_H_

// Files that appear under their name only when they are complete.

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace zqfp::tools {

// Writes PATH.PID.partial, syncs it and renames it to PATH: a reader sees the
// file of before or the one of now. ResourceExhausted for a full disk,
// FailedPrecondition where something else than a file is in its place,
// Unavailable else; nothing is left then.
absl::Status WriteOutputFile(const std::string& path, std::string_view text);

// Whether such a file could be written now, before hours of work and not after
// them. Errors as WriteOutputFile's.
absl::Status CheckOutputFile(const std::string& path);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_OUTPUT_FILE_H_
