// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_COMMAND_LINE_H_
#define ZQFP_TOOLS_COMMAND_LINE_H_

// The command line that all programs share: flags, help, version, exit codes.
//
// Flags are Abseil flags, read by our own loop because Abseil's parser exits
// with 1 on a wrong flag and knows no dashes in names. --max-tokens 5,
// --max_tokens=5 and -max_tokens 5 are the same; "--" ends the flags.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace zqfp::tools {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;      // the work failed
inline constexpr int kExitUsage = 2;        // the command line is wrong
inline constexpr int kExitInterrupt = 130;  // Ctrl-C ended it

// Flags under one heading of --help, in the order in which to read them.
struct FlagGroup {
  std::string title;
  std::vector<std::string> flags;
};

// What --help says of a program.
struct ToolInfo {
  std::string name;      // "zqfp-run"
  std::string summary;   // one sentence
  std::string synopsis;  // "zqfp-run [--model DIR] [--prompt TEXT]"
  std::vector<FlagGroup> groups;
  std::string examples;  // whole lines
  // Those that may be given several times; their values are lists with commas,
  // and become one. Of any other flag the last one counts.
  std::vector<std::string> repeatable = {};
  // Those whose value is optional: --name is --name=all, and a value has to
  // follow a "=".
  std::vector<std::string> standalone = {};
};

// Sets the flags named in argv. InvalidArgument names the argument, what is
// wanted and what was found. Positional arguments are refused.
absl::Status ParseFlags(const std::vector<std::string>& arguments,
                        const ToolInfo& info);

// The text of --help.
std::string HelpText(const ToolInfo& info);

// Parses, answers --help and --version, runs `body`, prints its error as
// "NAME: error: ..." on stderr, and returns the exit code. A body that was
// interrupted returns absl::CancelledError.
int RunTool(int argc, char** argv, const ToolInfo& info,
            const std::function<absl::Status()>& body);

// A usage error found after parsing, such as a missing flag: exit code 2.
absl::Status UsageError(std::string_view message);

// The same error with `prefix` before its message: whose it is.
absl::Status Prefix(const std::string& prefix, const absl::Status& status);

// "0.1.0"
std::string Version();

// Installs a SIGINT handler that only sets a flag; Interrupted() reads it and
// ClearInterrupt() resets it. A second Ctrl-C before a reset ends the program.
void CatchInterrupt();
bool Interrupted();
void ClearInterrupt();

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_COMMAND_LINE_H_
