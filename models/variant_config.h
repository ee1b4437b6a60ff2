// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_VARIANT_CONFIG_H_
#define ZQFP_MODELS_VARIANT_CONFIG_H_

// What sets the families of config.json apart: biases, norms, activations,
// positions, softcaps, ties.

#include "absl/status/status.h"
#include "models/config.h"
#include "models/json_reader.h"

namespace zqfp {

// Fills what config.architecture implies and the file may change. Unimplemented
// names a key whose value no supported model of the family has.
absl::Status ReadVariant(const JsonReader& reader, Config& config);

// What can be checked only once the shape is known.
absl::Status CheckVariant(const JsonReader& reader, const Config& config);

}  // namespace zqfp

#endif  // ZQFP_MODELS_VARIANT_CONFIG_H_
