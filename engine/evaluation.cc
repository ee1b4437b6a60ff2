// SPDX-License-Identifier: Apache-2.0
#include "engine/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "engine/engine.h"
#include "kernels/core/status_macros.h"

namespace zqfp {
namespace {

constexpr int64_t kPageSize = 32;
// Memory for the logits of one step; more rows go into several steps.
constexpr int64_t kMaxLogitBytes = 16 << 20;

// -ln softmax(row)[target]; not finite where the row is not.
double Loss(absl::Span<const float> row, int32_t target) {
  const float largest = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (const float logit : row) sum += std::exp(logit - largest);
  return std::log(sum) + largest - row[static_cast<size_t>(target)];
}

// Runs windows one after the other, each in the same pages.
class Scorer {
 public:
  static absl::StatusOr<Scorer> Create(Model* model, KvFormat format,
                                       int64_t window) {
    Scorer scorer(model);
    const int64_t num_pages = (window + kPageSize - 1) / kPageSize;
    ZQFP_ASSIGN_OR_RETURN(
        KvCache cache,
        KvCache::Create(model->config(), {.format = ToValueFormat(format),
                                          .num_pages = num_pages,
                                          .page_size = kPageSize}));
    scorer.cache_.emplace(std::move(cache));
    scorer.page_table_.resize(static_cast<size_t>(num_pages));
    std::iota(scorer.page_table_.begin(), scorer.page_table_.end(), 0);
    return scorer;
  }

  // Losses of the scored predictions of a window, appended to `losses`.
  absl::Status Run(absl::Span<const int32_t> ids, int64_t first_scored,
                   std::vector<double>* losses) {
    const int64_t num_inputs = static_cast<int64_t>(ids.size()) - 1;
    const int64_t row_bytes = model_->config().vocab_size * 4;
    const int64_t rows = std::clamp<int64_t>(kMaxLogitBytes / row_bytes, 1,
                                             model_->options().max_tokens);
    for (int64_t begin = 0; begin < num_inputs; begin += rows) {
      const int64_t end = std::min(begin + rows, num_inputs);
      ZQFP_RETURN_IF_ERROR(RunChunk(ids, begin, end, first_scored, losses));
    }
    return absl::OkStatus();
  }

 private:
  explicit Scorer(Model* model) : model_(model) {}

  absl::Status RunChunk(absl::Span<const int32_t> ids, int64_t begin,
                        int64_t end, int64_t first_scored,
                        std::vector<double>* losses) {
    Batch batch = {
        .token_ids = {ids.begin() + begin, ids.begin() + end},
        .token_begin = {0, static_cast<int32_t>(end - begin)},
        .context_len = {static_cast<int32_t>(end)},
        .page_table = page_table_,
        .page_table_stride = static_cast<int64_t>(page_table_.size()),
        .rope_length = {static_cast<int32_t>(ids.size()) - 1},
        .logit_rows = {}};
    for (int64_t i = std::max(begin, first_scored); i < end; ++i) {
      batch.logit_rows.push_back(static_cast<int32_t>(i - begin));
    }
    const size_t vocab_size = static_cast<size_t>(model_->config().vocab_size);
    logits_.resize(batch.logit_rows.size() * vocab_size);
    ZQFP_RETURN_IF_ERROR(
        model_->Forward(batch, *cache_, absl::MakeSpan(logits_)));
    const absl::Span<const float> logits = logits_;
    for (size_t i = 0; i < batch.logit_rows.size(); ++i) {
      const int64_t position = begin + batch.logit_rows[i];
      const double loss = Loss(logits.subspan(i * vocab_size, vocab_size),
                               ids[static_cast<size_t>(position + 1)]);
      if (!std::isfinite(loss)) {
        return absl::DataLossError(fmt::format(
            "logits: want finite numbers, found a loss of {} at position {}",
            loss, position));
      }
      losses->push_back(loss);
    }
    return absl::OkStatus();
  }

