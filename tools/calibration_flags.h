// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_CALIBRATION_FLAGS_H_
#define ZQFP_TOOLS_CALIBRATION_FLAGS_H_

// The flags that name a calibration's text: --calibration,
// --calibration_split, --calibration_samples, --calibration_length.

#include "absl/status/statusor.h"
#include "tools/calibration.h"

namespace zqfp::tools {

// What the flags say; `text` is empty where --calibration is absent. A usage
// error for counts out of range.
absl::StatusOr<CalibrationOptions> CalibrationOptionsFromFlags();

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_CALIBRATION_FLAGS_H_
