// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_TOOLS_PROGRAM_H_
#define ZQFP_TESTS_TOOLS_PROGRAM_H_

// Runs the built programs as a script does.

#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "nlohmann/json.hpp"
#include "tests/assets.h"
#include "tests/models/safetensors_file.h"

namespace zqfp::testing {

struct Outcome {
  int exit_code = -1;  // 128 + signal where one ended it
  std::string out;     // standard output
  std::string err;     // standard error

  // The standard output as one JSON value; discarded where it is none.
  nlohmann::json Json() const {
    return nlohmann::json::parse(out, nullptr, false);
  }
};

inline std::string ReadWholeFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Without the line that says why there is no GPU: it depends on the machine and
// on the build. SayWhyNoDevice writes it.
inline std::string WithoutDeviceNote(std::string err) {
  const size_t begin = err.find("zqfp: note: runs on the CPU: ");
  if (begin == std::string::npos) return err;
  const size_t end = err.find('\n', begin);
  return err.erase(begin, end == std::string::npos ? end : end + 1 - begin);
}

// Runs "before PROGRAM arguments after" in a shell. Standard input is empty
// unless `before` or `after` say otherwise.
inline Outcome RunProgram(const std::string& program,
                          const std::string& arguments,
                          const std::string& before = "",
                          const std::string& after = "< /dev/null") {
  const ScratchDirectory scratch;
  const std::string command =
      before + ZQFP_BIN_DIR + "/" + program + " " + arguments + " " + after;
  const std::string wrapped = "{ " + command + " ; } > " + (scratch / "out") +
                              " 2> " + (scratch / "err");
  Outcome outcome;
  const int status = std::system(wrapped.c_str());
  if (WIFEXITED(status)) outcome.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) outcome.exit_code = 128 + WTERMSIG(status);
  outcome.out = ReadWholeFile(scratch / "out");
  outcome.err = WithoutDeviceNote(ReadWholeFile(scratch / "err"));
  return outcome;
}

// The model that the repository ships.
inline std::string DemoModel() { return SourcePath("models/demo"); }

// A copy of it whose files can be broken.
inline void CopyDemoModel(const std::string& directory) {
  std::filesystem::copy(DemoModel(), directory);
  for (const auto& file : std::filesystem::directory_iterator(directory)) {
    std::filesystem::permissions(file.path(),
                                 std::filesystem::perms::owner_write,
                                 std::filesystem::perm_options::add);
  }
}

// The same, for a test that writes another tokenizer_config.json there.
inline nlohmann::json CopyAndReadTokenizerConfig(const std::string& directory) {
  CopyDemoModel(directory);
  return nlohmann::json::parse(
      ReadWholeFile(directory + "/tokenizer_config.json"));
}

}  // namespace zqfp::testing

#endif  // ZQFP_TESTS_TOOLS_PROGRAM_H_
