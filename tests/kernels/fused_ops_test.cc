// SPDX-License-Identifier: Apache-2.0
// FusedOps of the backends that have them: what the plain ops give one after
// the other.
#include <fmt/format.h>
#include <string.h>

#include <algorithm>
#include <cmath>

#include "kernels/core/check.h"
#include "tests/kernels/kv_batch.h"
#include "tests/kernels/tensor_core_sums.h"
#include "tests/kernels/test_tokens.h"
#include "tests/kernels/test_weight.h"

namespace zqfp::kernels {
namespace {

struct Codes {
  Codes(int64_t rows, int64_t dim)
      : q(rows * dim, 0xaa), scale(Unwritten(rows)) {}
  GuardedArray<uint8_t> q;
  GuardedArray<float> scale;

  QuantizeTokensArgs Args(const float* x) {
    return {.num_tokens = scale.size(),
            .dim = scale.size() == 0 ? 0 : q.size() / scale.size(),
            .x = x,
            .q = q.data(),
            .scale = scale.data()};
  }
};

template <typename T>
void ExpectSameBytes(const GuardedArray<T>& found,
                     const GuardedArray<T>& wanted, const std::string& what) {
  ASSERT_EQ(found.size(), wanted.size());
  const auto bytes = static_cast<size_t>(found.size()) * sizeof(T);
  EXPECT_EQ(memcmp(found.data(), wanted.data(), bytes), 0) << what;
}

class FusedOpsTest : public OpTest {
 protected:
  const FusedOps& fused() const { return ops().fused; }
};

TEST_P(FusedOpsTest, RmsNormThenQuantize) {
  std::mt19937 random(1);
  for (const int64_t rows : {0, 1, 2, 7, 40}) {
    for (const int64_t dim : {1, 2, 15, 16, 64, 172, 1000, 2048, 5120}) {
      GuardedArray<float> x = RandomFloats(random, rows * dim);
      const int64_t nan_row = rows == 7 ? 3 : -1;
      if (nan_row >= 0) x[nan_row * dim] = kNan;
      const GuardedArray<float> weight = RandomFloats(random, dim);
      GuardedArray<float> y = Unwritten(rows * dim);
      RmsNormArgs args = {.num_rows = rows,
                          .dim = dim,
                          .epsilon = 1e-5f,
                          .x = x.data(),
                          .weight = weight.data(),
                          .y = y.data()};
      const Exec exec = MakeExec({.num_tokens = rows, .k = dim});
      Codes wanted(rows, dim), found(rows, dim);
      ops().rms_norm(args, exec);
      ops().quantize_tokens(wanted.Args(y.data()), exec);
      args.y = nullptr;
      fused().rms_norm_quantize(args, found.Args(nullptr), exec);
      Wait();
      const std::string what = fmt::format("{} x {}", rows, dim);
      if (nan_row >= 0) {  // its codes may be any NaN
        EXPECT_TRUE(std::isnan(found.scale[nan_row])) << what;
        std::copy_n(&wanted.q[nan_row * dim], dim, &found.q[nan_row * dim]);
        found.scale[nan_row] = wanted.scale[nan_row];
      }
      ExpectSameBytes(found.q, wanted.q, what);
      ExpectSameBytes(found.scale, wanted.scale, what);
    }
  }
}

TEST_P(FusedOpsTest, ActivateThenQuantize) {
  std::mt19937 random(2);
  for (const Activation activation :
       {Activation::kSilu, Activation::kRelu, Activation::kGeluTanh}) {
    for (const int64_t dim : {1, 15, 64, 172, 1376, 5504}) {
      for (const bool gated : {false, true}) {
        constexpr int64_t kRows = 3;
        const GuardedArray<float> x = RandomFloats(random, kRows * dim);
        const GuardedArray<float> up = RandomFloats(random, kRows * dim);
        GuardedArray<float> y = Unwritten(kRows * dim);
        ActivateArgs args = {.num_tokens = kRows,
                             .dim = dim,
                             .activation = activation,
                             .x = x.data(),
                             .up = gated ? up.data() : nullptr,
                             .y = y.data()};
        const Exec exec = MakeExec({.num_tokens = kRows, .k = dim});
        Codes wanted(kRows, dim), found(kRows, dim);
        ops().activate(args, exec);
        ops().quantize_tokens(wanted.Args(y.data()), exec);
        args.y = nullptr;
        fused().activate_quantize(args, found.Args(nullptr), exec);
        Wait();
        const std::string what =
            fmt::format("activation {}, {} values, gated {}",
                        static_cast<int>(activation), dim, gated);
        ExpectSameBytes(found.q, wanted.q, what);
        ExpectSameBytes(found.scale, wanted.scale, what);
      }
    }
  }
}

// What rope, store_kv and attention of one step read and write.
struct Step {
  Step(const KvShape& shape, int64_t num_heads, int64_t rotary_dim,
       const std::vector<Sequence>& sequences)
      : random(4),
        batch(random, sequences, shape),
        num_heads(num_heads),
        rotary_dim(rotary_dim) {
    const int64_t tokens = batch.num_tokens();
    batch.FillAll(random);
    q = RandomFloats(random, tokens * num_heads * shape.head_dim);
    k = RandomFloats(random, tokens * shape.num_kv_heads * shape.head_dim);
    v = RandomFloats(random, k.size());
    cos = RandomFloats(random, tokens * rotary_dim / 2);
    sin = RandomFloats(random, tokens * rotary_dim / 2);
    y = Unwritten(q.size());
    q_norm = RandomFloats(random, shape.head_dim);
    k_norm = RandomFloats(random, shape.head_dim);
  }

