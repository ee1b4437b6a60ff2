// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_SHAPES_H_
#define ZQFP_TOOLS_SHAPES_H_

// Published model shapes by name, for benchmarks on random weights.

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/config.h"

namespace zqfp::tools {

// "llama-110m", "llama-1b" (TinyLlama-1.1B), "llama-3b", "llama2-7b",
// "llama2-13b", "llama2-70b", "llama3-8b", "opt-125m", "gemma-2-2b".
std::vector<std::string> ShapeNames();

// The configuration of that name, W4A8 with the given groups and scales.
// InvalidArgument lists the names there are.
absl::StatusOr<Config> ShapeConfig(const std::string& name,
                                   const QuantizationConfig& quantization);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_SHAPES_H_
