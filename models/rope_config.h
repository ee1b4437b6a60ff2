// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_ROPE_CONFIG_H_
#define ZQFP_MODELS_ROPE_CONFIG_H_

// The rotary part of config.json, in all its spellings.

#include "absl/status/status.h"
#include "models/config.h"
#include "models/json_reader.h"

namespace zqfp {

// Longest context any model may claim.
inline constexpr int64_t kMaxPositions = int64_t{1} << 27;

// Fills config.rope from rope_theta + rope_scaling (transformers 4) or
// rope_parameters (transformers 5). Where the file states the length before
// stretching (dynamic, linear; yarn without a longer
// max_position_embeddings), config.max_positions grows by the factor.
absl::Status ReadRope(const JsonReader& reader, Config& config);

}  // namespace zqfp

#endif  // ZQFP_MODELS_ROPE_CONFIG_H_