  std::mt19937 random;
  KvBatch batch;
  int64_t num_heads, rotary_dim;
  GuardedArray<float> q, k, v, cos, sin, y, q_norm, k_norm;

  HeadNorms Norms() const {
    return {
        .q_weight = q_norm.data(), .k_weight = k_norm.data(), .epsilon = 1e-5f};
  }
  static RmsNormArgs NormOf(const RopeArgs& heads, const float* weight) {
    return {.num_rows = heads.num_tokens * heads.num_heads,
            .dim = heads.head_dim,
            .epsilon = 1e-5f,
            .x = heads.x,
            .weight = weight,
            .y = heads.x};
  }
  RopeArgs Rope(int64_t heads, GuardedArray<float>& x) {
    return {.num_tokens = batch.num_tokens(),
            .num_heads = heads,
            .head_dim = batch.pages().head_dim,
            .rotary_dim = rotary_dim,
            .cos = cos.data(),
            .sin = sin.data(),
            .x = x.data()};
  }
  RopeArgs Queries() { return Rope(num_heads, q); }
  RopeArgs Keys() { return Rope(batch.pages().num_kv_heads, k); }
  StoreKvArgs Store() {
    return {batch.batch(), k.data(), v.data(), batch.pages()};
  }
  AttentionArgs Attend(int64_t window) {
    return {.batch = batch.batch(),
            .num_heads = num_heads,
            .scale = 0.1f,
            .window = window,
            .q = q.data(),
            .pages = batch.pages(),
            .y = y.data()};
  }
};

TEST_P(FusedOpsTest, RopeThenStoreKv) {
  struct Dims {
    int64_t head, rotary;
  };
  const std::vector<Sequence> sequences = {
      {5, 5}, {1, 9}, {3, 20}, {0, 4}, {1, 1}};
  for (const ValueFormat format :
       {ValueFormat::kF32, ValueFormat::kBf16, ValueFormat::kE4m3}) {
    for (const Dims dims :
         {Dims{64, 64}, Dims{128, 32}, Dims{96, 96}, Dims{20, 6}, Dims{7, 4}}) {
      constexpr int64_t kHeads = 6;
      const KvShape shape = {format, kHeads, 4, dims.head};
      Step wanted(shape, kHeads, dims.rotary, sequences);
      Step found(shape, kHeads, dims.rotary, sequences);
      Step again(shape, kHeads, dims.rotary, sequences);
      const Exec exec = MakeExec({.num_tokens = wanted.batch.num_tokens(),
                                  .num_heads = kHeads,
                                  .head_dim = dims.head});
      ops().rope(wanted.Queries(), exec);
      ops().rope(wanted.Keys(), exec);
      ops().store_kv(wanted.Store(), exec);
      // The emulator's threads take the other direction the second time.
      for (Step* out : {&found, &again}) {
        fused().rope_store_kv(out->Queries(), out->Keys(), out->Store(), exec);
      }
      Wait();
      const std::string what =
          fmt::format("{} dims {} of {}", Name(format), dims.rotary, dims.head);
      for (Step* out : {&found, &again}) {
        ExpectSameBytes(out->q, wanted.q, what);
        EXPECT_EQ(out->batch.Bytes(), wanted.batch.Bytes()) << what;
      }
    }
  }
}

TEST_P(FusedOpsTest, RopeStoreAndAttention) {
  struct Case {
    int64_t head_dim, rotary_dim;
    int64_t group;  // queries a key: one, a few, eight; several tiles
    int64_t window;
  };
  const std::vector<Sequence> sequences = {{1, 9},  {1, 200}, {0, 4},
                                           {1, 32}, {1, 1},   {1, 129}};
  for (const ValueFormat format :
       {ValueFormat::kF32, ValueFormat::kBf16, ValueFormat::kE4m3}) {
    for (const Case& c :
         {Case{16, 16, 1, 0}, Case{64, 64, 4, 40}, Case{128, 128, 1, 0},
          Case{128, 32, 7, 0}, Case{128, 128, 4, 40}, Case{80, 80, 17, 0},
          Case{256, 64, 4, 0}, Case{264, 0, 2, 40}}) {
      const KvShape shape = {format, 2, 4, c.head_dim};
      Step wanted(shape, 2 * c.group, c.rotary_dim, sequences);
      Step found(shape, 2 * c.group, c.rotary_dim, sequences);
      const Exec exec = MakeExec({.num_tokens = wanted.batch.num_tokens(),
                                  .num_heads = 2 * c.group,
                                  .head_dim = c.head_dim});
      const bool has_norms = c.group != 4;
      const HeadNorms norms = has_norms ? found.Norms() : HeadNorms{};
      if (has_norms) {
        ops().rms_norm(Step::NormOf(wanted.Queries(), wanted.q_norm.data()),
                       exec);
        ops().rms_norm(Step::NormOf(wanted.Keys(), wanted.k_norm.data()), exec);
      }
      ops().rope(wanted.Queries(), exec);
      ops().rope(wanted.Keys(), exec);
      ops().store_kv(wanted.Store(), exec);
      ops().attention(wanted.Attend(c.window), exec);
      ASSERT_TRUE(fused().takes_rope_store_attention(
          norms, found.Queries(), found.Keys(), found.Store(),
          found.Attend(c.window)));
      fused().rope_store_attention(norms, found.Queries(), found.Keys(),
                                   found.Store(), found.Attend(c.window), exec);
      Wait();
      const std::string what = fmt::format(
          "{} dims {} of {}, {} queries a key, window {}", Name(format),
          c.rotary_dim, c.head_dim, c.group, c.window);
      ExpectSameBytes(found.y, wanted.y, what);
      EXPECT_EQ(found.batch.Bytes(), wanted.batch.Bytes()) << what;
    }
  }
}

TEST_P(FusedOpsTest, RopeStoreAndAttentionLeavesOtherStepsApart) {
  const auto takes = [&](const std::vector<Sequence>& sequences, int64_t group,
                         int64_t head_dim, int64_t rotary) {
    const KvShape shape = {ValueFormat::kE4m3, 1, 4, head_dim};
    Step step(shape, group, rotary, sequences);
    return fused().takes_rope_store_attention({}, step.Queries(), step.Keys(),
                                              step.Store(), step.Attend(0));
  };
  EXPECT_TRUE(takes({{1, 9}, {1, 3}}, 32, 64, 64));
  EXPECT_FALSE(takes({{1, 9}, {2, 3}}, 1, 64, 64)) << "two new tokens";
  EXPECT_FALSE(takes({{1, 9}}, 33, 64, 64)) << "as many queries as a prompt";
  EXPECT_FALSE(takes({{1, 9}}, 1, 64, 20)) << "pairs not four at a time";
  EXPECT_FALSE(takes({{1, 9}}, 1, 60, 16)) << "rows not in pieces of 16 bytes";
}

// One weight of a group.
struct Member {
  WeightFormat format;
  int64_t n;
  int64_t group_size;
  int64_t lorc_rank;
  ValueFormat lorc_format = ValueFormat::kE4m3;
};

// Enough that cuBLASLt multiplies, whose sums have fewer bits.
constexpr int64_t kLibraryTokens = 160;

// Weights that read the same m tokens of k values, and their outputs.
class GroupOfMembers {
 public:
  GroupOfMembers(std::mt19937& random, const std::vector<Member>& members,
                 int64_t m, int64_t k, const Backend& backend)
      : members_(members), m_(m), k_(k) {
    for (const Member& member : members) {
      weights_.push_back(
          MakeWeight(random, member.format, member.n, k, member.group_size));
      if (member.lorc_rank > 0) {
        AddLorc(random, member.lorc_format, member.lorc_rank, weights_.back());
      }
      added_.push_back(RandomFloats(random, m * member.n));
      y_.push_back(Unwritten(m * member.n));
    }
    for (const TestWeight& weight : weights_) {
      placed_.push_back(*backend.device->Place(weight.view));
    }
    ZQFP_CHECK(backend.device->Synchronize().ok());  // before they are used
  }

