// SPDX-License-Identifier: Apache-2.0
#include "engine/comparison_plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>

namespace zqfp {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// Buckets whose values span `decades` below 1.
std::vector<DivergenceBucket> Buckets(double begin, double end, int64_t count,
                                      double scale) {
  std::vector<DivergenceBucket> buckets;
  const double width = (end - begin) / static_cast<double>(count);
  for (int64_t i = 0; i < count; ++i) {
    const double value = scale * static_cast<double>(i + 1);
    buckets.push_back({.begin = begin + static_cast<double>(i) * width,
                       .end = begin + static_cast<double>(i + 1) * width,
                       .num_tokens = i % 3 == 1 ? 0 : 10,
                       .mean = value,
                       .median = value / 2,
                       .p99 = value * 30});
  }
  return buckets;
}

ComparisonResult Result(double scale) {
  ComparisonResult result;
  result.model.num_tokens = 100;
  result.model.window = 512;
  result.by_position = Buckets(1, 513, 64, scale);
  result.by_confidence = Buckets(0, 1, 10, scale);
  result.noise_floor = NoiseFloor{.num_tokens = 5};
  result.noise_floor->divergence.mean = scale / 100;
  return result;
}

// Every tag is closed, in order, every attribute quoted, no stray character.
void ExpectWellFormed(const std::string& svg) {
  std::vector<std::string> open;
  const std::regex tag("<(/?)([a-z]+)((?: [a-zA-Z0-9-]+=\"[^\"<]*\")*)(/?)>");
  size_t end = 0;
  for (std::sregex_iterator i(svg.begin(), svg.end(), tag), none; i != none;
       ++i) {
    const std::string between =
        svg.substr(end, static_cast<size_t>(i->position()) - end);
    EXPECT_EQ(between.find_first_of("<>"), std::string::npos) << between;
    end = static_cast<size_t>(i->position() + i->length());
    if ((*i)[1].length() > 0) {
      ASSERT_FALSE(open.empty());
      EXPECT_EQ(open.back(), (*i)[2]);
      open.pop_back();
    } else if ((*i)[4].length() == 0) {
      open.push_back((*i)[2]);
    }
  }
  EXPECT_TRUE(open.empty());
  EXPECT_EQ(svg.substr(end), "\n");
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
}

// Every coordinate lies in the picture.
void ExpectInside(const std::string& svg) {
  const std::regex number(" (x|y|x1|y1|x2|y2|cx|cy)=\"(-?[0-9.]+)\"");
  int64_t count = 0;
  for (std::sregex_iterator i(svg.begin(), svg.end(), number), none; i != none;
       ++i, ++count) {
    const double value = std::stod((*i)[2]);
    EXPECT_GE(value, 0);
    EXPECT_LE(value, (*i)[1].str().find('x') == std::string::npos ? 470 : 1000);
  }
  EXPECT_GT(count, 100);
}

TEST(PlotComparison, IsOneWellFormedPicture) {
  for (const double scale : {1e-9, 1e-3, 0.1, 1.0, 100.0}) {
    const std::string svg = PlotComparison(Result(scale), "original", "model");
    EXPECT_THAT(svg, StartsWith("<svg xmlns="));
    ExpectWellFormed(svg);
    ExpectInside(svg);
    for (const char* words :
         {"KL(original || model)", "position of the token", "probability of",
          "nats per token", "mean", "median", "99 %", "noise floor"}) {
      EXPECT_THAT(svg, HasSubstr(words));
    }
  }
}

TEST(PlotComparison, ShowsEveryBucketThatHoldsSomething) {
  const std::string svg = PlotComparison(Result(0.01), "a", "b");
  size_t dots = 0;
  for (size_t at = 0; (at = svg.find("<circle", at)) != std::string::npos;) {
    ++dots;
    ++at;
  }
  // Of 64 and of 10, every third is empty; three curves.
  EXPECT_EQ(dots, 3 * ((64 - 21) + (10 - 3)));
}

TEST(PlotComparison, TakesNothingToShow) {
  ComparisonResult result = Result(0);
  result.noise_floor.reset();
  const std::string svg = PlotComparison(result, "a", "a");
  ExpectWellFormed(svg);
  ExpectInside(svg);
  EXPECT_THAT(svg, Not(HasSubstr("noise floor")));
  result.by_position = Buckets(1, 2, 1, 0);
  ExpectWellFormed(PlotComparison(result, "a", "a"));
}

TEST(PlotComparison, NamesAreTextAndNothingElse) {
  const std::string svg = PlotComparison(
      Result(0.1), "<script>alert(1)</script>", "a&b\"\x01\xff\n\xc3\xa9");
  ExpectWellFormed(svg);
  EXPECT_THAT(svg, Not(HasSubstr("<script")));
  EXPECT_THAT(svg, HasSubstr("&lt;script&gt;"));
  EXPECT_THAT(svg, HasSubstr("a&amp;b"));
  EXPECT_THAT(svg, HasSubstr("\xc3\xa9"));
  EXPECT_THAT(svg, Not(HasSubstr("\x01")));
  EXPECT_THAT(svg, Not(HasSubstr("\xff")));
}

}  // namespace
}  // namespace zqfp
