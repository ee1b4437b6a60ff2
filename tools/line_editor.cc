// SPDX-License-Identifier: Apache-2.0
#include "tools/line_editor.h"

#include <fmt/format.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

namespace zqfp::tools {
namespace {

constexpr int kHistorySize = 500;
constexpr char kFence[] = "\"\"\"";
constexpr char kFirstPrompt[] = ">";
constexpr char kNextPrompt[] = ".";

bool TakeSuffix(const std::string& suffix, std::string* text) {
  if (text->size() < suffix.size() ||
      text->compare(text->size() - suffix.size(), suffix.size(), suffix) != 0) {
    return false;
  }
  text->resize(text->size() - suffix.size());
  return true;
}

}  // namespace

struct LineEditor::State {
  EditLine* editor = nullptr;
  History* history = nullptr;
  std::string prompt;  // as libedit shows it
  bool color = false;
  bool interrupted = false;

  static State* Of(EditLine* editor) {
    void* state = nullptr;
    el_get(editor, EL_CLIENTDATA, &state);
    return static_cast<State*>(state);
  }
  static char* Prompt(EditLine* editor) { return Of(editor)->prompt.data(); }
  static unsigned char OnInterrupt(EditLine* editor, int) {
    Of(editor)->interrupted = true;
    return CC_EOF;
  }
  static unsigned char OnSuspend(EditLine*, int) {
    raise(SIGTSTP);  // EL_SIGNAL gives the terminal back meanwhile
    return CC_REFRESH;
  }
};

LineEditor::LineEditor(bool color) : state_(std::make_unique<State>()) {
  // Without a UTF-8 locale libedit would take characters apart.
  if (setlocale(LC_CTYPE, "") == nullptr ||
      strcmp(nl_langinfo(CODESET), "UTF-8") != 0) {
    setlocale(LC_CTYPE, "C.UTF-8");
  }
  State& s = *state_;
  s.color = color;
  s.editor = el_init("zqfp-run", stdin, stderr, stderr);
  s.history = history_init();
  HistEvent event;
  history(s.history, &event, H_SETSIZE, kHistorySize);
  history(s.history, &event, H_SETUNIQUE, 1);
  el_set(s.editor, EL_CLIENTDATA, &s);
  el_set(s.editor, EL_EDITOR, "emacs");
  el_set(s.editor, EL_SIGNAL, 1);
  el_set(s.editor, EL_HIST, history, s.history);
  el_set(s.editor, EL_PROMPT_ESC, &State::Prompt, '\1');
  // While a line is edited Ctrl-C is a key, not a signal.
  el_set(s.editor, EL_SETTY, "-d", "-isig", nullptr);
  el_set(s.editor, EL_ADDFN, "zqfp-drop-line", "Drop the line",
         &State::OnInterrupt);
  el_set(s.editor, EL_BIND, "^C", "zqfp-drop-line", nullptr);
  el_set(s.editor, EL_ADDFN, "zqfp-suspend", "Suspend", &State::OnSuspend);
  el_set(s.editor, EL_BIND, "^Z", "zqfp-suspend", nullptr);
}

LineEditor::~LineEditor() {
  history_end(state_->history);
  el_end(state_->editor);
}

InputEvent LineEditor::ReadLine(const char* prompt, std::string* line) {
  State& s = *state_;
  s.interrupted = false;
  // The last character stays outside: libedit drops escapes that end a prompt.
  s.prompt = s.color ? fmt::format("\1\033[1m\1{}\1\033[0m\1 ", prompt)
                     : std::string(prompt) + " ";
  int count = 0;
  const char* text = el_gets(s.editor, &count);
  if (s.interrupted) {
    fputs("^C\n", stderr);
    return InputEvent::kInterrupt;
  }
  if (text == nullptr || count <= 0) {
    fputs("\n", stderr);
    return InputEvent::kEnd;
  }
  line->assign(text, strlen(text));
  if (!line->empty() && line->back() == '\n') line->pop_back();
  if (!line->empty()) {
    HistEvent event;
    history(s.history, &event, H_ENTER, line->c_str());
  }
  return InputEvent::kText;
}

InputEvent LineEditor::Read(std::string* text) {
  text->clear();
  std::string line;
  InputEvent event = ReadLine(kFirstPrompt, &line);
  if (event != InputEvent::kText) return event;
  const bool fenced = line.rfind(kFence, 0) == 0;
  if (fenced) line.erase(0, strlen(kFence));
  while (true) {
    const bool more =
        fenced ? !TakeSuffix(kFence, &line) : TakeSuffix("\\", &line);
    *text += line;
    if (!more) return InputEvent::kText;
    if (!text->empty()) *text += '\n';
    event = ReadLine(kNextPrompt, &line);
    if (event != InputEvent::kText) return event;
  }
}

}  // namespace zqfp::tools
