// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_LAYOUT_B_H_
#define ZQFP_KERNELS_CUDA_LAYOUT_B_H_

// Layout B: E2M1 weights in the order in which a byte permutation makes E4M3 of
// them, seven instructions for eight weights, the group's shift included.
//
// A word holds eight codes of one row. Magnitude j is in bits 4 j .. 4 j + 2,
// where the permutation reads its selectors; the sign of weight j < 4 is in bit
// 8 j + 7, that of weight 4 + j in bit 8 j + 3. Weights 0..3 become the first
// word of E4M3, 4..7 the second.

#include <cuda_runtime.h>
#include <stdint.h>

#include "kernels/core/float_formats.h"
#include "kernels/cuda/ptx.h"

namespace zqfp::kernels::cuda {

// E4M3 of the magnitudes 0, .5, 1, 1.5 (low) and 2, 3, 4, 6 (high), times
// 2^(6 - shift): exact for shift 0..14.
struct ShiftTable {
  uint32_t low;
  uint32_t high;
};

constexpr ShiftTable MakeShiftTable(int shift) {
  ShiftTable table = {0, 0};
  for (uint32_t i = 0; i < 4; ++i) {
    const uint8_t low = ShiftedE2m1ToE4m3(static_cast<uint8_t>(i), shift);
    const uint8_t high = ShiftedE2m1ToE4m3(static_cast<uint8_t>(4 + i), shift);
    table.low |= uint32_t{low} << (8 * i);
    table.high |= uint32_t{high} << (8 * i);
  }
  return table;
}

constexpr uint32_t PackLayoutB(const uint8_t (&codes)[8]) {
  uint32_t word = 0;
  for (int j = 0; j < 8; ++j) {
    const uint32_t code = codes[j];
    const int sign = j < 4 ? 8 * j + 7 : 8 * (j - 4) + 3;
    word |= (code & 7) << (4 * j) | (code >> 3 & 1) << sign;
  }
  return word;
}

struct E4m3Words {
  uint32_t word[2];  // weights 0..3 and 4..7, the first in the lowest byte
};

// A selector's highest bit would repeat the sign of the byte: it is masked.
__device__ inline E4m3Words UnpackLayoutB(uint32_t word, ShiftTable table) {
  constexpr uint32_t kSigns = 0x80808080u;
  const uint32_t selectors = word & 0x77777777u;
  return {
      {Prmt(table.low, table.high, selectors) | (word & kSigns),
       Prmt(table.low, table.high, selectors >> 16) | ((word << 4) & kSigns)}};
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_LAYOUT_B_H_
