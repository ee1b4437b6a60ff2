// SPDX-License-Identifier: Apache-2.0
// zqfp-perplexity: how well a model predicts a text, by a named protocol; how
// far it is from its original; how many questions it answers.
#include <fmt/format.h>

#include <chrono>
#include <memory>

#include "absl/flags/declare.h"
#include "absl/flags/flag.h"
#include "engine/comparison_plot.h"
#include "kernels/core/status_macros.h"
#include "tokenizer/tokenizer.h"
#include "tools/command_line.h"
#include "tools/evaluation_flags.h"
#include "tools/kv_flag.h"
#include "tools/loaded_model.h"
#include "tools/model_flags.h"
#include "tools/output_file.h"
#include "tools/perplexity_report.h"
#include "tools/print.h"
#include "tools/progress_bar.h"

ABSL_FLAG(std::string, text, "",
          "file to predict: text, or .jsonl documents; the questions of a "
          "--task");
ABSL_FLAG(std::string, against, "",
          "directory of the original: compares every prediction with its");
ABSL_FLAG(std::string, noise_floor, "",
          "windows on which the original is compared with itself, inputs of "
          "its linears in bf16: sampled (every 32nd), all or none (sampled)");
ABSL_FLAG(std::string, plot, "",
          "FILE.svg to write: divergence by position and by confidence");
ABSL_FLAG(std::string, task, "",
          "answer questions instead: lambada or multiple-choice");
ABSL_FLAG(int64_t, max_examples, 0, "stop after so many questions (all)");
ABSL_FLAG(bool, json, false, "print one JSON object");
ABSL_DECLARE_FLAG(std::string, protocol);
ABSL_DECLARE_FLAG(int64_t, window);
ABSL_DECLARE_FLAG(int64_t, stride);
ABSL_DECLARE_FLAG(std::string, split);
ABSL_DECLARE_FLAG(int64_t, max_tokens);
ABSL_DECLARE_FLAG(std::string, kv);

