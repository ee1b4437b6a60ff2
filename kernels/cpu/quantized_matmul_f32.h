// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_QUANTIZED_MATMUL_F32_H_
#define ZQFP_KERNELS_CPU_QUANTIZED_MATMUL_F32_H_

// Matmuls of quantized weights of every format with tokens in f32 or e4m3: what
// no faster kernel of a table takes. Codes become f32 in registers, products
// (exact where the tokens are e4m3) are summed by f32 fused multiply-adds.
//
// Lanes is an instruction set: V, a vector of kLanes f32, and functions on it.
// A load of 4 * kLanes bytes of packed weights holds a block of 8 * kLanes
// elements; its 32-bit lane j holds the elements 8j .. 8j+7, so that shifts
// alone make eight vectors of them, vector i with the elements 8j+i. Tokens are
// decoded once, into the same order:
//   block b, vector i, lane j  =  element 8 kLanes b + 8 j + i   (e2m1 weights)
//   element order as it is                                       (e4m3 weights)
// All elements of a lane belong to one group, whose scale multiplies the lane's
// sum over the block.
//
// Every function is in an anonymous namespace: the including file's instruction
// set must not leak.

#include <stdint.h>

#include "kernels/core/ops.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/low_rank.h"

namespace zqfp::kernels {
namespace {

// Tokens that one pass over the weights serves; bounds the workspace.
constexpr int64_t kPassTokens = 256;
// Tokens that stay in a second-level cache while all rows pass.
constexpr int64_t kBlockTokens = 32;

// MatmulArgs or MatmulA8Args.
struct QuantizedMatmulArgs {
  int64_t m = 0;
  TokenRows rows;
  WeightView weight;  // e4m3 or e2m1
  const float* bias = nullptr;
  const float* residual = nullptr;
  float* y = nullptr;
};

template <typename Lanes>
struct QuantizedMatmulF32 {
  using V = typename Lanes::V;
  static constexpr int64_t kLanes = Lanes::kLanes;
  static constexpr int64_t kBlock = 8 * kLanes;
  static constexpr int kTile = Lanes::kTileTokens;

  // f32 elements of one token; a cache line more than whole blocks keeps the
  // tokens of a tile out of each other's cache sets.
  static int64_t TokenStride(int64_t k) {
    return (k + kBlock - 1) / kBlock * kBlock + 16;
  }

  static int64_t WorkspaceBytes(const WorkspaceQuery& query) {
    const int64_t tokens =
        query.num_tokens < kPassTokens ? query.num_tokens : kPassTokens;
    return LowRankBytes(query) + tokens * TokenStride(query.k) * 4;
  }

  // Token t, k elements, zeros behind them.
  static void DecodeToken(const TokenRows& rows, int64_t t, int64_t k,
                          bool in_order, float* x) {
    alignas(64) float values[kLanes];
    const int64_t end = TokenStride(k) - 16;
    for (int64_t begin = 0; begin < end; begin += kLanes) {
      const int64_t at = t * k + begin;
      Lanes::Store(values, rows.x != nullptr
                               ? Lanes::LoadF32(rows.x + at, k - begin)
                               : Lanes::LoadE4m3(rows.codes + at, k - begin));
      if (in_order) {
        Lanes::Store(x + begin, Lanes::Load(values));
        continue;
      }
      for (int64_t l = 0; l < kLanes; ++l) {
        const int64_t element = (begin + l) % kBlock;
        x[begin + l - element + element % 8 * kLanes + element / 8] = values[l];
      }
    }
  }

