// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_ENGINE_GENERATION_CONFIG_H_
#define ZQFP_ENGINE_GENERATION_CONFIG_H_

// The sampling that a model's makers recommend.

#include <string>

#include "absl/status/statusor.h"
#include "zqfp/zqfp.h"

namespace zqfp {

// DIRECTORY/generation_config.json: do_sample, temperature, top_k, top_p,
// typical_p, min_p, repetition_penalty. Sampling is greedy where do_sample is
// not true, as in Hugging Face's; what the file leaves out is off. Errors:
// InvalidArgument with key, wanted and found.
absl::StatusOr<SamplingOptions> LoadDefaultSampling(
    const std::string& directory);

}  // namespace zqfp

#endif  // ZQFP_ENGINE_GENERATION_CONFIG_H_
