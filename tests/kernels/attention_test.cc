// SPDX-License-Identifier: Apache-2.0
// Attention of every backend against the textbook formula in f64: all scores
// first, then the softmax, then the weighted values.
#include "kernels/cuda/attention.h"

#include <fmt/format.h>

#include "tests/kernels/kv_batch.h"

namespace zqfp::kernels {
namespace {

// Prefill from nothing, decode, a chunk in the middle, no rows, one token.
const std::vector<Sequence> kMixed = {{7, 7}, {1, 40}, {5, 23},
                                      {0, 9}, {1, 1},  {1, 17}};

struct AttentionCase {
  KvShape shape;
  int64_t group = 1;  // query heads per KV head
  int64_t window = 0;
  float scale = 0.25f;
  float softcap = 0;
};

class AttentionTest : public OpTest {
 protected:
  void Run(KvBatch& cache, const AttentionCase& c, const GuardedArray<float>& q,
           GuardedArray<float>& y) {
    const int64_t num_heads = c.shape.num_kv_heads * c.group;
    ops().attention({.batch = cache.batch(),
                     .num_heads = num_heads,
                     .scale = c.scale,
                     .softcap = c.softcap,
                     .window = c.window,
                     .q = q.data(),
                     .pages = cache.pages(),
                     .y = y.data()},
                    MakeExec({.num_tokens = cache.num_tokens(),
                              .num_heads = num_heads,
                              .head_dim = c.shape.head_dim}));
    Wait();
  }

  // Whether a sequence's queries and weights are split in two by the backend:
  // kernels/cuda/attention_tensor.cuh.
  static bool OnBf16Pairs(const AttentionCase& c, const Sequence& sequence) {
    return GetParam().backend.rfind("cuda", 0) == 0 &&
           c.shape.format != ValueFormat::kF32 && c.shape.head_dim % 16 == 0 &&
           c.shape.head_dim <= 256 &&
           sequence.rows * c.group > cuda::kDecodeQueries;
  }

  // One query row against positions [first, last]; appends head_dim outputs.
  static void Attend(const KvBatch& cache, const AttentionCase& c,
                     const float* q, int64_t s, int64_t kv_head, int64_t first,
                     int64_t last, std::vector<Expected>& wanted) {
    const int64_t dim = c.shape.head_dim;
    std::vector<double> weights;
    double largest = -1e300, score_magnitude = 0, total = 0;
    for (int64_t p = first; p <= last; ++p) {
      double score = 0, magnitude = 0;
      for (int64_t i = 0; i < dim; ++i) {
        const double product = q[i] * cache.Key(cache.Row(s, p, kv_head), i);
        score += c.scale * product;
        magnitude += c.scale * std::fabs(product);
      }
      if (c.softcap > 0) score = c.softcap * std::tanh(score / c.softcap);
      weights.push_back(score);
      largest = std::max(largest, score);
      score_magnitude = std::max(score_magnitude, magnitude);
    }
    for (double& weight : weights) total += weight = std::exp(weight - largest);
    const double bound =
        ErrorBound(Op::kAttention,
                   {.kv = c.shape.format,
                    .context = last - first + 1,
                    .score_magnitude = score_magnitude,
                    .softcap = c.softcap,
                    .on_bf16_pairs = OnBf16Pairs(c, cache.sequences()[s])},
                   dim);
    for (int64_t i = 0; i < dim; ++i) {
      Expected y = {0, 0};
      for (int64_t p = first; p <= last; ++p) {
        const double term = weights[p - first] / total *
                            cache.Value(cache.Row(s, p, kv_head), i);
        y.value += term;
        y.tolerance += bound * std::fabs(term);
      }
      wanted.push_back(y);
    }
  }

  static std::vector<Expected> Exact(const KvBatch& cache,
                                     const AttentionCase& c,
                                     const GuardedArray<float>& q) {
    std::vector<Expected> wanted;
    int64_t row = 0;
    for (size_t s = 0; s < cache.sequences().size(); ++s) {
      const auto [rows, context_len] = cache.sequences()[s];
      for (int64_t p = context_len - rows; p < context_len; ++p) {
        for (int64_t h = 0; h < c.shape.num_kv_heads * c.group; ++h, ++row) {
          const int64_t first =
              c.window == 0 ? 0 : std::max<int64_t>(0, p - c.window + 1);
          Attend(cache, c, q.data() + row * c.shape.head_dim,
                 static_cast<int64_t>(s), h / c.group, first, p, wanted);
        }
      }
    }
    return wanted;
  }

