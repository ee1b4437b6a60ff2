// SPDX-License-Identifier: Apache-2.0
#include "tools/progress_bar.h"

#include <gtest/gtest.h>

#include <string>

namespace zqfp::tools {
namespace {

TEST(ProgressLineTest, ShowsShareAndTimeLeft) {
  EXPECT_EQ(ProgressLine(0.5, 61.0, "q_proj", 200),
            "[###############               ]  50%  01:01 left  q_proj");
  EXPECT_EQ(ProgressLine(1.0, 10.0, "", 200),
            "[" + std::string(30, '#') + "] 100%  00:00 left  ");
}

TEST(ProgressLineTest, GuessesNothingAtTheStart) {
  EXPECT_EQ(ProgressLine(0.0, 5.0, "x", 200),
            "[" + std::string(30, ' ') + "]   0%  x");
  EXPECT_EQ(ProgressLine(0.1, 0.5, "x", 200).find("left"), std::string::npos);
}

TEST(ProgressLineTest, StaysWithinTheTerminalAndTheRange) {
  EXPECT_EQ(ProgressLine(0.5, 61.0, std::string(500, 'x'), 79).size(), 79u);
  EXPECT_EQ(ProgressLine(7.0, 1.0, "", 37),
            "[" + std::string(30, '#') + "] 100%");
  EXPECT_EQ(ProgressLine(-1.0, 1.0, "", 37),
            "[" + std::string(30, ' ') + "]   0%");
}

// Under ctest stderr is no terminal: the bar stays silent.
TEST(ProgressBarTest, IsSilentWithoutATerminal) {
  testing::internal::CaptureStderr();
  {
    ProgressBar bar;
    bar.Update(1, 2, "half");
    bar.Update(0, 0, "nothing to do");
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace zqfp::tools
