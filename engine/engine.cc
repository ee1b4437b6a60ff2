// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "engine/page_allocator.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"
#include "engine/text_stream.h"
#include "kernels/core/status_macros.h"
#include "tokenizer/stream_decoder.h"

namespace zqfp {
namespace {

using Clock = std::chrono::steady_clock;

// Without --context: enough for a chat, little memory.
constexpr int64_t kDefaultContext = 4096;
// Bounds on what a request or an option may ask for.
constexpr size_t kMaxStops = 256;
constexpr size_t kMaxStopBytes = 4096;
constexpr int64_t kMaxPages = 1 << 22;

double Seconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

// Everything one request needs between steps.
struct Running {
  RequestId id = 0;
  GenerateOptions options;
  Sequence sequence;
  Sampler sampler;
  StreamDecoder decoder;
  StopMatcher stop;
  Generation generation;
  Clock::time_point submitted, scheduled, first_token, last_token;
  bool begun = false;  // was in a step
  bool done = false;
  bool receiver_failed = false;  // on_text threw
  // Its newest id, whose text is not out yet.
  std::optional<int32_t> pending_id;

  Running(const Tokenizer* tokenizer, Request request)
      : options(std::move(request.options)),
        sampler(options.sampling),
        decoder(tokenizer, StreamDecoder::Start::kContinuation),
        stop(options.stop) {
    sequence.ids = std::move(request.prompt);
    sequence.prompt_tokens = static_cast<int64_t>(sequence.ids.size());
    sampler.AddPrompt(sequence.ids);
    submitted = scheduled = Clock::now();
  }
};

}  // namespace

KvFormat ResolveKvFormat(KvFormat format, const Model& model) {
  if (format != KvFormat::kAuto) return format;
  return model.full_precision() ? KvFormat::kF32 : KvFormat::kBf16;
}

kernels::ValueFormat ToValueFormat(KvFormat format) {
  switch (format) {
    case KvFormat::kF32:
      return kernels::ValueFormat::kF32;
    case KvFormat::kE4m3:
      return kernels::ValueFormat::kE4m3;
    case KvFormat::kAuto:
    case KvFormat::kBf16:
      break;
  }
  return kernels::ValueFormat::kBf16;
}

struct Engine::State {
  Model* model = nullptr;
  const Tokenizer* tokenizer = nullptr;
  KvFormat kv_format = KvFormat::kBf16;
  std::optional<KvCache> cache;
  std::unique_ptr<PageAllocator> pages;
  std::unique_ptr<Scheduler> scheduler;
  std::map<RequestId, std::unique_ptr<Running>> requests;
  RequestId next_id = 1;
  EngineStats stats;
  // Of the rows of a step that want a token: all logits, or the best of each.
  std::vector<float> logits;
  std::vector<TopLogits> top;
  // Text goes out while the device computes the next step: what comes of it is
  // of less hurry than that step. The host computes itself, and texts come
  // first.
  bool defers_text = false;

  std::mutex cancel_mutex;
  std::set<RequestId> cancelled;  // guarded by cancel_mutex
  std::atomic<bool> cancel_all{false};

