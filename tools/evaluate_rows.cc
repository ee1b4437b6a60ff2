// SPDX-License-Identifier: Apache-2.0
#include "tools/evaluate_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace zqfp::tools {
namespace {

// What the rows of one line of the paper's table share.
struct Family {
  const char* bits;
  const char* types;
  GridFormat weights;
  ActivationFormat activations;
  const char* scales = "";
  ScaleConstraint constraint = ScaleConstraint::kFree;
};

constexpr Family kFamilies[] = {
    {"W8A8", "INT-INT", GridFormat::kInt8, ActivationFormat::kInt8},
    {"W8A8", "INT-FP", GridFormat::kInt8, ActivationFormat::kE4m3},
    {"W8A8", "FP-FP", GridFormat::kE4m3, ActivationFormat::kE4m3},
    {"W4A8", "INT-INT", GridFormat::kInt4, ActivationFormat::kInt8},
    {"W4A8", "INT-FP", GridFormat::kInt4, ActivationFormat::kE4m3},
    {"W4A8", "FP-FP", GridFormat::kE2m1, ActivationFormat::kE4m3, "free",
     ScaleConstraint::kFree},
    {"W4A8", "FP-FP", GridFormat::kE2m1, ActivationFormat::kE4m3, "M1",
     ScaleConstraint::kM1},
    {"W4A8", "FP-FP", GridFormat::kE2m1, ActivationFormat::kE4m3, "M2",
     ScaleConstraint::kM2},
};

EvaluationRow MakeRow(const Family& family, const LinearScheme& common,
                      QuantizeMethod method, int64_t lorc_rank) {
  EvaluationRow row = {.name = fmt::format("{}-{}", family.bits, family.types),
                       .bits = family.bits,
                       .types = family.types,
                       .scales = family.scales,
                       .scheme = common};
  if (!row.scales.empty()) row.name.append("-").append(row.scales);
  std::transform(row.name.begin(), row.name.end(), row.name.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  row.name.append("-").append(ToString(method));
  if (lorc_rank > 0) row.name += "-lorc";
  row.scheme->method = method;
  row.scheme->grid.format = family.weights;
  row.scheme->grid.scales.constraint = family.constraint;
  row.scheme->activations = family.activations;
  row.scheme->lorc.rank = lorc_rank;
  return row;
}

}  // namespace

std::string_view ToString(Execution execution) {
  constexpr const char* kNames[] = {"as stored", "native", "simulated"};
  return kNames[static_cast<size_t>(execution)];
}

Execution EvaluationRow::execution() const {
  if (!scheme) return Execution::kAsStored;
  return scheme->is_dense() ? Execution::kSimulated : Execution::kNative;
}

std::vector<EvaluationRow> AllRows(const LinearScheme& common) {
  std::vector<EvaluationRow> rows = {{.name = "w16a16",
                                      .bits = "W16A16",
                                      .types = "",
                                      .scales = "",
                                      .scheme = std::nullopt}};
  for (const Family& family : kFamilies) {
    for (const QuantizeMethod method :
         {QuantizeMethod::kRtn, QuantizeMethod::kGptq}) {
      rows.push_back(MakeRow(family, common, method, 0));
      if (common.lorc.rank == 0) continue;
      rows.push_back(MakeRow(family, common, method, common.lorc.rank));
    }
  }
  return rows;
}

}  // namespace zqfp::tools
