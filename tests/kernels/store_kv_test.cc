// SPDX-License-Identifier: Apache-2.0
// StoreKv of every backend: the bytes of the definition at the right places,
// and no other byte touched.
#include <fmt/format.h>

#include <bit>

#include "tests/kernels/kv_batch.h"

namespace zqfp::kernels {
namespace {

const std::vector<Sequence> kMixed = {{5, 5}, {1, 9}, {3, 20}, {0, 4}, {1, 1}};

class StoreKvTest : public OpTest {
 protected:
  void Run(KvBatch& cache, const GuardedArray<float>& k,
           const GuardedArray<float>& v) {
    ops().store_kv({.batch = cache.batch(),
                    .k = k.data(),
                    .v = v.data(),
                    .pages = cache.pages()},
                   MakeExec({.num_tokens = cache.num_tokens(),
                             .num_heads = cache.pages().num_kv_heads,
                             .head_dim = cache.pages().head_dim}));
    Wait();
  }

  // Stores with the op in one cache and by definition in its twin.
  void Check(const std::vector<Sequence>& sequences, const KvShape& shape,
             float poison = 0) {
    std::mt19937 random(11);
    KvBatch found(random, sequences, shape);
    std::mt19937 again(11);
    KvBatch wanted(again, sequences, shape);
    const int64_t token = shape.num_kv_heads * shape.head_dim;
    GuardedArray<float> k = RandomFloats(random, found.num_tokens() * token);
    GuardedArray<float> v = RandomFloats(random, found.num_tokens() * token);
    if (poison != 0) k[k.size() - 1] = v[0] = poison;
    Run(found, k, v);
    int64_t row = 0;
    for (size_t s = 0; s < sequences.size(); ++s) {
      const auto [rows, context_len] = sequences[s];
      for (int64_t p = context_len - rows; p < context_len; ++p, ++row) {
        for (int64_t h = 0; h < shape.num_kv_heads; ++h) {
          const int64_t at = row * token + h * shape.head_dim;
          wanted.Write(wanted.Row(static_cast<int64_t>(s), p, h), k.data() + at,
                       v.data() + at);
        }
      }
    }
    if (poison == 0) {
      EXPECT_EQ(found.Bytes(), wanted.Bytes())
          << Name(shape.format) << " heads=" << shape.num_kv_heads
          << " page=" << shape.page_size << " dim=" << shape.head_dim;
      return;
    }
    // NaNs have many spellings; a poisoned element must not read as a number.
    const int64_t first =
        found.Row(0, sequences[0].context_len - sequences[0].rows, 0);
    EXPECT_FALSE(std::isfinite(found.Value(first, 0)));
  }
};

TEST_P(StoreKvTest, EveryFormatAndShapeByteForByte) {
  for (const ValueFormat format : kKvFormats) {
    for (const int64_t head_dim : {1, 8, 16, 20, 32, 64, 80, 128}) {
      for (const int64_t num_kv_heads : {1, 3}) {
        for (const int64_t page_size : {1, 4, 16}) {
          Check(kMixed, {format, num_kv_heads, page_size, head_dim});
        }
      }
    }
  }
}

TEST_P(StoreKvTest, ManyTokens) {
  for (const ValueFormat format : kKvFormats) {
    Check({{300, 300}, {1, 77}}, {format, 4, 16, 64});
  }
}

TEST_P(StoreKvTest, NothingToStore) {
  for (const ValueFormat format : kKvFormats) {
    Check({}, {format, 2, 4, 8});
    Check({{0, 3}}, {format, 2, 4, 8});
  }
}

TEST_P(StoreKvTest, NonFiniteNumbersStayNonFinite) {
  // Rounded up like a number, this NaN would be -0.
  const float longest_nan = std::bit_cast<float>(0x7fffffffu);
  for (const ValueFormat format : kKvFormats) {
    for (const float poison : {kNan, kInfinity, longest_nan}) {
      Check(kMixed, {format, 2, 4, 16}, poison);
    }
  }
}

ZQFP_FOR_ALL_MACHINES(StoreKvTest);

}  // namespace
}  // namespace zqfp::kernels