  Model* model_;
  std::optional<KvCache> cache_;
  std::vector<int32_t> page_table_;
  std::vector<float> logits_;
};

// The options with their defaults filled in, checked.
absl::StatusOr<EvaluationOptions> Resolve(EvaluationOptions options,
                                          const Model& model) {
  const int64_t context = model.config().max_positions;
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
  options.kv_format = ResolveKvFormat(options.kv_format, model);
  return options;
}

absl::Status CheckPlan(const WindowPlan& plan, int64_t window,
                       int64_t vocab_size) {
  if (plan.windows.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("text: want enough for one window of {} tokens, found "
                    "{} text(s) that are all shorter; use a smaller window",
                    window, plan.num_dropped_texts));
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

double Mean(absl::Span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) /
         static_cast<double>(values.size());
}

// Fills in what follows from the losses of all predictions.
void Summarise(absl::Span<const double> losses, EvaluationResult* result) {
  const double count = static_cast<double>(losses.size());
  result->num_tokens = static_cast<int64_t>(losses.size());
  result->loss = Mean(losses);
  double squares = 0;
  for (const double loss : losses) {
    squares += (loss - result->loss) * (loss - result->loss);
  }
  result->standard_error =
      count > 1 ? std::sqrt(squares / (count - 1) / count) : 0;
  result->perplexity = std::exp(result->loss);
  result->perplexity_standard_error =
      result->perplexity * result->standard_error;
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

// Runs all windows; `losses` and result->documents in order.
absl::Status RunWindows(const WindowPlan& plan,
                        const EvaluationOptions& options, Scorer& scorer,
                        std::vector<double>* losses, EvaluationResult* result) {
  int64_t total = 0, done = 0, document_begin = 0;
  for (const Window& window : plan.windows) total += window.num_scored();
  for (size_t i = 0; i < plan.windows.size(); ++i) {
    const Window& window = plan.windows[i];
    const auto& text = plan.ids[static_cast<size_t>(window.text_index)];
    std::vector<int32_t> ids(text.begin() + window.begin,
                             text.begin() + window.begin + window.count);
    if (plan.first_id >= 0) ids.front() = plan.first_id;
    ZQFP_RETURN_IF_ERROR(scorer.Run(ids, window.first_scored, losses));
    done += window.num_scored();
    if (i + 1 == plan.windows.size() ||
        plan.windows[i + 1].text_index != window.text_index) {
      const auto own = absl::MakeConstSpan(*losses).subspan(
          static_cast<size_t>(document_begin));
      result->documents.push_back({done - document_begin, Mean(own)});
      document_begin = done;
    }
    if (options.progress && !options.progress(done, total)) {
      return absl::CancelledError("evaluation: cancelled");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<EvaluationResult> Evaluate(Model& model,
                                          const Tokenizer& tokenizer,
                                          const Corpus& corpus,
                                          const EvaluationOptions& options) {
  ZQFP_ASSIGN_OR_RETURN(const EvaluationOptions resolved,
                        Resolve(options, model));
  ZQFP_ASSIGN_OR_RETURN(const WindowPlan plan,
                        PlanWindows(tokenizer, corpus,
                                    {.protocol = resolved.protocol,
                                     .window = resolved.window,
                                     .stride = resolved.stride,
                                     .max_tokens = resolved.max_tokens}));
  ZQFP_RETURN_IF_ERROR(
      CheckPlan(plan, resolved.window, model.config().vocab_size));
  ZQFP_ASSIGN_OR_RETURN(
      Scorer scorer,
      Scorer::Create(&model, resolved.kv_format, resolved.window));
  EvaluationResult result = {.protocol = resolved.protocol,
                             .window = resolved.window,
                             .stride = resolved.stride,
                             .kv_format = resolved.kv_format,
                             .tokenizer_hash = tokenizer.hash()};
  std::vector<double> losses;
  ZQFP_RETURN_IF_ERROR(RunWindows(plan, resolved, scorer, &losses, &result));
  result.num_windows = static_cast<int64_t>(plan.windows.size());
  result.num_documents = static_cast<int64_t>(result.documents.size());
  result.num_dropped_documents = plan.num_dropped_texts;
  Summarise(losses, &result);
  if (resolved.protocol == Protocol::kLmEval) {
    SummariseText(corpus, plan, &result);
  }
  return result;
}

}  // namespace zqfp
