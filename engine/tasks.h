// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_ENGINE_TASKS_H_
#define ZQFP_ENGINE_TASKS_H_

// Accuracy on questions from a .jsonl file, as lm-evaluation-harness counts.
//
//   lambada          {"text": ...}: the target is what follows the last space,
//                    with that space. An answer is right if every token of the
//                    target is the likeliest one; perplexity is
//                    exp(-mean over examples of ln p(target)).
//   multiple-choice  {"context" or "question", "choices": [...], "answer"}: the
//                    continuations are " " + choice, right after the context as
//                    it stands. accuracy: the largest ln p(continuation) is
//                    that of the answer (acc); normalised: the same of
//                    ln p / characters of the choice (acc_norm). The first of
//                    equals counts. The answer is an index from 0, or the text
//                    of exactly one of the choices.
//
// The n token ids of the context, with what special tokens the tokenizer itself
// adds, are followed by the ids of context + continuation as one text but for
// its first n. (So a tokenizer that joins them across the border can leave a
// continuation without a token: an error, there as here.) White space at the
// end of a context counts to the continuation. An empty context is the
// beginning-of-text (else end-of-text) token. Too long for the model: the
// beginning is cut off, and the example counted.
// Standard errors: s / sqrt(n) over examples.

#include <stdint.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "models/model.h"
#include "tokenizer/tokenizer.h"
#include "zqfp/zqfp.h"

namespace zqfp {

enum class Task : uint8_t { kLambada, kMultipleChoice };

std::string_view ToString(Task task);
// InvalidArgument lists the names.
absl::StatusOr<Task> ParseTask(std::string_view name);

// One question. lambada has one choice, the target without its space.
struct Example {
  std::string where;  // "FILE:LINE", opens messages
  std::string context;
  std::vector<std::string> choices;
  int64_t answer = 0;  // index of the right one
};

// The examples of a .jsonl text; `name` is its file's. InvalidArgument names
// the line. ReadExamples is the same of a file, and wants at least one.
absl::StatusOr<std::vector<Example>> ParseExamples(Task task,
                                                   std::string_view text,
                                                   const std::string& name);
absl::StatusOr<std::vector<Example>> ReadExamples(Task task,
                                                  const std::string& path);

struct TaskOptions {
  Task task = Task::kLambada;
  KvFormat kv_format = KvFormat::kF32;
  // Examples done and to do; return false to stop (Cancelled).
  std::function<bool(int64_t done, int64_t total)> progress;
};

struct Score {
  double value = 0;
  double standard_error = 0;
};

struct TaskResult {
  Task task = Task::kLambada;
  KvFormat kv_format = KvFormat::kF32;
  std::string tokenizer_hash;
  int64_t num_examples = 0;
  int64_t num_truncated = 0;  // examples that lost their beginning
  int64_t num_tokens = 0;     // scored
  Score accuracy;
  Score normalised_accuracy;  // multiple-choice only
  Score perplexity;           // lambada only
  // ln p of each example's choices.
  std::vector<std::vector<double>> log_likelihoods;
};

// InvalidArgument for examples that cannot be scored: no token in a choice, a
// choice longer than the model's context; DataLoss where logits are not finite.
absl::StatusOr<TaskResult> RunTask(Model& model, const Tokenizer& tokenizer,
                                   const std::vector<Example>& examples,
                                   const TaskOptions& options);

}  // namespace zqfp

#endif  // ZQFP_ENGINE_TASKS_H_
