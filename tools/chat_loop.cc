// SPDX-License-Identifier: Apache-2.0
#include "tools/chat_loop.h"

#include <fmt/format.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <string>

#include "tools/command_line.h"
#include "tools/line_editor.h"
#include "tools/model_flags.h"
#include "tools/print.h"
#include "tools/terminal.h"

namespace zqfp::tools {
namespace {

constexpr char kHelp[] =
    "/help           this text\n"
    "/system TEXT    tell the model what it is (no TEXT: nothing); keeps the "
    "turns\n"
    "/clear          forget the turns\n"
    "/stats          tokens and speed of the last answer\n"
    "/save FILE      keep the conversation\n"
    "/load FILE      go on with a kept one\n"
    "/exit           leave (also Ctrl-D)\n"
    "Ctrl-C stops an answer. A line that ends in \\ goes on; \"\"\" begins and "
    "ends\nseveral lines.\n";

// A remark of the program itself, dim where the terminal can. It may quote a
// model's template.
void Note(const std::string& text) {
  static const bool color = HasColor(STDERR_FILENO);
  Print(stderr, "{}{}{}\n", color ? "\033[2m" : "", WithoutControls(text),
        color ? "\033[0m" : "");
}

std::string Trim(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\n");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\n") - first + 1);
}

// "~/x" as a shell has it.
std::string ExpandHome(const std::string& path) {
  const char* home = getenv("HOME");
  if (home == nullptr || path.rfind("~/", 0) != 0) return path;
  return home + path.substr(1);
}

std::string DescribeStats(const LanguageModel& model,
                          const Conversation& conversation) {
  const GenerationStats& s = conversation.stats();
  const ModelInfo info = model.info();
  return fmt::format(
      "prompt {} tokens ({} from the cache), {:.1f} tokens/s\n"
      "answer {} tokens, {:.1f} tokens/s, the first after {:.3f} s, seed {}\n"
      "context {} of {} tokens, {} pages; {} turns\n"
      "{}, {:.1f} MB of weights a token, KV cache {:.1f} MB",
      s.prompt_tokens, s.reused_tokens, s.prompt_tokens_per_s,
      s.generated_tokens, s.generate_tokens_per_s, s.time_to_first_token_s,
      conversation.last_seed(), s.prompt_tokens + s.generated_tokens,
      model.context_tokens(), s.pages, conversation.messages().size(),
      DescribeMachine(info), static_cast<double>(info.weight_bytes) / 1e6,
      static_cast<double>(info.cache_bytes) / 1e6);
}

class ChatLoop {
 public:
  ChatLoop(LanguageModel& model, Conversation& conversation)
      : model_(model), conversation_(conversation) {}

  // False to leave.
  bool Handle(const std::string& input) {
    const std::string text = Trim(input);
    if (text.empty()) return true;
    if (text[0] != '/') {
      Answer(text);
      return true;
    }
    const size_t space = text.find_first_of(" \t\n");
    const std::string command = text.substr(0, space);
    const std::string argument =
        space == std::string::npos ? "" : Trim(text.substr(space));
    return Command(command, argument);
  }

 private:
  bool Command(const std::string& command, const std::string& argument) {
    if (command == "/exit" || command == "/quit") return false;
    if (command == "/help") {
      fputs(kHelp, stderr);
    } else if (command == "/clear") {
      conversation_.Clear();
      Note("the turns are forgotten");
    } else if (command == "/system") {
      conversation_.SetSystem(argument);
      Note(argument.empty() ? "no system text" : "system text set");
    } else if (command == "/stats") {
      Note(DescribeStats(model_, conversation_));
    } else if (command == "/save" || command == "/load") {
      SaveOrLoad(command, argument);
    } else {
      Note(fmt::format("{}: no such command; /help lists them", command));
    }
    return true;
  }

  void SaveOrLoad(const std::string& command, const std::string& argument) {
    if (argument.empty()) return Note(command + ": want a file name");
    const std::string path = ExpandHome(argument);
    const bool save = command == "/save";
    const absl::Status status =
        save ? conversation_.Save(path) : conversation_.Load(path);
    if (!status.ok()) return Note("error: " + std::string(status.message()));
    Note(fmt::format("{}: {} turns {}", path, conversation_.messages().size(),
                     save ? "kept" : "read"));
  }

  void Answer(const std::string& text) {
    ClearInterrupt();
    const bool terminal = isatty(STDOUT_FILENO) != 0;
    const absl::StatusOr<Generation> generation =
        conversation_.Ask(text, [&](const std::string& piece) {
          fputs(terminal ? WithoutControls(piece).c_str() : piece.c_str(),
                stdout);
          fflush(stdout);
        });
    ClearInterrupt();
    fputs("\n", stdout);
    fflush(stdout);
    if (!generation.ok()) {
      return Note("error: " + std::string(generation.status().message()));
    }
    if (generation->finish_reason == FinishReason::kLength) {
      Note("(cut at --max_tokens)");
    } else if (generation->finish_reason == FinishReason::kContextFull) {
      Note("(the context is full: /clear begins anew)");
    } else if (generation->finish_reason == FinishReason::kCancelled) {
      Note("(stopped)");
    }
  }

  LanguageModel& model_;
  Conversation& conversation_;
};

}  // namespace

absl::Status RunChat(LanguageModel& model, Conversation& conversation) {
  LineEditor editor(HasColor(STDERR_FILENO));
  ChatLoop loop(model, conversation);
  std::string input;
  bool warned = false;
  while (true) {
    const InputEvent event = editor.Read(&input);
    if (event == InputEvent::kEnd) return absl::OkStatus();
    if (event == InputEvent::kInterrupt) {
      if (warned) return absl::CancelledError("interrupted");
      Note("(Ctrl-C again or /exit leaves)");
      warned = true;
      continue;
    }
    warned = false;
    if (!loop.Handle(input)) return absl::OkStatus();
  }
}

}  // namespace zqfp::tools
