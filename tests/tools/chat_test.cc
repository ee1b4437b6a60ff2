// SPDX-License-Identifier: Apache-2.0
// The chat as a person at a terminal has it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <vector>

#include "tests/tools/program.h"

namespace zqfp::tools {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using zqfp::testing::ReadWholeFile;
using zqfp::testing::ScratchDirectory;

using Clock = std::chrono::steady_clock;
// Long enough for a sanitizer build on a busy machine.
constexpr std::chrono::seconds kPatience(60);

// zqfp-run on a pseudo-terminal.
class Terminal {
 public:
  explicit Terminal(const std::vector<std::string>& flags,
                    const char* term = "dumb") {
    pid_ = forkpty(&fd_, nullptr, nullptr, nullptr);
    if (pid_ != 0) return;
    setenv("TERM", term, 1);
    unsetenv("NO_COLOR");
    const std::string program = std::string(ZQFP_BIN_DIR) + "/zqfp-run";
    std::vector<char*> arguments = {const_cast<char*>("zqfp-run")};
    for (const std::string& flag : flags) {
      arguments.push_back(const_cast<char*>(flag.c_str()));
    }
    arguments.push_back(nullptr);
    execv(program.c_str(), arguments.data());
    _exit(127);
  }
  ~Terminal() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    close(fd_);
  }

