// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_MODEL_FLAGS_H_
#define ZQFP_TOOLS_MODEL_FLAGS_H_

// The flags with which every program names a model and how to run it:
// --model, --threads, --backend, --strict, --weight_only.

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "models/model.h"
#include "tools/command_line.h"

namespace zqfp::tools {

// The heading and flags for ToolInfo::groups.
FlagGroup ModelFlagGroup();

// --model, or the bundled model's directory where the flag is absent.
// NotFound where neither is there.
absl::StatusOr<std::string> ModelDirectory();

// What --threads, --backend, --strict and --weight_only ask for, for steps of
// max_tokens rows.
absl::StatusOr<ModelOptions> ModelOptionsFromFlags(int64_t max_tokens);

absl::StatusOr<std::unique_ptr<Model>> LoadModelFromFlags(int64_t max_tokens);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_MODEL_FLAGS_H_
