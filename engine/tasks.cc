// SPDX-License-Identifier: Apache-2.0
#include "engine/tasks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "engine/corpus.h"
#include "engine/engine.h"
#include "engine/statistics.h"
#include "engine/window_runner.h"
#include "kernels/core/status_macros.h"

namespace zqfp {
namespace {

// A context with one continuation.
struct Request {
  std::vector<int32_t> ids;
  int64_t first_scored = 0;  // input that predicts the first token of the
                             // continuation

  int64_t num_scored() const {
    return static_cast<int64_t>(ids.size()) - 1 - first_scored;
  }
};

// What the model says of a request.
struct Outcome {
  double log_likelihood = 0;
  bool greedy = true;  // every token is the likeliest
};

// The ids, as the header says, and where the continuation begins in them.
absl::StatusOr<Request> EncodePair(const Tokenizer& tokenizer,
                                   std::string_view context,
                                   std::string_view continuation) {
  const size_t end = TrailingSpaceBegin(context);
  const std::string whole = std::string(context) + std::string(continuation);
  context = context.substr(0, end);
  Request request;
  if (context.empty()) {
    int32_t first = tokenizer.bos_id();
    if (first < 0) {
      if (tokenizer.eos_ids().empty()) {
        return absl::InvalidArgumentError(
            "want a context, or a tokenizer with a beginning-of-text or "
            "end-of-text token, found none");
      }
      first = tokenizer.eos_ids().front();
    }
    ZQFP_ASSIGN_OR_RETURN(
        request.ids, tokenizer.Encode(whole, {.add_special_tokens = false}));
    if (request.ids.empty() || request.ids.front() != first) {
      request.ids.insert(request.ids.begin(), first);
    }
    return request;
  }
  const std::string bos =
      tokenizer.bos_id() < 0 ? "" : tokenizer.TokenText(tokenizer.bos_id());
  const EncodeOptions options = {.add_special_tokens =
                                     bos.empty() || !whole.starts_with(bos)};
  ZQFP_ASSIGN_OR_RETURN(const std::vector<int32_t> all,
                        tokenizer.Encode(whole, options));
  ZQFP_ASSIGN_OR_RETURN(request.ids, tokenizer.Encode(context, options));
  const size_t num_before = request.ids.size();
  request.first_scored = static_cast<int64_t>(num_before) - 1;
  if (all.size() > num_before) {
    request.ids.insert(request.ids.end(),
                       all.begin() + static_cast<int64_t>(num_before),
                       all.end());
  }
  return request;
}

class Examiner {
 public:
  Examiner(Model* model, const Tokenizer* tokenizer)
      : model_(model), tokenizer_(tokenizer) {}

  // Encodes all examples, so that a bad one ends the work before it begins.
  absl::Status Prepare(const std::vector<Example>& examples,
                       KvFormat kv_format);
  // The outcome of each choice.
  absl::StatusOr<std::vector<Outcome>> Ask(size_t example_index);

  int64_t num_truncated() const { return num_truncated_; }
  int64_t num_tokens() const { return num_tokens_; }

 private:
  absl::StatusOr<Request> Encode(const Example& example,
                                 const std::string& choice, bool* truncated);

  Model* model_;
  const Tokenizer* tokenizer_;
  std::vector<std::vector<Request>> requests_;  // of each example
  std::optional<WindowRunner> runner_;
  std::vector<int32_t> cached_;  // inputs whose keys the pages hold
  int64_t num_truncated_ = 0;
  int64_t num_tokens_ = 0;
};

absl::StatusOr<Request> Examiner::Encode(const Example& example,
                                         const std::string& choice,
                                         bool* truncated) {
  absl::StatusOr<Request> request =
      EncodePair(*tokenizer_, example.context, " " + choice);
  if (!request.ok()) {
    return absl::Status(request.status().code(),
                        fmt::format("{}: {}", example.where,
                                    std::string(request.status().message())));
  }
  const int64_t context = model_->config().max_positions;
  if (request->first_scored < 0 || request->num_scored() < 1 ||
      request->num_scored() > context) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: want 1 .. {} tokens (the model's context) in '{}', found {}",
        example.where, context, choice.substr(0, 40), request->num_scored()));
  }
  const int64_t excess =
      static_cast<int64_t>(request->ids.size()) - 1 - context;
  if (excess > 0) {
    request->ids.erase(request->ids.begin(), request->ids.begin() + excess);
    request->first_scored -= excess;
    *truncated = true;
  }
  for (const int32_t id : request->ids) {
    if (id >= 0 && id < model_->config().vocab_size) continue;
    return absl::InvalidArgumentError(fmt::format(
        "{}: want token ids below {} (the model's vocab_size), found {}",
        example.where, model_->config().vocab_size, id));
  }
  return request;
}

