// SPDX-License-Identifier: Apache-2.0
#include "tools/evaluation_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/tools/evaluation_figures.h"

namespace zqfp::tools {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using zqfp::testing::Rows;
using zqfp::testing::Score;
using zqfp::testing::Table;

TEST(EvaluationReportTest, MarkdownHasRowsInOrderWithTheirDistance) {
  const std::string text = ToMarkdown(Table(), Rows());
  const size_t original =
      text.find("| W16A16 |  |  |  |  | 10.0000 | 14.0000 | 12.0000 |  | as");
  const size_t integers = text.find(
      "| W8A8 | INT-INT |  | RTN |  | 10.5000 | 14.0000 | 12.2500 | +0.2500 | "
      "simulated |");
  const size_t floats = text.find(
      "| W4A8 | FP-FP | M2 | GPTQ | 8 | 12.0000 | 16.0000 | 14.0000 | +2.0000 "
      "| native |");
  EXPECT_LT(original, integers) << text;
  EXPECT_LT(integers, floats) << text;
  EXPECT_NE(floats, std::string::npos) << text;
}

TEST(EvaluationReportTest, MarkdownSaysWhatWasMeasuredAndHow) {
  const std::string text = ToMarkdown(Table(), Rows());
  EXPECT_THAT(text, HasSubstr("Perplexity of toy (tokens: wiki 1000, ptb 500"));
  EXPECT_THAT(text, HasSubstr("protocol gptq; window 64; damping 0.01\n"));
  EXPECT_THAT(text, Not(HasSubstr("0123456789abcdef")));
  EXPECT_THAT(text, HasSubstr("* as stored: "));
  EXPECT_THAT(text, HasSubstr("* native: "));
  EXPECT_THAT(text, HasSubstr("* simulated: "));
  EXPECT_THAT(text, HasSubstr("Kernel of the linears: matmul reference."));
  EXPECT_THAT(text, HasSubstr("wiki 0.1000, ptb 0.2800"));
}

TEST(EvaluationReportTest, OneTextNeedsNoMeanAndNoOriginalNoDistance) {
  EvaluationTable table = Table();
  table.texts = {"wiki"};
  table.rows = {Score("w8a8-fp-fp-rtn", 11, 1)};
  table.rows[0].scores.erase("ptb");
  const std::string text = ToMarkdown(table, Rows());
  EXPECT_THAT(text, Not(HasSubstr("mean")));
  EXPECT_THAT(text, HasSubstr("| RTN |  | 11.0000 |  | native |"));
  EXPECT_THAT(text, Not(HasSubstr("simulated")));
}

TEST(SecondsLeftTest, RowsTakeWhatTheirLikesTook) {
  EvaluationTable table;
  EXPECT_EQ(SecondsLeft(table, Rows()), 0);
  const std::vector<EvaluationRow> wanted(Rows().begin(), Rows().begin() + 9);
  table.rows = {Score("w8a8-int-int-rtn", 1, 1, 2),
                Score("w8a8-int-int-rtn-lorc", 1, 1, 3),
                Score("w8a8-int-int-gptq", 1, 1, 40),
                Score("w8a8-int-int-gptq-lorc", 1, 1, 50),
                Score("w8a8-int-fp-rtn", 1, 1, 4)};
  // Left: the original (the mean of all), rtn with compensation, both gptq.
  EXPECT_NEAR(SecondsLeft(table, wanted), 99.0 / 5 + 3 + 40 + 50, 1e-9);
  table.rows.clear();
  table.rows.push_back(Score("w16a16", 1, 1, 5));
  EXPECT_NEAR(SecondsLeft(table, wanted), 8 * 5, 1e-9);
}

}  // namespace
}  // namespace zqfp::tools
