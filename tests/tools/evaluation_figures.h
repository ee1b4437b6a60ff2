// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_TOOLS_EVALUATION_FIGURES_H_
#define ZQFP_TESTS_TOOLS_EVALUATION_FIGURES_H_

// Figures as zqfp-evaluate might have measured them.

#include <cmath>
#include <string>
#include <vector>

#include "tools/evaluation_table.h"

namespace zqfp::testing {

inline const std::vector<tools::EvaluationRow>& Rows() {
  static const auto& rows = *new std::vector<tools::EvaluationRow>([] {
    LinearScheme common;
    common.lorc.rank = 8;
    return tools::AllRows(common);
  }());
  return rows;
}

inline tools::RowScore Score(const std::string& name, double wiki, double ptb,
                             double seconds = 1) {
  return {.name = name,
          .kernel = "matmul reference",
          .seconds = seconds,
          .scores = {{"wiki", {1000, std::log(wiki), 0.01}},
                     {"ptb", {500, std::log(ptb), 0.02}}}};
}

// Two texts, the original and two rows, not in the order of the table.
inline tools::EvaluationTable Table() {
  tools::EvaluationTable table;
  table.model = "toy";
  table.settings = {{"protocol", "gptq"},
                    {"window", 64},
                    {"stride", 0},
                    {"split", ""},
                    {"damping", 0.01},
                    {"model_hash", "0123456789abcdef"},
                    {"texts", {{"wiki", "aa"}, {"ptb", "bb"}}}};
  table.texts = {"wiki", "ptb"};
  table.rows = {Score("w4a8-fp-fp-m2-gptq-lorc", 12, 16),
                Score("w16a16", 10, 14), Score("w8a8-int-int-rtn", 10.5, 14)};
  return table;
}

}  // namespace zqfp::testing

#endif  // ZQFP_TESTS_TOOLS_EVALUATION_FIGURES_H_
