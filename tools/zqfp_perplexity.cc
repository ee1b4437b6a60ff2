// SPDX-License-Identifier: Apache-2.0
// zqfp-perplexity: how well a model predicts a text, by a named protocol.
#include <fmt/format.h>

#include <chrono>
#include <memory>

#include "absl/flags/flag.h"
#include "engine/evaluation.h"
#include "engine/model_tokenizer.h"
#include "kernels/core/status_macros.h"
#include "nlohmann/json.hpp"
#include "tokenizer/tokenizer.h"
#include "tools/command_line.h"
#include "tools/kv_flag.h"
#include "tools/model_flags.h"
#include "tools/progress_bar.h"

ABSL_FLAG(std::string, text, "", "file to predict: text, or .jsonl documents");
ABSL_FLAG(std::string, protocol, "gptq", "gptq, sliding, llama.cpp or lm-eval");
ABSL_FLAG(int64_t, window, 0,
          "tokens the model sees at once (2048, llama.cpp 512; at most the "
          "model's context)");
ABSL_FLAG(int64_t, stride, 0, "sliding: tokens scored per window (window / 2)");
ABSL_FLAG(std::string, split, "",
          "text between documents, with C escapes; each is then scored from "
          "its own beginning");
ABSL_FLAG(int64_t, max_tokens, 0, "stop after about so many tokens (all)");
ABSL_FLAG(std::string, kv, "f32",
          "storage of keys and values: f32, bf16 or e4m3");
ABSL_FLAG(bool, json, false, "print one JSON object");

namespace zqfp::tools {
namespace {

constexpr int64_t kStepTokens = 256;

const ToolInfo& Info() {
  static const ToolInfo& info = *new ToolInfo{
      "zqfp-perplexity",
      "How well a model predicts a text. A perplexity is a number and a "
      "protocol: compare like with like.",
      "zqfp-perplexity --text FILE [--model DIR] [--protocol NAME] [--json]",
      {{"what is measured",
        {"text", "split", "protocol", "window", "stride", "max_tokens", "kv"}},
       ModelFlagGroup(),
       {"output", {"json"}}},
      "  zqfp-perplexity --model llama-2-7b --text wiki.test.raw\n"
      "  zqfp-perplexity --text stories.txt --split '<|endoftext|>' --window "
      "256 --json\n"};
  return info;
}

std::string Describe(const EvaluationResult& result) {
  std::string text = fmt::format(
      "protocol {}, window {}{}, {} tokens scored in {} windows\n",
      std::string(ToString(result.protocol)), result.window,
      result.stride > 0 ? fmt::format(", stride {}", result.stride) : "",
      result.num_tokens, result.num_windows);
  if (result.num_documents > 1 || result.num_dropped_documents > 0) {
    text += fmt::format("documents {} ({} too short, left out)\n",
                        result.num_documents, result.num_dropped_documents);
  }
  text += fmt::format("loss {:.5f} +- {:.5f} nats per token\n", result.loss,
                      result.standard_error);
  text += fmt::format("perplexity {:.4f} +- {:.4f}\n", result.perplexity,
                      result.perplexity_standard_error);
  if (result.protocol == Protocol::kLmEval) {
    text += fmt::format(
        "word perplexity {:.4f}, byte perplexity {:.4f}, bits per byte {:.4f} "
        "({} words, {} bytes)\n",
        result.word_perplexity, result.byte_perplexity, result.bits_per_byte,
        result.num_words, result.num_bytes);
  }
  return text + fmt::format("kv {}, tokenizer {}\n", ToString(result.kv_format),
                            result.tokenizer_hash);
}

nlohmann::ordered_json ToJson(const EvaluationResult& result, double seconds) {
  nlohmann::ordered_json json = {
      {"protocol", std::string(ToString(result.protocol))},
      {"window", result.window},
      {"stride", result.stride},
      {"num_tokens", result.num_tokens},
      {"num_windows", result.num_windows},
      {"num_documents", result.num_documents},
      {"num_dropped_documents", result.num_dropped_documents},
      {"loss", result.loss},
      {"perplexity", result.perplexity},
      {"standard_error", result.standard_error},
      {"perplexity_standard_error", result.perplexity_standard_error},
      {"kv", ToString(result.kv_format)},
      {"tokenizer_hash", result.tokenizer_hash},
      {"seconds", seconds}};
  if (result.protocol == Protocol::kLmEval) {
    json["num_words"] = result.num_words;
    json["num_bytes"] = result.num_bytes;
    json["word_perplexity"] = result.word_perplexity;
    json["byte_perplexity"] = result.byte_perplexity;
    json["bits_per_byte"] = result.bits_per_byte;
  }
  return json;
}

absl::Status Run() {
  if (absl::GetFlag(FLAGS_text).empty()) {
    return UsageError("--text: want a file, found none");
  }
  EvaluationOptions options;
  const absl::StatusOr<Protocol> protocol =
      ParseProtocol(absl::GetFlag(FLAGS_protocol));
  if (!protocol.ok()) {
    return UsageError("--protocol: " +
                      std::string(protocol.status().message()));
  }
  options.protocol = *protocol;
  options.window = absl::GetFlag(FLAGS_window);
  options.stride = absl::GetFlag(FLAGS_stride);
  options.max_tokens = absl::GetFlag(FLAGS_max_tokens);
  ZQFP_ASSIGN_OR_RETURN(options.kv_format,
                        ParseKvFormat(absl::GetFlag(FLAGS_kv)));
  ZQFP_ASSIGN_OR_RETURN(
      const Corpus corpus,
      ReadCorpus(absl::GetFlag(FLAGS_text), absl::GetFlag(FLAGS_split)));
  ZQFP_ASSIGN_OR_RETURN(const std::string directory, ModelDirectory());
  ZQFP_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                        LoadModelTokenizer(directory));
  ZQFP_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model,
                        LoadModelFromFlags(kStepTokens));
  CatchInterrupt();
  const auto start = std::chrono::steady_clock::now();
  absl::StatusOr<EvaluationResult> result;
  {
    ProgressBar bar;
    options.progress = [&bar](int64_t done, int64_t total) {
      bar.Update(done, total, "tokens scored");
      return !Interrupted();
    };
    result = Evaluate(*model, *tokenizer, corpus, options);
  }
  ZQFP_RETURN_IF_ERROR(result.status());
  const std::chrono::duration<double> time =
      std::chrono::steady_clock::now() - start;
  if (absl::GetFlag(FLAGS_json)) {
    fmt::print("{}\n", ToJson(*result, time.count()).dump());
  } else {
    fmt::print("{}", Describe(*result));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace zqfp::tools

int main(int argc, char** argv) {
  return zqfp::tools::RunTool(argc, argv, zqfp::tools::Info(),
                              zqfp::tools::Run);
}
