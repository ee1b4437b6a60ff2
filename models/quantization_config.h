// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_QUANTIZATION_CONFIG_H_
#define ZQFP_MODELS_QUANTIZATION_CONFIG_H_

// "quantization_config" of config.json (FORMAT.md).

#include <optional>

#include "absl/status/statusor.h"
#include "models/config.h"
#include "models/json_reader.h"

namespace zqfp {

// Nothing where the key is absent or null. Unimplemented, naming the method,
// for models that somebody else's quantizer wrote.
absl::StatusOr<std::optional<QuantizationConfig>> ReadQuantization(
    const JsonReader& reader);

}  // namespace zqfp

#endif  // ZQFP_MODELS_QUANTIZATION_CONFIG_H_
