// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_CALIBRATION_H_
#define ZQFP_TOOLS_CALIBRATION_H_

// From a text to the token sequences that a quantizer calibrates on.

#include <stdint.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/quantize/quantize_checkpoint.h"

namespace zqfp::tools {

struct CalibrationOptions {
  std::string text;   // a file: text, or .jsonl documents
  std::string split;  // text between documents, with C escapes
  int64_t num_samples = 128;
  int64_t length = 2048;  // tokens; at most the model's context
};

struct Calibration {
  std::vector<std::vector<int32_t>> sequences;
  CalibrationSource source;
};

// Running text: windows of `length`, evenly spaced over it. Documents: the
// first `length` tokens (with their beginning-of-text token) of the first ones
// that have so many. The model in `directory` gives tokenizer and context.
// InvalidArgument where there is not a single window.
absl::StatusOr<Calibration> ReadCalibration(const std::string& directory,
                                            const CalibrationOptions& options);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_CALIBRATION_H_
