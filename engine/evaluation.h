// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_ENGINE_EVALUATION_H_
#define ZQFP_ENGINE_EVALUATION_H_

// Perplexity, which is a number AND a protocol (engine/protocol.h).

#include <stdint.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/corpus.h"
#include "engine/protocol.h"
#include "models/model.h"
#include "tokenizer/tokenizer.h"
#include "zqfp/zqfp.h"

namespace zqfp {

struct EvaluationOptions {
  Protocol protocol = Protocol::kGptq;
  int64_t window = 0;  // 0: 2048 (llama.cpp 512), at most the context
  int64_t stride = 0;  // sliding only; 0: half a window
  // Evaluates at most so many tokens of the text (lm-eval: whole documents, at
  // least one); 0: all.
  int64_t max_tokens = 0;
  KvFormat kv_format = KvFormat::kF32;
  // Tokens done and to do; return false to stop (Cancelled).
  std::function<bool(int64_t done, int64_t total)> progress;
};

struct DocumentScore {
  int64_t num_tokens = 0;  // scored
  double loss = 0;         // mean of these, nats per token
};

struct EvaluationResult {
  Protocol protocol = Protocol::kGptq;
  int64_t window = 0;
  int64_t stride = 0;  // 0 where the protocol has none
  KvFormat kv_format = KvFormat::kF32;
  std::string tokenizer_hash;
  int64_t num_tokens = 0;   // predictions scored
  int64_t num_windows = 0;  // runs of the model
  int64_t num_documents = 0;
  int64_t num_dropped_documents = 0;  // too short for the protocol
  double loss = 0;                    // nats per token
  double perplexity = 0;              // exp(loss)
  // Of the mean loss, predictions taken as independent: s / sqrt(num_tokens).
  double standard_error = 0;
  double perplexity_standard_error = 0;  // perplexity * standard_error
  // lm-eval only.
  int64_t num_words = 0, num_bytes = 0;
  double word_perplexity = 0, byte_perplexity = 0, bits_per_byte = 0;
  std::vector<DocumentScore> documents;  // those that were scored
};

// InvalidArgument for options out of range or a text that is too short;
// DataLoss where the model's logits are not finite.
absl::StatusOr<EvaluationResult> Evaluate(Model& model,
                                          const Tokenizer& tokenizer,
                                          const Corpus& corpus,
                                          const EvaluationOptions& options);

// What an evaluation will run: the windows of a text, for models of this
// context and vocabulary.
struct EvaluationPlan {
  EvaluationOptions options;  // with their defaults filled in, but kv_format
  WindowPlan windows;
  std::string tokenizer_hash;
};

// Errors as Evaluate's.
absl::StatusOr<EvaluationPlan> PlanEvaluation(const Config& config,
                                              const Tokenizer& tokenizer,
                                              const Corpus& corpus,
                                              const EvaluationOptions& options);

// Calls run(window, its ids) for one window after the other, and reports
// progress; stops at the first error.
absl::Status ForEachWindow(
    const EvaluationPlan& plan,
    const std::function<absl::Status(const Window& window,
                                     absl::Span<const int32_t> ids)>& run);

// Everything that follows from the losses of all scored predictions, in order.
EvaluationResult Summarise(const EvaluationPlan& plan, const Corpus& corpus,
                           KvFormat kv_format, absl::Span<const double> losses);

}  // namespace zqfp

#endif  // ZQFP_ENGINE_EVALUATION_H_
