// SPDX-License-Identifier: Apache-2.0
// zqfp-run: chat with a model, or complete one prompt.
#include <fmt/format.h>
#include <stdio.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "absl/flags/flag.h"
#include "kernels/core/status_macros.h"
#include "nlohmann/json.hpp"
#include "tools/chat_loop.h"
#include "tools/command_line.h"
#include "tools/conversation.h"
#include "tools/kv_flag.h"
#include "tools/model_flags.h"
#include "tools/print.h"
#include "tools/sampling_flags.h"
#include "tools/terminal.h"

ABSL_FLAG(std::optional<std::string>, prompt, std::nullopt,
          "answer this and end; - reads it from standard input (chat)");
ABSL_FLAG(bool, raw, false, "continue the text itself, without chat template");
ABSL_FLAG(std::string, system, "", "tell the model what it is");
ABSL_FLAG(int64_t, context, 0,
          "most tokens of a conversation (the model's, at most 4096)");
ABSL_FLAG(std::string, kv, "auto",
          "storage of keys and values: auto, f32, bf16 or e4m3");
ABSL_FLAG(bool, verify, false,
          "refuse a model that is not what its certificate says");
ABSL_FLAG(bool, json, false,
          "print ids, text, finish_reason and timings as one JSON object");

namespace zqfp::tools {
namespace {

constexpr size_t kMaxPromptBytes = 64 << 20;

const ToolInfo& Info() {
  static const ToolInfo& info = *new ToolInfo{
      "zqfp-run",
      "Chat with a model, or let it answer one prompt.",
      "zqfp-run [--model DIR] [--prompt TEXT [--raw] [--json]]",
      {{"what is asked", {"prompt", "raw", "system", "json"}},
       SamplingFlagGroup(),
       ModelFlagGroup(),
       {"trust", {"verify"}},
       {"memory", {"context", "kv"}}},
      "  zqfp-run\n"
      "  zqfp-run --prompt 'Tell me a story about a dog.' --seed 7\n"
      "  zqfp-run --raw --prompt 'Once upon a time' --temperature 0 --json\n"
      "  zqfp-run < question.txt > answer.txt\n"
      "The text of an answer goes to standard output, all else to standard "
      "error.\nWhat no flag says, the model's generation_config.json does.\n"};
  return info;
}

absl::StatusOr<std::string> ReadStandardInput() {
  std::string text;
  char buffer[1 << 16];
  size_t count = 0;
  while ((count = fread(buffer, 1, sizeof(buffer), stdin)) > 0) {
    text.append(buffer, count);
    if (text.size() > kMaxPromptBytes) {
      return absl::InvalidArgumentError(
          fmt::format("standard input: want at most {} bytes, found more",
                      kMaxPromptBytes));
    }
  }
  if (ferror(stdin) != 0) {
    return absl::UnknownError("standard input: cannot read");
  }
  // An echo's newline is not part of what was said.
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

nlohmann::ordered_json ToJson(const Generation& generation, uint64_t seed) {
  const GenerationStats& s = generation.stats;
  return {{"text", generation.text},
          {"ids", generation.ids},
          {"finish_reason", ToString(generation.finish_reason)},
          {"seed", seed},
          {"timings",
           {{"prompt_tokens", s.prompt_tokens},
            {"reused_tokens", s.reused_tokens},
            {"generated_tokens", s.generated_tokens},
            {"time_to_first_token_s", s.time_to_first_token_s},
            {"prompt_tokens_per_s", s.prompt_tokens_per_s},
            {"generate_tokens_per_s", s.generate_tokens_per_s},
            {"pages", s.pages}}}};
}

// One question, one answer.
absl::Status Answer(Conversation& conversation, const std::string& prompt) {
  const bool json = absl::GetFlag(FLAGS_json);
  const bool terminal = isatty(STDOUT_FILENO) != 0;
  bool open_line = false;
  ZQFP_ASSIGN_OR_RETURN(
      const Generation generation,
      conversation.Ask(prompt, [&](const std::string& piece) {
        if (json) return;
        fputs(terminal ? WithoutControls(piece).c_str() : piece.c_str(),
              stdout);
        fflush(stdout);
        open_line = piece.back() != '\n';
      }));
  if (json) {
    Print("{}\n", ToJson(generation, conversation.last_seed())
                      .dump(-1, ' ', false,
                            nlohmann::ordered_json::error_handler_t::replace));
  } else if (open_line) {
    fputs("\n", stdout);
  }
  fflush(stdout);
  if (generation.finish_reason == FinishReason::kCancelled) {
    return absl::CancelledError("interrupted");
  }
  if (!json && generation.finish_reason == FinishReason::kLength) {
    Print(stderr, "zqfp-run: note: cut at --max_tokens {}\n",
          generation.ids.size());
  } else if (!json && generation.finish_reason == FinishReason::kContextFull) {
    Print(stderr, "zqfp-run: note: cut, the context is full\n");
  }
  return absl::OkStatus();
}

void Greet(const LanguageModel& model, const std::string& directory) {
  const ModelInfo info = model.info();
  Print(
      stderr,
      "zqfp {}: {} ({}, {} layers)\nweights {}, head {}, KV {}; {}; context {} "
      "tokens\n/help lists the commands\n",
      Version(), std::filesystem::path(directory).filename().string(),
      info.architecture, info.num_layers, info.weights, info.head,
      ToString(info.kv_format), DescribeMachine(info), model.context_tokens());
}

absl::StatusOr<LanguageModel> LoadFromFlags(const std::string& directory) {
  LoadOptions load;
  load.directory = directory;
  load.context_tokens = absl::GetFlag(FLAGS_context);
  ZQFP_ASSIGN_OR_RETURN(load.kv_format, ParseKvFormat(absl::GetFlag(FLAGS_kv)));
  ZQFP_ASSIGN_OR_RETURN(const ModelOptions options, ModelOptionsFromFlags());
  load.num_threads = options.num_threads;
  load.backend = options.backend;
  load.device = options.device;
  SayWhyNoDevice(options);
  load.strict = options.strict;
  load.weight_only = options.weight_only;
  load.fp8_fast_accum = options.fp8_fast_accum;
  load.resident_fp8 = options.resident_fp8;
  load.verify = absl::GetFlag(FLAGS_verify);
  Result<LanguageModel> model = LanguageModel::Load(load);
  if (!model.ok()) return absl::UnknownError(model.error().message);
  return std::move(*model);
}

absl::Status Run() {
  // Usage errors come before a model is loaded.
  ZQFP_RETURN_IF_ERROR(GenerateOptionsFromFlags({}).status());
  std::optional<std::string> prompt = absl::GetFlag(FLAGS_prompt);
  const bool interactive = !prompt && isatty(STDIN_FILENO) != 0;
  if (interactive && absl::GetFlag(FLAGS_json)) {
    return UsageError("--json: want --prompt with it, found none");
  }
  const PromptStyle style =
      absl::GetFlag(FLAGS_raw) ? PromptStyle::kRaw : PromptStyle::kChat;
  if (style == PromptStyle::kRaw && !absl::GetFlag(FLAGS_system).empty()) {
    return UsageError("--system: --raw has no turns to put it in");
  }
  if (!interactive && (!prompt || *prompt == "-")) {
    ZQFP_ASSIGN_OR_RETURN(prompt, ReadStandardInput());
  }
  ZQFP_ASSIGN_OR_RETURN(const std::string directory, ModelDirectory());
  ZQFP_ASSIGN_OR_RETURN(LanguageModel model, LoadFromFlags(directory));
  if (style == PromptStyle::kChat && model.info().template_hash.empty()) {
    return absl::FailedPreconditionError(
        directory + ": want a chat template, found none; --raw continues text");
  }
  ZQFP_ASSIGN_OR_RETURN(GenerateOptions options,
                        GenerateOptionsFromFlags(model.default_sampling()));
  Conversation conversation(&model, style, std::move(options), SeedFromFlags());
  conversation.SetSystem(absl::GetFlag(FLAGS_system));
  CatchInterrupt();
  if (!interactive) return Answer(conversation, *prompt);
  Greet(model, directory);
  return RunChat(model, conversation);
}

}  // namespace
}  // namespace zqfp::tools

int main(int argc, char** argv) {
  return zqfp::tools::RunTool(argc, argv, zqfp::tools::Info(),
                              zqfp::tools::Run);
}
