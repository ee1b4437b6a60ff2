// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_KV_CACHE_H_
#define ZQFP_MODELS_KV_CACHE_H_

// The memory behind the KV pages of all layers. Who owns which page is decided
// one floor up (engine/page_allocator.h).

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/core/device.h"
#include "kernels/core/views.h"
#include "models/config.h"

namespace zqfp {

struct KvCacheOptions {
  kernels::ValueFormat format = kernels::ValueFormat::kBf16;  // f32|bf16|e4m3
  int64_t num_pages = 0;
  int64_t page_size = 32;  // tokens
  kernels::Device* device =
      nullptr;  // Model::device(); null: the host's memory
};

// Bytes that one page takes over all layers, keys, values and scales.
int64_t KvPageBytes(const Config& config, const KvCacheOptions& options);

class KvCache {
 public:
  // ResourceExhausted where the memory cannot be had. Pages are touched only
  // when used.
  static absl::StatusOr<KvCache> Create(const Config& config,
                                        const KvCacheOptions& options);
  KvCache(KvCache&&);
  KvCache& operator=(KvCache&&);
  ~KvCache();

  kernels::KvPagesView Layer(int64_t layer_index) const;
  const KvCacheOptions& options() const;
  int64_t num_bytes() const;

 private:
  KvCache();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace zqfp

#endif  // ZQFP_MODELS_KV_CACHE_H_
