// SPDX-License-Identifier: Apache-2.0
// Tiles whose keys several blocks share: what those leave is merged in the
// order of the keys whichever block is the last one, and every launch finds the
// counters of arrivals at zero, whatever ran before on the same memory.
#include <stdlib.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_tile.cuh"
#include "kernels/cuda/device.h"
#include "kernels/cuda/ops.h"
#include "tests/kernels/kv_batch.h"

namespace zqfp::kernels::cuda {
namespace {

constexpr const char* kOrders[] = {"ascending", "descending"};

// In which order blocks and threads run, for as long as it lives.
class Order {
 public:
  explicit Order(const char* value) { setenv("ZQFP_EMULATOR_ORDER", value, 1); }
  ~Order() { unsetenv("ZQFP_EMULATOR_ORDER"); }
};

struct StepShape {
  std::vector<Sequence> sequences;
  KvShape kv;
  int64_t group = 1;
  int64_t window = 0;
};

// One step's attention.
class Step {
 public:
  explicit Step(const StepShape& shape)
      : shape_(shape),
        random_(53),
        cache_(random_, shape.sequences, shape.kv),
        num_heads_(shape.kv.num_kv_heads * shape.group),
        q_(RandomFloats(random_,
                        cache_.num_tokens() * num_heads_ * shape.kv.head_dim)) {
    cache_.FillAll(random_);
  }

  AttentionArgs Args(float* y) {
    return {.batch = cache_.batch(),
            .num_heads = num_heads_,
            .scale = 0.25f / unit_,
            .window = shape_.window,
            .q = q_.data(),
            .pages = cache_.pages(),
            .y = y};
  }
  int64_t WorkspaceBytes() const {
    const int64_t bytes =
        AttentionWorkspaceBytes({.num_tokens = cache_.num_tokens(),
                                 .num_heads = num_heads_,
                                 .head_dim = shape_.kv.head_dim});
    return (bytes + 63) / 64 * 64;
  }

  // Queries so many times as large, scores as large as they were.
  void MeasureQueriesIn(float unit) {
    for (float& value : q_) value = value / unit_ * unit;
    unit_ = unit;
  }

  // All values so many times as large, and so y.
  void MultiplyValues(float unit) {
    const KvPagesView pages = cache_.pages();
    const int64_t rows = pages.num_pages * pages.num_kv_heads * pages.page_size;
    for (int64_t row = 0; row < rows; ++row) pages.v_scale[row] *= unit;
  }

  // The value of the newest token of the first sequence is no number.
  void SpoilNewestValue() {
    const int32_t newest = shape_.sequences[0].context_len - 1;
    const int64_t dim = shape_.kv.head_dim;
    auto* values = static_cast<uint8_t*>(cache_.pages().v);
    for (int64_t head = 0; head < shape_.kv.num_kv_heads; ++head) {
      std::fill_n(values + cache_.Row(0, newest, head) * dim, dim, 0x7f);
    }
  }

  // y, by blocks in this order.
  std::vector<float> Run(const char* order, void* workspace) {
    const Order in_this(order);
    GuardedArray<float> y = Unwritten(q_.size());
    Attention(Args(y.data()), {.workspace = workspace});
    return y.ToVector();
  }

