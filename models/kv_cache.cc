// SPDX-License-Identifier: Apache-2.0
#include "models/kv_cache.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <utility>

#include "kernels/core/status_macros.h"

namespace zqfp {
namespace {

// Values of K (or of V) on one page of one layer.
int64_t PageValues(const Config& config, const KvCacheOptions& options) {
  return config.num_kv_heads * options.page_size * config.head_dim;
}

// Scales of K (or of V) on one page of one layer.
int64_t PageScales(const Config& config, const KvCacheOptions& options) {
  return options.format == kernels::ValueFormat::kE4m3
             ? config.num_kv_heads * options.page_size
             : 0;
}

int64_t Align(int64_t bytes) { return (bytes + 255) / 256 * 256; }

}  // namespace

int64_t KvPageBytes(const Config& config, const KvCacheOptions& options) {
  const int64_t values =
      PageValues(config, options) * kernels::ValueBytes(options.format);
  const int64_t scales = PageScales(config, options) * 4;
  return 2 * config.num_layers * (values + scales);
}

// One anonymous mapping, or memory of the device; each layer is K, V, K scales,
// V scales. The kernel hands out zero pages on first touch, so unused pages
// cost nothing.
struct KvCache::State {
  KvCacheOptions options;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t value_bytes = 0;  // of K or V of one layer, aligned
  int64_t scale_bytes = 0;
  char* memory = nullptr;
  kernels::DeviceMemory on_device;  // `memory`, where it is a device's
  int64_t num_bytes = 0;

  ~State() {
    if (memory == nullptr || on_device != nullptr) return;
    munmap(memory, static_cast<size_t>(num_bytes));
  }
};

KvCache::KvCache() = default;
KvCache::KvCache(KvCache&&) = default;
KvCache& KvCache::operator=(KvCache&&) = default;
KvCache::~KvCache() = default;

absl::StatusOr<KvCache> KvCache::Create(const Config& config,
                                        const KvCacheOptions& options) {
  constexpr int64_t kMost = int64_t{1} << 46;
  const int64_t page_bytes = KvPageBytes(config, options);
  if (options.num_pages < 1 || options.page_size < 1 ||
      options.num_pages > kMost / (page_bytes + 1024)) {
    return absl::InvalidArgumentError(
        fmt::format("KV cache: want 1 or more pages of 1 or more tokens that "
                    "fit in 64 TiB, found {} pages of {} tokens",
                    options.num_pages, options.page_size));
  }
  KvCache cache;
  cache.state_ = std::make_unique<State>();
  State& state = *cache.state_;
  state.options = options;
  state.num_kv_heads = config.num_kv_heads;
  state.head_dim = config.head_dim;
  state.value_bytes = Align(options.num_pages * PageValues(config, options) *
                            kernels::ValueBytes(options.format));
  state.scale_bytes =
      Align(options.num_pages * PageScales(config, options) * 4);
  state.num_bytes =
      config.num_layers * 2 * (state.value_bytes + state.scale_bytes);
  if (options.device != nullptr) {
    ZQFP_ASSIGN_OR_RETURN(state.on_device,
                          options.device->Allocate(state.num_bytes));
    state.memory = static_cast<char*>(state.on_device.get());
    return cache;
  }
  void* memory = mmap(nullptr, static_cast<size_t>(state.num_bytes),
                      PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        fmt::format("KV cache: want {} bytes for {} pages, the system refused",
                    state.num_bytes, options.num_pages));
  }
  state.memory = static_cast<char*>(memory);
  return cache;
}

kernels::KvPagesView KvCache::Layer(int64_t layer_index) const {
  const State& s = *state_;
  char* k = s.memory + layer_index * 2 * (s.value_bytes + s.scale_bytes);
  char* v = k + s.value_bytes;
  char* k_scale = v + s.value_bytes;
  char* v_scale = k_scale + s.scale_bytes;
  const bool scaled = s.scale_bytes > 0;
  return {.format = s.options.format,
          .num_pages = s.options.num_pages,
          .num_kv_heads = s.num_kv_heads,
          .page_size = s.options.page_size,
          .head_dim = s.head_dim,
          .k = k,
          .v = v,
          .k_scale = scaled ? reinterpret_cast<float*>(k_scale) : nullptr,
          .v_scale = scaled ? reinterpret_cast<float*>(v_scale) : nullptr};
}

const KvCacheOptions& KvCache::options() const { return state_->options; }
int64_t KvCache::num_bytes() const { return state_->num_bytes; }

}  // namespace zqfp
