// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_SCHEME_FLAGS_H_
#define ZQFP_TOOLS_SCHEME_FLAGS_H_

// The flags that say how to quantize, whatever the formats: --group_size,
// --scale_rounding, --keep, --damping, --act_order, --true_sequential, --lorc,
// --lorc_format.

#include <stdint.h>

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "models/quantize/quantize_checkpoint.h"

namespace zqfp::tools {

// Fills in what those flags say, and the rank, which is a flag of the program.
// Usage errors name flag, wanted and found.
absl::Status ReadSchemeFlags(int64_t lorc_rank, QuantizeOptions* options);

// Whether a name holds a match of the pattern that --flag has. A usage error
// where that is no regular expression.
absl::StatusOr<std::function<bool(const std::string& name)>> NameMatcher(
    const char* flag, const std::string& pattern);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_SCHEME_FLAGS_H_
