// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_LINE_EDITOR_H_
#define ZQFP_TOOLS_LINE_EDITOR_H_

// Lines from a person at a terminal: editing, history, several lines at once.

#include <memory>
#include <string>

namespace zqfp::tools {

enum class InputEvent {
  kText,
  kEnd,        // Ctrl-D on an empty line, or the terminal is gone
  kInterrupt,  // Ctrl-C: the line was dropped
};

// One per process: the terminal is shared. The prompt goes to stderr.
class LineEditor {
 public:
  // `color` shows the prompt in bold.
  explicit LineEditor(bool color);
  ~LineEditor();

  // One input without its last newline. A line that ends in a backslash goes
  // on with the next one, and so does everything between two lines of """.
  InputEvent Read(std::string* text);

 private:
  struct State;
  InputEvent ReadLine(const char* prompt, std::string* line);
  std::unique_ptr<State> state_;
};

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_LINE_EDITOR_H_
