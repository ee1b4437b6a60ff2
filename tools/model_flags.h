// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_MODEL_FLAGS_H_
#define ZQFP_TOOLS_MODEL_FLAGS_H_

// The flags with which every program names a model and how to run it:
// --model, --threads, --device, --backend, --strict, --weight_only,
// --fp8_fast_accum, --resident_fp8.

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "models/model.h"
#include "tools/command_line.h"
#include "zqfp/zqfp.h"

namespace zqfp::tools {

// The heading and flags for ToolInfo::groups.
FlagGroup ModelFlagGroup();

// --model, or the bundled model's directory where the flag is absent.
// NotFound where neither is there.
absl::StatusOr<std::string> ModelDirectory();

// What the flags but --model ask for.
absl::StatusOr<ModelOptions> ModelOptionsFromFlags();

absl::StatusOr<std::unique_ptr<Model>> LoadModelFromFlags();

// One line on stderr where --device auto takes the CPU although this build has
// kernels for a device: why.
void SayWhyNoDevice(const ModelOptions& options);

// "avx512 on 2 threads" or "cuda on NVIDIA H100 80GB HBM3, ...".
std::string DescribeMachine(const ModelInfo& info);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_MODEL_FLAGS_H_
