// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/regex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace zqfp {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

std::vector<std::pair<size_t, size_t>> Matches(const std::string& pattern,
                                               const std::string& text) {
  const auto regex = Regex::Compile(pattern);
  EXPECT_TRUE(regex.ok()) << regex.status();
  const auto matches = regex->FindAll(text);
  EXPECT_TRUE(matches.ok()) << matches.status();
  return *matches;
}

TEST(Regex, FindsFromLeftToRight) {
  EXPECT_THAT(Matches("a+", "baaab a"), ElementsAre(Pair(1, 4), Pair(6, 7)));
  EXPECT_THAT(Matches("x", "abc"), IsEmpty());
  EXPECT_THAT(Matches("x", ""), IsEmpty());
}

TEST(Regex, EmptyMatchesArePassedOver) {
  EXPECT_THAT(Matches("a*", "baab"), ElementsAre(Pair(1, 3)));
  EXPECT_THAT(Matches("", "abc"), IsEmpty());
  EXPECT_THAT(Matches("(?=b)", "abc"), IsEmpty());
  // Not even in the middle of a character.
  EXPECT_THAT(Matches("x*", "\u4f60\u597d"), IsEmpty());
}

TEST(Regex, ClassesAreThoseOfUnicode) {
  EXPECT_THAT(Matches(R"(\p{L}+)", "1\u00e9\u4f602"), ElementsAre(Pair(1, 6)));
  EXPECT_THAT(Matches(R"(\p{N})", "a\u0663"), ElementsAre(Pair(1, 3)));
  EXPECT_THAT(Matches(R"(\s)", "a\u3000b"), ElementsAre(Pair(1, 4)));
  EXPECT_THAT(Matches(R"(\d)", "\u0663"), ElementsAre(Pair(0, 2)));
  EXPECT_THAT(Matches(R"(\w+)", "\u0434\u0430!"), ElementsAre(Pair(0, 4)));
  EXPECT_THAT(Matches("(?i:\u00c9)", "\u00e9"), ElementsAre(Pair(0, 2)));
}

TEST(Regex, LookaheadAsInTheGpt2Pattern) {
  EXPECT_THAT(Matches(R"(\s+(?!\S)|\s+)", "a   b"),
              ElementsAre(Pair(1, 3), Pair(3, 4)));
}

TEST(Regex, ABrokenPatternIsNamedWithPlaceAndReason) {
  const auto regex = Regex::Compile("ab(c");
  ASSERT_FALSE(regex.ok());
  EXPECT_EQ(regex.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(regex.status().message()), HasSubstr("ab(c"));
  EXPECT_THAT(std::string(regex.status().message()), HasSubstr("4"));
  EXPECT_FALSE(Regex::Compile(R"(\p{Klingon})").ok());
  EXPECT_FALSE(Regex::Compile("[z-a]").ok());
}

TEST(Regex, ACatastrophicPatternEnds) {
  for (const char* pattern :
       {"(a+)+$", "(a|aa)+$", "(a*)*b", "(.*)*x", "((a{0,50}){0,50})*c"}) {
    const auto regex = Regex::Compile(pattern);
    if (!regex.ok()) continue;  // refused at once is fine, too
    const auto matches = regex->FindAll(std::string(5000, 'a') + "!");
    if (matches.ok()) continue;  // found quickly by the engine's own means
    EXPECT_EQ(matches.status().code(), absl::StatusCode::kResourceExhausted)
        << pattern << ": " << matches.status();
  }
}

TEST(Regex, NestingDoesNotOverflowTheStack) {
  std::string deep(20'000, '(');
  deep += "a";
  deep += std::string(20'000, ')');
  EXPECT_FALSE(Regex::Compile(deep).ok());
  const auto regex = Regex::Compile("(a|b)*c");
  ASSERT_TRUE(regex.ok());
  const auto matches = regex->FindAll(std::string(3'000'000, 'a'));
  if (!matches.ok()) {
    EXPECT_EQ(matches.status().code(), absl::StatusCode::kResourceExhausted);
  }
}

TEST(Regex, WorkGrowsWithTheTextNotWithItsSquare) {
  // One match per word: a long text is many short matches.
  const auto regex = Regex::Compile(R"( ?\p{L}+)");
  ASSERT_TRUE(regex.ok());
  std::string text;
  for (int i = 0; i < 200'000; ++i) text += " word";
  const auto matches = regex->FindAll(text);
  ASSERT_TRUE(matches.ok());
  EXPECT_EQ(matches->size(), 200'000u);
}

// One that moves its beginning could come before the last one, or for ever.
TEST(Regex, AMatchBeginsWhereItIsFound) {
  for (const char* pattern :
       {R"(a\Kb)", R"([\K])", R"((?(DEFINE)(?<s>\Ka))(?<=(?&s)))"}) {
    EXPECT_EQ(Regex::Compile(pattern).status().code(),
              absl::StatusCode::kUnimplemented)
        << pattern;
  }
  // Control-backslash and a K, or a backslash and the \K that nobody sees.
  const auto hidden = Regex::Compile(R"((?(DEFINE)(?<s>\c\\Ka))(?<=(?&s)))");
  ASSERT_TRUE(hidden.ok()) << hidden.status();
  const auto matches = hidden->FindAll(
      "\x1c\x1c"
      "ab",
      Regex::EmptyMatches::kKept);
  EXPECT_EQ(matches.status().message(),
            "regex: want a match within 3..4, found one of 2..3");
}

TEST(Regex, TextsAreUtf8) {
  const auto regex = Regex::Compile("(?<=.)x|b");
  ASSERT_TRUE(regex.ok());
  for (const char* text : {"\xa9", "b\xc3", "\xf4", "ab\xe4\xbd"}) {
    const auto matches = regex->FindAll(text);
    EXPECT_EQ(matches.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(matches.status().message()), HasSubstr("UTF-8"));
  }
}

// Each match alone is within the limits.
TEST(Regex, AllMatchesTogetherHaveALimit) {
  std::string text;
  for (int i = 0; i < 2000; ++i) text += std::string(17, 'a') + "b ";
  const auto regex = Regex::Compile("(?:(?:a|a)+c|a+b)");
  ASSERT_TRUE(regex.ok());
  EXPECT_TRUE(regex->FindAll(text.substr(0, 19)).ok());
  EXPECT_EQ(regex->FindAll(text).status().code(),
            absl::StatusCode::kResourceExhausted);
}

// Characters are tried by the thousand; no match is lost between.
TEST(Regex, MatchesMayBeFarApart) {
  const std::string gap(4095, '-'), more(20'000, '-');
  const std::string text = gap + "x" + gap + "\u00e9x" + more + "x";
  EXPECT_THAT(
      Matches("x|$", text),
      ElementsAre(Pair(4095, 4096), Pair(8193, 8194), Pair(28'194, 28'195)));
  // A place that takes many steps, and matches around it.
  EXPECT_THAT(Matches("x|(?:a|a)+c|b", "x" + gap + std::string(14, 'a') + "bx"),
              ElementsAre(Pair(0, 1), Pair(4110, 4111), Pair(4111, 4112)));
}

}  // namespace
}  // namespace zqfp
