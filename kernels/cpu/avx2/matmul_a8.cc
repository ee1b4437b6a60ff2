// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/avx2/avx2.h"
#include "kernels/cpu/avx2/gemm.h"
#include "kernels/cpu/avx2/gemv.h"
#include "kernels/cpu/avx2/int16_tokens.h"
#include "kernels/cpu/avx2/lanes.h"
#include "kernels/cpu/quantized_matmul_f32.h"

namespace zqfp::kernels::avx2 {
namespace {

struct F32x8 {
  using V = __m256;
  static constexpr int64_t kLanes = 8;
  static constexpr int kTileTokens = 4;

  static V Set(float x) { return _mm256_set1_ps(x); }
  static V Load(const float* x) { return _mm256_loadu_ps(x); }
  static void Store(float* x, V v) { _mm256_storeu_ps(x, v); }
  static V MulAdd(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
  static float Sum(V v) { return SumLanes(v); }
  static V LoadE4m3(const uint8_t* codes, int64_t count) {
    return FromE4m3(LoadBytes(codes, count));
  }
  static V LoadBf16(const uint16_t* codes, int64_t count) {
    return FromBf16(LoadHalves(codes, count));
  }
  static V LoadF32(const float* x, int64_t count) {
    return avx2::LoadF32(x, count);
  }
  static void StoreF32(float* x, int64_t count, V v) {
    avx2::StoreF32(x, count, v);
  }
  static __m256i LoadPacked(const uint8_t* bytes, int64_t count) {
    if (count >= 32) {
      return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
    }
    alignas(32) uint8_t copy[32] = {};
    for (int64_t i = 0; i < count; ++i) copy[i] = bytes[i];
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(copy));
  }
  // vpermps reads three bits of a lane, the magnitude; the fourth is the sign.
  static V E2m1(__m256i packed, int i) {
    const __m256 table =
        _mm256_setr_ps(0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f);
    const __m256 magnitude =
        _mm256_permutevar8x32_ps(table, _mm256_srli_epi32(packed, 4 * i));
    const __m256i sign =
        _mm256_and_si256(_mm256_slli_epi32(packed, 28 - 4 * i),
                         _mm256_set1_epi32(static_cast<int>(0x80000000u)));
    return _mm256_or_ps(magnitude, _mm256_castsi256_ps(sign));
  }
  // Lane j holds the elements 8j .. 8j+7 of a block: group 8j / group_size,
  // whose scale is that lane of `scales`.
  static V Spread(V scales, int64_t group_size) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const int log2 =
        __builtin_ctzll(static_cast<unsigned long long>(group_size));
    const __m256i group = _mm256_srl_epi32(lane, _mm_cvtsi32_si128(log2 - 3));
    return _mm256_permutevar8x32_ps(scales, group);
  }
};

// Tokens that one pass over the weights serves; bounds the workspace.
constexpr int64_t kMaxTokens = 512;

int64_t IntegerTokenBytes(int64_t tokens, int64_t k) {
  return (tokens * Int16TokenBytes(k) + 63) / 64 * 64;
}

int64_t IntegerBytes(const WorkspaceQuery& query) {
  const int64_t tokens =
      query.num_tokens < kMaxTokens ? query.num_tokens : kMaxTokens;
  const int64_t many = IntegerTokenBytes(tokens, query.k) +
                       query.num_threads * GemmBytes(tokens);
  const int64_t few = FewBytes(query.k);
  const int64_t product = many > few ? many : few;
  const int64_t low_rank = LowRankBytes(query);
  return product > low_rank ? product : low_rank;
}

// Few tokens of e2m1 (free and shift scales) or e4m3 weights, many of e2m1.
void FastMatmul(MatmulA8Args args, const Exec& exec) {
  AddLowRank<F32x8>(args, exec);
  uint8_t* workspace = static_cast<uint8_t*>(exec.workspace);
  for (int64_t first = 0; first < args.m; first += kMaxTokens) {
    const int64_t left = args.m - first;
    const int64_t count = left < kMaxTokens ? left : kMaxTokens;
    if (count <= kMaxFew) {
      Gemv(args, first, count, exec, workspace);
      continue;
    }
    const Int16Tokens x =
        PrepareInt16Tokens(args, first, count, exec, workspace, StepOrder);
    uint8_t* slabs = workspace + IntegerTokenBytes(count, args.weight.k);
    ParallelFor(exec, args.weight.n, kSlabRows,
                [&](int64_t begin, int64_t end, int thread) {
                  Gemm(args, x, begin, end, slabs + thread * GemmBytes(count));
                });
  }
}

}  // namespace

int64_t WorkspaceBytes(const WorkspaceQuery& query) noexcept {
  const int64_t floats = QuantizedMatmulF32<F32x8>::WorkspaceBytes(query);
  const int64_t integers = IntegerBytes(query);
  return floats > integers ? floats : integers;
}

void MatmulA8(const MatmulA8Args& args, const Exec& exec) noexcept {
  const WeightFormat format = args.weight.format;
  const bool integers =
      format == WeightFormat::kE2m1Free || format == WeightFormat::kE2m1Shift;
  if (integers || (format == WeightFormat::kE4m3 && args.m <= kMaxFew)) {
    return FastMatmul(args, exec);
  }
  QuantizedMatmulF32<F32x8>::Run(
      {.m = args.m,
       .rows = {.codes = args.x.data, .scale = args.x.scale},
       .weight = args.weight,
       .bias = args.bias,
       .residual = args.residual,
       .y = args.y},
      exec);
}

void QuantizedMatmul(const MatmulArgs& args, const Exec& exec) noexcept {
  QuantizedMatmulF32<F32x8>::Run({.m = args.m,
                                  .rows = {.x = args.x},
                                  .weight = args.weight,
                                  .bias = args.bias,
                                  .residual = args.residual,
                                  .y = args.y},
                                 exec);
}

int64_t Multiply(int64_t rounds) noexcept {
  constexpr int kSums = 8;
  __m256i sum[kSums];
  // Of these the compiler knows nothing.
  __m256i w = _mm256_set1_epi16(12), x = _mm256_set1_epi16(345);
#pragma GCC unroll 8
  for (int j = 0; j < kSums; ++j) {
    __asm__ volatile("" : "+x"(w));
    sum[j] = Dot(_mm256_setzero_si256(), w, x);
  }
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < kSums; ++j) {
      // Or it would multiply once for all sums.
      __asm__ volatile("" : "+x"(w));
      sum[j] = Dot(sum[j], w, x);
    }
  }
#pragma GCC unroll 8
  for (int j = 0; j < kSums; ++j) __asm__ volatile("" : : "x"(sum[j]));
  return rounds * kSums * 16 * 2;
}

}  // namespace zqfp::kernels::avx2
