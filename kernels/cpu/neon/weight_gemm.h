// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_NEON_WEIGHT_GEMM_H_
#define ZQFP_KERNELS_CPU_NEON_WEIGHT_GEMM_H_

// Four weight rows times many tokens, and the end that all products share.
//
// The rows become a panel of f32, 256 columns at a time, that stays in the
// first-level cache while every token passes: so decoding costs little, and one
// inner loop serves every format. Group scales are in the panel; a sum is
// multiplied by the row's scale at the end.
//   panel  [column / 4][row, 4][column % 4]

#include <arm_neon.h>
#include <stdint.h>

#include "kernels/cpu/neon/decode.h"
#include "kernels/cpu/neon/lanes.h"
#include "kernels/cpu/neon/weight_matmul.h"

namespace zqfp::kernels::neon {
namespace {

constexpr int64_t kRows = 4;
// Tokens of one register tile: with four rows 16 sums, 4 weights, 4 tokens.
constexpr int64_t kTileTokens = 4;
// Tokens that stay in a second-level cache while all rows pass.
constexpr int64_t kBlockTokens = 32;
// Columns of a panel: whole groups of any size.
constexpr int64_t kPanelColumns = 256;

// f32 elements of one decoded token; a cache line more than whole blocks keeps
// the tokens of a tile out of each other's cache sets.
constexpr int64_t TokenStride(int64_t k) {
  return (k + kBlock - 1) / kBlock * kBlock + 16;
}

// Row n + r, or the last one where there is none: computed, not stored.
inline int64_t RowAt(const WeightView& w, int64_t n, int64_t r) {
  return n + r < w.n ? n + r : w.n - 1;
}

inline float32x4_t Load4(const float* x, int64_t count) {
  if (count >= 4) return vld1q_f32(x);
  float copy[4] = {};
  for (int64_t i = 0; i < count; ++i) copy[i] = x[i];
  return vld1q_f32(copy);
}

// y[t, n .. n + 3] of the sums of four rows.
inline void StoreRows(const WeightMatmulArgs& args, int64_t n, int64_t t,
                      const float32x4_t* sum) {
  const WeightView& w = args.weight;
  const int64_t count = w.n - n;
  float row_scale[kRows];
  for (int64_t r = 0; r < kRows; ++r) {
    row_scale[r] = RowScale(w, RowAt(w, n, r));
  }
  float32x4_t y = SumLanes(sum[0], sum[1], sum[2], sum[3]);
  y = vmulq_f32(y, vld1q_f32(row_scale));
  if (w.format == WeightFormat::kE2m1E4m3) {
    y = vdivq_f32(y, vdupq_n_f32(w.global_divisor));
  }
  if (args.token_scale != nullptr) y = vmulq_n_f32(y, args.token_scale[t]);
  if (args.bias != nullptr) y = vaddq_f32(y, Load4(args.bias + n, count));
  const int64_t at = t * w.n + n;
  if (args.residual != nullptr) {
    y = vaddq_f32(y, Load4(args.residual + at, count));
  }
  if (count >= kRows) return vst1q_f32(args.y + at, y);
  float values[kRows];
  vst1q_f32(values, y);
  for (int64_t r = 0; r < count; ++r) args.y[at + r] = values[r];
}

// One block of one row, scaled, to its place in a panel.
template <WeightFormat kFormat>
inline void StoreBlock(const float (&scale)[2], const uint8_t* bytes,
                       float* out) {
  float32x4_t v[kBlockVectors];
  DecodeBlock<kFormat>(bytes, v);
#pragma GCC unroll 8
  for (int i = 0; i < kBlockVectors; ++i) {
    if constexpr (HasGroups(kFormat)) v[i] = vmulq_n_f32(v[i], scale[i / 4]);
    vst1q_f32(out + i * kRows * 4, v[i]);
  }
}

// The scales of the halves of the block at column k: of the same group unless
// those are of 16.
template <WeightFormat kFormat>
inline void BlockScales(const WeightView& w, int64_t first, int64_t k,
                        float (&scale)[2]) {
  if constexpr (HasGroups(kFormat)) {
    const int log2 =
        __builtin_ctzll(static_cast<unsigned long long>(w.group_size));
    const int64_t middle = k + kBlock / 2 < w.k ? k + kBlock / 2 : k;
    scale[0] = GroupScale<kFormat>(w, first + (k >> log2));
    scale[1] = GroupScale<kFormat>(w, first + (middle >> log2));
  }
}

// The columns from `begin` on of four rows; at most kPanelColumns. Whole blocks
// of them; beyond k they are zero or met by zeros.
template <WeightFormat kFormat>
void DecodePanel(const WeightView& w, int64_t n, int64_t begin, float* panel) {
  const int64_t end = begin + kPanelColumns < w.k ? begin + kPanelColumns : w.k;
  for (int64_t r = 0; r < kRows; ++r) {
    const int64_t row = RowAt(w, n, r);
    const int64_t first = HasGroups(kFormat) ? FirstScale(w, row) : 0;
    const uint8_t* bytes =
        RowBytes<kFormat>(w, row) + begin / kBlock * kBlockBytes<kFormat>;
    float* out = panel + r * 4;
    float scale[2];
    int64_t k = begin;
    for (; k + kBlock <= end; k += kBlock) {
      BlockScales<kFormat>(w, first, k, scale);
      StoreBlock<kFormat>(scale, bytes, out);
      bytes += kBlockBytes<kFormat>;
      out += kBlock * kRows;
    }
    if (k < end) {
      uint8_t copy[kBlockBytes<kFormat>];
      CopyLastBlock<kFormat>(w, row, copy);
      BlockScales<kFormat>(w, first, k, scale);
      StoreBlock<kFormat>(scale, copy, out);
    }
  }
}

// sum[t][r] += x[t] . panel[r] over 4 * steps columns.
template <int kTokens>
void Multiply(const float* panel, int64_t steps, const float* x, int64_t stride,
              float32x4_t* sum) {
  float32x4_t total[kTokens][kRows];
  for (int t = 0; t < kTokens; ++t) {
    for (int r = 0; r < kRows; ++r) total[t][r] = sum[t * kRows + r];
  }
  for (int64_t step = 0; step < steps; ++step) {
    float32x4_t weights[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      weights[r] = vld1q_f32(panel + (step * kRows + r) * 4);
    }
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const float32x4_t token = vld1q_f32(x + t * stride + step * 4);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        total[t][r] = vfmaq_f32(total[t][r], weights[r], token);
      }
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    for (int r = 0; r < kRows; ++r) sum[t * kRows + r] = total[t][r];
  }
}

// The rows n .. n + 3 times `count` <= kBlockTokens tokens from `first` on; x
// is the first one's.
template <WeightFormat kFormat>
void GemmRows(const WeightMatmulArgs& args, const float* x, int64_t first,
              int64_t count, int64_t n) {
  const int64_t k = args.weight.k;
  const int64_t stride = TokenStride(k);
  alignas(64) float panel[kPanelColumns * kRows];
  float32x4_t sum[kBlockTokens * kRows];
  for (int64_t i = 0; i < count * kRows; ++i) sum[i] = vdupq_n_f32(0);
  for (int64_t begin = 0; begin < k; begin += kPanelColumns) {
    DecodePanel<kFormat>(args.weight, n, begin, panel);
    const int64_t columns =
        k - begin < kPanelColumns ? k - begin : kPanelColumns;
    const int64_t steps = (columns + kBlock - 1) / kBlock * kBlockVectors;
    int64_t t = 0;
    for (; t + kTileTokens <= count; t += kTileTokens) {
      Multiply<kTileTokens>(panel, steps, x + t * stride + begin, stride,
                            sum + t * kRows);
    }
    const float* rest = x + t * stride + begin;
    switch (count - t) {
      case 3:
        Multiply<3>(panel, steps, rest, stride, sum + t * kRows);
        break;
      case 2:
        Multiply<2>(panel, steps, rest, stride, sum + t * kRows);
        break;
      case 1:
        Multiply<1>(panel, steps, rest, stride, sum + t * kRows);
        break;
      default:
        break;
    }
  }
  for (int64_t t = 0; t < count; ++t) {
    StoreRows(args, n, first + t, sum + t * kRows);
  }
}

}  // namespace
}  // namespace zqfp::kernels::neon

#endif  // ZQFP_KERNELS_CPU_NEON_WEIGHT_GEMM_H_
