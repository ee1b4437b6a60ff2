// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_MODELS_SEQUENCE_RUNNER_H_
#define ZQFP_TESTS_MODELS_SEQUENCE_RUNNER_H_

// Runs one sequence through a model, in chunks and over shuffled pages.

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "absl/status/statusor.h"
#include "models/kv_cache.h"
#include "models/model.h"

namespace zqfp::testing {

class SequenceRunner {
 public:
  SequenceRunner(Model* model, kernels::ValueFormat format,
                 int64_t max_context = 512, int64_t page_size = 8)
      : model_(model) {
    const int64_t num_pages = (max_context + page_size - 1) / page_size;
    cache_.emplace(
        *KvCache::Create(model->config(), {.format = format,
                                           .num_pages = num_pages,
                                           .page_size = page_size,
                                           .device = model->device()}));
    pages_.resize(static_cast<size_t>(num_pages));
    std::iota(pages_.begin(), pages_.end(), 0);
    std::shuffle(pages_.begin(), pages_.end(), std::mt19937(1));
  }

  // Extends the sequence; logits [ids.size(), vocab_size].
  absl::StatusOr<std::vector<float>> Run(const std::vector<int32_t>& ids,
                                         int64_t prompt_length) {
    const int32_t size = static_cast<int32_t>(ids.size());
    Batch batch = {
        .token_ids = ids,
        .token_begin = {0, size},
        .context_len = {static_cast<int32_t>(done_) + size},
        .page_table = pages_,
        .page_table_stride = static_cast<int64_t>(pages_.size()),
        .rope_length = {std::max(static_cast<int32_t>(prompt_length),
                                 static_cast<int32_t>(done_) + size)}};
    for (int32_t i = 0; i < size; ++i) batch.logit_rows.push_back(i);
    std::vector<float> logits(ids.size() *
                              static_cast<size_t>(model_->config().vocab_size));
    const absl::Status status =
        model_->Forward(batch, *cache_, absl::MakeSpan(logits));
    if (!status.ok()) return status;
    done_ += size;
    return logits;
  }

  // The whole prompt in chunks.
  absl::StatusOr<std::vector<float>> RunChunks(const std::vector<int32_t>& ids,
                                               size_t chunk) {
    std::vector<float> all;
    for (size_t at = 0; at < ids.size(); at += chunk) {
      const size_t end = std::min(ids.size(), at + chunk);
      auto logits = Run({ids.begin() + static_cast<ptrdiff_t>(at),
                         ids.begin() + static_cast<ptrdiff_t>(end)},
                        static_cast<int64_t>(ids.size()));
      if (!logits.ok()) return logits.status();
      all.insert(all.end(), logits->begin(), logits->end());
    }
    return all;
  }

  // Greedy continuation of what has run; `logits` are its last.
  std::vector<int32_t> Greedy(std::vector<float> logits, int count) {
    const auto vocab_size = static_cast<ptrdiff_t>(model_->config().vocab_size);
    std::vector<int32_t> ids;
    for (int i = 0; i < count; ++i) {
      const auto last = logits.end() - vocab_size;
      ids.push_back(
          static_cast<int32_t>(std::max_element(last, logits.end()) - last));
      logits = *Run({ids.back()}, 0);
    }
    return ids;
  }

 private:
  Model* model_;
  std::optional<KvCache> cache_;
  std::vector<int32_t> pages_;
  int64_t done_ = 0;
};

}  // namespace zqfp::testing

#endif  // ZQFP_TESTS_MODELS_SEQUENCE_RUNNER_H_
