// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_QUANTIZE_QUANTIZED_CONFIG_H_
#define ZQFP_MODELS_QUANTIZE_QUANTIZED_CONFIG_H_

// The config.json of a quantized model, and what a job is.

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/quantize/quantize_checkpoint.h"

namespace zqfp {

// The input's config.json, in its order, with quantization_config (FORMAT.md)
// added: `kept` are the linears left as they were. A simulation is no quantized
// model to a loader; it gets "zqfp_simulation" instead.
absl::StatusOr<std::string> MakeConfigText(
    const QuantizeOptions& options, const std::vector<std::string>& kept);

// xxh64 of what makes a model: its config's text, and name, dtype, shape and
// bytes of every tensor. Reads the whole input.
absl::StatusOr<std::string> HashOfModel(const std::string& input);

// Everything that the quantized layers depend on: the input's bytes, the
// scheme, the calibration and the number of threads. Reads the whole input.
absl::StatusOr<std::string> DescribeJob(const QuantizeOptions& options,
                                        const std::vector<std::string>& kept);

}  // namespace zqfp

#endif  // ZQFP_MODELS_QUANTIZE_QUANTIZED_CONFIG_H_
