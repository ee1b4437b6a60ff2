// SPDX-License-Identifier: Apache-2.0
#include "engine/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/engine.h"
#include "engine/statistics.h"
#include "engine/window_runner.h"
#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"

namespace zqfp {
namespace {

// The options with their defaults filled in, checked.
absl::StatusOr<EvaluationOptions> Resolve(EvaluationOptions options,
                                          int64_t context) {
  const bool sliding = options.protocol == Protocol::kSliding;
  if (options.window == 0) {
    options.window = std::min<int64_t>(
        context, options.protocol == Protocol::kLlamaCpp ? 512 : 2048);
  }
  if (options.window < 2 || options.window > context) {
    return absl::InvalidArgumentError(
        fmt::format("window: want 2 .. {} tokens (the model's context), found "
                    "{}",
                    context, options.window));
  }
  if (sliding && options.stride == 0) options.stride = options.window / 2;
  if (sliding && (options.stride < 1 || options.stride > options.window)) {
    return absl::InvalidArgumentError(
        fmt::format("stride: want 1 .. {} (the window), found {}",
                    options.window, options.stride));
  }
  if (!sliding && options.stride != 0) {
    return absl::InvalidArgumentError(
        fmt::format("stride: want it with the sliding protocol only, found {} "
                    "with {}",
                    options.stride, ToString(options.protocol)));
  }
  if (options.max_tokens < 0) {
    return absl::InvalidArgumentError(fmt::format(
        "max_tokens: want 0 (all) or more, found {}", options.max_tokens));
  }
  return options;
}

absl::Status CheckPlan(const WindowPlan& plan, const EvaluationOptions& options,
                       int64_t vocab_size) {
  if (plan.windows.empty() && options.max_tokens > 0 &&
      options.max_tokens < options.window) {
    return absl::InvalidArgumentError(
        fmt::format("max_tokens: want enough for one window of {} tokens, "
                    "found {}",
                    options.window, options.max_tokens));
  }
  if (plan.windows.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("text: want enough for one window of {} tokens, found "
                    "{} text(s) that are all shorter; use a smaller window",
                    options.window, plan.num_dropped_texts));
  }
  for (const auto& ids : plan.ids) {
    for (const int32_t id : ids) {
      if (id < 0 || id >= vocab_size) {
        return absl::InvalidArgumentError(fmt::format(
            "tokenizer: want ids below {} (the model's vocab_size), found {}",
            vocab_size, id));
      }
    }
  }
  return absl::OkStatus();
}

// Fills in what follows from the losses of all predictions.
void SummariseLosses(absl::Span<const double> losses,
                     EvaluationResult* result) {
  result->num_tokens = static_cast<int64_t>(losses.size());
  result->loss = Mean(losses);
  result->standard_error = StandardError(losses);
  result->perplexity = std::exp(result->loss);
  result->perplexity_standard_error =
      result->perplexity * result->standard_error;
}

// Each text that was scored.
void SummariseDocuments(const WindowPlan& plan, absl::Span<const double> losses,
                        EvaluationResult* result) {
  size_t begin = 0, end = 0;
  for (size_t i = 0; i < plan.windows.size(); ++i) {
    end += static_cast<size_t>(plan.windows[i].num_scored());
    if (i + 1 < plan.windows.size() &&
        plan.windows[i + 1].text_index == plan.windows[i].text_index) {
      continue;
    }
    result->documents.push_back({static_cast<int64_t>(end - begin),
                                 Mean(losses.subspan(begin, end - begin))});
    begin = end;
  }
}

// Per word and per byte, over the documents that were scored.
void SummariseText(const Corpus& corpus, const WindowPlan& plan,
                   EvaluationResult* result) {
  int64_t last = -1;
  for (const Window& window : plan.windows) {
    if (window.text_index == last) continue;
    last = window.text_index;
    const std::string& text = corpus.texts[static_cast<size_t>(last)];
    result->num_words += CountWords(text);
    result->num_bytes += static_cast<int64_t>(text.size());
  }
  const double total = result->loss * static_cast<double>(result->num_tokens);
  const double per_byte = total / static_cast<double>(result->num_bytes);
  result->word_perplexity =
      std::exp(total / static_cast<double>(result->num_words));
  result->byte_perplexity = std::exp(per_byte);
  result->bits_per_byte = per_byte / std::log(2.0);
}

}  // namespace

