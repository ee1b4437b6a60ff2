// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_EVALUATION_REPORT_H_
#define ZQFP_TOOLS_EVALUATION_REPORT_H_

// What zqfp-evaluate tells people of its figures.

#include <string>
#include <vector>

#include "tools/evaluate_rows.h"
#include "tools/evaluation_table.h"

namespace zqfp::tools {

// A table in Markdown of the rows measured, with what was measured above it
// and how below.
std::string ToMarkdown(const EvaluationTable& table,
                       const std::vector<EvaluationRow>& rows);

// What `wanted` rows that are not measured yet will take, by the time that
// those of the same method took. 0 where none is measured.
double SecondsLeft(const EvaluationTable& table,
                   const std::vector<EvaluationRow>& wanted);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_EVALUATION_REPORT_H_
