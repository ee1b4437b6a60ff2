// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_EVALUATE_FLAGS_H_
#define ZQFP_TOOLS_EVALUATE_FLAGS_H_

// The flags of zqfp-evaluate, and what they name.

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/quantize/output_directory.h"
#include "nlohmann/json.hpp"
#include "tokenizer/tokenizer.h"
#include "tools/command_line.h"
#include "tools/evaluate_rows.h"
#include "tools/row_runner.h"

namespace zqfp::tools {

// A table to be made.
struct EvaluateJob {
  std::string output;                      // file of the results
  std::string markdown;                    // file of the table; empty: none
  std::string work_directory;              // of the rows' models
  IfExists if_exists = IfExists::kRefuse;  // kReplace: begin anew
  std::string model_name;
  QuantizeOptions quantize;  // what all rows share, calibration included
  ModelOptions model;
  EvaluationOptions evaluation;
  std::unique_ptr<Tokenizer> tokenizer;
  std::vector<EvaluationText> texts;
  std::vector<EvaluationRow> rows;    // all that there are
  std::vector<EvaluationRow> wanted;  // of these
  // Everything the figures depend on: flags, hashes of model, tokenizer and
  // texts, version, kernels.
  nlohmann::ordered_json settings;
};

// The headings and flags for ToolInfo::groups.
std::vector<FlagGroup> EvaluateFlagGroups();

// What the flags ask for. Usage errors are found before any file is opened;
// then everything is read that could be refused later: texts, calibration and,
// for its hash, the whole model.
absl::StatusOr<EvaluateJob> EvaluateJobFromFlags();

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_EVALUATE_FLAGS_H_