  // The group scales of a block, one for each lane. 2^-shift for kE2m1Shift and
  // e4m3 for kE2m1E4m3, whose other factors come at the end.
  static V Scales(const WeightView& w, int64_t n, int64_t block,
                  int64_t num_groups) {
    const int64_t first = block * kBlock / w.group_size;
    if (w.format == WeightFormat::kE2m1E4m3) {
      // Lanes of groups beyond the block are read, where the tensor has them,
      // and not used.
      const int64_t at = n * num_groups + first;
      return Lanes::Spread(
          Lanes::LoadE4m3(w.scale_code + at, w.n * num_groups - at),
          w.group_size);
    }
    alignas(16) float scale[4] = {};
    const int64_t count = kBlock > w.group_size ? kBlock / w.group_size : 1;
    for (int64_t g = 0; g < 4 && g < count && first + g < num_groups; ++g) {
      const int64_t at = n * num_groups + first + g;
      if (w.format == WeightFormat::kE2m1Free) {
        scale[g] = w.group_scale[at];
      } else {
        const uint32_t bits = (127u - w.shift[at]) << 23;
        __builtin_memcpy(&scale[g], &bits, sizeof(bits));
      }
    }
    return count == 1 ? Lanes::Set(scale[0])
                      : Lanes::Spread(Lanes::LoadF32(scale, 4), w.group_size);
  }

