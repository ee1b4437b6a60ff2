// SPDX-License-Identifier: Apache-2.0
#include "models/kv_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace zqfp {
namespace {

using kernels::KvPagesView;
using kernels::ValueFormat;

Config MakeConfig(int64_t layers, int64_t kv_heads, int64_t head_dim) {
  Config config;
  config.num_layers = layers;
  config.num_kv_heads = kv_heads;
  config.head_dim = head_dim;
  return config;
}

// K, V and scales of all layers as [begin, end) in memory.
std::vector<std::pair<const char*, const char*>> Regions(const KvCache& cache,
                                                         int64_t layers) {
  std::vector<std::pair<const char*, const char*>> regions;
  for (int64_t i = 0; i < layers; ++i) {
    const KvPagesView view = cache.Layer(i);
    const int64_t values =
        view.num_pages * view.num_kv_heads * view.page_size * view.head_dim;
    const int64_t scales = view.num_pages * view.num_kv_heads * view.page_size;
    const auto add = [&](const void* data, int64_t bytes) {
      const char* begin = static_cast<const char*>(data);
      regions.emplace_back(begin, begin + bytes);
    };
    add(view.k, values * kernels::ValueBytes(view.format));
    add(view.v, values * kernels::ValueBytes(view.format));
    if (view.k_scale != nullptr) add(view.k_scale, scales * 4);
    if (view.v_scale != nullptr) add(view.v_scale, scales * 4);
  }
  return regions;
}

TEST(KvCache, LayersAreApartAlignedZeroAndWritable) {
  for (const ValueFormat format :
       {ValueFormat::kF32, ValueFormat::kBf16, ValueFormat::kE4m3}) {
    // Odd sizes: nothing is a multiple of anything.
    const Config config = MakeConfig(3, 5, 6);
    const auto cache = KvCache::Create(
        config, {.format = format, .num_pages = 7, .page_size = 3});
    ASSERT_TRUE(cache.ok()) << cache.status();
    EXPECT_EQ(cache->options().num_pages, 7);
    auto regions = Regions(*cache, 3);
    EXPECT_EQ(regions.size(), format == ValueFormat::kE4m3 ? 12u : 6u);
    std::sort(regions.begin(), regions.end());
    for (size_t i = 0; i < regions.size(); ++i) {
      const auto [begin, end] = regions[i];
      EXPECT_EQ(reinterpret_cast<uintptr_t>(begin) % 64, 0u);
      EXPECT_TRUE(std::all_of(begin, end, [](char c) { return c == 0; }));
      std::fill(const_cast<char*>(begin), const_cast<char*>(end), 'x');
      const char* last = i > 0 ? regions[i - 1].second : begin;
      EXPECT_LE(last, begin) << "regions overlap";
    }
    EXPECT_LE(regions.back().second - regions.front().first,
              cache->num_bytes());
  }
}

// By its definition: per token and head head_dim values, and for e4m3
// one f32 scale, of K and of V.
TEST(KvCache, PageBytesAreTheSumOfItsParts) {
  const Config config = MakeConfig(2, 4, 16);
  const auto bytes = [&](ValueFormat format) {
    return KvPageBytes(config,
                       {.format = format, .num_pages = 1, .page_size = 32});
  };
  EXPECT_EQ(bytes(ValueFormat::kF32), 2 * 2 * 32 * 4 * 16 * 4);
  EXPECT_EQ(bytes(ValueFormat::kBf16), 2 * 2 * 32 * 4 * 16 * 2);
  EXPECT_EQ(bytes(ValueFormat::kE4m3), 2 * 2 * 32 * 4 * (16 + 4));
}

TEST(KvCache, MovesKeepTheMemory) {
  auto first = KvCache::Create(MakeConfig(1, 1, 8), {.num_pages = 2});
  ASSERT_TRUE(first.ok());
  const void* k = first->Layer(0).k;
  KvCache moved = *std::move(first);
  EXPECT_EQ(moved.Layer(0).k, k);
  auto other = KvCache::Create(MakeConfig(1, 1, 8), {.num_pages = 1});
  moved = *std::move(other);
  EXPECT_EQ(moved.options().num_pages, 1);
}

TEST(KvCache, RefusesSizesThatCannotBe) {
  const Config config = MakeConfig(32, 8, 128);
  for (const KvCacheOptions& options :
       {KvCacheOptions{.num_pages = 0}, KvCacheOptions{.num_pages = -1},
        KvCacheOptions{.num_pages = 1, .page_size = 0},
        KvCacheOptions{.num_pages = int64_t{1} << 60},
        KvCacheOptions{.num_pages = INT64_MAX}}) {
    const auto cache = KvCache::Create(config, options);
    EXPECT_EQ(cache.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(cache.status().message()),
                ::testing::HasSubstr(std::to_string(options.num_pages)));
  }
}

// Pages cost memory when they are touched, not when they are promised.
TEST(KvCache, AHugeContextIsFreeUntilUsed) {
  const auto cache = KvCache::Create(MakeConfig(32, 8, 128),
                                     {.num_pages = 4096, .page_size = 32});
  ASSERT_TRUE(cache.ok()) << cache.status();
  EXPECT_EQ(cache->num_bytes(), int64_t{4096} * 32 * 8 * 128 * 2 * 2 * 32);
}

}  // namespace
}  // namespace zqfp
