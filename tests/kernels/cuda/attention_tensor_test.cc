// SPDX-License-Identifier: Apache-2.0
// Queries whose result is no number are attended to once more in another way,
// which would hide whatever goes wrong with NaNs on the first one: here the
// second way is spoilt.
#include <cmath>
#include <random>
#include <vector>

#include "kernels/cuda/attention.h"
#include "tests/kernels/kv_batch.h"

namespace zqfp::kernels::cuda {
namespace {

void LaunchTensor(const AttentionPlan& plan) {
  if (plan.args.pages.format == ValueFormat::kBf16) {
    LaunchTensorOf<ValueFormat::kBf16>(plan, Exec{});
  } else {
    LaunchTensorOf<ValueFormat::kE4m3>(plan, Exec{});
  }
  LaunchPrefillMerge(plan, Exec{});
}

// y of a prompt of 140 tokens with padded heads, several tiles of keys, splits
// and a window; the scale of queries that are not finite is another one.
std::vector<float> Attend(ValueFormat format, int64_t head_dim,
                          float other_scale, bool with_nan) {
  std::mt19937 random(47);
  KvBatch cache(random, {{140, 700}}, {format, 1, 16, head_dim});
  cache.FillAll(random);
  const std::vector<float> bad(static_cast<size_t>(head_dim), kNan);
  if (with_nan) cache.Write(cache.Row(0, 650, 0), bad.data(), bad.data());
  const GuardedArray<float> q = RandomFloats(random, 140 * head_dim);
  GuardedArray<float> y = Unwritten(q.size());
  const AttentionArgs args = {.batch = cache.batch(),
                              .num_heads = 1,
                              .scale = 0.25f,
                              .window = 600,
                              .q = q.data(),
                              .pages = cache.pages(),
                              .y = y.data()};
  GuardedArray<uint8_t> workspace(AttentionWorkspaceBytes(
      {.num_tokens = 140, .num_heads = 1, .head_dim = head_dim}));
  AttentionPlan plan = PlanPrefill(args, workspace.data());
  EXPECT_TRUE(plan.tensor_cores);
  EXPECT_GT(plan.splits, 1);
  plan.args.scale = other_scale;  // the tensor cores' own is plan.factor
  LaunchTensor(plan);
  return y.ToVector();
}

TEST(AttentionTensorTest, FiniteResultsComeFromTheTensorCores) {
  for (const ValueFormat format : {ValueFormat::kBf16, ValueFormat::kE4m3}) {
    for (const int64_t head_dim : {48, 64, 80, 96, 128, 240}) {
      const std::vector<float> y = Attend(format, head_dim, 0.25f, false);
      const std::vector<float> same = Attend(format, head_dim, kNan, false);
      EXPECT_EQ(y, same) << Name(format) << " " << head_dim;
    }
  }
}

// Rows 90 and above see the NaN of position 650; those of the same 16 queries
// and of those before, up to the end of its tile of 64 keys, meet it.
TEST(AttentionTensorTest, OthersComeFromTheQueryAlone) {
  for (const ValueFormat format : {ValueFormat::kBf16, ValueFormat::kE4m3}) {
    const std::vector<float> y = Attend(format, 64, 0.25f, true);
    const std::vector<float> spoilt = Attend(format, 64, kNan, true);
    for (int row = 0; row < 140; ++row) {
      const size_t at = static_cast<size_t>(row) * 64;
      EXPECT_EQ(std::isnan(y[at]), row >= 90) << row;
      EXPECT_EQ(std::isnan(spoilt[at]), row >= 80) << row;
    }
  }
}

}  // namespace
}  // namespace zqfp::kernels::cuda
