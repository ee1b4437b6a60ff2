// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_ROW_RUNNER_H_
#define ZQFP_TOOLS_ROW_RUNNER_H_

// Measures one row of the table: the model quantized as the row says, into a
// directory that goes when it has been scored.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/corpus.h"
#include "engine/evaluation.h"
#include "models/model.h"
#include "models/quantize/quantize_checkpoint.h"
#include "tokenizer/tokenizer.h"
#include "tools/evaluate_rows.h"
#include "tools/evaluation_table.h"

namespace zqfp::tools {

// A directory of ours for quantized models, one at a time, that no other
// process works in meanwhile. Removed with its content at the end, but for the
// model of a row that was interrupted, or its finished layers.
class WorkDirectory {
 public:
  // What is worth keeping of the remains of an interrupted run: finished layers
  // say themselves what they were made of, models do not.
  enum class Remains : uint8_t { kNothing, kLayers, kLayersAndModels };

  // Creates it, or takes over what an interrupted run left of `rows`.
  // FailedPrecondition where it holds anything else, or another process works
  // in it and still does a second later (one that was killed may take its time
  // to be gone).
  static absl::StatusOr<std::unique_ptr<WorkDirectory>> Open(
      const std::string& path, const std::vector<EvaluationRow>& rows,
      Remains remains);
  ~WorkDirectory();
  WorkDirectory(const WorkDirectory&) = delete;
  WorkDirectory& operator=(const WorkDirectory&) = delete;

  std::string PathOf(const EvaluationRow& row) const;
  bool HasLayers(const EvaluationRow& row) const;
  bool HasModel(const EvaluationRow& row) const;
  // Removes the row's model; the reason why it could not is lost.
  void Remove(const EvaluationRow& row) const;

 private:
  WorkDirectory(std::string path, int descriptor)
      : path_(std::move(path)), descriptor_(descriptor) {}
  absl::Status CleanUp(const std::vector<EvaluationRow>& rows,
                       Remains remains) const;

  std::string path_;
  int descriptor_;
};

// A text by the name of its column.
struct EvaluationText {
  std::string name;
  Corpus corpus;
};

struct RowRunnerArgs {
  QuantizeOptions quantize;  // input, head, calibration: what all rows share
  ModelOptions model;
  EvaluationOptions evaluation;
  const Tokenizer* tokenizer = nullptr;
  const std::vector<EvaluationText>* texts = nullptr;
  const WorkDirectory* work = nullptr;
  // Called often with the share of a step, 0..1, and which it is; anything but
  // OK ends the row with that status.
  std::function<absl::Status(double share, const std::string& note)> progress;
};

// Errors are prefixed with the row's name. A Cancelled row leaves its model, or
// finished layers, with which it goes on the next time.
absl::StatusOr<RowScore> RunRow(const EvaluationRow& row,
                                const RowRunnerArgs& args);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_ROW_RUNNER_H_
