// SPDX-License-Identifier: Apache-2.0
#include <time.h>

#include <algorithm>
#include <exception>
#include <new>
#include <optional>

#include "engine/engine.h"
#include "engine/generation_config.h"
#include "engine/model_tokenizer.h"
#include "kernels/core/status_macros.h"
#include "models/certificate.h"
#include "models/model.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"
#include "zqfp/zqfp.h"

#ifndef ZQFP_VERSION
#define ZQFP_VERSION "unknown"
#endif

namespace zqfp {
namespace {

Error ToError(const absl::Status& status) {
  ErrorCode code = ErrorCode::kInternal;
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
      code = ErrorCode::kInvalidArgument;
      break;
    case absl::StatusCode::kNotFound:
      code = ErrorCode::kNotFound;
      break;
    case absl::StatusCode::kUnimplemented:
      code = ErrorCode::kUnsupported;
      break;
    case absl::StatusCode::kResourceExhausted:
      code = ErrorCode::kOutOfMemory;
      break;
    case absl::StatusCode::kDataLoss:
      code = ErrorCode::kCorruptData;
      break;
    case absl::StatusCode::kCancelled:
      code = ErrorCode::kCancelled;
      break;
    default:
      break;
  }
  return {code, std::string(status.message())};
}

// What `work` gives, an absl::StatusOr, as the public type. What the standard
// library throws, for want of memory say, is an error, too.
template <typename Work>
auto ToResult(const Work& work)
    -> Result<typename decltype(work())::value_type> {
  try {
    auto value = work();
    if (!value.ok()) return ToError(value.status());
    return *std::move(value);
  } catch (const std::bad_alloc&) {
    return Error{ErrorCode::kOutOfMemory, "out of memory"};
  } catch (const std::exception& thrown) {
    return Error{ErrorCode::kInternal, thrown.what()};
  }
}

std::string TextOf(const Tokenizer& tokenizer, int32_t id) {
  return id < 0 ? "" : tokenizer.TokenText(id);
}

}  // namespace

struct LanguageModel::State {
  std::unique_ptr<Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat_template;
  std::unique_ptr<Model> model;
  std::unique_ptr<Engine> engine;
  SamplingOptions default_sampling;

  absl::Status Load(const LoadOptions& options);
  absl::StatusOr<std::vector<int32_t>> ChatPrompt(
      const std::vector<Message>& messages) const;
};

const char* ToString(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kContextFull:
      return "context_full";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kError:
      return "error";
  }
  return "error";
}

const char* Version() { return ZQFP_VERSION; }

LanguageModel::LanguageModel(std::unique_ptr<State> state)
    : state_(std::move(state)) {}
LanguageModel::LanguageModel(LanguageModel&&) noexcept = default;
LanguageModel& LanguageModel::operator=(LanguageModel&&) noexcept = default;
LanguageModel::~LanguageModel() = default;

Result<LanguageModel> LanguageModel::Load(const LoadOptions& options) {
  return ToResult([&]() -> absl::StatusOr<LanguageModel> {
    auto state = std::make_unique<State>();
    ZQFP_RETURN_IF_ERROR(state->Load(options));
    return LanguageModel(std::move(state));
  });
}

absl::Status LanguageModel::State::Load(const LoadOptions& options) {
  if (options.verify) {
    ZQFP_RETURN_IF_ERROR(VerifyCertificate(options.directory));
  }
  ZQFP_ASSIGN_OR_RETURN(tokenizer, LoadModelTokenizer(options.directory));
  if (!tokenizer->chat_template().empty()) {
    ZQFP_ASSIGN_OR_RETURN(chat_template,
                          ChatTemplate::Parse(tokenizer->chat_template()));
  }
  ZQFP_ASSIGN_OR_RETURN(default_sampling,
                        LoadDefaultSampling(options.directory));
  ZQFP_ASSIGN_OR_RETURN(
      model,
      Model::Load(options.directory, {.num_threads = options.num_threads,
                                      .backend = options.backend,
                                      .device = options.device,
                                      .strict = options.strict,
                                      .weight_only = options.weight_only,
                                      .fp8_fast_accum = options.fp8_fast_accum,
                                      .resident_fp8 = options.resident_fp8}));
  ZQFP_ASSIGN_OR_RETURN(
      engine, Engine::Create(model.get(), tokenizer.get(),
                             {.kv_format = options.kv_format,
                              .context_tokens = options.context_tokens}));
  return absl::OkStatus();
}