namespace zqfp::tools {
namespace {

const ToolInfo& Info() {
  static const ToolInfo& info = *new ToolInfo{
      "zqfp-perplexity",
      "How well a model predicts a text, and how far it is from its original. "
      "A perplexity is a number and a protocol: compare like with like.",
      "zqfp-perplexity --text FILE [--model DIR] [--protocol NAME | --task "
      "NAME] [--against DIR] [--json]",
      {EvaluationFlagGroup(),
       {"comparison with an original", {"against", "noise_floor", "plot"}},
       {"questions", {"task", "max_examples"}},
       ModelFlagGroup(),
       {"output", {"json"}}},
      "  zqfp-perplexity --model llama-2-7b --text wiki.test.raw\n"
      "  zqfp-perplexity --text stories.txt --split '<|endoftext|>' --window "
      "256 --json\n"
      "  zqfp-perplexity --model my-w4a8 --against llama-2-7b --text "
      "wiki.test.raw --plot kld.svg\n"
      "  zqfp-perplexity --task lambada --text lambada_test.jsonl\n"};
  return info;
}

// Flags that were given although they have no effect with what else was.
absl::Status CheckFlags() {
  const bool compares = !absl::GetFlag(FLAGS_against).empty();
  const bool asks = !absl::GetFlag(FLAGS_task).empty();
  if (absl::GetFlag(FLAGS_text).empty()) {
    return UsageError("--text: want a file, found none");
  }
  const struct {
    const char* name;
    bool given;
    bool sensible;
    const char* wanted;
  } rules[] = {
      {"plot", !absl::GetFlag(FLAGS_plot).empty(), compares, "--against"},
      {"noise_floor", !absl::GetFlag(FLAGS_noise_floor).empty(), compares,
       "--against"},
      {"max_examples", absl::GetFlag(FLAGS_max_examples) != 0, asks, "--task"},
      {"against", compares, !asks, "no --task"},
      {"protocol", !absl::GetFlag(FLAGS_protocol).empty(), !asks, "no --task"},
      {"window", absl::GetFlag(FLAGS_window) != 0, !asks, "no --task"},
      {"stride", absl::GetFlag(FLAGS_stride) != 0, !asks, "no --task"},
      {"split", !absl::GetFlag(FLAGS_split).empty(), !asks, "no --task"},
      {"max_tokens", absl::GetFlag(FLAGS_max_tokens) != 0, !asks, "no --task"}};
  for (const auto& rule : rules) {
    if (!rule.given || rule.sensible) continue;
    return UsageError(fmt::format("--{}: want it with {}, found it {}",
                                  rule.name, rule.wanted,
                                  asks ? "with --task" : "without"));
  }
  return absl::OkStatus();
}

// Runs `work` with a progress bar that counts `unit`; prints its result.
template <typename Options, typename Work>
absl::Status RunAndPrint(Options options, const char* unit, const Work& work) {
  CatchInterrupt();
  const auto start = std::chrono::steady_clock::now();
  auto result = [&] {
    ProgressBar bar;
    options.progress = [&bar, unit](int64_t done, int64_t total) {
      bar.Update(done, total, unit);
      return !Interrupted();
    };
    return work(options);
  }();
  ZQFP_RETURN_IF_ERROR(result.status());
  const std::chrono::duration<double> time =
      std::chrono::steady_clock::now() - start;
  if (absl::GetFlag(FLAGS_json)) {
    nlohmann::ordered_json json = ToJson(*result);
    json["seconds"] = time.count();
    Print("{}\n", json.dump());
  } else {
    Print("{}", Describe(*result));
  }
  return absl::OkStatus();
}

absl::Status RunQuestions() {
  const absl::StatusOr<Task> task = ParseTask(absl::GetFlag(FLAGS_task));
  if (!task.ok()) {
    return UsageError("--task: " + std::string(task.status().message()));
  }
  const int64_t most = absl::GetFlag(FLAGS_max_examples);
  if (most < 0) {
    return UsageError(
        fmt::format("--max_examples: want 0 (all) or more, found {}", most));
  }
  TaskOptions options = {.task = *task};
  ZQFP_ASSIGN_OR_RETURN(options.kv_format,
                        ParseKvFormat(absl::GetFlag(FLAGS_kv)));
  ZQFP_ASSIGN_OR_RETURN(std::vector<Example> examples,
                        ReadExamples(*task, absl::GetFlag(FLAGS_text)));
  if (most > 0 && most < static_cast<int64_t>(examples.size())) {
    examples.resize(static_cast<size_t>(most));
  }
  ZQFP_ASSIGN_OR_RETURN(const std::string directory, ModelDirectory());
  ZQFP_ASSIGN_OR_RETURN(const ModelOptions model_options,
                        ModelOptionsFromFlags());
  ZQFP_ASSIGN_OR_RETURN(const LoadedModel model,
                        LoadFrom(directory, model_options));
  return RunAndPrint(options, "questions", [&](const TaskOptions& o) {
    return RunTask(*model.model, *model.tokenizer, examples, o);
  });
}

// Windows from one measurement of the noise floor to the next; 0: none.
absl::StatusOr<int64_t> NoiseFloorStride() {
  const std::string name = absl::GetFlag(FLAGS_noise_floor);
  if (name.empty() || name == "sampled") {
    return ComparisonArgs().noise_floor_stride;
  }
  if (name == "all") return 1;
  if (name == "none") return 0;
  return UsageError(fmt::format(
      "--noise_floor: want sampled, all or none, found '{}'", name));
}

// Before the hours of work, not after them.
absl::Status CheckPlotPath(const std::string& path) {
  if (path.empty()) return absl::OkStatus();
  if (!path.ends_with(".svg")) {
    return UsageError(
        fmt::format("--plot: want a name that ends in .svg, found {}", path));
  }
  return CheckOutputFile(path);
}

absl::Status WritePlot(const ComparisonResult& result,
                       const std::string& original, const std::string& model) {
  const std::string path = absl::GetFlag(FLAGS_plot);
  if (path.empty()) return absl::OkStatus();
  return WriteOutputFile(
      path, PlotComparison(result, BaseName(original), BaseName(model)));
}

// Null, and said so, where the original has no noise floor.
absl::StatusOr<std::unique_ptr<Model>> LoadForNoiseFloor(
    const Model& original, const std::string& directory,
    const ModelOptions& options) {
  const std::string why = WhyNoNoiseFloor(original);
  if (why.empty()) return LoadRounded(directory, options);
  if (!absl::GetFlag(FLAGS_noise_floor).empty()) {
    return absl::InvalidArgumentError(
        fmt::format("--noise_floor: want none with this original, found {}: {}",
                    absl::GetFlag(FLAGS_noise_floor), why));
  }
  Print(stderr, "zqfp-perplexity: no noise floor: {}\n", why);
  return nullptr;
}

absl::Status RunComparison(const EvaluationOptions& options,
                           const Corpus& corpus, const std::string& directory,
                           const ModelOptions& model_options) {
  ZQFP_ASSIGN_OR_RETURN(const int64_t stride, NoiseFloorStride());
  ZQFP_RETURN_IF_ERROR(CheckPlotPath(absl::GetFlag(FLAGS_plot)));
  const std::string against = absl::GetFlag(FLAGS_against);
  const auto original = LoadFrom(against, model_options);
  if (!original.ok()) return Prefix("--against: ", original.status());
  const auto model = LoadFrom(directory, model_options);
  if (!model.ok()) return Prefix("--model: ", model.status());
  std::unique_ptr<Model> rounded;
  if (stride > 0) {
    ZQFP_ASSIGN_OR_RETURN(
        rounded, LoadForNoiseFloor(*original->model, against, model_options));
  }
  const ComparisonArgs args = {
      .original = original->subject(),
      .model = model->subject(),
      .rounded_original = rounded.get(),
      .noise_floor_stride = std::max<int64_t>(1, stride)};
  return RunAndPrint(
      options, "tokens compared",
      [&](const EvaluationOptions& o) -> absl::StatusOr<ComparisonResult> {
        ZQFP_ASSIGN_OR_RETURN(ComparisonResult result,
                              Compare(args, corpus, o));
        ZQFP_RETURN_IF_ERROR(WritePlot(result, against, directory));
        return result;
      });
}

absl::Status Run() {
  ZQFP_RETURN_IF_ERROR(CheckFlags());
  if (!absl::GetFlag(FLAGS_task).empty()) return RunQuestions();
  ZQFP_ASSIGN_OR_RETURN(const EvaluationOptions options,
                        EvaluationOptionsFromFlags());
  ZQFP_ASSIGN_OR_RETURN(
      const Corpus corpus,
      ReadCorpus(absl::GetFlag(FLAGS_text), SplitFromFlags()));
  ZQFP_ASSIGN_OR_RETURN(const std::string directory, ModelDirectory());
  ZQFP_ASSIGN_OR_RETURN(const ModelOptions model_options,
                        ModelOptionsFromFlags());
  if (!absl::GetFlag(FLAGS_against).empty()) {
    return RunComparison(options, corpus, directory, model_options);
  }
  ZQFP_ASSIGN_OR_RETURN(const LoadedModel model,
                        LoadFrom(directory, model_options));
  return RunAndPrint(options, "tokens scored", [&](const EvaluationOptions& o) {
    return Evaluate(*model.model, *model.tokenizer, corpus, o);
  });
}

}  // namespace
}  // namespace zqfp::tools

int main(int argc, char** argv) {
  return zqfp::tools::RunTool(argc, argv, zqfp::tools::Info(),
                              zqfp::tools::Run);
}
