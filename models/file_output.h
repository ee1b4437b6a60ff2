// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_FILE_OUTPUT_H_
#define ZQFP_MODELS_FILE_OUTPUT_H_

// Small files that are on the disk when they are said to be.

#include <string>
#include <string_view>
#include <system_error>

#include "absl/status/status.h"

namespace zqfp {

// "PATH: cannot ACTION: WHY". ResourceExhausted for a full disk or a file over
// the limit, Unavailable else.
absl::Status FileError(const std::string& path, const char* action,
                       const std::error_code& error);

// Creates or overwrites `path` with this text, and syncs it.
absl::Status WriteSynced(const std::string& path, std::string_view text);

// Syncs the names in a directory.
absl::Status SyncDirectory(const std::string& path);

// WriteSynced under another name, PATH.PID.partial, which then becomes PATH: a
// reader sees the file of before or the one of now. Nothing is left by an
// error.
absl::Status ReplaceFile(const std::string& path, std::string_view text);

// Whether ReplaceFile could do so now; `path` stays as it is.
absl::Status CheckReplaceable(const std::string& path);

}  // namespace zqfp

#endif  // ZQFP_MODELS_FILE_OUTPUT_H_
