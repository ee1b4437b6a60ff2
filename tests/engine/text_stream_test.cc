// SPDX-License-Identifier: Apache-2.0
#include "engine/text_stream.h"

#include <gtest/gtest.h>

#include <random>

namespace zqfp {
namespace {

TEST(StopMatcher, WithoutStopsEverythingPasses) {
  StopMatcher matcher({});
  EXPECT_EQ(matcher.Push("one"), "one");
  EXPECT_EQ(matcher.Push(""), "");
  EXPECT_EQ(matcher.Finish(), "");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopMatcher, FindsAStopAcrossPieces) {
  StopMatcher matcher({"\nUser:"});
  EXPECT_EQ(matcher.Push("Hello\nU"), "Hello");
  EXPECT_EQ(matcher.Push("se"), "");
  EXPECT_FALSE(matcher.stopped());
  EXPECT_EQ(matcher.Push("r: more"), "");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.Push("even more"), "");
  EXPECT_EQ(matcher.Finish(), "");
}

TEST(StopMatcher, ReturnsWhatTurnsOutToBeHarmless) {
  StopMatcher matcher({"</s>"});
  EXPECT_EQ(matcher.Push("a </"), "a ");
  EXPECT_EQ(matcher.Push("b>"), "</b>");
  EXPECT_EQ(matcher.Push("<"), "");
  EXPECT_EQ(matcher.Finish(), "<");
  EXPECT_EQ(matcher.Finish(), "");
}

TEST(StopMatcher, KeepsTheLongestPossibleBeginning) {
  // After "aab" fails to become "aaa", its tail may still begin one.
  StopMatcher matcher({"aabaac"});
  std::string text;
  for (const char c : std::string("aabaabaac!")) {
    text += matcher.Push(std::string(1, c));
  }
  EXPECT_EQ(text + matcher.Finish(), "aab");
  EXPECT_TRUE(matcher.stopped());
}

TEST(StopMatcher, TheFirstOfSeveralWins) {
  StopMatcher matcher({"world", "lo", ""});
  EXPECT_EQ(matcher.Push("hello world"), "hel");
  EXPECT_TRUE(matcher.stopped());
}

// However a text is cut, what comes out is the text before the first place
// where a stop string ends.
TEST(StopMatcher, RandomCutsGiveTheSameText) {
  std::mt19937 random(7);
  for (int round = 0; round < 5000; ++round) {
    const auto word = [&](size_t most) {
      std::string text(1 + random() % most, ' ');
      for (char& c : text) c = static_cast<char>('a' + random() % 2);
      return text;
    };
    const std::vector<std::string> stops = {word(5), word(5)};
    const std::string text = word(30);
    // Independent answer: grow the text byte by byte, as tokens of one byte.
    std::string want = text;
    for (size_t end = 1; end <= text.size(); ++end) {
      size_t first = std::string::npos;
      for (const std::string& stop : stops) {
        first = std::min(first, text.substr(0, end).find(stop));
      }
      if (first != std::string::npos) {
        want = text.substr(0, first);
        break;
      }
    }
    StopMatcher matcher(stops);
    std::string got;
    for (const char c : text) got += matcher.Push(std::string(1, c));
    got += matcher.Finish();
    EXPECT_EQ(got, want) << text << " stops " << stops[0] << " " << stops[1];
    EXPECT_EQ(matcher.stopped(), want != text);
  }
}

}  // namespace
}  // namespace zqfp
