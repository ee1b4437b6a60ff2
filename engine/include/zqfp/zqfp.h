// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_ZQFP_H_
#define ZQFP_ZQFP_H_

// The public library: load a model, turn text into ids and back, generate,
// read logits. Standard types only; every failure is a value.
//
// Stability: within one minor version (0.1.x) what this header declares keeps
// its meaning, and model directories written by zqfp-quantize keep loading.

#include <stdint.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace zqfp {

enum class ErrorCode {
  kInvalidArgument,  // a request or file says something impossible
  kNotFound,
  kUnsupported,  // a known thing that this version does not do
  kOutOfMemory,  // no room for the cache or buffers
  kCorruptData,  // a broken file, or numbers that are not finite
  kCancelled,
  kInternal,
};

// message: subject, wanted and found, in one line.
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
};

// Either a value or an error. value() without ok() is undefined.
template <typename T>
class Result {
 public:
  Result(T value) : state_(std::move(value)) {}      // NOLINT: implicit
  Result(Error error) : state_(std::move(error)) {}  // NOLINT: implicit
  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() { return *std::get_if<0>(&state_); }
  const T& value() const { return *std::get_if<0>(&state_); }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, Error> state_;
};

// How the next token is chosen. Applied in this order; a value that says
// "off" skips its step:
//   1 logit_bias                    2 repetition_penalty (prompt and output)
//   3 presence, frequency penalty (output only)
//   4 temperature (0: the largest logit wins, lowest id on a tie; stop here)
//   5 top_k   6 typical_p   7 top_p   8 min_p   9 draw
struct SamplingOptions {
  double temperature = 0.0;         // [0, 10000]
  int64_t top_k = 0;                // >= 0; 0: off
  double typical_p = 1.0;           // (0, 1]; 1: off
  double top_p = 1.0;               // (0, 1]; 1: off
  double min_p = 0.0;               // [0, 1]; share of the best probability
  double repetition_penalty = 1.0;  // [0.01, 100]; 1: off [arXiv:1909.05858]
  double presence_penalty = 0.0;    // [-2, 2]
  double frequency_penalty = 0.0;   // [-2, 2]
  std::vector<std::pair<int32_t, float>> logit_bias;  // id, added; <= 100000
  // The same seed draws the same token from the same logits; those may differ
  // in their last bits with what is batched, what is cached, and the machine.
  uint64_t seed = 0;
};

enum class FinishReason {
  kStop,         // end-of-text token, stop id or stop string
  kLength,       // max_tokens reached
  kContextFull,  // no room for another token in the model's context or cache
  kCancelled,    // by the callback or Cancel
  kError,        // see Generation::error
};
const char* ToString(FinishReason reason);

struct GenerateOptions {
  SamplingOptions sampling;
  int64_t max_tokens = 256;        // >= 1
  std::vector<std::string> stop;   // texts that end the answer (not emitted)
  std::vector<int32_t> stop_ids;   // besides the model's own end tokens
  bool ignore_end_tokens = false;  // go on after the model's end tokens
  // Receives each piece of text as soon as it is certain (whole UTF-8
  // characters, no part of a stop string). Return false to stop. On a GPU it
  // is called while that computes the next token: of the model, it may call
  // Cancel. What it throws ends the answer with kError.
  std::function<bool(const std::string& text)> on_text;
};

struct GenerationStats {
  int64_t prompt_tokens = 0;
  int64_t reused_tokens = 0;  // of the prompt, found in the cache
  int64_t generated_tokens = 0;
  double time_to_first_token_s = 0;
  double prompt_tokens_per_s = 0;    // over the tokens computed, not reused
  double generate_tokens_per_s = 0;  // after the first token
  int64_t pages = 0;                 // KV pages held at the end
};

struct Generation {
  std::vector<int32_t> ids;  // without the end token; with a stop string's
  std::string text;          // exactly what on_text received
  FinishReason finish_reason = FinishReason::kError;
  std::string error;  // kError: why
  GenerationStats stats;
};

// Storage of keys and values. kAuto: f32 for f32 checkpoints, else bf16.
enum class KvFormat { kAuto, kF32, kBf16, kE4m3 };

