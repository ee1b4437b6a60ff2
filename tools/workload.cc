// SPDX-License-Identifier: Apache-2.0
#include "tools/workload.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "kernels/core/status_macros.h"

namespace zqfp::tools {
namespace {

constexpr int64_t kPageSize = 32;

}  // namespace

Workload::Workload(Model* model, int64_t batch, int64_t tokens)
    : model_(model),
      batch_(batch),
      pages_((tokens + kPageSize - 1) / kPageSize) {}

absl::StatusOr<Workload> Workload::Create(Model* model, kernels::ValueFormat kv,
                                          int64_t batch, int64_t tokens) {
  Workload workload(model, batch, tokens);
  ZQFP_ASSIGN_OR_RETURN(
      KvCache cache,
      KvCache::Create(model->config(), {.format = kv,
                                        .num_pages = batch * workload.pages_,
                                        .page_size = kPageSize,
                                        .device = model->device()}));
  workload.cache_.emplace(std::move(cache));
  return workload;
}

absl::Status Workload::Extend(int64_t count) {
  const int64_t per_step =
      std::max<int64_t>(1, model_->options().max_tokens / batch_);
  for (int64_t done = 0; done < count; done += per_step) {
    ZQFP_RETURN_IF_ERROR(Step(std::min(per_step, count - done)));
  }
  return absl::OkStatus();
}

absl::Status Workload::Warm(int64_t context) {
  ZQFP_RETURN_IF_ERROR(Extend(context));
  return TimeSteps(kWarmSteps).status();
}

absl::StatusOr<double> Workload::TimeExtend(int64_t count) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  ZQFP_RETURN_IF_ERROR(Extend(count));
  return std::chrono::duration<double>(Clock::now() - start).count();
}

absl::StatusOr<std::vector<double>> Workload::TimeSteps(int64_t count) {
  std::vector<double> seconds;
  for (int64_t i = 0; i < count; ++i) {
    ZQFP_ASSIGN_OR_RETURN(seconds.emplace_back(), TimeExtend(1));
  }
  return seconds;
}

absl::Status Workload::Step(int64_t count) {
  Batch step;
  step.token_begin = {0};
  step.page_table_stride = pages_;
  const int64_t vocab_size = model_->config().vocab_size;
  for (int64_t s = 0; s < batch_; ++s) {
    for (int64_t i = 0; i < count; ++i) {
      step.token_ids.push_back(
          static_cast<int32_t>((7 * (length_ + i) + s) % vocab_size));
    }
    step.token_begin.push_back(static_cast<int32_t>(step.token_ids.size()));
    step.context_len.push_back(static_cast<int32_t>(length_ + count));
    step.rope_length.push_back(static_cast<int32_t>(length_ + count));
    for (int64_t page = 0; page < pages_; ++page) {
      step.page_table.push_back(static_cast<int32_t>(s * pages_ + page));
    }
    step.logit_rows.push_back(step.token_begin.back() - 1);
  }
  length_ += count;
  ++num_steps_;
  if (batch_ <= model_->MostTopRows()) {
    top_.resize(static_cast<size_t>(batch_));
    return model_->ForwardTop(step, *cache_, absl::MakeSpan(top_));
  }
  logits_.resize(static_cast<size_t>(batch_ * vocab_size));
  return model_->Forward(step, *cache_, absl::MakeSpan(logits_));
}

}  // namespace zqfp::tools
