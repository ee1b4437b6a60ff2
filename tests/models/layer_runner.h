// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_MODELS_LAYER_RUNNER_H_
#define ZQFP_TESTS_MODELS_LAYER_RUNNER_H_

// Runs sequences through single layers of a model and keeps what its linears
// read.

#include <string.h>

#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "models/model.h"
#include "models/transformer.h"
#include "models/weights.h"
#include "tests/models/exact_formats.h"

namespace zqfp::testing {

// The linears of a layer in the order of numerics: q k v, o, gate up, down.
inline std::vector<LinearWeight*> LinearsOf(LayerWeights& layer) {
  return {&layer.q,    &layer.k,  &layer.v,   &layer.o,
          &layer.gate, &layer.up, &layer.down};
}

// The numbers of an unquantized weight [n, k].
inline std::vector<float> FloatsOf(const LinearWeight& linear) {
  const kernels::WeightView& view = linear.view;
  std::vector<float> values;
  for (int64_t i = 0; i < view.n * view.k; ++i) {
    if (view.format == kernels::WeightFormat::kF32) {
      values.push_back(static_cast<const float*>(view.data)[i]);
      continue;
    }
    const uint32_t code = static_cast<const uint16_t*>(view.data)[i];
    const bool bf16 = view.format == kernels::WeightFormat::kBf16;
    values.push_back(static_cast<float>(bf16 ? FloatValue(code, 8, 7)
                                             : FloatValue(code, 5, 10)));
  }
  return values;
}

// What one observer call showed.
struct Seen {
  std::vector<std::string> readers;
  int64_t num_rows;
  int64_t k;
  std::vector<float> x;
};

class Recorder : public LinearObserver {
 public:
  // Stops at the call of this index.
  explicit Recorder(size_t stop_at = SIZE_MAX) : stop_at_(stop_at) {}

  Next Observe(absl::Span<const LinearWeight* const> readers, const float* x,
               int64_t num_rows) override {
    Seen one = {.readers = {},
                .num_rows = num_rows,
                .k = readers.front()->view.k,
                .x = {}};
    for (const LinearWeight* reader : readers) {
      one.readers.push_back(reader->name.substr(reader->name.rfind('.') + 1));
    }
    one.x.assign(x, x + num_rows * one.k);
    seen.push_back(std::move(one));
    return seen.size() > stop_at_ ? Next::kStop : Next::kGoOn;
  }

  std::vector<Seen> seen;

 private:
  size_t stop_at_;
};

// A batch of whole sequences, each on pages of its own.
inline Batch WholeSequences(const std::vector<std::vector<int32_t>>& sequences,
                            int64_t pages_each) {
  Batch batch = {.token_ids = {},
                 .token_begin = {0},
                 .context_len = {},
                 .page_table = {},
                 .page_table_stride = pages_each,
                 .rope_length = {},
                 .logit_rows = {}};
  for (const auto& ids : sequences) {
    const auto size = static_cast<int32_t>(ids.size());
    batch.token_ids.insert(batch.token_ids.end(), ids.begin(), ids.end());
    batch.token_begin.push_back(batch.token_begin.back() + size);
    batch.context_len.push_back(size);
    batch.rope_length.push_back(size);
  }
  batch.page_table.resize(sequences.size() * static_cast<size_t>(pages_each));
  std::iota(batch.page_table.begin(), batch.page_table.end(), 0);
  return batch;
}

// Goes through one layer after the other, with a cache of one layer.
class LayerRunner {
 public:
  LayerRunner(Model* model, const std::vector<std::vector<int32_t>>& sequences,
              int64_t pages_each = 4)
      : model_(*model),
        batch_(WholeSequences(sequences, pages_each)),
        cache_(MakeCache(*model,
                         static_cast<int64_t>(sequences.size()) * pages_each)),
        x_(batch_.token_ids.size() *
           static_cast<size_t>(model->config().model_dim)) {}

  static KvCache MakeCache(const Model& model, int64_t num_pages) {
    Config config = model.config();
    config.num_layers = 1;
    return *KvCache::Create(config, {.format = kernels::ValueFormat::kF32,
                                     .num_pages = num_pages,
                                     .page_size = 16});
  }

  absl::Status Embed() { return model_.Embed(batch_, absl::MakeSpan(x_)); }
  absl::Status Layer(int64_t index, LinearObserver* observer = nullptr) {
    return model_.ForwardLayer(index, batch_, cache_, observer,
                               absl::MakeSpan(x_));
  }
  // From where an observer stopped, with what it was shown.
  absl::Status Resume(int64_t index, LayerStage stage, const Seen& seen,
                      LinearObserver* observer = nullptr) {
    return model_.ResumeLayer(index, stage, seen.x, observer,
                              absl::MakeSpan(x_));
  }

  std::vector<float>& x() { return x_; }
  Batch& batch() { return batch_; }

 private:
  Model& model_;
  Batch batch_;
  KvCache cache_;
  std::vector<float> x_;
};

}  // namespace zqfp::testing

#endif  // ZQFP_TESTS_MODELS_LAYER_RUNNER_H_
