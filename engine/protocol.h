// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_ENGINE_PROTOCOL_H_
#define ZQFP_ENGINE_PROTOCOL_H_

// Which predictions a perplexity counts: from token ids to windows.
//
// Every protocol scores predictions: the loss of one is -ln p(next token).
// W is the window in tokens: what the model sees at once, from position 0.
//
//   gptq       The ids of the whole text, encoded once as the tokenizer does
//              by itself, are cut into windows of W; the remainder is dropped.
//              A window's first token is context only, so its loss L_i is the
//              mean over W - 1 predictions, and
//                  perplexity = exp(sum_i(L_i * W) / (num_windows * W)).
//              Several documents: each is a text of its own, from its own
//              beginning-of-text token (added where the tokenizer has one but
//              does not add it), its first W predictions are scored, with
//              L_i their mean; shorter documents are dropped, and counted.
//   sliding    Windows of W that advance by `stride`; every token but a text's
//              first is scored once, with all of its window as context; with a
//              stride of W every window's first is left out. Mean over
//              predictions. (Hugging Face's page on perplexity.)
//   llama.cpp  Windows of W (512 by default); the first token of each becomes
//              the beginning-of-text token where the tokenizer adds one; only
//              the predictions of the second half are scored. Special tokens
//              written out in the text are plain text; the other protocols read
//              them as tokens.
//   lm-eval    Every token of every document is scored: disjoint windows of W
//              predictions from a beginning-of-text (else end-of-text) token,
//              the last one moved back to full context. Also per word and per
//              byte of the text. (lm-evaluation-harness, rolling.)

#include <stdint.h>

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/corpus.h"
#include "tokenizer/tokenizer.h"

namespace zqfp {

enum class Protocol : uint8_t { kGptq, kSliding, kLlamaCpp, kLmEval };

std::string_view ToString(Protocol protocol);
// InvalidArgument lists the names.
absl::StatusOr<Protocol> ParseProtocol(std::string_view name);

// One run of the model, from position 0: input i of ids[begin, begin + count)
// predicts the id after it; those from first_scored on are scored, except the
// last input, which has nothing to predict.
struct Window {
  int64_t text_index = 0;
  int64_t begin = 0;
  int64_t count = 0;  // ids, the last prediction's target included
  int64_t first_scored = 0;

  int64_t num_scored() const { return count - 1 - first_scored; }
};

struct WindowPlan {
  std::vector<std::vector<int32_t>> ids;  // of each text
  std::vector<Window> windows;            // in order
  int32_t first_id = -1;          // replaces each window's first id; -1: none
  int64_t num_dropped_texts = 0;  // too short

  int64_t num_scored() const;  // predictions of all windows
};

struct PlanOptions {
  Protocol protocol = Protocol::kGptq;
  int64_t window = 0;      // >= 2
  int64_t stride = 0;      // sliding: 1 .. window
  int64_t max_tokens = 0;  // 0: all
};

// Encodes the texts and cuts them. The plan may hold no window.
absl::StatusOr<WindowPlan> PlanWindows(const Tokenizer& tokenizer,
                                       const Corpus& corpus,
                                       const PlanOptions& options);

}  // namespace zqfp

#endif  // ZQFP_ENGINE_PROTOCOL_H_
