// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_QUANTIZE_FLAGS_H_
#define ZQFP_TOOLS_QUANTIZE_FLAGS_H_

// The flags that say how to quantize.

#include <vector>

#include "absl/status/statusor.h"
#include "models/quantize/quantize_checkpoint.h"
#include "tools/command_line.h"

namespace zqfp::tools {

// The headings and flags for ToolInfo::groups, --json among them.
std::vector<FlagGroup> QuantizeFlagGroups();

// What the flags ask for. Usage errors are found before any file is opened;
// then the calibration's text is read, where the method needs one.
absl::StatusOr<QuantizeOptions> QuantizeOptionsFromFlags();

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_QUANTIZE_FLAGS_H_