absl::StatusOr<EvaluationPlan> PlanEvaluation(
    const Config& config, const Tokenizer& tokenizer, const Corpus& corpus,
    const EvaluationOptions& options) {
  EvaluationPlan plan;
  plan.tokenizer_hash = tokenizer.hash();
  ZQFP_ASSIGN_OR_RETURN(plan.options, Resolve(options, config.max_positions));
  ZQFP_ASSIGN_OR_RETURN(plan.windows,
                        PlanWindows(tokenizer, corpus,
                                    {.protocol = plan.options.protocol,
                                     .window = plan.options.window,
                                     .stride = plan.options.stride,
                                     .max_tokens = plan.options.max_tokens}));
  ZQFP_RETURN_IF_ERROR(
      CheckPlan(plan.windows, plan.options, config.vocab_size));
  return plan;
}

absl::Status ForEachWindow(
    const EvaluationPlan& plan,
    const std::function<absl::Status(const Window& window,
                                     absl::Span<const int32_t> ids)>& run) {
  const int64_t total = plan.windows.num_scored();
  int64_t done = 0;
  for (const Window& window : plan.windows.windows) {
    const auto& text = plan.windows.ids[static_cast<size_t>(window.text_index)];
    std::vector<int32_t> ids(text.begin() + window.begin,
                             text.begin() + window.begin + window.count);
    if (plan.windows.first_id >= 0) ids.front() = plan.windows.first_id;
    ZQFP_RETURN_IF_ERROR(run(window, ids));
    done += window.num_scored();
    if (plan.options.progress && !plan.options.progress(done, total)) {
      return absl::CancelledError("evaluation: cancelled");
    }
  }
  return absl::OkStatus();
}

EvaluationResult Summarise(const EvaluationPlan& plan, const Corpus& corpus,
                           KvFormat kv_format,
                           absl::Span<const double> losses) {
  ZQFP_CHECK(std::ssize(losses) == plan.windows.num_scored());
  EvaluationResult result = {.protocol = plan.options.protocol,
                             .window = plan.options.window,
                             .stride = plan.options.stride,
                             .kv_format = kv_format,
                             .tokenizer_hash = plan.tokenizer_hash};
  SummariseLosses(losses, &result);
  SummariseDocuments(plan.windows, losses, &result);
  result.num_windows = static_cast<int64_t>(plan.windows.windows.size());
  result.num_documents = static_cast<int64_t>(result.documents.size());
  result.num_dropped_documents = plan.windows.num_dropped_texts;
  if (result.protocol == Protocol::kLmEval) {
    SummariseText(corpus, plan.windows, &result);
  }
  return result;
}

absl::StatusOr<EvaluationResult> Evaluate(Model& model,
                                          const Tokenizer& tokenizer,
                                          const Corpus& corpus,
                                          const EvaluationOptions& options) {
  ZQFP_ASSIGN_OR_RETURN(
      const EvaluationPlan plan,
      PlanEvaluation(model.config(), tokenizer, corpus, options));
  const KvFormat kv_format = ResolveKvFormat(options.kv_format, model);
  ZQFP_ASSIGN_OR_RETURN(
      WindowRunner runner,
      WindowRunner::Create(&model, kv_format, plan.options.window));
  std::vector<double> losses;
  ZQFP_RETURN_IF_ERROR(ForEachWindow(plan, [&](const Window& window,
                                               absl::Span<const int32_t> ids) {
    std::vector<Prediction> predictions;
    ZQFP_RETURN_IF_ERROR(runner.Run(ids, 0, window.first_scored, &predictions));
    for (const Prediction& p : predictions) losses.push_back(p.loss);
    return absl::OkStatus();
  }));
  return Summarise(plan, corpus, kv_format, losses);
}

}  // namespace zqfp