 private:
  StepShape shape_;
  std::mt19937 random_;
  KvBatch cache_;
  int64_t num_heads_;
  GuardedArray<float> q_;
  float unit_ = 1;
};

// A dimension of a query, from what the blocks of its tile have left.
float Merged(const AttentionPlan& plan, const QueryTile& tile, uint32_t block,
             int query, int64_t d) {
  const int32_t splits = SplitsOf(plan, tile);
  const auto at = [&](int32_t split) {
    return PartialIndex(plan, block, static_cast<uint32_t>(split), query);
  };
  float maximum = -kInfinity;
  for (int32_t s = 0; s < splits; ++s) {
    maximum = std::fmax(maximum, plan.partial_maximum[at(s)]);
  }
  const int64_t stride = PartialStride(plan.args.pages.head_dim);
  float sum = 0, total = 0;
  for (int32_t s = 0; s < splits; ++s) {
    const float shrink =
        expf(plan.partial_maximum[at(s)] - Subtrahend(maximum));
    sum = fmaf(plan.partial_sum[at(s) * stride + d], shrink, sum);
    total = fmaf(plan.partial_total[at(s)], shrink, total);
  }
  return sum / total;
}

// How many blocks share each tile of a plan.
std::vector<int32_t> Splits(const AttentionPlan& plan) {
  std::vector<int32_t> splits;
  for (uint32_t block = 0; block < plan.blocks(); ++block) {
    splits.push_back(SplitsOf(plan, FindTile(plan, block)));
  }
  return splits;
}

// Bits: that every query of a tile with several splits is merged.
void ExpectMergedInOrder(const AttentionPlan& plan,
                         const std::vector<float>& y) {
  const int64_t dim = plan.args.pages.head_dim;
  for (uint32_t block = 0; block < plan.blocks(); ++block) {
    const QueryTile tile = FindTile(plan, block);
    if (SplitsOf(plan, tile) <= 1) continue;
    for (int query = 0; query < tile.num_queries; ++query) {
      for (int64_t d = 0; d < dim; ++d) {
        ASSERT_EQ(y[static_cast<size_t>(QueryRow(plan, tile, query) * dim + d)],
                  Merged(plan, tile, block, query, d))
            << "tile " << block << " query " << query << " dim " << d;
      }
    }
  }
}

struct SplitCase {
  StepShape shape;
  std::vector<int32_t> splits;  // of its tiles
};

// One query a tile, a few, eight and more than one tile; heads of less than a
// warp's 128 dims, as many, of whole and of odd pieces more.
std::vector<SplitCase> DecodeCases(ValueFormat format) {
  return {
      {{{{1, 8192}}, {format, 1, 64, 16}, 8}, {64}},
      {{{{1, 128}}, {format, 1, 64, 16}}, {1}},
      {{{{1, 2100}}, {format, 1, 64, 128}}, {17}},
      {{{{1, 4200}}, {format, 1, 64, 128}, 4}, {33}},
      {{{{1, 1000}}, {format, 1, 16, 256}, 8}, {8}},
      {{{{1, 700}}, {format, 2, 16, 7}, 3}, {6, 6}},
      {{{{1, 600}}, {format, 1, 16, 300}, 2}, {5}},
      {{{{1, 500}}, {format, 1, 16, 32}, 12}, {4, 4}},
      {{{{1, 3000}, {1, 2}, {0, 9}, {1, 129}, {1, 128}}, {format, 1, 16, 16}},
       {24, 1, 0, 2, 1}},
      {{{{3, 513}, {1, 40}}, {format, 1, 16, 64}, 2, 300}, {3, 1}},
  };
}

TEST(AttentionSplitTest, TheLastBlockOfATileMergesItInTheOrderOfItsKeys) {
  for (const ValueFormat format : kKvFormats) {
    for (const SplitCase& c : DecodeCases(format)) {
      Step step(c.shape);
      GuardedArray<uint8_t> workspace(step.WorkspaceBytes(), 0xff);
      const AttentionPlan plan =
          PlanDecode(step.Args(nullptr), workspace.data());
      EXPECT_EQ(Splits(plan), c.splits) << Name(format);
      for (const char* order : kOrders) {
        SCOPED_TRACE(Name(format) + " " + order);
        ExpectMergedInOrder(plan, step.Run(order, workspace.data()));
      }
    }
  }
}

TEST(AttentionSplitTest, PromptsAreMergedInTheOrderOfTheirKeys) {
  for (const ValueFormat format : kKvFormats) {
    for (const int64_t head_dim : {7, 64, 128, 256}) {
      Step step({{{40, 1100}, {35, 300}}, {format, 1, 16, head_dim}});
      GuardedArray<uint8_t> workspace(step.WorkspaceBytes(), 0xff);
      const AttentionPlan plan =
          PlanPrefill(step.Args(nullptr), workspace.data());
      EXPECT_GT(plan.splits, 1);
      for (const char* order : kOrders) {
        SCOPED_TRACE(Name(format) + " " + order);
        ExpectMergedInOrder(plan, step.Run(order, workspace.data()));
      }
    }
  }
}

// Steps one after the other on one workspace that is never cleared, in both
// orders: decode of many and of few splits, of as many tiles as can have any,
// with prompts and after prompts.
TEST(AttentionSplitTest, NoStepDependsOnThoseBefore) {
  for (const ValueFormat format : kKvFormats) {
    const KvShape kv = {format, 1, 16, 16};
    std::vector<Step> steps;
    steps.emplace_back(StepShape{{{1, 900}, {40, 600}, {1, 5}, {8, 300}}, kv});
    steps.emplace_back(StepShape{{{1, 4000}}, kv});
    steps.emplace_back(StepShape{{{1, 700}, {1, 300}, {1, 1}}, kv, 8});
    steps.emplace_back(
        StepShape{std::vector<Sequence>(kMostSplitTiles, {1, 130}), kv});
    steps.emplace_back(StepShape{{{1, 5}}, kv});
    steps.emplace_back(StepShape{{{35, 600}}, kv});
    int64_t bytes = 0;
    std::vector<std::vector<float>> alone;
    for (Step& step : steps) {
      GuardedArray<uint8_t> workspace(step.WorkspaceBytes(), 0xff);
      alone.push_back(step.Run("ascending", workspace.data()));
      bytes = std::max(bytes, step.WorkspaceBytes());
    }
    GuardedArray<uint8_t> workspace(bytes, 0x3f);
    for (const size_t i : {1, 0, 2, 3, 1, 4, 3, 5, 2, 0}) {
      for (const char* order : kOrders) {
        EXPECT_EQ(steps[i].Run(order, workspace.data()), alone[i])
            << Name(format) << " step " << i << " " << order;
      }
    }
  }
}

// A recorded launch is the same one again, with the counters that it has left.
TEST(AttentionSplitTest, ARecordedStepRunsAgain) {
  Device* const device = *OpenDevice();
  Step step({{{1, 600}, {1, 300}}, {ValueFormat::kE4m3, 1, 16, 16}});
  GuardedArray<uint8_t> workspace(step.WorkspaceBytes(), 0xff);
  const std::vector<float> wanted = step.Run("ascending", workspace.data());
  GuardedArray<float> y = Unwritten(static_cast<int64_t>(wanted.size()));
  const auto recorded = device->Record([&] {
    Attention(step.Args(y.data()),
              {.workspace = workspace.data(), .stream = device->stream()});
  });
  ASSERT_TRUE(recorded.ok()) << recorded.status();
  for (int run = 0; run < 3; ++run) {
    for (float& value : y) value = kNan;
    ASSERT_TRUE((*recorded)->Enqueue().ok());
    ASSERT_TRUE(device->Synchronize().ok());
    EXPECT_EQ(y.ToVector(), wanted) << run;
  }
}

// Powers of two leave the bits of decode alone, also where queries are beyond
// f16, which the tensor cores take them in.
TEST(AttentionSplitTest, QueriesOfAnyMagnitude) {
  for (const int64_t head_dim : {96, 128}) {
    for (const int64_t group : {1, 3, 8}) {
      Step step({{{1, 200}}, {ValueFormat::kE4m3, 2, 64, head_dim}, group});
      GuardedArray<uint8_t> workspace(step.WorkspaceBytes(), 0);
      const std::vector<float> wanted = step.Run("ascending", workspace.data());
      for (const float unit : {0x1p50f, 0x1p-50f}) {
        step.MeasureQueriesIn(unit);
        EXPECT_EQ(step.Run("ascending", workspace.data()), wanted)
            << head_dim << " dims, group " << group << ", unit " << unit;
      }
    }
  }
}

// The same of the values, whose weights with their scales the tensor cores take
// in f16, too.
TEST(AttentionSplitTest, ValuesOfAnyMagnitude) {
  struct Case {
    int32_t context;
    float unit;
  };
  for (const int64_t head_dim : {80, 128}) {
    for (const int64_t group : {1, 3, 8}) {
      // The last one is below the smallest power that a weight is divided by.
      for (const Case& c :
           {Case{40, 0x1p100f}, Case{40, 0x1p-50f}, Case{1, 0x1p-112f}}) {
        Step step(
            {{{1, c.context}}, {ValueFormat::kE4m3, 2, 64, head_dim}, group});
        GuardedArray<uint8_t> workspace(step.WorkspaceBytes(), 0);
        std::vector<float> wanted = step.Run("ascending", workspace.data());
        for (float& y : wanted) y *= c.unit;
        step.MultiplyValues(c.unit);
        EXPECT_EQ(step.Run("ascending", workspace.data()), wanted)
            << head_dim << " dims, group " << group << ", unit " << c.unit;
      }
    }
  }
}

// Two tokens in one tile: what the first one does not see it does not notice.
TEST(AttentionSplitTest, ValuesThatAreNotSeenMayBeAnything) {
  for (const int64_t head_dim : {64, 80, 128}) {
    for (const int64_t group : {1, 2, 4}) {
      for (const int32_t context : {2, 32, 33, 64, 200}) {
        Step step(
            {{{2, context}}, {ValueFormat::kE4m3, 1, 64, head_dim}, group});
        GuardedArray<uint8_t> workspace(step.WorkspaceBytes(), 0);
        const std::vector<float> wanted =
            step.Run("ascending", workspace.data());
        step.SpoilNewestValue();
        const std::vector<float> found =
            step.Run("ascending", workspace.data());
        const size_t half = wanted.size() / 2;
        for (size_t i = 0; i < wanted.size(); ++i) {
          if (i < half) {
            EXPECT_EQ(found[i], wanted[i]) << context << " " << group;
          } else {
            EXPECT_TRUE(std::isnan(found[i])) << context << " " << group;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace zqfp::kernels::cuda
