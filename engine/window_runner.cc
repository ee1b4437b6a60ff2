// SPDX-License-Identifier: Apache-2.0
#include "engine/window_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/engine.h"
#include "kernels/core/parallel.h"
#include "kernels/core/status_macros.h"

namespace zqfp {
namespace {

constexpr int64_t kPageSize = 32;
// Memory for the logits of one step; more rows go into several steps. A device
// needs more of them to be busy.
constexpr int64_t kMaxLogitBytes = int64_t{16} << 20;
constexpr int64_t kMaxDeviceLogitBytes = int64_t{256} << 20;

}  // namespace

absl::Status CheckFinite(double value, const char* what, int64_t position) {
  if (std::isfinite(value)) return absl::OkStatus();
  return absl::DataLossError(fmt::format(
      "logits: want finite numbers, found a {} of {} at position {}", what,
      value, position));
}

absl::StatusOr<WindowRunner> WindowRunner::Create(Model* model, KvFormat format,
                                                  int64_t window) {
  WindowRunner runner(model);
  const int64_t num_pages = (window + kPageSize - 1) / kPageSize;
  ZQFP_ASSIGN_OR_RETURN(
      KvCache cache,
      KvCache::Create(model->config(), {.format = ToValueFormat(format),
                                        .num_pages = num_pages,
                                        .page_size = kPageSize,
                                        .device = model->device()}));
  runner.cache_.emplace(std::move(cache));
  runner.page_table_.resize(static_cast<size_t>(num_pages));
  std::iota(runner.page_table_.begin(), runner.page_table_.end(), 0);
  return runner;
}

std::vector<StepRange> WindowRunner::Steps(int64_t num_inputs, int64_t begin,
                                           int64_t first_scored) const {
  const int64_t row_bytes = model_->config().vocab_size * 4;
  const int64_t bytes =
      model_->device() == nullptr ? kMaxLogitBytes : kMaxDeviceLogitBytes;
  const int64_t rows =
      std::clamp<int64_t>(bytes / row_bytes, 1, model_->options().max_tokens);
  std::vector<StepRange> steps;
  for (; begin < num_inputs; begin += rows) {
    steps.push_back({begin, std::min(begin + rows, num_inputs), first_scored});
  }
  return steps;
}

absl::StatusOr<absl::Span<const float>> WindowRunner::Step(
    absl::Span<const int32_t> ids, const StepRange& range) {
  const int64_t num_tokens = range.end - range.begin;
  Batch batch = {
      .token_ids = {ids.begin() + range.begin, ids.begin() + range.end},
      .token_begin = {0, static_cast<int32_t>(num_tokens)},
      .context_len = {static_cast<int32_t>(range.end)},
      .page_table = page_table_,
      .page_table_stride = static_cast<int64_t>(page_table_.size()),
      .rope_length = {static_cast<int32_t>(ids.size()) - 1},
      .logit_rows = {}};
  for (int64_t i = num_tokens - range.num_rows(); i < num_tokens; ++i) {
    batch.logit_rows.push_back(static_cast<int32_t>(i));
  }
  const size_t vocab_size = static_cast<size_t>(model_->config().vocab_size);
  logits_.resize(batch.logit_rows.size() * vocab_size);
  ZQFP_RETURN_IF_ERROR(
      model_->Forward(batch, *cache_, absl::MakeSpan(logits_)));
  return absl::MakeConstSpan(logits_);
}

absl::Status WindowRunner::Run(absl::Span<const int32_t> ids, int64_t begin,
                               int64_t first_scored,
                               std::vector<Prediction>* predictions) {
  const int64_t num_inputs = static_cast<int64_t>(ids.size()) - 1;
  const size_t vocab_size = static_cast<size_t>(model_->config().vocab_size);
  const kernels::Exec exec = {.parallel = model_->pool().parallel()};
  for (const StepRange& step : Steps(num_inputs, begin, first_scored)) {
    ZQFP_ASSIGN_OR_RETURN(const absl::Span<const float> logits,
                          Step(ids, step));
    const size_t before = predictions->size();
    const int64_t first = step.end - step.num_rows();
    predictions->resize(before + static_cast<size_t>(step.num_rows()));
    kernels::ParallelFor(
        exec, step.num_rows(), kernels::GrainFor(model_->config().vocab_size),
        [&](int64_t row, int64_t end, int) {
          for (; row < end; ++row) {
            const size_t i = static_cast<size_t>(row);
            (*predictions)[before + i] =
                Predict(logits.subspan(i * vocab_size, vocab_size),
                        ids[static_cast<size_t>(first + row + 1)]);
          }
        });
    for (size_t i = before; i < predictions->size(); ++i) {
      ZQFP_RETURN_IF_ERROR(
          CheckFinite((*predictions)[i].loss, "loss",
                      first + static_cast<int64_t>(i - before)));
    }
  }
  return absl::OkStatus();
}

}  // namespace zqfp
