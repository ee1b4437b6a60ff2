// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_SAMPLING_FLAGS_H_
#define ZQFP_TOOLS_SAMPLING_FLAGS_H_

// The flags that say how an answer is chosen and when it ends.

#include <optional>

#include "absl/status/statusor.h"
#include "tools/command_line.h"
#include "zqfp/zqfp.h"

namespace zqfp::tools {

// The heading and flags for ToolInfo::groups.
FlagGroup SamplingFlagGroup();

// `defaults` with what the flags replace in it. A usage error names a flag
// that is out of range.
absl::StatusOr<GenerateOptions> GenerateOptionsFromFlags(
    const SamplingOptions& defaults);

// --seed, where it was given.
std::optional<uint64_t> SeedFromFlags();

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_SAMPLING_FLAGS_H_
