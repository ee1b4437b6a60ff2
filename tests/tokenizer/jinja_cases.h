// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_TOKENIZER_JINJA_CASES_H_
#define ZQFP_TESTS_TOKENIZER_JINJA_CASES_H_

// Tables of small templates. What is wanted was printed by Jinja2 3.1.6 on
// Python 3.11, in the environment of tests/golden/chat_template_golden.py:
// the text, or "!" and the words of the error. Where a test says that we
// refuse or differ, the words are ours.

#include <gtest/gtest.h>

#include <span>
#include <string>
#include <string_view>

#include "tokenizer/chat_template.h"

namespace zqfp::testing {

struct JinjaCase {
  std::string_view source;
  std::string_view want;  // "!...": an error that contains the rest
};

inline absl::StatusOr<std::string> RenderJinja(std::string source) {
  absl::StatusOr<ChatTemplate> parsed = ChatTemplate::Parse(std::move(source));
  if (!parsed.ok()) return parsed.status();
  ChatTemplateArgs args;
  args.now_unix_seconds = 1721995200;  // 2024-07-26 12:00 UTC
  return parsed->Render(args);
}

inline void ExpectJinja(std::string source, std::string_view want) {
  const absl::StatusOr<std::string> result = RenderJinja(source);
  if (!want.starts_with('!')) {
    ASSERT_TRUE(result.ok()) << source << "\nwants: " << want
                             << "\nfails: " << result.status().message();
    EXPECT_EQ(*result, want) << source;
    return;
  }
  ASSERT_FALSE(result.ok()) << source << "\nrenders: " << *result;
  const std::string message(result.status().message());
  EXPECT_NE(message.find(want.substr(1)), std::string::npos)
      << source << "\nwants: " << want << "\nfails: " << message;
}

// Every source is an expression.
inline void ExpectExpressions(std::span<const JinjaCase> cases) {
  for (const JinjaCase& test : cases) {
    ExpectJinja("{{ " + std::string(test.source) + " }}", test.want);
  }
}

// Every source is a template.
inline void ExpectTemplates(std::span<const JinjaCase> cases) {
  for (const JinjaCase& test : cases) {
    ExpectJinja(std::string(test.source), test.want);
  }
}

}  // namespace zqfp::testing

#endif  // ZQFP_TESTS_TOKENIZER_JINJA_CASES_H_
