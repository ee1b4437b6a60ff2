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

// The sums of one group of kGemvRows rows; halves: of every block.
struct GroupSums {
  float32x4_t half[kGemvRows][2];
};

// The blocks of [begin, end) times x.
template <WeightFormat kFormat>
inline GroupSums DotBlocks(const uint8_t* const (&row)[kGemvRows],
                           int64_t length, const float* x, int64_t begin,
                           int64_t end) {
  const float32x4_t zero = vdupq_n_f32(0);
  GroupSums sums = {{{zero, zero}, {zero, zero}}};
  for (int64_t k = begin; k < end; k += kBlock) {
#pragma GCC unroll 2
    for (int r = 0; r < kGemvRows; ++r) {
      float32x4_t w[kBlockVectors];
      DecodeBlock<kFormat>(row[r], k, length, w);
#pragma GCC unroll 8
      for (int i = 0; i < kBlockVectors; ++i) {
        float32x4_t& sum = sums.half[r][i / 4];
        sum = vfmaq_f32(sum, w[i], vld1q_f32(x + k + 4 * i));
      }
    }
  }
  return sums;
}

// The products of the rows n[0], n[1] with x, but for the rows' scales.
template <WeightFormat kFormat>
inline void GemvRows(const WeightView& w, const float* x,
                     const int64_t (&n)[kGemvRows], float32x4_t* sum) {
  const uint8_t* const row[kGemvRows] = {RowBytes<kFormat>(w, n[0]),
                                         RowBytes<kFormat>(w, n[1])};
  if constexpr (!HasGroups(kFormat)) {
    const GroupSums all = DotBlocks<kFormat>(row, w.k, x, 0, w.k);
    for (int r = 0; r < kGemvRows; ++r) {
      sum[r] = vaddq_f32(all.half[r][0], all.half[r][1]);
    }
    return;
  }
  // Groups of 16 are the halves of blocks.
  const bool halves = w.group_size < kBlock;
  const int64_t span = halves ? kBlock : w.group_size;
  for (int r = 0; r < kGemvRows; ++r) sum[r] = vdupq_n_f32(0);
  int64_t g = 0;
  for (int64_t begin = 0; begin < w.k; begin += span) {
    const int64_t end = begin + span < w.k ? begin + span : w.k;
    const GroupSums dot = DotBlocks<kFormat>(row, w.k, x, begin, end);
    for (int r = 0; r < kGemvRows; ++r) {
      const float scale = GroupScale<kFormat>(w, n[r], g);
      const float32x4_t first =
          halves ? dot.half[r][0] : vaddq_f32(dot.half[r][0], dot.half[r][1]);
      sum[r] = vfmaq_n_f32(sum[r], first, scale);
      if (halves && begin + kBlock / 2 < end) {
        sum[r] = vfmaq_n_f32(sum[r], dot.half[r][1],
                             GroupScale<kFormat>(w, n[r], g + 1));
      }
    }
    g += halves ? 2 : 1;
  }
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