absl::Status Examiner::Prepare(const std::vector<Example>& examples,
                               KvFormat kv_format) {
  size_t longest = 0;
  for (const Example& example : examples) {
    std::vector<Request>& requests = requests_.emplace_back();
    bool truncated = false;
    for (const std::string& choice : example.choices) {
      ZQFP_ASSIGN_OR_RETURN(Request request,
                            Encode(example, choice, &truncated));
      longest = std::max(longest, request.ids.size());
      num_tokens_ += request.num_scored();
      requests.push_back(std::move(request));
    }
    num_truncated_ += truncated ? 1 : 0;
  }
  ZQFP_ASSIGN_OR_RETURN(
      runner_,
      WindowRunner::Create(model_, kv_format, static_cast<int64_t>(longest)));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Outcome>> Examiner::Ask(size_t example_index) {
  std::vector<Outcome> outcomes;
  for (const Request& request : requests_[example_index]) {
    // Choices share their context, which is computed once.
    const auto [cached, own] = std::mismatch(
        cached_.begin(), cached_.end(), request.ids.begin(), request.ids.end());
    // The last id of a request is not run.
    const bool keeps = model_->config().rope.has_same_angles(
        std::ssize(cached_), std::ssize(request.ids) - 1);
    const int64_t same = keeps ? cached - cached_.begin() : 0;
    std::vector<Prediction> predictions;
    ZQFP_RETURN_IF_ERROR(runner_->Run(request.ids,
                                      std::min(same, request.first_scored),
                                      request.first_scored, &predictions));
    cached_.assign(request.ids.begin(), request.ids.end() - 1);
    Outcome outcome;
    const int32_t* target = request.ids.data() + request.first_scored + 1;
    for (const Prediction& prediction : predictions) {
      outcome.log_likelihood -= prediction.loss;
      outcome.greedy = outcome.greedy && prediction.top_id == *target++;
    }
    outcomes.push_back(outcome);
  }
  return outcomes;
}

Score MakeScore(const std::vector<double>& values) {
  return {Mean(values), StandardError(values)};
}

// The first choice with the largest value.
int64_t Best(const std::vector<double>& values) {
  return std::max_element(values.begin(), values.end()) - values.begin();
}

// What the examples add up to.
struct Tally {
  std::vector<double> right, right_normalised;  // 0 or 1
  std::vector<double> losses;                   // of lambada's targets

  void Add(Task task, const Example& example,
           const std::vector<Outcome>& outcomes);
};

void Tally::Add(Task task, const Example& example,
                const std::vector<Outcome>& outcomes) {
  if (task == Task::kLambada) {
    right.push_back(outcomes[0].greedy ? 1 : 0);
    losses.push_back(-outcomes[0].log_likelihood);
    return;
  }
  std::vector<double> sums, means;
  for (size_t i = 0; i < outcomes.size(); ++i) {
    sums.push_back(outcomes[i].log_likelihood);
    means.push_back(outcomes[i].log_likelihood /
                    static_cast<double>(CountCharacters(example.choices[i])));
  }
  right.push_back(Best(sums) == example.answer ? 1 : 0);
  right_normalised.push_back(Best(means) == example.answer ? 1 : 0);
}

}  // namespace

absl::StatusOr<TaskResult> RunTask(Model& model, const Tokenizer& tokenizer,
                                   const std::vector<Example>& examples,
                                   const TaskOptions& options) {
  TaskResult result = {.task = options.task,
                       .kv_format = ResolveKvFormat(options.kv_format, model),
                       .tokenizer_hash = tokenizer.hash()};
  Examiner examiner(&model, &tokenizer);
  ZQFP_RETURN_IF_ERROR(examiner.Prepare(examples, result.kv_format));
  Tally tally;
  for (size_t i = 0; i < examples.size(); ++i) {
    absl::StatusOr<std::vector<Outcome>> outcomes = examiner.Ask(i);
    if (!outcomes.ok()) {
      return absl::Status(
          outcomes.status().code(),
          fmt::format("{}: {}", examples[i].where,
                      std::string(outcomes.status().message())));
    }
    tally.Add(options.task, examples[i], *outcomes);
    std::vector<double>& own = result.log_likelihoods.emplace_back();
    for (const Outcome& outcome : *outcomes) {
      own.push_back(outcome.log_likelihood);
    }
    if (options.progress &&
        !options.progress(static_cast<int64_t>(i + 1),
                          static_cast<int64_t>(examples.size()))) {
      return absl::CancelledError("task: cancelled");
    }
  }
  result.num_examples = static_cast<int64_t>(examples.size());
  result.num_truncated = examiner.num_truncated();
  result.num_tokens = examiner.num_tokens();
  result.accuracy = MakeScore(tally.right);
  if (options.task == Task::kLambada) {
    const Score loss = MakeScore(tally.losses);
    result.perplexity.value = std::exp(loss.value);
    result.perplexity.standard_error =
        result.perplexity.value * loss.standard_error;
  } else {
    result.normalised_accuracy = MakeScore(tally.right_normalised);
  }
  return result;
}

}  // namespace zqfp
