// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AVX512_BLOCKED_MATMUL_H_
#define ZQFP_KERNELS_CPU_AVX512_BLOCKED_MATMUL_H_

// MatmulA8 of weights in e2m1 (free and shift scales) and e4m3 on 512-bit
// multipliers. Unit says which:
//   Sum, Zero, Dot, ToF32  lanes of sums; a dot of two vectors of 32-bit lanes
//   kStep                  elements of k in a lane
//   kFactor                what the sums are still to be multiplied by
//   kKnowsE2m1, kKnowsE4m3   the weights it multiplies
//   kMaxFew                the most tokens for gemv.h
//   kFoldsShift            whether Decoder puts a group's shift into weights
//   Tokens                 the tokens of a pass, as the unit multiplies them
//   TokenBytes, Prepare    their size and how they come about
//   Decoder                codes of packed weights to lanes, for gemm.h
//   E2m1Table, AddBlock, E4m3Rows   the inner loops of gemv.h
//   AddRest                what the tiles of gemm.h leave out
//
// Every function is in an anonymous namespace: the including file's instruction
// set must not leak.

#include "kernels/core/ops.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/avx512/f32x16.h"
#include "kernels/cpu/avx512/gemm.h"
#include "kernels/cpu/avx512/gemv.h"
#include "kernels/cpu/low_rank.h"
#include "kernels/cpu/quantized_matmul_f32.h"

namespace zqfp::kernels::avx512 {
namespace {

// Tokens that one pass over the weights serves; bounds the workspace.
constexpr int64_t kMaxTokens = 512;

// The formats that BlockedMatmul knows; the others, of models quantized
// elsewhere, are QuantizedMatmulF32's.
inline bool IsBlocked(WeightFormat format) {
  return format == WeightFormat::kE2m1Free ||
         format == WeightFormat::kE2m1Shift || format == WeightFormat::kE4m3;
}

inline int64_t OtherFormatsBytes(const WorkspaceQuery& query) {
  return QuantizedMatmulF32<F32x16>::WorkspaceBytes(query);
}
inline void OtherFormats(const MatmulA8Args& args, const Exec& exec) {
  QuantizedMatmulF32<F32x16>::Run(
      {.m = args.m,
       .rows = {.codes = args.x.data, .scale = args.x.scale},
       .weight = args.weight,
       .bias = args.bias,
       .residual = args.residual,
       .y = args.y},
      exec);
}

template <typename Unit>
struct BlockedMatmul {
  static int64_t TokenBytes(int64_t tokens, int64_t k) {
    return CeilDiv(tokens * Unit::TokenBytes(k), 64) * 64;
  }

  static int64_t WorkspaceBytes(const WorkspaceQuery& query) {
    const int64_t tokens =
        query.num_tokens < kMaxTokens ? query.num_tokens : kMaxTokens;
    const int64_t product =
        TokenBytes(tokens, query.k) +
        query.num_threads * Gemm<Unit>::WorkspaceBytes(tokens);
    const int64_t low_rank = LowRankBytes(query);
    return product > low_rank ? product : low_rank;
  }

  static void Run(MatmulA8Args args, const Exec& exec) {
    AddLowRank<F32x16>(args, exec);
    uint8_t* workspace = static_cast<uint8_t*>(exec.workspace);
    for (int64_t first = 0; first < args.m; first += kMaxTokens) {
      const int64_t left = args.m - first;
      Pass(args, first, left < kMaxTokens ? left : kMaxTokens, exec, workspace);
    }
  }

 private:
  // Tokens first .. first + count - 1.
  static void Pass(const MatmulA8Args& args, int64_t first, int64_t count,
                   const Exec& exec, uint8_t* workspace) {
    const bool few = count <= Unit::kMaxFew;
    const typename Unit::Tokens x =
        Unit::Prepare(args, first, count, few, exec, workspace);
    if (few) {
      return ParallelFor(exec, args.weight.n, 4,
                         [&](int64_t begin, int64_t end, int) {
                           Gemv<Unit>::Run(args, x, count, begin, end);
                         });
    }
    uint8_t* slabs = workspace + TokenBytes(count, args.weight.k);
    const int64_t bytes = Gemm<Unit>::WorkspaceBytes(count);
    ParallelFor(exec, args.weight.n, kStripRows,
                [&](int64_t begin, int64_t end, int thread) {
                  Gemm<Unit>::Run(args, x, count, begin, end,
                                  slabs + thread * bytes);
                });
  }
};

}  // namespace
}  // namespace zqfp::kernels::avx512

#endif  // ZQFP_KERNELS_CPU_AVX512_BLOCKED_MATMUL_H_
