// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/neon/weight_matmul.h"

#include "kernels/core/parallel.h"
#include "kernels/cpu/low_rank.h"
#include "kernels/cpu/neon/neon.h"
#include "kernels/cpu/neon/weight_gemm.h"
#include "kernels/cpu/neon/weight_gemv.h"

namespace zqfp::kernels::neon {
namespace {

// Tokens that one pass over the weights serves; bounds the workspace.
constexpr int64_t kPassTokens = 256;

// The low-rank branch's view of this instruction set.
struct Lanes {
  using V = F32x8;
  static constexpr int64_t kLanes = neon::kLanes;

  static V Set(float x) { return neon::Set(x); }
  static V MulAdd(V a, V b, V c) { return neon::MulAdd(a, b, c); }
  static float Sum(V v) { return SumLanes(v); }
  static V LoadE4m3(const uint8_t* codes, int64_t count) {
    return FromE4m3(LoadBytes(codes, count));
  }
  static V LoadBf16(const uint16_t* codes, int64_t count) {
    return FromBf16(LoadHalves(codes, count));
  }
  static V LoadF32(const float* x, int64_t count) {
    return neon::LoadF32(x, count);
  }
  static void StoreF32(float* x, int64_t count, V v) {
    neon::StoreF32(x, count, v);
  }
};

// Token t to f32 in the order of the weights, zeros behind its k elements.
void DecodeToken(const WeightMatmulArgs& args, int64_t t, bool nibbles_apart,
                 float* x) {
  const int64_t k = args.weight.k;
  const auto load = [&](int64_t i) {
    const int64_t at = t * k + i;
    return args.x != nullptr ? LoadF32(args.x + at, k - i)
                             : FromE4m3(LoadBytes(args.codes + at, k - i));
  };
  for (int64_t i = 0; i < TokenStride(k) - 16; i += 2 * kLanes) {
    const F32x8 first = load(i), second = load(i + kLanes);
    if (nibbles_apart) {
      StoreNibblesApart(x + i, first, second);
    } else {
      Store(x + i, first);
      Store(x + i + kLanes, second);
    }
  }
}

template <WeightFormat kFormat>
void Run(const WeightMatmulArgs& args, float* x, const Exec& exec) {
  const int64_t k = args.weight.k;
  const int64_t stride = TokenStride(k);
  for (int64_t pass = 0; pass < args.m; pass += kPassTokens) {
    const int64_t tokens =
        args.m - pass < kPassTokens ? args.m - pass : kPassTokens;
    ParallelFor(exec, tokens, 8, [&](int64_t begin, int64_t end, int) {
      for (int64_t t = begin; t < end; ++t) {
        DecodeToken(args, pass + t, BitsPerElement(kFormat) == 4,
                    x + t * stride);
      }
    });
    ParallelFor(
        exec, args.weight.n, kRows, [&](int64_t begin, int64_t end, int) {
          for (int64_t t = 0; t < tokens; t += kBlockTokens) {
            const int64_t count =
                tokens - t < kBlockTokens ? tokens - t : kBlockTokens;
            for (int64_t n = begin; n < end; n += kRows) {
              if (count == 1) {
                Gemv<kFormat>(args, x + t * stride, pass + t, n);
              } else {
                GemmRows<kFormat>(args, x + t * stride, pass + t, count, n);
              }
            }
          }
        });
  }
}

}  // namespace

int64_t WorkspaceBytes(const WorkspaceQuery& query) noexcept {
  const int64_t tokens =
      query.num_tokens < kPassTokens ? query.num_tokens : kPassTokens;
  return LowRankBytes(query) + tokens * TokenStride(query.k) * 4;
}

void WeightMatmul(const WeightMatmulArgs& given, const Exec& exec) noexcept {
  WeightMatmulArgs args = given;
  char* workspace = static_cast<char*>(exec.workspace);
  if (args.weight.lorc.rank > 0) {
    LowRank<Lanes>::Run({args.m,
                         {args.x, args.codes, args.token_scale},
                         args.weight,
                         args.residual,
                         args.y},
                        exec);
    args.residual = args.y;
    workspace += LowRankBytes(
        {.num_tokens = args.m, .lorc_rank = args.weight.lorc.rank});
  }
  float* x = reinterpret_cast<float*>(workspace);
  switch (args.weight.format) {
    case WeightFormat::kF32:
      return Run<WeightFormat::kF32>(args, x, exec);
    case WeightFormat::kBf16:
      return Run<WeightFormat::kBf16>(args, x, exec);
    case WeightFormat::kF16:
      return Run<WeightFormat::kF16>(args, x, exec);
    case WeightFormat::kE4m3:
      return Run<WeightFormat::kE4m3>(args, x, exec);
    case WeightFormat::kE4m3Groups:
      return Run<WeightFormat::kE4m3Groups>(args, x, exec);
    case WeightFormat::kE2m1Free:
      return Run<WeightFormat::kE2m1Free>(args, x, exec);
    case WeightFormat::kE2m1Shift:
      return Run<WeightFormat::kE2m1Shift>(args, x, exec);
    case WeightFormat::kE2m1E4m3:
      return Run<WeightFormat::kE2m1E4m3>(args, x, exec);
  }
}

}  // namespace zqfp::kernels::neon
