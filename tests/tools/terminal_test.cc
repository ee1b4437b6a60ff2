// SPDX-License-Identifier: Apache-2.0
#include "tools/terminal.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <string>

namespace zqfp::tools {
namespace {

TEST(Terminal, TextPassesAndControlsDoNot) {
  EXPECT_EQ(WithoutControls(""), "");
  EXPECT_EQ(WithoutControls("a\tb\nc"), "a\tb\nc");
  EXPECT_EQ(WithoutControls("caf\u00e9 \u4e16\u754c \U0001f600"),
            "caf\u00e9 \u4e16\u754c \U0001f600");
  EXPECT_EQ(WithoutControls("\033]0;title\007x"), "]0;titlex");
  EXPECT_EQ(WithoutControls("a\rb\bc\x7f"), "abc");
  EXPECT_EQ(WithoutControls(std::string("a\0b", 3)), "ab");
}

TEST(Terminal, TheSecondSetOfControlsIsControlToo) {
  EXPECT_EQ(WithoutControls("a\xc2\x9b"
                            "31mb"),
            "a31mb");
  EXPECT_EQ(WithoutControls("\xc2\x80\xc2\x9f\xc2\xa0"), "\xc2\xa0");
  EXPECT_EQ(WithoutControls("\xc2"), "\xc2");  // a cut character is not ours
}

TEST(Terminal, AFileHasNoColor) {
  FILE* file = tmpfile();
  ASSERT_NE(file, nullptr);
  EXPECT_FALSE(HasColor(fileno(file)));
  fclose(file);
  EXPECT_FALSE(HasColor(-1));
}

}  // namespace
}  // namespace zqfp::tools
