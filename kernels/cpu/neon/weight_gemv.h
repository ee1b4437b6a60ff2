// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_NEON_WEIGHT_GEMV_H_
#define ZQFP_KERNELS_CPU_NEON_WEIGHT_GEMV_H_

// Four weight rows times one token, from registers: what decode spends its time
// on. A group's products are summed by themselves and scaled once.

#include <arm_neon.h>
#include <stdint.h>

#include "kernels/cpu/neon/decode.h"
#include "kernels/cpu/neon/weight_gemm.h"

namespace zqfp::kernels::neon {
namespace {

// Rows that take turns, so that four sums are under way.
constexpr int64_t kGemvRows = 2;

// The rows' products of `blocks` blocks with x, those of their halves apart.
template <WeightFormat kFormat>
inline void DotBlocks(const uint8_t* const (&row)[kGemvRows], const float* x,
                      int64_t blocks, float32x4_t (&dot)[kGemvRows][2]) {
  for (int r = 0; r < kGemvRows; ++r) dot[r][0] = dot[r][1] = vdupq_n_f32(0);
  for (int64_t b = 0; b < blocks; ++b) {
#pragma GCC unroll 2
    for (int r = 0; r < kGemvRows; ++r) {
      float32x4_t w[kBlockVectors];
      DecodeBlock<kFormat>(row[r] + b * kBlockBytes<kFormat>, w);
#pragma GCC unroll 8
      for (int i = 0; i < kBlockVectors; ++i) {
        float32x4_t& sum = dot[r][i / 4];
        sum = vfmaq_f32(sum, w[i], vld1q_f32(x + b * kBlock + 4 * i));
      }
    }
  }
}

// sum[r] += the blocks, which are of one group or, where groups are of 16, one
// block of two. at[r]: the first group's scale.
template <WeightFormat kFormat>
inline void AddGroup(const WeightView& w,
                     const uint8_t* const (&row)[kGemvRows], const float* x,
                     int64_t blocks, const int64_t (&at)[kGemvRows],
                     bool second, float32x4_t* sum) {
  float32x4_t dot[kGemvRows][2];
  DotBlocks<kFormat>(row, x, blocks, dot);
#pragma GCC unroll 2
  for (int r = 0; r < kGemvRows; ++r) {
    if constexpr (!HasGroups(kFormat)) {
      sum[r] = vaddq_f32(sum[r], vaddq_f32(dot[r][0], dot[r][1]));
      continue;
    }
    const float scale = GroupScale<kFormat>(w, at[r]);
    if (!second) {
      sum[r] = vfmaq_n_f32(sum[r], vaddq_f32(dot[r][0], dot[r][1]), scale);
      continue;
    }
    sum[r] = vfmaq_n_f32(sum[r], dot[r][0], scale);
    sum[r] = vfmaq_n_f32(sum[r], dot[r][1], GroupScale<kFormat>(w, at[r] + 1));
  }
}

// The products of the rows n[0], n[1] with x, but for the rows' scales.
template <WeightFormat kFormat>
inline void GemvRows(const WeightView& w, const float* x,
                     const int64_t (&n)[kGemvRows], float32x4_t* sum) {
  constexpr bool kGroups = HasGroups(kFormat);
  const int64_t blocks = w.k / kBlock;
  // Groups of 16 are halves of blocks.
  const bool halves = kGroups && w.group_size < kBlock;
  const int64_t span = !kGroups ? blocks : halves ? 1 : w.group_size / kBlock;
  const uint8_t* row[kGemvRows];
  int64_t at[kGemvRows];
  for (int r = 0; r < kGemvRows; ++r) {
    row[r] = RowBytes<kFormat>(w, n[r]);
    at[r] = kGroups ? FirstScale(w, n[r]) : 0;
    sum[r] = vdupq_n_f32(0);
  }
  for (int64_t b = 0; b < blocks; b += span) {
    const int64_t count = b + span < blocks ? span : blocks - b;
    AddGroup<kFormat>(w, row, x + b * kBlock, count, at, halves, sum);
    for (int r = 0; r < kGemvRows; ++r) {
      row[r] += count * kBlockBytes<kFormat>;
      at[r] += halves ? 2 : 1;
    }
  }
  const int64_t rest = w.k - blocks * kBlock;
  if (rest == 0) return;
  uint8_t copy[kGemvRows][kBlockBytes<kFormat>];
  for (int r = 0; r < kGemvRows; ++r) {
    CopyLastBlock<kFormat>(w, n[r], copy[r]);
    row[r] = copy[r];
    // The last whole blocks may be of the same group.
    if (kGroups) at[r] = FirstScale(w, n[r]) + blocks * kBlock / w.group_size;
  }
  AddGroup<kFormat>(w, row, x + blocks * kBlock, 1, at,
                    halves && rest > kBlock / 2, sum);
}

// The rows n .. n + 3 times token t, whose elements are x.
template <WeightFormat kFormat>
void Gemv(const WeightMatmulArgs& args, const float* x, int64_t t, int64_t n) {
  const WeightView& w = args.weight;
  float32x4_t sum[kRows];
  for (int64_t r = 0; r < kRows; r += kGemvRows) {
    GemvRows<kFormat>(w, x, {RowAt(w, n, r), RowAt(w, n, r + 1)}, sum + r);
  }
  StoreRows(args, n, t, sum);
}

}  // namespace
}  // namespace zqfp::kernels::neon

#endif  // ZQFP_KERNELS_CPU_NEON_WEIGHT_GEMV_H_
