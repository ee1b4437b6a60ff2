// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/parallel.h"
#include "kernels/cpu/avx512/f32x16.h"
#include "kernels/cpu/avx512bf16/avx512bf16.h"
#include "kernels/cpu/avx512bf16/decode.h"
#include "kernels/cpu/avx512bf16/matmul_a8_gemm.h"
#include "kernels/cpu/avx512bf16/matmul_a8_gemv.h"
#include "kernels/cpu/low_rank.h"
#include "kernels/cpu/quantized_matmul_f32.h"

namespace zqfp::kernels::avx512bf16 {
namespace {

// Tokens that one pass over the weights serves; bounds the workspace.
constexpr int64_t kMaxTokens = 512;
// Up to here weights are decoded in registers (once per 8 tokens), above into
// a slab.
constexpr int64_t kMaxGemvTokens = 8;

// BF16 elements of one token. One cache line more than a multiple of the
// block keeps the tokens of a tile out of each other's cache sets.
int64_t TokenStride(int64_t k) { return CeilDiv(k, kBlock) * kBlock + 32; }

int64_t SlabBytes(int64_t k) {
  return CeilDiv(k, kBlock) * kBlock * kSlabRows * 2;
}
// Group scales of a slab, for the smallest group.
int64_t ScaleBytes(int64_t k) {
  return CeilDiv(k, kBlock) * 4 * kScaledStrips * kStripRows * 4;
}

void DecodeTokens(const MatmulA8Args& args, int64_t first, int64_t count,
                  uint16_t* x, const Exec& exec) {
  const int64_t k = args.weight.k;
  const bool e4m3 = args.weight.format == WeightFormat::kE4m3;
  ParallelFor(exec, count, kMaxGemvTokens,
              [&](int64_t begin, int64_t end, int) {
                for (int64_t t = begin; t < end; ++t) {
                  const uint8_t* q = args.x.data + (first + t) * k;
                  uint16_t* out = x + t * TokenStride(k);
                  if (e4m3) {
                    TokenForE4m3(q, k, out);
                  } else {
                    TokenForE2m1(q, k, out);
                  }
                }
              });
}

// Scales that no BF16 kernel knows: those of models quantized elsewhere. Their
// files rarely want e4m3 tokens.
bool NeedsF32(WeightFormat format) {
  return format == WeightFormat::kE4m3Groups ||
         format == WeightFormat::kE2m1E4m3;
}

}  // namespace

int64_t WorkspaceBytes(const WorkspaceQuery& query) noexcept {
  const int64_t tokens =
      query.num_tokens < kMaxTokens ? query.num_tokens : kMaxTokens;
  const int64_t bytes =
      LowRankBytes(query) + tokens * TokenStride(query.k) * 2 +
      query.num_threads * (SlabBytes(query.k) + ScaleBytes(query.k));
  const int64_t f32_bytes =
      QuantizedMatmulF32<avx512::F32x16>::WorkspaceBytes(query);
  return bytes > f32_bytes ? bytes : f32_bytes;
}

void MatmulA8(const MatmulA8Args& original, const Exec& exec) noexcept {
  if (NeedsF32(original.weight.format)) {
    return QuantizedMatmulF32<avx512::F32x16>::Run(
        {.m = original.m,
         .rows = {.codes = original.x.data, .scale = original.x.scale},
         .weight = original.weight,
         .bias = original.bias,
         .residual = original.residual,
         .y = original.y},
        exec);
  }
  MatmulA8Args args = original;
  uint8_t* workspace = static_cast<uint8_t*>(exec.workspace);
  if (args.weight.lorc.rank > 0) {
    LowRank<avx512::F32x16>::Run(
        {.m = args.m,
         .rows = {.codes = args.x.data, .scale = args.x.scale},
         .weight = args.weight,
         .residual = args.residual,
         .y = args.y},
        exec);
    args.residual = args.y;
    workspace += LowRankBytes(
        {.num_tokens = args.m, .lorc_rank = args.weight.lorc.rank});
  }
  const int64_t k = args.weight.k;
  const int64_t stride = TokenStride(k);
  uint16_t* tokens = reinterpret_cast<uint16_t*>(workspace);
  const Bf16Tokens x = {tokens, stride};
  for (int64_t first = 0; first < args.m; first += kMaxTokens) {
    const int64_t count =
        args.m - first < kMaxTokens ? args.m - first : kMaxTokens;
    DecodeTokens(args, first, count, tokens, exec);
    if (count <= kMaxGemvTokens) {
      ParallelFor(exec, args.weight.n, 4, [&](int64_t begin, int64_t end, int) {
        GemvTokens(args, x, first, count, begin, end);
      });
      continue;
    }
    uint8_t* slabs = workspace + count * stride * 2;
    ParallelFor(
        exec, args.weight.n, kStripRows,
        [&](int64_t begin, int64_t end, int thread) {
          uint8_t* own = slabs + thread * (SlabBytes(k) + ScaleBytes(k));
          const Slab slab = {reinterpret_cast<uint16_t*>(own),
                             reinterpret_cast<float*>(own + SlabBytes(k)), 0};
          Gemm({args, slab, x, first, 0}, count, begin, end);
        });
  }
}

}  // namespace zqfp::kernels::avx512bf16