Result<std::vector<int32_t>> LanguageModel::Tokenize(
    const std::string& text) const {
  return ToResult([&] { return state_->tokenizer->Encode(text, {}); });
}

Result<std::string> LanguageModel::Detokenize(
    const std::vector<int32_t>& ids) const {
  return ToResult([&]() -> absl::StatusOr<std::string> {
    return state_->tokenizer->Decode(ids);
  });
}

Result<std::vector<int32_t>> LanguageModel::ChatPrompt(
    const std::vector<Message>& messages) const {
  return ToResult([&] { return state_->ChatPrompt(messages); });
}

absl::StatusOr<std::vector<int32_t>> LanguageModel::State::ChatPrompt(
    const std::vector<Message>& messages) const {
  if (!chat_template) {
    return absl::UnimplementedError(
        "chat template: want one with the tokenizer, found none; use Tokenize "
        "for plain text");
  }
  ChatTemplateArgs args = {
      .bos_token = TextOf(*tokenizer, tokenizer->bos_id()),
      .now_unix_seconds = static_cast<int64_t>(time(nullptr))};
  if (!tokenizer->eos_ids().empty()) {
    args.eos_token = TextOf(*tokenizer, tokenizer->eos_ids().front());
  }
  for (const Message& message : messages) {
    args.messages.push_back({message.role, message.content, ""});
  }
  ZQFP_ASSIGN_OR_RETURN(const std::string text, chat_template->Render(args));
  // The template writes the beginning-of-text token itself where it wants one.
  return tokenizer->Encode(text, {.add_special_tokens = false});
}

Result<Generation> LanguageModel::Generate(const std::vector<int32_t>& prompt,
                                           const GenerateOptions& options) {
  return ToResult([&] { return state_->engine->Run({prompt, options}); });
}

void LanguageModel::Cancel() { state_->engine->CancelAll(); }

Result<std::vector<float>> LanguageModel::Logits(
    const std::vector<int32_t>& ids) {
  return ToResult([&] { return state_->engine->Logits(ids); });
}

void LanguageModel::Reset() { state_->engine->DropCache(); }

int64_t LanguageModel::vocab_size() const {
  return state_->model->config().vocab_size;
}

int64_t LanguageModel::context_tokens() const {
  return state_->engine->context_tokens();
}

std::vector<int32_t> LanguageModel::end_ids() const {
  // Both count: the engine stops at either's.
  std::vector<int32_t> ids = state_->model->config().eos_ids;
  for (const int32_t id : state_->tokenizer->eos_ids()) {
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  }
  return ids;
}

SamplingOptions LanguageModel::default_sampling() const {
  return state_->default_sampling;
}

ModelInfo LanguageModel::info() const {
  const Model& model = *state_->model;
  const std::vector<LinearInfo> linears = model.Explain();
  ModelInfo info;
  info.architecture = std::string(ToString(model.config().architecture));
  info.weights = linears.front().weights;
  info.head = linears.back().weights;
  info.backend = model.options().backend;
  info.device = model.device() != nullptr ? model.device()->Describe() : "cpu";
  info.num_threads = model.options().num_threads;
  info.num_layers = model.config().num_layers;
  info.weight_bytes = model.weight_bytes();
  info.kv_format = state_->engine->kv_format();
  info.cache_bytes = state_->engine->cache_bytes();
  info.tokenizer_hash = state_->tokenizer->hash();
  if (state_->chat_template) info.template_hash = state_->chat_template->hash();
  return info;
}

}  // namespace zqfp