  void Check(const std::vector<Sequence>& sequences, const AttentionCase& c,
             float q_spread = 1) {
    std::mt19937 random(13);
    KvBatch cache(random, sequences, c.shape);
    cache.FillAll(random);
    const int64_t size =
        cache.num_tokens() * c.shape.num_kv_heads * c.group * c.shape.head_dim;
    const GuardedArray<float> q = RandomFloats(random, size, q_spread);
    GuardedArray<float> y = Unwritten(size);
    Run(cache, c, q, y);
    ExpectClose(y, Exact(cache, c, q),
                fmt::format("{} kv_heads={} group={} dim={} page={} window={}",
                            Name(c.shape.format), c.shape.num_kv_heads, c.group,
                            c.shape.head_dim, c.shape.page_size, c.window));
  }
};

TEST_P(AttentionTest, EveryHeadDimAndFormat) {
  for (const ValueFormat format : kKvFormats) {
    for (const int64_t head_dim : {1, 8, 16, 20, 32, 64, 80, 96, 128, 256}) {
      Check(kMixed, {.shape = {format, 2, 8, head_dim}, .group = 2});
    }
  }
}

TEST_P(AttentionTest, EveryGroup) {
  for (const ValueFormat format : kKvFormats) {
    for (const int64_t group : {1, 2, 3, 4, 7, 8}) {
      for (const int64_t num_kv_heads : {1, 3}) {
        Check(kMixed,
              {.shape = {format, num_kv_heads, 16, 16}, .group = group});
      }
    }
  }
}

TEST_P(AttentionTest, EveryWindowAndPageSize) {
  for (const ValueFormat format : kKvFormats) {
    for (const int64_t page_size : {1, 3, 16, 64}) {
      for (const int64_t window : {0, 1, 2, 5, 8, 16, 17, 100}) {
        Check(kMixed, {.shape = {format, 1, page_size, 16},
                       .group = 2,
                       .window = window});
      }
    }
  }
}

TEST_P(AttentionTest, LongContexts) {
  for (const ValueFormat format : kKvFormats) {
    Check({{1, 700}, {33, 150}, {2, 257}},
          {.shape = {format, 2, 16, 64}, .group = 4});
    Check({{40, 300}},
          {.shape = {format, 1, 32, 80}, .group = 1, .window = 100});
  }
}

// Chunks of a prompt that fill more than one tile of any backend, by whole and
// by odd numbers of rows, and heads no vector fits.
TEST_P(AttentionTest, PromptsOfEveryHeadDim) {
  for (const ValueFormat format : kKvFormats) {
    for (const int64_t head_dim : {1, 7, 20, 64, 80, 96, 128, 256, 300, 512}) {
      Check({{35, 50}, {1, 30}},
            {.shape = {format, 1, 16, head_dim}, .group = 3});
    }
    Check({{130, 130}, {64, 64}, {33, 33}, {32, 32}},
          {.shape = {format, 2, 16, 16}, .group = 1});
  }
}

// Prompts of more than one tile of the largest kind, whose ends are neither
// those of a tile nor of a page, and heads that fill none of the usual sizes.
TEST_P(AttentionTest, PromptsOfSeveralTiles) {
  for (const ValueFormat format : kKvFormats) {
    for (const int64_t head_dim : {48, 64, 80, 112, 128, 144, 256}) {
      Check({{140, 211}}, {.shape = {format, 1, 24, head_dim}});
    }
    for (const int64_t window : {1, 33, 64, 130}) {
      Check({{90, 290}},
            {.shape = {format, 1, 16, 64}, .group = 3, .window = window});
    }
    Check({{70, 130}}, {.shape = {format, 1, 16, 128},
                        .group = 2,
                        .window = 65,
                        .softcap = 3});
  }
}

// One step with everything in it: long and short prompts, decode with contexts
// of very different lengths, a few rows at once.
TEST_P(AttentionTest, PromptsAndDecodeInOneStep) {
  const std::vector<Sequence> sequences = {{1, 900},  {100, 100}, {1, 5},
                                           {40, 600}, {8, 300},   {0, 77},
                                           {1, 129},  {17, 18}};
  for (const ValueFormat format : kKvFormats) {
    for (const int64_t window : {0, 70}) {
      for (const int64_t group : {1, 5}) {
        Check(sequences,
              {.shape = {format, 1, 16, 32}, .group = group, .window = window});
      }
    }
  }
}

// Contexts that are shared out among many threads or blocks, at the borders of
// the shares, too.
TEST_P(AttentionTest, ContextsInManyParts) {
  for (const ValueFormat format : kKvFormats) {
    for (const int64_t head_dim : {80, 96, 128, 256}) {
      Check({{1, 2311}}, {.shape = {format, 1, 64, head_dim}, .group = 8});
    }
    Check({{1, 2048}, {1, 2049}, {1, 128}, {1, 129}},
          {.shape = {format, 2, 16, 16}, .group = 1});
    Check({{3, 1025}}, {.shape = {format, 1, 16, 512}, .group = 2});
    Check({{40, 1100}, {33, 257}}, {.shape = {format, 1, 16, 64}, .group = 2});
  }
}

// One long context among so many short ones that nothing is shared out: its
// running maximum grows from run to run.
TEST_P(AttentionTest, ContextsInOnePart) {
  std::vector<Sequence> sequences = {{1, 700}};
  sequences.resize(133, {1, 2});
  for (const ValueFormat format : kKvFormats) {
    for (const int64_t head_dim : {80, 128}) {
      for (const int64_t group : {3, 8}) {
        Check(sequences, {.shape = {format, 1, 16, head_dim}, .group = group},
              4);
      }
    }
  }
}

// As many partial results as a backend can have at once.
TEST_P(AttentionTest, ContextsOfManyHeadsInParts) {
  Check({{40, 600}, {40, 600}, {40, 600}, {40, 600}},
        {.shape = {ValueFormat::kBf16, 33, 16, 8}, .group = 1});
  Check({{1, 600}, {4, 600}, {1, 300}},
        {.shape = {ValueFormat::kBf16, 22, 16, 8}, .group = 2});
}

// Windows smaller than such a part, as large, and larger.
TEST_P(AttentionTest, WindowsOfLongContexts) {
  for (const ValueFormat format : kKvFormats) {
    for (const int64_t window : {1, 60, 128, 700}) {
      Check({{1, 1500}, {5, 1300}, {36, 900}},
            {.shape = {format, 1, 16, 16}, .group = 2, .window = window});
    }
  }
}

// Far more heads on one KV head than any backend holds at once.
TEST_P(AttentionTest, ManyHeadsOnOne) {
  for (const ValueFormat format : kKvFormats) {
    Check({{1, 400}, {3, 60}}, {.shape = {format, 1, 16, 64}, .group = 71});
    Check({{1, 300}, {2, 60}}, {.shape = {format, 1, 16, 16}, .group = 32});
  }
}

// A sequence alone and among others is cut into different parts: the result
// may differ by rounding alone.
TEST_P(AttentionTest, OtherSequencesDoNotMatter) {
  for (const ValueFormat format : kKvFormats) {
    const AttentionCase c = {.shape = {format, 1, 16, 32}, .group = 4};
    std::vector<float> alone;
    for (const int64_t others : {0, 1, 4, 20, 300}) {
      std::vector<Sequence> sequences = {{1, 3000}};
      sequences.resize(others + 1, {1, 2});
      std::mt19937 order(23), random(29);
      KvBatch cache(order, sequences, c.shape);
      cache.FillAll(random);
      random.seed(31);
      const GuardedArray<float> q =
          RandomFloats(random, cache.num_tokens() * 4 * 32);
      GuardedArray<float> y = Unwritten(q.size());
      Run(cache, c, q, y);
      if (others == 0) alone = y.ToVector();
      for (size_t i = 0; i < alone.size(); ++i) {
        EXPECT_NEAR(y[i], alone[i], 1e-5) << Name(format) << " " << others;
      }
    }
  }
}

// Scores of several hundred: the softmax must subtract its maximum, whenever
// in the row that comes.
TEST_P(AttentionTest, LargeScores) {
  for (const ValueFormat format : kKvFormats) {
    Check(kMixed, {.shape = {format, 1, 8, 64}, .group = 2, .scale = 1.0f}, 30);
  }
}

// Prompts where a query or a weight with fewer bits than f32 would show: large
// scores of few dims, and the softmax of two positions.
TEST_P(AttentionTest, NothingIsRoundedToFewerBits) {
  for (const ValueFormat format : kKvFormats) {
    for (const int64_t head_dim : {1, 8, 16}) {
      const KvShape shape = {format, 1, 16, head_dim};
      Check({{40, 60}}, {.shape = shape, .group = 2, .scale = 1.0f}, 30);
      Check({{40, 60}},
            {.shape = shape, .group = 2, .window = 2, .scale = 0.05f});
    }
  }
}

// Scores far below, around and far above the cap.
TEST_P(AttentionTest, EverySoftcap) {
  for (const ValueFormat format : kKvFormats) {
    for (const float softcap : {0.5f, 5.0f, 50.0f}) {
      for (const int64_t window : {0, 5}) {
        Check(kMixed,
              {.shape = {format, 2, 8, 64},
               .group = 3,
               .window = window,
               .softcap = softcap},
              4);
      }
      Check({{1, 300}, {20, 150}},
            {.shape = {format, 1, 16, 32}, .group = 4, .softcap = softcap});
    }
  }
}

TEST_P(AttentionTest, NothingToAttend) {
  Check({}, {.shape = {ValueFormat::kBf16, 1, 8, 16}});
  Check({{0, 5}}, {.shape = {ValueFormat::kE4m3, 1, 8, 16}});
}

// A NaN or infinity in a query poisons that head and no other.
TEST_P(AttentionTest, NanStaysInItsHead) {
  for (const ValueFormat format : kKvFormats) {
    const AttentionCase c = {.shape = {format, 2, 8, 16}, .group = 2};
    std::mt19937 random(17);
    KvBatch cache(random, kMixed, c.shape);
    cache.FillAll(random);
    GuardedArray<float> q = RandomFloats(random, cache.num_tokens() * 4 * 16);
    q[9 * 16 + 5] = kNan;  // token 2, head 1
    GuardedArray<float> y = Unwritten(q.size());
    Run(cache, c, q, y);
    for (int64_t i = 0; i < y.size(); ++i) {
      EXPECT_EQ(std::isnan(y[i]), i / 16 == 9) << Name(format) << " " << i;
    }
  }
}

// A NaN key or value poisons its own sequence's later tokens, no other's.
TEST_P(AttentionTest, NanStaysInItsSequence) {
  for (const ValueFormat format : kKvFormats) {
    for (const bool in_key : {true, false}) {
      const AttentionCase c = {.shape = {format, 1, 4, 16}};
      std::mt19937 random(19);
      KvBatch cache(random, {{4, 10}, {2, 12}, {1, 6}}, c.shape);
      cache.FillAll(random);
      std::vector<float> good(16, 0.5f), bad(16, 0.5f);
      bad[3] = kNan;
      // Position 8 of sequence 0, whose rows are positions 6..9.
      cache.Write(cache.Row(0, 8, 0), in_key ? bad.data() : good.data(),
                  in_key ? good.data() : bad.data());
      const GuardedArray<float> q = RandomFloats(random, 7 * 16);
      GuardedArray<float> y = Unwritten(q.size());
      Run(cache, c, q, y);
      for (int64_t i = 0; i < y.size(); ++i) {
        const int64_t row = i / 16;
        const bool sees = row == 2 || row == 3;
        // A bf16 or f32 value is NaN in one dimension only.
        const bool whole_row = in_key || format == ValueFormat::kE4m3;
        EXPECT_EQ(std::isnan(y[i]), sees && (whole_row || i % 16 == 3))
            << Name(format) << " row " << row << " dim " << i % 16;
      }
    }
  }
}

// A NaN among the keys and values of a long prompt, in the middle of a tile:
// rows that do not see it are what they are without, the others are NaNs.
TEST_P(AttentionTest, NanStaysOutOfEarlierRows) {
  for (const ValueFormat format : kKvFormats) {
    for (const int64_t window : {0, 10}) {
      const AttentionCase c = {.shape = {format, 1, 16, 16}, .window = window};
      std::mt19937 random(37);
      KvBatch cache(random, {{90, 300}}, c.shape);
      cache.FillAll(random);
      const GuardedArray<float> q = RandomFloats(random, 90 * 16);
      GuardedArray<float> y = Unwritten(q.size());
      Run(cache, c, q, y);
      const std::vector<float> clean = y.ToVector();
      const std::vector<float> bad(16, kNan);
      cache.Write(cache.Row(0, 250, 0), bad.data(), bad.data());
      Run(cache, c, q, y);
      for (int64_t i = 0; i < y.size(); ++i) {
        const int64_t position = 210 + i / 16;
        EXPECT_EQ(std::isnan(y[i]),
                  position >= 250 && (window == 0 || position < 260))
            << Name(format) << " position " << position;
        if (std::isnan(y[i])) continue;
        EXPECT_NEAR(y[i], clean[i], 1e-4)
            << Name(format) << " position " << position;
      }
    }
  }
}

// An infinity among the keys is a weight of zero or none at all, one among the
// values is a result: as if they were very large.
TEST_P(AttentionTest, InfiniteKeysAndValuesAreLargeOnes) {
  for (const ValueFormat format : {ValueFormat::kF32, ValueFormat::kBf16}) {
    const AttentionCase c = {.shape = {format, 1, 16, 32}, .window = 320};
    std::vector<float> finite;
    for (const float large : {1e30f, kInfinity}) {
      std::mt19937 random(43);
      KvBatch cache(random, {{60, 450}}, c.shape);
      cache.FillAll(random);
      std::vector<float> key(32, 0.0f), value(32, 0.5f);
      key[3] = -large;
      cache.Write(cache.Row(0, 405, 0), key.data(), value.data());
      key[3] = 0;
      value[5] = large;
      cache.Write(cache.Row(0, 420, 0), key.data(), value.data());
      GuardedArray<float> q = RandomFloats(random, 60 * 32);
      for (int64_t i = 3; i < q.size(); i += 32) q[i] = 1 + std::fabs(q[i]);
      GuardedArray<float> y = Unwritten(q.size());
      Run(cache, c, q, y);
      if (large < kInfinity) finite = y.ToVector();
      for (int64_t i = 0; i < y.size(); ++i) {
        const bool is_large = i / 32 >= 30 && i % 32 == 5;
        const std::string where = fmt::format("{} {}", Name(format), i);
        if (large < kInfinity || !is_large) {
          EXPECT_NEAR(y[i], finite[i], 1e-4 * std::fabs(finite[i]) + 1e-5)
              << where;
        } else {
          EXPECT_EQ(y[i], kInfinity) << where;
        }
      }
    }
  }
}

// An infinite query makes infinite scores, of which nothing is left but NaNs.
TEST_P(AttentionTest, AnInfiniteQueryIsNoNumber) {
  for (const ValueFormat format : kKvFormats) {
    const AttentionCase c = {.shape = {format, 1, 16, 16}, .group = 2};
    std::mt19937 random(41);
    KvBatch cache(random, {{1, 500}, {40, 60}}, c.shape);
    cache.FillAll(random);
    GuardedArray<float> q = RandomFloats(random, cache.num_tokens() * 2 * 16);
    q[0 * 16 + 3] = kInfinity;    // the decode row, head 0
    q[21 * 16 + 3] = -kInfinity;  // row 10, head 1
    GuardedArray<float> y = Unwritten(q.size());
    Run(cache, c, q, y);
    for (int64_t i = 0; i < y.size(); ++i) {
      EXPECT_EQ(std::isnan(y[i]), i / 16 == 0 || i / 16 == 21)
          << Name(format) << " " << i;
    }
  }
}

ZQFP_FOR_ALL_MACHINES(AttentionTest);

}  // namespace
}  // namespace zqfp::kernels