  std::vector<MatmulA8Args> Args(QuantizedTokensView tokens) {
    std::vector<MatmulA8Args> all;
    for (size_t i = 0; i < members_.size(); ++i) {
      all.push_back({.m = m_,
                     .x = tokens,
                     .weight = placed_[i].view,
                     .residual = added_[i].data(),
                     .y = y_[i].data()});
    }
    return all;
  }

  // Every output is near its sum in f64; with `fp8_sums` by as much as sums of
  // the FP8 tensor cores may be off, too.
  void Expect(const std::vector<double>& tokens, const std::string& what,
              bool fp8_sums = false) {
    for (size_t i = 0; i < members_.size(); ++i) {
      const double bound = ErrorBound(
          Op::kMatmulA8,
          {.weight = members_[i].format, .lorc_rank = members_[i].lorc_rank},
          k_);
      std::vector<Expected> wanted = ExactMatmul(
          tokens, weights_[i], m_, nullptr, added_[i].data(), bound);
      const int64_t n = members_[i].n;
      for (int64_t at = 0; fp8_sums && at < std::ssize(wanted); ++at) {
        wanted[at].tolerance +=
            SumError(&tokens[at / n * k_], &weights_[i].exact[at % n * k_], k_,
                     128, false);
      }
      ExpectClose(y_[i], wanted,
                  fmt::format("weight {} of {}, {}", i, members_.size(), what));
    }
  }

