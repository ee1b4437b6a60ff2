// SPDX-License-Identifier: Apache-2.0
#include "tools/evaluate_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace zqfp::tools {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::SizeIs;

LinearScheme WithRank(int64_t rank) {
  LinearScheme scheme;
  scheme.lorc.rank = rank;
  scheme.lorc.weighting = LorcWeighting::kPlain;
  scheme.grid.scales.group_size = 64;
  scheme.damping = 0.05;
  return scheme;
}

const EvaluationRow& Find(const std::vector<EvaluationRow>& rows,
                          const std::string& name) {
  for (const EvaluationRow& row : rows) {
    if (row.name == name) return row;
  }
  ADD_FAILURE() << "no row " << name;
  return rows.front();
}

TEST(EvaluateRowsTest, TheTableHasTheOriginalAndEveryCombinationOnce) {
  const std::vector<EvaluationRow> rows = AllRows(WithRank(8));
  // Eight pairs of formats by two methods, with and without compensation.
  ASSERT_THAT(rows, SizeIs(1 + 8 * 2 * 2));
  std::set<std::string> names;
  for (const EvaluationRow& row : rows) names.insert(row.name);
  EXPECT_THAT(names, SizeIs(rows.size()));
  EXPECT_EQ(rows.front().name, "w16a16");
  EXPECT_FALSE(rows.front().scheme.has_value());
  EXPECT_EQ(rows.back().name, "w4a8-fp-fp-m2-gptq-lorc");
}

TEST(EvaluateRowsTest, NamesSayWhatIsQuantized) {
  const std::vector<EvaluationRow> rows = AllRows(WithRank(8));
  const struct {
    const char* name;
    GridFormat weights;
    ActivationFormat activations;
    Execution execution;
  } expected[] = {{"w8a8-int-int-rtn", GridFormat::kInt8,
                   ActivationFormat::kInt8, Execution::kSimulated},
                  {"w8a8-int-fp-gptq", GridFormat::kInt8,
                   ActivationFormat::kE4m3, Execution::kSimulated},
                  {"w8a8-fp-fp-gptq-lorc", GridFormat::kE4m3,
                   ActivationFormat::kE4m3, Execution::kNative},
                  {"w4a8-int-int-rtn-lorc", GridFormat::kInt4,
                   ActivationFormat::kInt8, Execution::kSimulated},
                  {"w4a8-int-fp-gptq", GridFormat::kInt4,
                   ActivationFormat::kE4m3, Execution::kSimulated},
                  {"w4a8-fp-fp-free-rtn", GridFormat::kE2m1,
                   ActivationFormat::kE4m3, Execution::kNative}};
  for (const auto& want : expected) {
    const EvaluationRow& row = Find(rows, want.name);
    ASSERT_TRUE(row.scheme.has_value());
    EXPECT_EQ(row.scheme->grid.format, want.weights) << want.name;
    EXPECT_EQ(row.scheme->activations, want.activations) << want.name;
    EXPECT_EQ(row.execution(), want.execution) << want.name;
    const bool is_gptq = row.name.find("gptq") != std::string::npos;
    EXPECT_EQ(row.scheme->method == QuantizeMethod::kGptq, is_gptq);
    EXPECT_EQ(row.needs_calibration(), is_gptq);
    EXPECT_EQ(row.has_lorc(), row.name.ends_with("-lorc"));
  }
  EXPECT_EQ(rows.front().execution(), Execution::kAsStored);
}

TEST(EvaluateRowsTest, OnlyE2m1HasConstrainedScales) {
  std::vector<std::string> scales;
  for (const EvaluationRow& row : AllRows(WithRank(0))) {
    if (row.scales.empty()) continue;
    EXPECT_EQ(row.scheme->grid.format, GridFormat::kE2m1);
    if (row.scheme->method == QuantizeMethod::kRtn) {
      scales.push_back(
          row.scales + " " +
          std::string(ToString(row.scheme->grid.scales.constraint)));
    }
  }
  EXPECT_THAT(scales, ElementsAre("free free", "M1 m1", "M2 m2"));
}

TEST(EvaluateRowsTest, WhatRowsShareIsTheCallers) {
  for (const EvaluationRow& row : AllRows(WithRank(4))) {
    if (!row.scheme) continue;
    EXPECT_EQ(row.scheme->grid.scales.group_size, 64);
    EXPECT_EQ(row.scheme->damping, 0.05);
    EXPECT_EQ(row.scheme->lorc.rank, row.has_lorc() ? 4 : 0);
  }
}

TEST(EvaluateRowsTest, ARankOfZeroLeavesOutTheRowsWithCompensation) {
  const std::vector<EvaluationRow> rows = AllRows(WithRank(0));
  EXPECT_THAT(rows, SizeIs(1 + 8 * 2));
  EXPECT_THAT(rows, Each(::testing::Property(&EvaluationRow::has_lorc, false)));
}

TEST(EvaluateRowsTest, WeightedCompensationReadsTheCalibration) {
  LinearScheme scheme = WithRank(8);
  scheme.lorc.weighting = LorcWeighting::kWeighted;
  const std::vector<EvaluationRow> rows = AllRows(scheme);
  EXPECT_FALSE(Find(rows, "w4a8-fp-fp-m2-rtn").needs_calibration());
  EXPECT_TRUE(Find(rows, "w4a8-fp-fp-m2-rtn-lorc").needs_calibration());
}

}  // namespace
}  // namespace zqfp::tools
