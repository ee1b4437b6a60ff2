// SPDX-License-Identifier: Apache-2.0
#include "models/recorded_steps.h"

#include <algorithm>

#include "kernels/core/status_macros.h"

namespace zqfp {
namespace {

// Larger steps take longer than their launches.
constexpr int64_t kMostTokens = 256;
// A few contexts of every number of sequences; a recording takes some 100 KB.
constexpr size_t kMostEntries = 64;

int64_t Address(const void* memory) {
  return static_cast<int64_t>(reinterpret_cast<uintptr_t>(memory));
}

}  // namespace

RecordedSteps::Key RecordedSteps::KeyOf(
    const StepInputs& inputs, const KvCache& cache, int64_t num_layers,
    std::initializer_list<const void*> outputs) {
  const kernels::RaggedBatchView& batch = inputs.batch;
  Key key = {batch.num_tokens,        batch.num_sequences,
             batch.most_tokens,       batch.longest_context,
             batch.page_table_stride, inputs.num_logit_rows,
             Address(inputs.ids)};
  for (const void* output : outputs) key.push_back(Address(output));
  // Layers lie evenly between the first and the last.
  for (const int64_t layer : {int64_t{0}, num_layers - 1}) {
    const kernels::KvPagesView pages = cache.Layer(layer);
    key.insert(key.end(),
               {Address(pages.k), Address(pages.v), Address(pages.k_scale),
                Address(pages.v_scale), pages.page_size,
                static_cast<int64_t>(pages.format)});
  }
  return key;
}

absl::Status RecordedSteps::Run(const Key& key,
                                const std::function<void()>& enqueue) {
  if (key[0] > kMostTokens) {
    enqueue();
    return absl::OkStatus();
  }
  const auto found =
      std::find_if(entries_.begin(), entries_.end(),
                   [&](const Entry& entry) { return entry.key == key; });
  if (found == entries_.end()) {
    if (entries_.size() == kMostEntries) entries_.pop_back();
    entries_.push_front({key, nullptr});
    enqueue();
    return absl::OkStatus();
  }
  entries_.splice(entries_.begin(), entries_, found);
  Entry& entry = entries_.front();
  if (entry.ops == nullptr) {
    ZQFP_ASSIGN_OR_RETURN(entry.ops, device_.Record(enqueue));
  }
  if (entry.ops == nullptr) {  // turned off
    enqueue();
    return absl::OkStatus();
  }
  ++num_replays_;
  return entry.ops->Enqueue();
}

}  // namespace zqfp