struct LoadOptions {
  std::string directory;  // a Hugging Face style one, or a GGUF file
  int num_threads = 0;    // 0: physical cores
  KvFormat kv_format = KvFormat::kAuto;
  int64_t context_tokens = 0;  // cache size; 0: the model's, at most 4096
  // "reference", "avx2", "avx512", "avx512vnni", "avx512bf16", "amx", "neon";
  // "": what the environment's ZQFP_BACKEND says, else the best of this
  // machine. Never another one.
  std::string backend;
  // Where it runs: "cpu"; "cuda", an error where there is no such GPU; "auto":
  // the CPU, until the kernels for GPUs have been proved on a chip.
  std::string device = "auto";
  bool strict = false;  // refuse to run an operation on a slower fallback
  // Run a quantized model with f32 inputs and the cache of kv_format, whatever
  // its file asks for.
  bool weight_only = false;
  // On a GPU: prompts in FP8 sum in the tensor cores' 14 bits without promoting
  // to f32 on the way. Faster; errors grow with the width of a layer.
  bool fp8_fast_accum = false;
  // On a GPU: an e4m3 copy of each weight beside the packed one, a byte a
  // weight, so that prompts need not unpack it.
  bool resident_fp8 = false;
  // Before anything is loaded, compare every tensor and file with the hashes in
  // the model's certificate.json; kCorruptData where they differ, kNotFound
  // where there is none. It finds damage and edits, not a forger.
  bool verify = false;
};

// What was loaded, and how it runs.
struct ModelInfo {
  std::string architecture;  // "LlamaForCausalLM"
  std::string weights;       // of the layers: "e2m1 m2 group 32", "bf16"
  std::string head;          // of the output projection: "e4m3 per row"
  std::string backend;       // "avx512bf16"
  std::string device;        // "cpu", or the name of the GPU
  int num_threads = 0;
  int64_t num_layers = 0;
  int64_t weight_bytes = 0;              // that one generated token streams
  KvFormat kv_format = KvFormat::kAuto;  // as resolved
  int64_t cache_bytes = 0;
  std::string tokenizer_hash;  // xxhash64
  std::string template_hash;   // of the chat template; "" without one
};

// One turn of a conversation.
struct Message {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

// A loaded model with its tokenizer and cache. Movable. One thread at a time,
// except Cancel, which may be called from any thread.
class LanguageModel {
 public:
  static Result<LanguageModel> Load(const LoadOptions& options);
  LanguageModel(LanguageModel&&) noexcept;
  LanguageModel& operator=(LanguageModel&&) noexcept;
  ~LanguageModel();

  // Text to ids, with the tokenizer's own beginning-of-text token.
  Result<std::vector<int32_t>> Tokenize(const std::string& text) const;
  Result<std::string> Detokenize(const std::vector<int32_t>& ids) const;
  // The prompt that the model's chat template makes of a conversation, ready
  // for Generate. kUnsupported where the model has no template.
  Result<std::vector<int32_t>> ChatPrompt(
      const std::vector<Message>& messages) const;

  // Continues the ids. Tokens that an earlier call left in the cache are not
  // computed again. The error case is for requests that never started; one
  // that broke on its way is a Generation with kError.
  Result<Generation> Generate(const std::vector<int32_t>& prompt,
                              const GenerateOptions& options);
  // Ends the Generate that runs now, if any.
  void Cancel();

  // Logits [ids.size(), vocab_size()] row by row: row t is the model's
  // prediction of the token after ids[t].
  Result<std::vector<float>> Logits(const std::vector<int32_t>& ids);

  // Forgets all cached tokens.
  void Reset();

  int64_t vocab_size() const;
  int64_t context_tokens() const;  // longest prompt plus answer
  std::vector<int32_t> end_ids() const;
  // What the model's generation_config.json recommends; greedy where it says
  // nothing.
  SamplingOptions default_sampling() const;
  ModelInfo info() const;

 private:
  struct State;
  explicit LanguageModel(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// "0.1.0"
const char* Version();

}  // namespace zqfp

#endif  // ZQFP_ZQFP_H_
