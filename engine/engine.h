// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_ENGINE_ENGINE_H_
#define ZQFP_ENGINE_ENGINE_H_

// Many requests, one model: each step runs what the scheduler planned, samples
// a token for every sequence that is due, and streams its text.

#include <stdint.h>

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "models/model.h"
#include "tokenizer/tokenizer.h"
#include "zqfp/zqfp.h"

namespace zqfp {

struct EngineOptions {
  KvFormat kv_format = KvFormat::kAuto;
  int64_t context_tokens = 0;  // longest sequence; 0: the model's, <= 4096
  int64_t cache_tokens = 0;    // of all sequences; 0: context_tokens
  int64_t page_size = 32;      // tokens
};

struct EngineStats {
  int64_t steps = 0;
  int64_t prompt_tokens = 0;  // computed
  int64_t reused_tokens = 0;  // found in the cache
  int64_t generated_tokens = 0;
  // Tokens for which a device had to hand out all logits.
  int64_t tokens_from_all_logits = 0;
  int64_t preemptions = 0;
  int64_t pages_total = 0;
  int64_t pages_used = 0;    // held by running requests
  int64_t pages_cached = 0;  // kept for reuse
  double busy_s = 0;         // inside Step
};

using RequestId = int64_t;

struct Request {
  std::vector<int32_t> prompt;
  GenerateOptions options;
};

// Thread-compatible; Cancel and CancelAll may be called from any thread.
class Engine {
 public:
  // Both outlive the engine. Errors: InvalidArgument for options out of range,
  // ResourceExhausted where the cache does not fit.
  static absl::StatusOr<std::unique_ptr<Engine>> Create(
      Model* model, const Tokenizer* tokenizer, const EngineOptions& options);
  ~Engine();

  // Checks and queues a request. InvalidArgument for an empty prompt, a prompt
  // that leaves no room for an answer, ids or options out of range.
  absl::StatusOr<RequestId> Submit(Request request);
  // Runs one step for all requests. An error of one request ends that request
  // (kError); an error returned here ended all that were in the step. On a
  // device the text of a token goes out during the step after its own, and what
  // a text ends (a stop, a receiver that wants no more) has a row of that step
  // in vain. A receiver of texts may call Cancel, and nothing else here.
  absl::Status Step();
  bool idle() const;
  // The answer, once the request has ended; nullopt before.
  std::optional<Generation> Take(RequestId id);
  // Ends a request at the next step (kCancelled).
  void Cancel(RequestId id);
  void CancelAll();

  // Submit, Step until done, Take.
  absl::StatusOr<Generation> Run(Request request);
  // Logits [ids.size(), vocab_size] of a text of its own; runs between steps.
  absl::StatusOr<std::vector<float>> Logits(absl::Span<const int32_t> ids);
  // Forgets tokens that are kept for reuse.
  void DropCache();

  EngineStats stats() const;
  int64_t context_tokens() const;
  KvFormat kv_format() const;  // as resolved
  int64_t cache_bytes() const;

 private:
  Engine();
  struct State;
  std::unique_ptr<State> state_;
};

// The storage format that kAuto stands for: f32 where the model is f32.
KvFormat ResolveKvFormat(KvFormat format, const Model& model);
kernels::ValueFormat ToValueFormat(KvFormat format);

}  // namespace zqfp

#endif  // ZQFP_ENGINE_ENGINE_H_
