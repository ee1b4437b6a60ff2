// SPDX-License-Identifier: Apache-2.0
#include <time.h>

#include <algorithm>
#include <optional>

#include "engine/engine.h"
#include "engine/generation_config.h"
#include "engine/model_tokenizer.h"
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
  if (options.verify) {
    const absl::Status verified = VerifyCertificate(options.directory);
    if (!verified.ok()) return ToError(verified);
  }
  auto state = std::make_unique<State>();
  auto tokenizer = LoadModelTokenizer(options.directory);
  if (!tokenizer.ok()) return ToError(tokenizer.status());
  state->tokenizer = *std::move(tokenizer);
  if (!state->tokenizer->chat_template().empty()) {
    auto parsed = ChatTemplate::Parse(state->tokenizer->chat_template());
    if (!parsed.ok()) return ToError(parsed.status());
    state->chat_template = *std::move(parsed);
  }
  auto sampling = LoadDefaultSampling(options.directory);
  if (!sampling.ok()) return ToError(sampling.status());
  state->default_sampling = *std::move(sampling);
  auto model =
      Model::Load(options.directory, {.num_threads = options.num_threads,
                                      .backend = options.backend,
                                      .device = options.device,
                                      .strict = options.strict,
                                      .weight_only = options.weight_only,
                                      .fp8_fast_accum = options.fp8_fast_accum,
                                      .resident_fp8 = options.resident_fp8});
  if (!model.ok()) return ToError(model.status());
  state->model = *std::move(model);
  auto engine = Engine::Create(state->model.get(), state->tokenizer.get(),
                               {.kv_format = options.kv_format,
                                .context_tokens = options.context_tokens});
  if (!engine.ok()) return ToError(engine.status());
  state->engine = *std::move(engine);
  return LanguageModel(std::move(state));
}

Result<std::vector<int32_t>> LanguageModel::Tokenize(
    const std::string& text) const {
  auto ids = state_->tokenizer->Encode(text, {});
  if (!ids.ok()) return ToError(ids.status());
  return *std::move(ids);
}

Result<std::string> LanguageModel::Detokenize(
    const std::vector<int32_t>& ids) const {
  return state_->tokenizer->Decode(ids);
}

Result<std::vector<int32_t>> LanguageModel::ChatPrompt(
    const std::vector<Message>& messages) const {
  if (!state_->chat_template) {
    return Error{ErrorCode::kUnsupported,
                 "chat template: want one with the tokenizer, found none; use "
                 "Tokenize for plain text"};
  }
  ChatTemplateArgs args = {
      .bos_token = TextOf(*state_->tokenizer, state_->tokenizer->bos_id()),
      .now_unix_seconds = static_cast<int64_t>(time(nullptr))};
  if (!state_->tokenizer->eos_ids().empty()) {
    args.eos_token =
        TextOf(*state_->tokenizer, state_->tokenizer->eos_ids().front());
  }
  for (const Message& message : messages) {
    args.messages.push_back({message.role, message.content, ""});
  }
  auto text = state_->chat_template->Render(args);
  if (!text.ok()) return ToError(text.status());
  // The template writes the beginning-of-text token itself where it wants one.
  auto ids = state_->tokenizer->Encode(*text, {.add_special_tokens = false});
  if (!ids.ok()) return ToError(ids.status());
  return *std::move(ids);
}

Result<Generation> LanguageModel::Generate(const std::vector<int32_t>& prompt,
                                           const GenerateOptions& options) {
  auto generation = state_->engine->Run({prompt, options});
  if (!generation.ok()) return ToError(generation.status());
  return *std::move(generation);
}

void LanguageModel::Cancel() { state_->engine->CancelAll(); }

Result<std::vector<float>> LanguageModel::Logits(
    const std::vector<int32_t>& ids) {
  auto logits = state_->engine->Logits(ids);
  if (!logits.ok()) return ToError(logits.status());
  return *std::move(logits);
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
