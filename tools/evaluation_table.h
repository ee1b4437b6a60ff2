// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_EVALUATION_TABLE_H_
#define ZQFP_TOOLS_EVALUATION_TABLE_H_

// The figures of zqfp-evaluate, and the file with which a later run goes on.

#include <stdint.h>

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "tools/evaluate_rows.h"

namespace zqfp::tools {

// One row on one text.
struct TextScore {
  int64_t num_tokens = 0;     // predictions scored
  double loss = 0;            // nats per token
  double standard_error = 0;  // of the loss

  double perplexity() const;  // exp(loss), finite
};

struct RowScore {
  std::string name;    // of its EvaluationRow
  std::string kernel;  // of the decoder linears: "matmul_a8 avx512"
  double seconds = 0;  // to quantize and to measure
  std::map<std::string, TextScore> scores;  // on each text

  double mean_perplexity() const;
};

struct EvaluationTable {
  std::string model;  // its name, for the heading
  // Whatever the figures depend on. "calibration" is there once a row read it.
  nlohmann::ordered_json settings = nlohmann::ordered_json::object();
  std::vector<std::string> texts;  // their names, in the order of columns
  std::vector<RowScore> rows;      // those measured

  const RowScore* Find(const std::string& row) const;  // null: not measured
};

// Null where there is none of that name.
const EvaluationRow* FindRow(const std::vector<EvaluationRow>& rows,
                             const std::string& name);

// The file's text. `rows` gives the order and what each row is.
std::string ToJsonText(const EvaluationTable& table,
                       const std::vector<EvaluationRow>& rows);

// A file of ToJsonText, as if it were hostile: names of rows and texts known
// and unique, every figure finite and in range, perplexities those of the
// losses. NotFound; InvalidArgument "FILE: KEY: want WANTED, found FOUND".
absl::StatusOr<EvaluationTable> ReadEvaluationTable(
    const std::string& path, const std::vector<EvaluationRow>& rows);

// FailedPrecondition that names every setting of `found` which is another one
// in `wanted`. A calibration that only one of the two has is no difference.
absl::Status CheckSameSettings(const nlohmann::ordered_json& wanted,
                               const nlohmann::ordered_json& found);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_EVALUATION_TABLE_H_
