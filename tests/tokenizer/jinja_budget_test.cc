// SPDX-License-Identifier: Apache-2.0
// The limits of the sandbox hold exactly: what fits is fine, one more is an
// error that says which limit it was.
#include "tokenizer/jinja_budget.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "tests/tokenizer/jinja_cases.h"

namespace zqfp::jinja {
namespace {

using zqfp::testing::ExpectJinja;
using zqfp::testing::RenderJinja;

TEST(JinjaBudget, StepsEndAtTheirLimit) {
  Budget budget;
  EXPECT_TRUE(budget.Step(kMaxSteps));
  EXPECT_TRUE(budget.Step(0));
  EXPECT_FALSE(budget.Step());
  EXPECT_EQ(budget.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(budget.status().message(), "more than 4000000 steps");
}

TEST(JinjaBudget, BytesEndAtTheirLimit) {
  Budget budget;
  EXPECT_TRUE(budget.Bytes(kMaxValueBytes - 1));
  EXPECT_TRUE(budget.Bytes(1));
  EXPECT_TRUE(budget.Bytes(0));
  EXPECT_FALSE(budget.Bytes(1));
  EXPECT_EQ(budget.status().message(),
            "values need more than 256 MiB of memory");
}

TEST(JinjaBudget, SizesThatOverflowAreRefused) {
  constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();
  for (const int64_t size : {int64_t{-1}, kHuge, -kHuge - 1}) {
    Budget budget;
    EXPECT_TRUE(budget.Bytes(1000));
    EXPECT_FALSE(budget.Bytes(size)) << size;
  }
  Budget budget;
  EXPECT_TRUE(budget.TextBytes(kMaxTextBytes));
  EXPECT_FALSE(budget.TextBytes(kMaxTextBytes + 1));
  EXPECT_EQ(budget.status().message(),
            "a string needs more than 16 MiB of memory");
}

TEST(JinjaBudget, ScansCostAStepFor256Bytes) {
  Budget budget;
  EXPECT_TRUE(budget.Scan(kMaxSteps * kBytesPerStep));
  EXPECT_TRUE(budget.Scan(kBytesPerStep - 1));
  EXPECT_FALSE(budget.Scan(kBytesPerStep));
}

TEST(JinjaBudget, TheFirstLimitSticks) {
  Budget budget;
  EXPECT_FALSE(budget.TooDeep());
  EXPECT_FALSE(budget.Step(kMaxSteps + 1));
  EXPECT_FALSE(budget.Bytes(kMaxValueBytes + 1));
  EXPECT_FALSE(budget.Bytes(1));
  EXPECT_FALSE(budget.ok());
  EXPECT_EQ(budget.status().message(), "values nested deeper than 100");
}

TEST(JinjaBudget, ErrorsCarryTheirCode) {
  EXPECT_EQ(Error("{} of {}", 1, "x"), absl::InvalidArgumentError("1 of x"));
  EXPECT_EQ(Unsupported("{}", 'c'), absl::UnimplementedError("c"));
}

std::string Repeated(int count, const std::string& text) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

TEST(JinjaBudget, OutputEndsAt16MiB) {
  const std::string half = "{{ 'x' * " + std::to_string(kMaxOutputBytes / 2);
  const auto full = RenderJinja(half + " }}" + half + " }}");
  ASSERT_TRUE(full.ok()) << full.status();
  EXPECT_EQ(static_cast<int64_t>(full->size()), kMaxOutputBytes);
  ExpectJinja(half + " }}" + half + " }}y", "!more than 16 MiB of text");
  // Text that a block collects counts where it is collected.
  ExpectJinja("{% set a %}" + half + " }}" + half + " }}y{% endset %}",
              "!more than 16 MiB of text");
}

TEST(JinjaBudget, RangesEndAt100000) {
  ExpectJinja("{{ range(100000)|length }}", "100000");
  ExpectJinja("{{ range(100001)|length }}", "!more than 100000 items");
}

TEST(JinjaBudget, ValuesNest100Deep) {
  const auto nest = [](int times) {
    return "{% set n = namespace(x=[]) %}{% for i in range(" +
           std::to_string(times) +
           ") %}{% set n.x = [n.x] %}{% endfor %}{{ n.x|string|length }}";
  };
  ExpectJinja(nest(kMaxValueDepth - 1), "200");
  ExpectJinja(nest(kMaxValueDepth), "!values nested deeper than 100");
}

TEST(JinjaBudget, MacrosNest60Deep) {
  const auto recurse = [](int times) {
    return "{% macro m(n) %}{{ m(n - 1) if n > 1 }}x{% endmacro %}{{ m(" +
           std::to_string(times) + ") }}";
  };
  ExpectJinja(recurse(kMaxMacroDepth), std::string(kMaxMacroDepth, 'x'));
  ExpectJinja(recurse(kMaxMacroDepth + 1), "!deeper than");
}

TEST(JinjaBudget, SourcesEndAt1MiB) {
  EXPECT_TRUE(RenderJinja(std::string(kMaxSourceBytes, 'a')).ok());
  ExpectJinja(std::string(kMaxSourceBytes + 1, 'a'),
              "!1048577 bytes, at most 1048576 are accepted");
}

TEST(JinjaBudget, TreesEndAt200000Nodes) {
  // One statement and one constant each.
  EXPECT_TRUE(RenderJinja(Repeated(kMaxNodes / 2, "{{1}}")).ok());
  ExpectJinja(Repeated(kMaxNodes / 2, "{{1}}") + "a",
              "!the template is too complex");
}

// Four million steps are enough for what chats need, and end what is hostile.
TEST(JinjaBudget, LoopsEndWithTheSteps) {
  ExpectJinja(
      "{% set n = namespace(x=0) %}{% for i in range(1000) %}"
      "{% for j in range(300) %}{% set n.x = n.x + 1 %}{% endfor %}"
      "{% endfor %}{{ n.x }}",
      "300000");
  ExpectJinja(
      "{% set l = range(100)|list %}{% for i in range(100000) %}"
      "{% if -1 in l %}{% endif %}{% endfor %}",
      "!more than 4000000 steps");
}

// What looks at all of a long text pays for it.
TEST(JinjaBudget, LoopsOverLongTextsEndWithTheSteps) {
  for (const char* use : {"s|length", "s|count", "s is sameas(t)"}) {
    ExpectJinja(
        "{% set s = 'a' * 8000000 %}{% set t = 'a' * 7999999 ~ 'b' %}"
        "{% for i in range(100000) %}{% set n = " +
            std::string(use) + " %}{% endfor %}",
        "!more than 4000000 steps");
  }
}

}  // namespace
}  // namespace zqfp::jinja