  Running* Of(const Sequence* sequence) const;
  absl::Status Check(const Request& request) const;
  void ApplyCancels();
  int64_t RopeLength(const Sequence& sequence, int64_t context) const;
  absl::Status RunModel(const std::vector<ScheduledChunk>& step,
                        const std::vector<Running*>& of_chunk);
  absl::StatusOr<int32_t> Choose(Running* request, size_t row);
  void HandleRow(Running* request, size_t row);
  void HandleToken(Running* request, int32_t id);
  std::optional<FinishReason> StreamPending(Running* request);
  void StreamAllPending();
  std::optional<FinishReason> Emit(Running* request, const std::string& text);
  void Finish(Running* request, FinishReason reason);
  void Drop(RequestId id);
  bool IsEnd(const Running& request, int32_t id) const;
};

Running* Engine::State::Of(const Sequence* sequence) const {
  for (const auto& [id, request] : requests) {
    if (&request->sequence == sequence) return request.get();
  }
  return nullptr;
}

absl::Status Engine::State::Check(const Request& request) const {
  const int64_t size = static_cast<int64_t>(request.prompt.size());
  const int64_t most = scheduler->max_context() - 1;
  if (size == 0) {
    return absl::InvalidArgumentError(
        "prompt: want at least one token, found none");
  }
  if (size > most) {
    return absl::InvalidArgumentError(
        fmt::format("prompt: want at most {} tokens (the context less one for "
                    "the answer), found {}",
                    most, size));
  }
  const int64_t vocab_size = model->config().vocab_size;
  for (const int32_t id : request.prompt) {
    if (id < 0 || id >= vocab_size) {
      return absl::InvalidArgumentError(
          fmt::format("prompt: want ids below {}, found {}", vocab_size, id));
    }
  }
  if (request.options.max_tokens < 1) {
    return absl::InvalidArgumentError(fmt::format(
        "max_tokens: want 1 or more, found {}", request.options.max_tokens));
  }
  if (request.options.stop.size() > kMaxStops) {
    return absl::InvalidArgumentError(
        fmt::format("stop: want at most {} texts, found {}", kMaxStops,
                    request.options.stop.size()));
  }
  for (const std::string& stop : request.options.stop) {
    if (stop.empty() || stop.size() > kMaxStopBytes) {
      return absl::InvalidArgumentError(
          fmt::format("stop: want texts of 1 .. {} bytes, found one of {}",
                      kMaxStopBytes, stop.size()));
    }
  }
  return ValidateSampling(request.options.sampling, vocab_size);
}

void Engine::State::ApplyCancels() {
  std::set<RequestId> ids;
  {
    std::lock_guard<std::mutex> lock(cancel_mutex);
    ids.swap(cancelled);
  }
  const bool all = cancel_all.exchange(false);
  for (const auto& [id, request] : requests) {
    if (!request->done && (all || ids.contains(id))) {
      Finish(request.get(), FinishReason::kCancelled);
    }
  }
}

// Dynamic scaling turns every new key by the length of its time, longrope all
// by that of the whole sequence, as Hugging Face's generate does.
int64_t Engine::State::RopeLength(const Sequence& sequence,
                                  int64_t context) const {
  return model->config().rope.scaling == RopeScaling::kLongrope
             ? std::ssize(sequence.ids)
             : std::max(sequence.prompt_tokens, context);
}

// Lays the chunks out as one ragged batch and runs it; meanwhile the texts of
// the step before go out.
absl::Status Engine::State::RunModel(const std::vector<ScheduledChunk>& step,
                                     const std::vector<Running*>& of_chunk) {
  Batch batch;
  batch.token_begin.push_back(0);
  for (const ScheduledChunk& chunk : step) {
    batch.page_table_stride =
        std::max(batch.page_table_stride,
                 static_cast<int64_t>(chunk.sequence->pages.size()));
  }
  for (size_t i = 0; i < step.size(); ++i) {
    const ScheduledChunk& chunk = step[i];
    const Sequence& sequence = *chunk.sequence;
    const auto first = sequence.ids.begin() + chunk.begin;
    batch.token_ids.insert(batch.token_ids.end(), first, first + chunk.count);
    batch.token_begin.push_back(static_cast<int32_t>(batch.token_ids.size()));
    const int64_t context = chunk.begin + chunk.count;
    batch.context_len.push_back(static_cast<int32_t>(context));
    batch.rope_length.push_back(
        static_cast<int32_t>(RopeLength(sequence, context)));
    const size_t row = batch.page_table.size();
    batch.page_table.resize(row + static_cast<size_t>(batch.page_table_stride));
    std::copy(sequence.pages.begin(), sequence.pages.end(),
              batch.page_table.begin() + static_cast<ptrdiff_t>(row));
    if (chunk.wants_logits) {
      batch.logit_rows.push_back(batch.token_begin.back() - 1);
      batch.temperature.push_back(
          static_cast<float>(of_chunk[i]->options.sampling.temperature));
    }
  }
  const auto meanwhile = [this] { StreamAllPending(); };
  const size_t rows = batch.logit_rows.size();
  const auto vocab_size = static_cast<size_t>(model->config().vocab_size);
  top.clear();
  if (rows > 0 && std::ssize(batch.logit_rows) <= model->MostTopRows()) {
    top.resize(rows);
    logits.resize(vocab_size);
    return model->ForwardTop(batch, *cache, absl::MakeSpan(top), meanwhile);
  }
  logits.resize(rows * vocab_size);
  // A prompt of a large model takes the host seconds.
  const auto goes_on = [this] { return !cancel_all.load(); };
  return model->Forward(batch, *cache, absl::MakeSpan(logits), meanwhile,
                        goes_on);
}

bool Engine::State::IsEnd(const Running& request, int32_t id) const {
  const auto contains = [id](const std::vector<int32_t>& ids) {
    return std::find(ids.begin(), ids.end(), id) != ids.end();
  };
  if (contains(request.options.stop_ids)) return true;
  if (request.options.ignore_end_tokens) return false;
  return contains(tokenizer->eos_ids()) || contains(model->config().eos_ids);
}

// From the best logits of a row, or from all of them.
absl::StatusOr<int32_t> Engine::State::Choose(Running* request, size_t row) {
  const auto position = static_cast<int64_t>(request->sequence.ids.size());
  Sampler& sampler = request->sampler;
  absl::Span<float> values = absl::MakeSpan(logits);
  if (top.empty()) {
    const auto vocab_size = static_cast<size_t>(model->config().vocab_size);
    values = values.subspan(row * vocab_size, vocab_size);
  } else {
    ZQFP_ASSIGN_OR_RETURN(const std::optional<int32_t> id,
                          sampler.SampleTop(top[row], position));
    if (id) return *id;
    ++stats.tokens_from_all_logits;
    ZQFP_RETURN_IF_ERROR(model->FetchLogits(static_cast<int64_t>(row), values));
  }
  return sampler.Sample(values, position);
}

void Engine::State::HandleRow(Running* request, size_t row) {
  const Clock::time_point now = Clock::now();
  if (request->generation.stats.generated_tokens == 0) {
    request->first_token = now;
  }
  request->last_token = now;
  const absl::StatusOr<int32_t> id = Choose(request, row);
  if (!id.ok()) {
    request->generation.error = std::string(id.status().message());
    return Finish(request, FinishReason::kError);
  }
  ++request->generation.stats.generated_tokens;
  ++stats.generated_tokens;
  HandleToken(request, *id);
}

void Engine::State::HandleToken(Running* request, int32_t id) {
  if (IsEnd(*request, id)) return Finish(request, FinishReason::kStop);
  request->sampler.AddOutput(id);
  request->sequence.ids.push_back(id);
  request->generation.ids.push_back(id);
  request->pending_id = id;
  if (std::ssize(request->generation.ids) >= request->options.max_tokens) {
    return Finish(request, FinishReason::kLength);
  }
  if (std::ssize(request->sequence.ids) >= scheduler->max_context()) {
    return Finish(request, FinishReason::kContextFull);
  }
  if (defers_text) return;
  if (const auto reason = StreamPending(request)) Finish(request, *reason);
}

// Streams the text of the newest token. Returns why the request ends with it,
// if it does.
std::optional<FinishReason> Engine::State::StreamPending(Running* request) {
  if (!request->pending_id) return std::nullopt;
  const int32_t id = *std::exchange(request->pending_id, std::nullopt);
  const std::string text = request->stop.Push(request->decoder.Push(id));
  if (const auto reason = Emit(request, text)) return reason;
  if (request->stop.stopped()) return FinishReason::kStop;
  return std::nullopt;
}

void Engine::State::StreamAllPending() {
  for (const auto& [id, request] : requests) {
    if (request->done) continue;
    if (const auto reason = StreamPending(request.get())) {
      Finish(request.get(), *reason);
    }
  }
}

// Why the request ends with it, where the receiver wants no more or fails.
std::optional<FinishReason> Engine::State::Emit(Running* request,
                                                const std::string& text) {
  if (text.empty()) return std::nullopt;
  request->generation.text += text;
  if (!request->options.on_text) return std::nullopt;
  try {
    if (request->options.on_text(text)) return std::nullopt;
    return FinishReason::kCancelled;
  } catch (const std::exception& thrown) {
    request->generation.error = fmt::format("on_text: threw {}", thrown.what());
  } catch (...) {
    request->generation.error = "on_text: threw what is no std::exception";
  }
  request->receiver_failed = true;
  return FinishReason::kError;
}

void Engine::State::Finish(Running* request, FinishReason reason) {
  if (const auto earlier = StreamPending(request)) reason = *earlier;
  Generation& generation = request->generation;
  request->done = true;
  std::string rest = request->stop.Push(request->decoder.Finish());
  if (!request->stop.stopped()) rest += request->stop.Finish();
  if (reason != FinishReason::kCancelled && !request->receiver_failed) {
    Emit(request, rest);
  }
  if (request->receiver_failed) reason = FinishReason::kError;
  generation.finish_reason = reason;
  GenerationStats& s = generation.stats;
  s.prompt_tokens = request->sequence.prompt_tokens;
  s.reused_tokens = request->sequence.reused_tokens;
  s.pages = static_cast<int64_t>(request->sequence.pages.size());
  if (s.generated_tokens > 0) {
    s.time_to_first_token_s = Seconds(request->submitted, request->first_token);
    const double prompt_s = Seconds(request->scheduled, request->first_token);
    const double rest_s = Seconds(request->first_token, request->last_token);
    if (prompt_s > 0) {
      s.prompt_tokens_per_s =
          static_cast<double>(s.prompt_tokens - s.reused_tokens) / prompt_s;
    }
    if (rest_s > 0) {
      s.generate_tokens_per_s =
          static_cast<double>(s.generated_tokens - 1) / rest_s;
    }
  }
  scheduler->Remove(&request->sequence);
}

// Where it is still there.
void Engine::State::Drop(RequestId id) {
  const auto found = requests.find(id);
  if (found == requests.end()) return;
  scheduler->Remove(&found->second->sequence);
  requests.erase(found);
}

Engine::Engine() : state_(std::make_unique<State>()) {}
Engine::~Engine() = default;

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(
    Model* model, const Tokenizer* tokenizer, const EngineOptions& options) {
  const int64_t model_context = model->config().max_positions;
  const int64_t context = options.context_tokens != 0
                              ? options.context_tokens
                              : std::min(model_context, kDefaultContext);
  if (context > model_context || context < 2) {
    return absl::InvalidArgumentError(
        fmt::format("context: want 2 .. {} tokens (the model's), found {}",
                    model_context, context));
  }
  if (options.page_size < 1 || options.page_size > 4096) {
    return absl::InvalidArgumentError(fmt::format(
        "page size: want 1 .. 4096 tokens, found {}", options.page_size));
  }
  const int64_t tokens = std::max(context, options.cache_tokens);
  if (options.cache_tokens < 0 || tokens / options.page_size >= kMaxPages) {
    return absl::InvalidArgumentError(
        fmt::format("cache: want 0 .. {} tokens, found {}",
                    kMaxPages * options.page_size - 1, tokens));
  }
  std::unique_ptr<Engine> engine(new Engine());
  State& state = *engine->state_;
  state.model = model;
  state.tokenizer = tokenizer;
  state.kv_format = ResolveKvFormat(options.kv_format, *model);
  const KvCacheOptions cache_options = {
      .format = ToValueFormat(state.kv_format),
      .num_pages = (tokens + options.page_size - 1) / options.page_size,
      .page_size = options.page_size,
      .device = model->device()};
  ZQFP_ASSIGN_OR_RETURN(KvCache cache,
                        KvCache::Create(model->config(), cache_options));
  state.cache.emplace(std::move(cache));
  state.pages = std::make_unique<PageAllocator>(cache_options.num_pages,
                                                options.page_size);
  state.scheduler = std::make_unique<Scheduler>(
      state.pages.get(), model->options().max_tokens, context);
  state.defers_text = model->device() != nullptr;
  const RopeConfig& rope = model->config().rope;
  if (rope.scaling == RopeScaling::kDynamic) {
    state.scheduler->ComputeAsGenerated();
  }
  if (rope.scaling == RopeScaling::kLongrope) {
    state.scheduler->SeparateBeyond(rope.original_max_positions);
  }
  return engine;
}

absl::StatusOr<RequestId> Engine::Submit(Request request) {
  ZQFP_RETURN_IF_ERROR(state_->Check(request));
  // A CancelAll that came while nothing ran has nothing to end.
  if (idle()) state_->cancel_all.store(false);
  const RequestId id = state_->next_id++;
  auto running =
      std::make_unique<Running>(state_->tokenizer, std::move(request));
  running->id = id;
  state_->scheduler->Add(&running->sequence);
  state_->requests.emplace(id, std::move(running));
  return id;
}

absl::Status Engine::Step() {
  State& state = *state_;
  const Clock::time_point start = Clock::now();
  state.ApplyCancels();
  const std::vector<ScheduledChunk> step = state.scheduler->Plan();
  if (step.empty()) return absl::OkStatus();  // idle
  std::vector<Running*> requests;
  for (const ScheduledChunk& chunk : step) {
    Running* request = state.Of(chunk.sequence);
    requests.push_back(request);
    if (!request->begun) {
      request->begun = true;
      request->scheduled = start;
      state.stats.reused_tokens += chunk.sequence->reused_tokens;
    }
    if (chunk.begin < chunk.sequence->prompt_tokens) {
      state.stats.prompt_tokens += chunk.count;
    }
  }
  const absl::Status status = state.RunModel(step, requests);
  if (absl::IsCancelled(status)) {
    state.ApplyCancels();
    return absl::OkStatus();
  }
  if (!status.ok()) {
    for (Running* request : requests) {
      if (request->done) continue;
      request->generation.error = std::string(status.message());
      state.Finish(request, FinishReason::kError);
    }
    return status;
  }
  state.scheduler->Commit(step);
  ++state.stats.steps;
  size_t row = 0;
  for (size_t i = 0; i < step.size(); ++i) {
    if (!step[i].wants_logits) continue;
    // One that a text ended meanwhile has a row, too.
    if (!requests[i]->done) state.HandleRow(requests[i], row);
    ++row;
  }
  state.stats.busy_s += Seconds(start, Clock::now());
  return absl::OkStatus();
}

bool Engine::idle() const { return state_->scheduler->idle(); }

std::optional<Generation> Engine::Take(RequestId id) {
  const auto found = state_->requests.find(id);
  if (found == state_->requests.end() || !found->second->done) {
    return std::nullopt;
  }
  Generation generation = std::move(found->second->generation);
  state_->requests.erase(found);
  return generation;
}

void Engine::Cancel(RequestId id) {
  std::lock_guard<std::mutex> lock(state_->cancel_mutex);
  state_->cancelled.insert(id);
}

void Engine::CancelAll() { state_->cancel_all.store(true); }

absl::StatusOr<Generation> Engine::Run(Request request) {
  ZQFP_ASSIGN_OR_RETURN(const RequestId id, Submit(std::move(request)));
  // Whatever is thrown, for want of memory say, leaves nothing running.
  const absl::Cleanup drop = [this, id] { state_->Drop(id); };
  while (true) {
    Step().IgnoreError();  // the generations of its requests have it
    if (auto generation = Take(id)) return *std::move(generation);
  }
}

absl::StatusOr<std::vector<float>> Engine::Logits(
    absl::Span<const int32_t> ids) {
  State& state = *state_;
  const int64_t size = static_cast<int64_t>(ids.size());
  const size_t vocab_size =
      static_cast<size_t>(state.model->config().vocab_size);
  const int64_t page_size = state.pages->page_size();
  const int64_t wanted = (size + page_size - 1) / page_size;
  if (size < 1 || size > state.scheduler->max_context() ||
      wanted > state.pages->num_available()) {
    return absl::InvalidArgumentError(
        fmt::format("logits: want 1 .. {} tokens, found {}",
                    std::min(state.scheduler->max_context(),
                             state.pages->num_available() * page_size),
                    size));
  }
  std::vector<float> all;
  try {
    all.resize(ids.size() * vocab_size);
  } catch (const std::exception&) {
    return absl::ResourceExhaustedError(
        fmt::format("logits: want {} bytes for those of {} tokens, found less",
                    ids.size() * vocab_size * sizeof(float), size));
  }
  std::vector<int32_t> pages;
  const absl::Cleanup release = [&] {
    for (const int32_t page : pages) state.pages->Release(page);
  };
  for (int64_t i = 0; i < wanted; ++i) {
    pages.push_back(*state.pages->Allocate());
  }
  absl::Status status;
  const int64_t chunk = state.model->options().max_tokens;
  for (int64_t begin = 0; begin < size && status.ok(); begin += chunk) {
    const int64_t count = std::min(chunk, size - begin);
    Batch batch = {
        .token_ids = {ids.begin() + begin, ids.begin() + begin + count},
        .token_begin = {0, static_cast<int32_t>(count)},
        .context_len = {static_cast<int32_t>(begin + count)},
        .page_table = pages,
        .page_table_stride = wanted,
        .rope_length = {static_cast<int32_t>(size)},
        .logit_rows = {}};
    for (int32_t i = 0; i < count; ++i) batch.logit_rows.push_back(i);
    status = state.model->Forward(
        batch, *state.cache,
        absl::MakeSpan(all).subspan(static_cast<size_t>(begin) * vocab_size,
                                    static_cast<size_t>(count) * vocab_size));
  }
  ZQFP_RETURN_IF_ERROR(status);
  return all;
}

void Engine::DropCache() { state_->pages->DropCached(); }

EngineStats Engine::stats() const {
  EngineStats stats = state_->stats;
  stats.preemptions = state_->scheduler->num_preemptions();
  stats.pages_total = state_->pages->num_pages();
  stats.pages_cached = state_->pages->num_cached();
  stats.pages_used = stats.pages_total - state_->pages->num_available();
  return stats;
}

int64_t Engine::context_tokens() const {
  return state_->scheduler->max_context();
}

KvFormat Engine::kv_format() const { return state_->kv_format; }
int64_t Engine::cache_bytes() const { return state_->cache->num_bytes(); }

}  // namespace zqfp
