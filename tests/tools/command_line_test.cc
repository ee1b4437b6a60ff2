// SPDX-License-Identifier: Apache-2.0
#include "tools/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "absl/flags/flag.h"

ABSL_FLAG(int32_t, test_count, 7, "how many");
ABSL_FLAG(std::string, test_name, "", "a name");
ABSL_FLAG(bool, test_switch, false, "on or off");
ABSL_FLAG(std::vector<std::string>, test_list, {}, "several");
ABSL_FLAG(int32_t, test_hidden, 0, "not listed in the tool's groups");

namespace zqfp::tools {
namespace {

using ::testing::HasSubstr;

const ToolInfo kInfo = {
    "zqfp-test",
    "Tests.",
    "zqfp-test [--test_count N]",
    {{"input", {"test_count", "test_name", "test_switch", "test_list"}}},
    "  zqfp-test --test_count 3\n",
    {"test_list"}};

class CommandLineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    absl::SetFlag(&FLAGS_test_count, 7);
    absl::SetFlag(&FLAGS_test_name, "");
    absl::SetFlag(&FLAGS_test_switch, false);
  }

  int Run(std::vector<std::string> arguments,
          const std::function<absl::Status()>& body) {
    std::vector<char*> argv = {const_cast<char*>("zqfp-test")};
    for (std::string& argument : arguments) argv.push_back(argument.data());
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    const int code =
        RunTool(static_cast<int>(argv.size()), argv.data(), kInfo, body);
    out_ = ::testing::internal::GetCapturedStdout();
    err_ = ::testing::internal::GetCapturedStderr();
    return code;
  }

  std::string out_, err_;
};

TEST_F(CommandLineTest, EverySpellingOfAFlagIsTheSame) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"--test_count", "3"},
                                             {"--test-count=3"},
                                             {"-test_count", "3"},
                                             {"-test-count=3"}}) {
    absl::SetFlag(&FLAGS_test_count, 7);
    EXPECT_TRUE(ParseFlags(arguments, kInfo).ok());
    EXPECT_EQ(absl::GetFlag(FLAGS_test_count), 3);
  }
}

TEST_F(CommandLineTest, SwitchesNeedNoValue) {
  ASSERT_TRUE(ParseFlags({"--test-switch", "--test_name=x"}, kInfo).ok());
  EXPECT_TRUE(absl::GetFlag(FLAGS_test_switch));
  ASSERT_TRUE(ParseFlags({"--test_switch=false"}, kInfo).ok());
  EXPECT_FALSE(absl::GetFlag(FLAGS_test_switch));
}

TEST_F(CommandLineTest, ValuesMayLookLikeFlagsOrHoldEquals) {
  ASSERT_TRUE(ParseFlags({"--test_name", "--x=1"}, kInfo).ok());
  EXPECT_EQ(absl::GetFlag(FLAGS_test_name), "--x=1");
  ASSERT_TRUE(ParseFlags({"--test_name=a-b=c_d"}, kInfo).ok());
  EXPECT_EQ(absl::GetFlag(FLAGS_test_name), "a-b=c_d");
}

TEST_F(CommandLineTest, ARepeatableFlagAddsUpAndOthersGoByTheLast) {
  using Lists = std::vector<std::string>;
  ASSERT_TRUE(ParseFlags({"--test_list", "a,b", "--test-list=c", "--test_count",
                          "1", "--test_count", "2"},
                         kInfo)
                  .ok());
  EXPECT_EQ(absl::GetFlag(FLAGS_test_list), (Lists{"a", "b", "c"}));
  EXPECT_EQ(absl::GetFlag(FLAGS_test_count), 2);
  // A command line does not add to the one before.
  ASSERT_TRUE(ParseFlags({"--test_list", "d"}, kInfo).ok());
  EXPECT_EQ(absl::GetFlag(FLAGS_test_list), (Lists{"d"}));
}

TEST_F(CommandLineTest, APrefixLeavesAnErrorWhatItIs) {
  EXPECT_EQ(Run({}, [] { return Prefix("a: ", UsageError("b is missing")); }),
            kExitUsage);
  EXPECT_THAT(err_, HasSubstr("error: a: b is missing\n"));
  EXPECT_TRUE(absl::IsCancelled(Prefix("a: ", absl::CancelledError("b"))));
}

TEST_F(CommandLineTest, UsageErrorsExitWithTwoAndName) {
  const auto never = [] {
    ADD_FAILURE() << "the body must not run";
    return absl::OkStatus();
  };
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"--test_cuont", "3"}, "did you mean --test_count?"},
      {{"--test_count"}, "--test_count wants a value"},
      {{"--test_count", "many"}, "--test_count: cannot read 'many'"},
      {{"--test_count", "99999999999"}, "cannot read '99999999999'"},
      {{"word"}, "unexpected argument 'word'"},
      {{"--"}, "unexpected argument '--'"},
      {{""}, "unexpected argument ''"},
      {{"--test_hidden", "1"}, "unknown flag --test_hidden"},
  };
  for (const auto& [arguments, message] : cases) {
    EXPECT_EQ(Run(arguments, never), kExitUsage) << message;
    EXPECT_THAT(err_, HasSubstr("zqfp-test: error: "));
    EXPECT_THAT(err_, HasSubstr(message));
    EXPECT_EQ(out_, "");
  }
}

TEST_F(CommandLineTest, ExitCodesFollowTheBody) {
  EXPECT_EQ(Run({}, [] { return absl::OkStatus(); }), kExitOk);
  EXPECT_EQ(Run({}, [] { return absl::NotFoundError("no such model"); }),
            kExitFailure);
  EXPECT_EQ(err_, "zqfp-test: error: no such model\n");
  EXPECT_EQ(Run({}, [] { return UsageError("--input is missing"); }),
            kExitUsage);
  EXPECT_EQ(Run({}, [] { return absl::CancelledError("stopped"); }),
            kExitInterrupt);
}

TEST_F(CommandLineTest, HelpListsEveryFlagWithItsDefault) {
  const auto never = [] { return absl::InternalError("must not run"); };
  EXPECT_EQ(Run({"--test_cuont", "--help"}, never), kExitOk);
  EXPECT_THAT(out_, HasSubstr("usage: zqfp-test [--test_count N]"));
  EXPECT_THAT(out_, HasSubstr("--test_count           how many [7]"));
  EXPECT_EQ(Run({"--version"}, never), kExitOk);
  EXPECT_THAT(out_, ::testing::MatchesRegex("zqfp-test [0-9.]+\n"));
}

TEST_F(CommandLineTest, InterruptSetsAFlagThatCanBeCleared) {
  CatchInterrupt();
  EXPECT_FALSE(Interrupted());
  raise(SIGINT);
  EXPECT_TRUE(Interrupted());
  ClearInterrupt();
  EXPECT_FALSE(Interrupted());
}

}  // namespace
}  // namespace zqfp::tools
