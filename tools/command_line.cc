// SPDX-License-Identifier: Apache-2.0
#include "tools/command_line.h"

#include <fmt/format.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <new>

#include "absl/flags/reflection.h"
#include "kernels/core/status_macros.h"
#include "tools/print.h"
#include "tools/terminal.h"

#ifndef ZQFP_VERSION
#define ZQFP_VERSION "unknown"
#endif

namespace zqfp::tools {
namespace {

constexpr char kUsagePayload[] = "zqfp/usage";

std::atomic<bool> interrupted{false};

void OnInterrupt(int) {
  if (interrupted.exchange(true)) _exit(kExitInterrupt);
}

bool Holds(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool IsListed(const ToolInfo& info, const std::string& name) {
  return std::any_of(
      info.groups.begin(), info.groups.end(),
      [&](const FlagGroup& group) { return Holds(group.flags, name); });
}

// Levenshtein distance, for "did you mean".
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1,
                         diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

absl::Status UnknownFlag(const ToolInfo& info, const std::string& name) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, name.size() / 3);
  for (const FlagGroup& group : info.groups) {
    for (const std::string& flag : group.flags) {
      const size_t distance = EditDistance(name, flag);
      if (distance <= best_distance) {
        best = flag;
        best_distance = distance;
      }
    }
  }
  return UsageError(fmt::format(
      "unknown flag --{}{}", name,
      best.empty() ? "" : fmt::format("; did you mean --{}?", best)));
}

absl::Status SetFlag(absl::CommandLineFlag& flag, const std::string& value) {
  std::string error;
  if (flag.ParseFrom(value, &error)) return absl::OkStatus();
  return UsageError(fmt::format("--{}: cannot read '{}'{}{}",
                                std::string(flag.Name()), value,
                                error.empty() ? "" : ": ", error));
}

std::string DescribeFlag(const std::string& name) {
  absl::CommandLineFlag* flag = absl::FindCommandLineFlag(name);
  if (flag == nullptr) return "";
  const std::string initial = flag->DefaultValue();
  std::string text = fmt::format("  --{:<20} {}", name, flag->Help());
  if (!initial.empty() && initial != "false" && initial != "-1") {
    text += fmt::format(" [{}]", initial);
  }
  return text + "\n";
}

}  // namespace

absl::Status UsageError(std::string_view message) {
  absl::Status status = absl::InvalidArgumentError(std::string(message));
  status.SetPayload(kUsagePayload, absl::Cord("1"));
  return status;
}

absl::Status Prefix(const std::string& prefix, const absl::Status& status) {
  absl::Status prefixed(status.code(), prefix + std::string(status.message()));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    prefixed.SetPayload(url, payload);
  });
  return prefixed;
}

std::string Version() { return ZQFP_VERSION; }

absl::Status ParseFlags(const std::vector<std::string>& arguments,
                        const ToolInfo& info) {
  std::vector<std::string> seen;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument.size() < 2 || argument[0] != '-' || argument == "--") {
      return UsageError(
          fmt::format("unexpected argument '{}'; every input has a flag (see "
                      "--help)",
                      argument));
    }
    const size_t start = argument.rfind("--", 0) == 0 ? 2 : 1;
    const size_t equals = argument.find('=');
    std::string name = argument.substr(start, equals - start);
    std::replace(name.begin(), name.end(), '-', '_');
    absl::CommandLineFlag* flag = absl::FindCommandLineFlag(name);
    if (flag == nullptr || !IsListed(info, name)) {
      return UnknownFlag(info, name);
    }
    std::string value;
    if (equals != std::string::npos) {
      value = argument.substr(equals + 1);
    } else if (flag->IsOfType<bool>()) {
      value = "true";
    } else if (Holds(info.standalone, name)) {
      value = "all";
    } else if (++i < arguments.size()) {
      value = arguments[i];
    } else {
      return UsageError(fmt::format("--{} wants a value", name));
    }
    if (Holds(info.repeatable, name)) {
      if (Holds(seen, name)) value = flag->CurrentValue() + "," + value;
      seen.push_back(name);
    }
    // To a flag that may be left out "" would mean that.
    if (value.empty() && !flag->IsOfType<std::string>()) {
      return UsageError(fmt::format("--{}: want a value, found ''", name));
    }
    ZQFP_RETURN_IF_ERROR(SetFlag(*flag, value));
  }
  return absl::OkStatus();
}

std::string HelpText(const ToolInfo& info) {
  std::string text = fmt::format("{}: {}\n\nusage: {}\n", info.name,
                                 info.summary, info.synopsis);
  for (const FlagGroup& group : info.groups) {
    text += fmt::format("\n{}\n", group.title);
    for (const std::string& name : group.flags) text += DescribeFlag(name);
  }
  text += fmt::format("  --{:<20} {}\n  --{:<20} {}\n", "help", "this text",
                      "version", "name and version");
  if (!info.examples.empty()) text += "\nexamples\n" + info.examples;
  return text;
}

namespace {

// What is thrown under `body`, by running out of memory say, is a failure like
// any other.
absl::Status Run(const std::function<absl::Status()>& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory");
  } catch (const std::exception& thrown) {
    return absl::InternalError(thrown.what());
  }
}

}  // namespace

int RunTool(int argc, char** argv, const ToolInfo& info,
            const std::function<absl::Status()>& body) {
  // A reader that goes away (| head) ends us quietly, as for any filter.
  std::vector<std::string> arguments(argv + 1, argv + argc);
  for (const std::string& argument : arguments) {
    if (argument == "--help" || argument == "-h" || argument == "-help") {
      fputs(HelpText(info).c_str(), stdout);
      return kExitOk;
    }
    if (argument == "--version") {
      Print("{} {}\n", info.name, Version());
      return kExitOk;
    }
  }
  absl::Status status = ParseFlags(arguments, info);
  if (status.ok()) status = Run(body);
  if (status.ok()) {
    if (fflush(stdout) == 0 && ferror(stdout) == 0) return kExitOk;
    status = absl::DataLossError("cannot write to standard output");
  }
  fflush(stdout);
  if (absl::IsCancelled(status)) return kExitInterrupt;
  Print(stderr, "{}: error: {}\n", info.name,
        WithoutControls(std::string(status.message())));
  if (!status.GetPayload(kUsagePayload).has_value()) return kExitFailure;
  Print(stderr, "usage: {}\n", info.synopsis);
  return kExitUsage;
}

void CatchInterrupt() {
  struct sigaction action = {};
  action.sa_handler = OnInterrupt;
  sigaction(SIGINT, &action, nullptr);
}

bool Interrupted() { return interrupted.load(); }

void ClearInterrupt() { interrupted.store(false); }

}  // namespace zqfp::tools
