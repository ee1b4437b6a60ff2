// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_EVALUATION_FLAGS_H_
#define ZQFP_TOOLS_EVALUATION_FLAGS_H_

// The flags that say by which protocol a text is scored: --protocol, --window,
// --stride, --split, --max_tokens, --kv.

#include <stdint.h>

#include <string>

#include "absl/status/statusor.h"
#include "engine/evaluation.h"
#include "tools/command_line.h"

namespace zqfp::tools {

// The heading and flags for ToolInfo::groups; --text, which comes first, is a
// flag of the program.
FlagGroup EvaluationFlagGroup();

// What they say, but --split. Usage errors for names that are none; ranges
// depend on the model (PlanEvaluation).
absl::StatusOr<EvaluationOptions> EvaluationOptionsFromFlags();

// --split, for ReadCorpus.
std::string SplitFromFlags();

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_EVALUATION_FLAGS_H_
