// SPDX-License-Identifier: Apache-2.0
#include "tools/calibration_flags.h"

#include <fmt/format.h>

#include <string>

#include "absl/flags/flag.h"
#include "tools/command_line.h"

ABSL_FLAG(std::string, calibration, "",
          "text to calibrate on: a file, or .jsonl documents");
ABSL_FLAG(std::string, calibration_split, "",
          "text between its documents, with C escapes");
ABSL_FLAG(int32_t, calibration_samples, 128, "sequences to take of it");
ABSL_FLAG(int32_t, calibration_length, 2048,
          "tokens of each (at most the model's context)");

namespace zqfp::tools {

absl::StatusOr<CalibrationOptions> CalibrationOptionsFromFlags() {
  const CalibrationOptions options = {
      .text = absl::GetFlag(FLAGS_calibration),
      .split = absl::GetFlag(FLAGS_calibration_split),
      .num_samples = absl::GetFlag(FLAGS_calibration_samples),
      .length = absl::GetFlag(FLAGS_calibration_length)};
  if (options.num_samples < 1 || options.length < 2) {
    return UsageError(fmt::format(
        "--calibration_samples, --calibration_length: want at least 1 and 2, "
        "found {} and {}",
        options.num_samples, options.length));
  }
  return options;
}

}  // namespace zqfp::tools