  void Type(const std::string& text) {
    EXPECT_EQ(write(fd_, text.data(), text.size()),
              static_cast<ssize_t>(text.size()));
  }
  // What was shown up to and with `text`; fails the test where it never is.
  std::string Expect(const std::string& text) {
    const Clock::time_point end = Clock::now() + kPatience;
    while (Clock::now() < end) {
      const size_t at = shown_.find(text);
      if (at != std::string::npos) {
        const std::string before = shown_.substr(0, at + text.size());
        shown_.erase(0, at + text.size());
        return before;
      }
      if (!ReadSome()) break;
    }
    ADD_FAILURE() << "'" << text << "' never came; shown: " << shown_;
    return "";
  }
  // As Expect, and the editor is ready for keys.
  std::string AwaitPrompt(const std::string& prompt = "> ") {
    const std::string shown = Expect(prompt);
    AwaitEditing();
    return shown;
  }
  // Types a line at the prompt and returns what follows, up to the next one.
  std::string Say(const std::string& line) {
    Type(line + "\n");
    Expect("\r\n");  // the echo
    return AwaitPrompt();
  }
  int ExitCode() {
    const Clock::time_point end = Clock::now() + kPatience;
    int status = 0;
    while (waitpid(pid_, &status, WNOHANG) == 0) {
      if (Clock::now() > end) return -1;
      ReadSome();
    }
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  // Waits until the editor, not the line discipline, reads the keys.
  void AwaitEditing() {
    const Clock::time_point end = Clock::now() + kPatience;
    termios mode = {};
    do {
      tcgetattr(fd_, &mode);
    } while ((mode.c_lflag & ISIG) != 0 && Clock::now() < end);
  }
  // False where nothing more will come.
  bool ReadSome() {
    pollfd wait = {fd_, POLLIN, 0};
    if (poll(&wait, 1, 50) <= 0) return true;
    char buffer[4096];
    const ssize_t count = read(fd_, buffer, sizeof(buffer));
    if (count <= 0) return false;
    shown_.append(buffer, static_cast<size_t>(count));
    return true;
  }

  pid_t pid_ = -1;
  int fd_ = -1;
  std::string shown_;
};

TEST(Chat, GreetsAnswersAndLeaves) {
  Terminal terminal({"--temperature", "0"});
  const std::string greeting = terminal.AwaitPrompt();
  EXPECT_THAT(greeting, HasSubstr("zqfp "));
  EXPECT_THAT(greeting, HasSubstr("context 1024 tokens"));
  EXPECT_THAT(greeting, HasSubstr("/help"));
  EXPECT_THAT(greeting, Not(HasSubstr("\033")));
  EXPECT_THAT(terminal.Say("Hello!"), HasSubstr("stor"));
  const std::string stats = terminal.Say("/stats");
  EXPECT_THAT(stats, HasSubstr("tokens/s"));
  EXPECT_THAT(stats, HasSubstr("2 turns"));
  terminal.Type("/exit\n");
  EXPECT_EQ(terminal.ExitCode(), 0);
}

TEST(Chat, CommandsExplainThemselves) {
  Terminal terminal({});
  terminal.AwaitPrompt();
  const std::string help = terminal.Say("/help");
  for (const char* command : {"/help", "/system", "/clear", "/stats", "/save",
                              "/load", "/exit", "Ctrl-C"}) {
    EXPECT_THAT(help, HasSubstr(command));
  }
  EXPECT_THAT(terminal.Say("/dance"), HasSubstr("no such command"));
  EXPECT_THAT(terminal.Say("/save"), HasSubstr("want a file name"));
  EXPECT_THAT(terminal.Say("/load /nonexistent/chat"), HasSubstr("error: "));
  EXPECT_THAT(terminal.Say("/system You tell short stories."),
              HasSubstr("system text set"));
  EXPECT_THAT(terminal.Say("/stats"), HasSubstr("1 turns"));
  EXPECT_THAT(terminal.Say("/system"), HasSubstr("no system text"));
  terminal.Say("");
  terminal.Type("\004");
  EXPECT_EQ(terminal.ExitCode(), 0);
}

TEST(Chat, KeepsAndReadsAConversation) {
  const ScratchDirectory scratch;
  const std::string path = scratch / "chat.json";
  {
    Terminal terminal({"--temperature", "0"});
    terminal.AwaitPrompt();
    terminal.Say("Hello!");
    EXPECT_THAT(terminal.Say("/save " + path), HasSubstr("2 turns kept"));
    EXPECT_THAT(terminal.Say("/clear"), HasSubstr("forgotten"));
    EXPECT_THAT(terminal.Say("/stats"), HasSubstr("0 turns"));
  }
  Terminal terminal({"--temperature", "0"});
  terminal.AwaitPrompt();
  EXPECT_THAT(terminal.Say("/load " + path), HasSubstr("2 turns read"));
  terminal.Say("Thank you!");
  EXPECT_THAT(terminal.Say("/stats"), HasSubstr("4 turns"));
}

TEST(Chat, LinesGoOnAfterABackslashAndBetweenQuotes) {
  const ScratchDirectory scratch;
  Terminal terminal({"--temperature", "0", "--max_tokens", "3"});
  terminal.AwaitPrompt();
  terminal.Type("one\\\n");
  terminal.AwaitPrompt(". ");
  terminal.Type("two\n");
  terminal.AwaitPrompt();
  terminal.Type("\"\"\"three\n");
  terminal.AwaitPrompt(". ");
  terminal.Type("four\"\"\"\n");
  terminal.AwaitPrompt();
  terminal.Say("/save " + (scratch / "chat"));
  const nlohmann::json saved =
      nlohmann::json::parse(ReadWholeFile(scratch / "chat"));
  EXPECT_EQ(saved["messages"][0]["content"], "one\ntwo");
  EXPECT_EQ(saved["messages"][2]["content"], "three\nfour");
}

TEST(Chat, CtrlCStopsTheAnswerAndKeepsTheSession) {
  // The reference kernels are slow enough to be caught in the middle, and the
  // likeliest text never ends by itself within 1000 tokens of this context.
  Terminal terminal({"--temperature", "0", "--backend", "reference"});
  terminal.AwaitPrompt();
  terminal.Type("Tell me a long story about a cat and a dog.\n");
  terminal.Expect("\r\n");
  terminal.Expect(" ");  // the first word
  terminal.Type("\003");
  EXPECT_THAT(terminal.AwaitPrompt(), HasSubstr("(stopped)"));
  EXPECT_THAT(terminal.Say("/stats"), HasSubstr("2 turns"));
  EXPECT_THAT(terminal.Say("Hello!"), Not(HasSubstr("error")));
}

TEST(Chat, ATemplatesErrorMovesNoCursor) {
  const ScratchDirectory scratch;
  const std::string model = scratch / "model";
  nlohmann::json config = zqfp::testing::CopyAndReadTokenizerConfig(model);
  config["chat_template"] = "{{ raise_exception('\x1b]0;owned\x07') }}";
  scratch.Write("model/tokenizer_config.json", config.dump());
  Terminal terminal({"--model", model});
  terminal.AwaitPrompt();
  const std::string shown = terminal.Say("Hello!");
  EXPECT_THAT(shown, HasSubstr("error: "));
  EXPECT_THAT(shown, HasSubstr("]0;owned"));
  EXPECT_THAT(shown, Not(HasSubstr("\x1b]")));
  EXPECT_THAT(shown, Not(HasSubstr("\x07")));
}

TEST(Chat, CtrlCAtThePromptDropsTheLineAndTwiceLeaves) {
  Terminal terminal({});
  terminal.AwaitPrompt();
  terminal.Type("half a line\003");
  EXPECT_THAT(terminal.AwaitPrompt(),
              HasSubstr("Ctrl-C again or /exit leaves"));
  EXPECT_THAT(terminal.Say("/stats"), HasSubstr("0 turns"));
  terminal.Type("\003");
  terminal.AwaitPrompt();
  terminal.Type("\003");
  EXPECT_EQ(terminal.ExitCode(), 130);
}

TEST(Chat, AFullContextEndsWithAReason) {
  Terminal terminal({"--temperature", "0", "--context", "40"});
  terminal.AwaitPrompt();
  EXPECT_THAT(terminal.Say("Tell me a story about a cat."),
              HasSubstr("the context is full"));
  EXPECT_THAT(terminal.Say("What happens next?"),
              HasSubstr("prompt: want at most 39 tokens"));
  terminal.Say("/clear");
  EXPECT_THAT(terminal.Say("Hello!"), Not(HasSubstr("error")));
}

TEST(Chat, ColorsAndEditingOnATerminalThatHasThem) {
  Terminal terminal({"--temperature", "0"}, "xterm");
  terminal.AwaitPrompt("\033[1m>\033[0m ");
  terminal.Type("/stats\n");
  terminal.Expect("\033[2m");
  terminal.AwaitPrompt("\033[1m>\033[0m ");
  terminal.Type("\033[A\n");  // the last line again
  EXPECT_THAT(terminal.Expect("tokens/s"), HasSubstr("/stats"));
}

TEST(Chat, JsonAndOtherOneShotFlagsWantAPrompt) {
  Terminal terminal({"--json"});
  terminal.Expect("--json: want --prompt with it");
  EXPECT_EQ(terminal.ExitCode(), 2);
}

}  // namespace
}  // namespace zqfp::tools
