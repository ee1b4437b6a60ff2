// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_EVALUATE_ROWS_H_
#define ZQFP_TOOLS_EVALUATE_ROWS_H_

// What the table of the paper compares: formats of weights and activations,
// methods, with and without low-rank compensation.      [arXiv:2307.09782]

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/quantize/quantize_linear.h"

namespace zqfp::tools {

// How the figures of a row come about.
enum class Execution : uint8_t {
  kAsStored,   // the original
  kNative,     // by kernels for these formats
  kSimulated,  // weights and inputs rounded to the formats, computed in f32
};
std::string_view ToString(Execution execution);

struct EvaluationRow {
  std::string name;    // "w4a8-fp-fp-m2-gptq-lorc"
  std::string bits;    // of weights and activations: "W4A8"
  std::string types;   // of weights and activations: "FP-FP"; "": the original
  std::string scales;  // constraint of e2m1's: "free", "M1", "M2"; else ""
  // What becomes of the decoder linears; nothing of the original.
  std::optional<LinearScheme> scheme;

  Execution execution() const;
  bool has_lorc() const { return scheme && scheme->lorc.rank > 0; }
  bool needs_calibration() const {
    return scheme && scheme->needs_calibration();
  }
};

// All rows in the order of the table, the original first:
//   W8A8, W4A8   INT-INT  int8 or int4 weights, int8 activations
//                INT-FP   the same weights, e4m3 activations
//                FP-FP    e4m3 or e2m1 weights, e4m3 activations; W4A8 with
//                         free, M1 and M2 scales
//   each by RTN and GPTQ; without LoRC and, where `common` has a rank, with it.
// `common` says what all share: group size, search, LoRC, damping, order.
std::vector<EvaluationRow> AllRows(const LinearScheme& common);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_EVALUATE_ROWS_H_