 private:
  std::vector<Member> members_;
  int64_t m_, k_;
  std::vector<TestWeight> weights_;
  std::vector<PlacedWeight> placed_;
  std::vector<GuardedArray<float>> added_, y_;
};

class MatmulA8GroupTest : public OpTest {
 protected:
  void Check(const std::vector<Member>& members, int64_t m, int64_t k) {
    std::mt19937 random(static_cast<uint32_t>(m * 31 + k));
    const Tokens tokens = RandomTokens(random, m, k);
    GroupOfMembers group(random, members, m, k, backend());
    int64_t rank = 0, widest = 0;
    for (const Member& member : members) {
      rank = std::max(rank, member.lorc_rank);
      widest = std::max(widest, member.n);
    }
    const std::vector<MatmulA8Args> args = group.Args(tokens.view());
    ops().fused.matmul_a8_group(
        args.data(), static_cast<int>(args.size()),
        MakeExec({.num_tokens = m, .k = k, .n = widest, .lorc_rank = rank}));
    Wait();
    group.Expect(tokens.exact, fmt::format("m={} k={}", m, k),
                 backend().name == "cuda" && m >= kLibraryTokens);
  }
};

TEST_P(MatmulA8GroupTest, OneLaunch) {
  constexpr WeightFormat kShift = WeightFormat::kE2m1Shift;
  constexpr WeightFormat kFree = WeightFormat::kE2m1Free;
  for (const int64_t m : {1, 5, 9, 17, 33, 70}) {
    for (const int64_t k : {64, 172, 1000}) {
      Check({{kShift, 80, 64, 0}, {kShift, 16, 64, 0}, {kShift, 23, 64, 0}}, m,
            k);
      Check({{kFree, 1, 32, 0}, {kFree, 130, 32, 8}}, m, k);
      Check({{WeightFormat::kE4m3, 33, 0, 0}}, m, k);
    }
  }
  // Codes that every block copies, for the sake of V x; too many to do so.
  for (const int64_t m : {1, 3, 8, 9}) {
    for (const int64_t k : {192, 1024, 4096}) {
      Check({{kShift, 300, 64, 8}, {kShift, 140, 64, 3}}, m, k);
    }
  }
  Check({{kShift, 80, 64, 4}, {kShift, 80, 64, 0}, {kShift, 80, 64, 16}}, 0,
        64);
}

// Other formats, or so many tokens that cuBLASLt multiplies: a launch each.
TEST_P(MatmulA8GroupTest, OneLaunchEach) {
  constexpr WeightFormat kShift = WeightFormat::kE2m1Shift;
  for (const int64_t m : {1, 20}) {
    Check({{kShift, 80, 64, 0}, {WeightFormat::kE4m3, 40, 0, 4}}, m, 172);
    Check({{kShift, 48, 64, 0}, {kShift, 48, 128, 0}}, m, 172);
  }
  // A multiple of 16, so that the tokens' scales begin where cuBLASLt wants.
  Check({{kShift, 64, 64, 0}, {kShift, 32, 64, 4}}, kLibraryTokens, 192);
}

// Matmuls whose blocks quantize the tokens that they read.
class QuantizeMatmulA8Test : public OpTest {
 protected:
  // Every weight's output against its sum in f64, over the codes that
  // rms_norm_quantize or quantize_tokens makes.
  void Check(const std::vector<Member>& members, int64_t m, int64_t k,
             bool has_norm) {
    std::mt19937 random(static_cast<uint32_t>(m * 31 + k));
    const GuardedArray<float> x = RandomFloats(random, m * k);
    const GuardedArray<float> weight = RandomFloats(random, k);
    const RmsNormArgs norm = {.num_rows = m,
                              .dim = k,
                              .epsilon = 1e-5f,
                              .x = x.data(),
                              .weight = has_norm ? weight.data() : nullptr};
    GroupOfMembers group(random, members, m, k, backend());
    const std::vector<MatmulA8Args> args = group.Args({});
    const int size = static_cast<int>(args.size());
    const FusedOps& fused = ops().fused;
    ASSERT_TRUE(fused.takes_quantize_matmul_a8(norm, args.data(), size));
    Codes codes(m, k);
    const Exec exec = MakeExec({.num_tokens = m, .k = k, .n = 512});
    if (has_norm) {
      fused.rms_norm_quantize(norm, codes.Args(nullptr), exec);
    } else {
      ops().quantize_tokens(codes.Args(x.data()), exec);
    }
    fused.quantize_matmul_a8(norm, args.data(), size, exec);
    Wait();
    std::vector<double> exact;
    for (int64_t i = 0; i < m * k; ++i) {
      exact.push_back(double{codes.scale[i / k]} * E4m3ToFloat(codes.q[i]));
    }
    group.Expect(exact, fmt::format("m={} k={} norm {}", m, k, has_norm));
  }
};

constexpr Member kQkv[] = {{WeightFormat::kE2m1Shift, 80, 64, 0},
                           {WeightFormat::kE2m1Shift, 16, 64, 0},
                           {WeightFormat::kE2m1Shift, 23, 64, 0}};

TEST_P(QuantizeMatmulA8Test, NormCodesAndSums) {
  for (const bool has_norm : {true, false}) {
    // Rows of one warp, of a block, and of a block that reads them in turns.
    for (const int64_t k : {64, 192, 576, 1024, 4032}) {
      for (const int64_t m : {1, 2, 7, 8}) {
        if (m * k > 8192) continue;
        Check({kQkv[0], kQkv[1], kQkv[2]}, m, k, has_norm);
      }
    }
  }
  Check({kQkv[0]}, 1, 8192, true);
}

TEST_P(QuantizeMatmulA8Test, ANanIsOneInItsRowAlone) {
  for (const int64_t k : {64, 640}) {
    std::mt19937 random(5);
    GuardedArray<float> x = RandomFloats(random, 2 * k);
    x[2 * k - 1] = kNan;
    GroupOfMembers group(random, {kQkv[0]}, 2, k, backend());
    const MatmulA8Args args = group.Args({})[0];
    ops().fused.quantize_matmul_a8(
        {.num_rows = 2, .dim = k, .epsilon = 1e-5f, .x = x.data()}, &args, 1,
        MakeExec({.num_tokens = 2, .k = k, .n = 512}));
    Wait();
    for (int64_t i = 0; i < 2 * kQkv[0].n; ++i) {
      EXPECT_EQ(std::isnan(args.y[i]), i >= kQkv[0].n) << i;
    }
  }
}

// V x of every block's own columns, in one part and in several.
TEST_P(QuantizeMatmulA8Test, LowRankBranches) {
  constexpr WeightFormat kShift = WeightFormat::kE2m1Shift;
  for (const ValueFormat format : {ValueFormat::kE4m3, ValueFormat::kBf16}) {
    for (const int64_t m : {1, 2}) {
      for (const int64_t k : {64, 192, 1024, 4096}) {
        Check({{kShift, 300, 64, 8, format},
               {kShift, 16, 64, 0},
               {kShift, 140, 64, 64, format}},
              m, k, true);
        Check({{WeightFormat::kE4m3, 130, 0, 5, format}}, m, k, false);
      }
    }
  }
}

// Every format has a kernel of its own.
TEST_P(QuantizeMatmulA8Test, AnyFormat) {
  for (const bool has_norm : {true, false}) {
    for (const Member& member : {Member{WeightFormat::kE2m1Free, 130, 128, 0},
                                 Member{WeightFormat::kE2m1Free, 130, 32, 0},
                                 Member{WeightFormat::kE2m1E4m3, 33, 64, 0},
                                 Member{WeightFormat::kE2m1E4m3, 33, 16, 0},
                                 Member{WeightFormat::kE4m3Groups, 40, 128, 0},
                                 Member{WeightFormat::kE4m3Groups, 40, 32, 0},
                                 Member{WeightFormat::kE4m3, 300, 0, 0}}) {
      Check({member}, 2, 640, has_norm);
    }
  }
}

TEST_P(QuantizeMatmulA8Test, LeavesWhatIsFasterApart) {
  const auto takes = [&](int64_t m, int64_t k, const Member& a,
                         const Member& b) {
    std::mt19937 random(1);
    const std::vector<float> x(static_cast<size_t>(m * k));
    const TestWeight first = MakeWeight(random, a.format, a.n, k, a.group_size);
    TestWeight second = MakeWeight(random, b.format, b.n, k, b.group_size);
    if (b.lorc_rank > 0) {
      AddLorc(random, ValueFormat::kE4m3, b.lorc_rank, second);
    }
    const MatmulA8Args group[] = {{.m = m, .weight = first.view},
                                  {.m = m, .weight = second.view}};
    return ops().fused.takes_quantize_matmul_a8(
        {.num_rows = m, .dim = k, .x = x.data()}, group, 2);
  };
  constexpr Member kLorc = {WeightFormat::kE2m1Shift, 16, 64, 4};
  EXPECT_TRUE(takes(2, 4096, kQkv[0], kQkv[1]));
  EXPECT_FALSE(takes(3, 4096, kQkv[0], kQkv[1])) << "too much to read again";
  EXPECT_FALSE(takes(9, 64, kQkv[0], kQkv[1])) << "two tiles of tokens";
  EXPECT_FALSE(takes(0, 64, kQkv[0], kQkv[1])) << "nothing to do";
  EXPECT_FALSE(takes(1, 172, kQkv[0], kQkv[1])) << "the last chunk is short";
  EXPECT_TRUE(takes(1, 64, kQkv[0], kLorc));
  EXPECT_FALSE(takes(1, 64, kQkv[0], {WeightFormat::kE4m3, 40, 0, 0}))
      << "two kernels";
}

INSTANTIATE_TEST_SUITE_P(Backends, QuantizeMatmulA8Test,
                         ::testing::ValuesIn(DeviceMachines()), MachineName);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(QuantizeMatmulA8Test);
INSTANTIATE_TEST_SUITE_P(Backends, FusedOpsTest,
                         ::testing::ValuesIn(DeviceMachines()), MachineName);
INSTANTIATE_TEST_SUITE_P(Backends, MatmulA8GroupTest,
                         ::testing::ValuesIn(DeviceMachines()), MachineName);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(FusedOpsTest);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(MatmulA8GroupTest);

}  // namespace
}  // namespace zqfp::kernels
