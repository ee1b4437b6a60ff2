// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_WINDOW_CONFIG_H_
#define ZQFP_MODELS_WINDOW_CONFIG_H_

// Which layers of a model see a sliding window only.

#include "absl/status/status.h"
#include "models/config.h"
#include "models/json_reader.h"

namespace zqfp {

// Fills config.sliding_window and config.layer_spans from sliding_window,
// layer_types and what the families had before that.
absl::Status ReadWindow(const JsonReader& reader, Config& config);

}  // namespace zqfp

#endif  // ZQFP_MODELS_WINDOW_CONFIG_H_