  // sum[t] += lanes of (row n) . (token t).
  template <int kTokens>
  static void DotE2m1(const WeightView& w, int64_t n, const float* x,
                      int64_t stride, V (&sum)[kTokens]) {
    const int64_t row_bytes = (w.k + 1) / 2;
    const int64_t num_groups = NumGroups(w.k, w.group_size);
    const uint8_t* row = static_cast<const uint8_t*>(w.data) + n * row_bytes;
    for (int64_t block = 0; block * kBlock < w.k; ++block) {
      const int64_t at = block * 4 * kLanes;
      const auto packed = Lanes::LoadPacked(row + at, row_bytes - at);
      const float* tokens = x + block * kBlock;
      V dot[kTokens];
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) dot[t] = Lanes::Set(0);
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) {
        const V weights = Lanes::E2m1(packed, i);
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) {
          dot[t] = Lanes::MulAdd(
              weights, Lanes::Load(tokens + t * stride + i * kLanes), dot[t]);
        }
      }
      const V scales = Scales(w, n, block, num_groups);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        sum[t] = Lanes::MulAdd(dot[t], scales, sum[t]);
      }
    }
  }

  // The columns [begin, end).
  template <int kTokens>
  static void DotE4m3(const WeightView& w, int64_t n, const float* x,
                      int64_t stride, int64_t begin, int64_t end,
                      V (&sum)[kTokens]) {
    const uint8_t* row = static_cast<const uint8_t*>(w.data) + n * w.k;
    for (int64_t k = begin; k < end; k += kLanes) {
      const V weights = Lanes::LoadE4m3(row + k, w.k - k);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        sum[t] =
            Lanes::MulAdd(weights, Lanes::Load(x + t * stride + k), sum[t]);
      }
    }
  }

  // kE4m3Groups: a sum per group, scaled as it joins the total.
  template <int kTokens>
  static void DotE4m3Groups(const WeightView& w, int64_t n, const float* x,
                            int64_t stride, V (&sum)[kTokens]) {
    const int64_t num_groups = NumGroups(w.k, w.group_size);
    const float* scales = w.group_scale + n / w.scale_rows * num_groups;
    for (int64_t g = 0; g < num_groups; ++g) {
      const int64_t begin = g * w.group_size;
      const int64_t end =
          begin + w.group_size < w.k ? begin + w.group_size : w.k;
      V dot[kTokens];
      for (int t = 0; t < kTokens; ++t) dot[t] = Lanes::Set(0);
      DotE4m3(w, n, x, stride, begin, end, dot);
      const V scale = Lanes::Set(scales[g]);
      for (int t = 0; t < kTokens; ++t) {
        sum[t] = Lanes::MulAdd(dot[t], scale, sum[t]);
      }
    }
  }

  // What row n's sums are still to be multiplied by.
  static float RowScale(const WeightView& w, int64_t n) {
    switch (w.format) {
      case WeightFormat::kE4m3:
      case WeightFormat::kE2m1Shift:
        return w.row_scale[n];
      case WeightFormat::kE2m1E4m3:
        return w.global_scale;
      default:
        return 1;
    }
  }

  // Row n times kTokens tokens from `first` on; x is the first one's.
  template <int kTokens>
  static void Tile(const QuantizedMatmulArgs& args, const float* x,
                   int64_t stride, int64_t n, int64_t first) {
    const WeightView& w = args.weight;
    V sum[kTokens];
    for (int t = 0; t < kTokens; ++t) sum[t] = Lanes::Set(0);
    if (w.format == WeightFormat::kE4m3) {
      DotE4m3(w, n, x, stride, 0, w.k, sum);
    } else if (w.format == WeightFormat::kE4m3Groups) {
      DotE4m3Groups(w, n, x, stride, sum);
    } else {
      DotE2m1(w, n, x, stride, sum);
    }
    const float row_scale = RowScale(w, n);
    const bool divides = w.format == WeightFormat::kE2m1E4m3;
    for (int t = 0; t < kTokens; ++t) {
      const int64_t at = (first + t) * w.n + n;
      float y = Lanes::Sum(sum[t]) * row_scale;
      if (divides) y /= w.global_divisor;
      if (args.rows.scale != nullptr) y *= args.rows.scale[first + t];
      if (args.bias != nullptr) y += args.bias[n];
      if (args.residual != nullptr) y += args.residual[at];
      args.y[at] = y;
    }
  }

  // Rows [begin, end) times tokens [first, first + count).
  static void Rows(const QuantizedMatmulArgs& args, const float* x,
                   int64_t first, int64_t count, int64_t begin, int64_t end) {
    const int64_t stride = TokenStride(args.weight.k);
    for (int64_t n = begin; n < end; ++n) {
      int64_t t = 0;
      for (; t + kTile <= count; t += kTile) {
        Tile<kTile>(args, x + t * stride, stride, n, first + t);
      }
      for (; t < count; ++t) {
        Tile<1>(args, x + t * stride, stride, n, first + t);
      }
    }
  }

  static void Run(QuantizedMatmulArgs args, const Exec& exec) {
    const int64_t k = args.weight.k;
    const int64_t stride = TokenStride(k);
    const bool in_order = args.weight.format == WeightFormat::kE4m3 ||
                          args.weight.format == WeightFormat::kE4m3Groups;
    char* workspace = static_cast<char*>(exec.workspace);
    if (args.weight.lorc.rank > 0) {
      LowRank<Lanes>::Run(
          {args.m, args.rows, args.weight, args.residual, args.y}, exec);
      args.residual = args.y;
      workspace += LowRankBytes(
          {.num_tokens = args.m, .lorc_rank = args.weight.lorc.rank});
    }
    float* x = reinterpret_cast<float*>(workspace);
    for (int64_t pass = 0; pass < args.m; pass += kPassTokens) {
      const int64_t tokens =
          args.m - pass < kPassTokens ? args.m - pass : kPassTokens;
      ParallelFor(exec, tokens, 8, [&](int64_t begin, int64_t end, int) {
        for (int64_t t = begin; t < end; ++t) {
          DecodeToken(args.rows, pass + t, k, in_order, x + t * stride);
        }
      });
      ParallelFor(exec, args.weight.n, 4, [&](int64_t begin, int64_t end, int) {
        for (int64_t t = 0; t < tokens; t += kBlockTokens) {
          const int64_t count =
              tokens - t < kBlockTokens ? tokens - t : kBlockTokens;
          Rows(args, x + t * stride, pass + t, count, begin, end);
        }
      });
    }
  }
};

}  // namespace
}  // namespace zqfp::kernels

#endif  // ZQFP_KERNELS_CPU_QUANTIZED_MATMUL_F32_H_
