// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_LOW_RANK_H_
#define ZQFP_KERNELS_CPU_LOW_RANK_H_

// The low-rank branch of a matmul, y = residual + (x V^T) U^T, on vectors of
// any width. It runs ahead of the product with W, which then takes y as its
// residual: U and V are some thousandths of the weight's bytes, and no inner
// loop has to know of them.
//
// Lanes is an instruction set (quantized_matmul_f32.h). Every function is in an
// anonymous namespace: the including file's instruction set must not leak.

#include <stdint.h>

#include "kernels/core/ops.h"
#include "kernels/core/parallel.h"

namespace zqfp::kernels {
namespace {

// The rows of a matmul's x: f32, or e4m3 codes and a scale each.
struct TokenRows {
  const float* x = nullptr;        // [m, k] or null
  const uint8_t* codes = nullptr;  // [m, k] where x is null
  const float* scale = nullptr;    // [m]    where x is null
};

struct LowRankArgs {
  int64_t m = 0;
  TokenRows rows;
  WeightView weight;
  const float* residual = nullptr;  // [m, n] or null; may be y
  float* y = nullptr;               // [m, n]
};

// Bytes of the workspace: x V^T of every token.
inline int64_t LowRankBytes(const WorkspaceQuery& query) {
  return (query.num_tokens * query.lorc_rank * 4 + 63) / 64 * 64;
}

template <typename Lanes>
struct LowRank {
  using V = typename Lanes::V;
  static constexpr int64_t kLanes = Lanes::kLanes;
  static constexpr int64_t kTile = 8;  // rows of V that share a decoded token

  static V Factor(const LorcView& lorc, const void* data, int64_t at,
                  int64_t count) {
    return lorc.format == ValueFormat::kE4m3
               ? Lanes::LoadE4m3(static_cast<const uint8_t*>(data) + at, count)
               : Lanes::LoadBf16(static_cast<const uint16_t*>(data) + at,
                                 count);
  }

  // inner[r] = x . V[r], scaled, for r in [first, first + kRows).
  template <int kRows>
  static void Inner(const LowRankArgs& args, int64_t t, int64_t first,
                    float* inner) {
    const LorcView& lorc = args.weight.lorc;
    const int64_t k = args.weight.k;
    V sum[kRows];
    for (int r = 0; r < kRows; ++r) sum[r] = Lanes::Set(0);
    for (int64_t j = 0; j < k; j += kLanes) {
      const V x = args.rows.x != nullptr
                      ? Lanes::LoadF32(args.rows.x + t * k + j, k - j)
                      : Lanes::LoadE4m3(args.rows.codes + t * k + j, k - j);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const V v = Factor(lorc, lorc.v, (first + r) * k + j, k - j);
        sum[r] = Lanes::MulAdd(v, x, sum[r]);
      }
    }
    const float token = args.rows.x != nullptr ? 1.0f : args.rows.scale[t];
    for (int r = 0; r < kRows; ++r) {
      const float row =
          lorc.format == ValueFormat::kE4m3 ? lorc.v_scale[first + r] : 1.0f;
      inner[first + r] = Lanes::Sum(sum[r]) * row * token;
    }
  }

  // y[t, n .. n + kLanes) of the tokens [0, m); U is decoded once.
  static void Outer(const LowRankArgs& args, const float* inner, int64_t n) {
    const WeightView& w = args.weight;
    const int64_t count = w.n - n;
    V u[kMaxLorcRank];
    for (int64_t r = 0; r < w.lorc.rank; ++r) {
      u[r] = Factor(w.lorc, w.lorc.u, r * w.n + n, count);
    }
    const V scale = w.lorc.format == ValueFormat::kE4m3
                        ? Lanes::LoadF32(w.lorc.u_scale + n, count)
                        : Lanes::Set(1.0f);
    for (int64_t t = 0; t < args.m; ++t) {
      V sum = Lanes::Set(0);
      for (int64_t r = 0; r < w.lorc.rank; ++r) {
        sum = Lanes::MulAdd(u[r], Lanes::Set(inner[t * w.lorc.rank + r]), sum);
      }
      const V residual =
          args.residual != nullptr
              ? Lanes::LoadF32(args.residual + t * w.n + n, count)
              : Lanes::Set(0);
      Lanes::StoreF32(args.y + t * w.n + n, count,
                      Lanes::MulAdd(sum, scale, residual));
    }
  }

  static void Run(const LowRankArgs& args, const Exec& exec) {
    const WeightView& w = args.weight;
    const int64_t rank = w.lorc.rank;
    float* inner = static_cast<float*>(exec.workspace);
    ParallelFor(exec, args.m, GrainFor(rank * w.k),
                [&](int64_t begin, int64_t end, int) {
                  for (int64_t t = begin; t < end; ++t) {
                    int64_t r = 0;
                    for (; r + kTile <= rank; r += kTile) {
                      Inner<kTile>(args, t, r, inner + t * rank);
                    }
                    for (; r < rank; ++r) {
                      Inner<1>(args, t, r, inner + t * rank);
                    }
                  }
                });
    const int64_t strips = (w.n + kLanes - 1) / kLanes;
    ParallelFor(exec, strips, GrainFor(args.m * rank * kLanes),
                [&](int64_t begin, int64_t end, int) {
                  for (int64_t strip = begin; strip < end; ++strip) {
                    Outer(args, inner, strip * kLanes);
                  }
                });
  }
};

// The branch of a matmul of e4m3 tokens, where it has one: y holds it then, and
// is what the product is to be added to. The workspace is free again.
template <typename Lanes>
inline void AddLowRank(MatmulA8Args& args, const Exec& exec) {
  if (args.weight.lorc.rank == 0) return;
  LowRank<Lanes>::Run({.m = args.m,
                       .rows = {.codes = args.x.data, .scale = args.x.scale},
                       .weight = args.weight,
                       .residual = args.residual,
                       .y = args.y},
                      exec);
  args.residual = args.y;
}

}  // namespace
}  // namespace zqfp::kernels

#endif  // ZQFP_KERNELS_CPU_LOW_RANK_H_
