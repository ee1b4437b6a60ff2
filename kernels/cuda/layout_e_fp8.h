// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_LAYOUT_E_FP8_H_
#define ZQFP_KERNELS_CUDA_LAYOUT_E_FP8_H_

// The codes of layout_e.h as the tensor cores take them in eight bits, nine
// instructions for eight weights and no table.
//
// What layout E makes of a code is an f16 of which the lower byte is zero; the
// upper one is the same number in e5m2, which is an f16 cut in half. So the
// weight, times 2^-14, is exact in e5m2, and the wgmma of e5m2 by e4m3 takes
// the words that the HMMA of f16 takes. The order fits, too: a word has columns
// 4t .. 4t+3 of a step in rows g and g + 8, and a register of m64nNk32 has just
// those, the first step of two in a[0] and a[1], the second in a[2] and a[3]
// (ptx_wgmma.h). Columns of tokens stay in their order.

#include <cuda_runtime.h>
#include <stdint.h>

#include "kernels/cuda/layout_e.h"
#include "kernels/cuda/ptx.h"

namespace zqfp::kernels::cuda {

// Four neighbouring weights of rows g and g + 8, the first in the lowest byte.
struct Fp8Rows {
  uint32_t row[2];
};

// e5m2 of weight * 2^-14.
__device__ inline Fp8Rows UnpackLayoutEToE5m2(uint32_t word) {
  constexpr uint32_t kField = 0x8E8E8E8Eu;
  constexpr uint32_t kUpperBytes = 0x7531;  // of the first, of the second word
  // Pairs 1, 2 and 3 to where pair 0 is (UnpackLayoutE).
  const uint32_t pair1 = word << 3;
  const uint32_t pair2 = (word & 0x40384038u) * 66;
  const uint32_t pair3 = (word & 0x20072007u) * 516;
  return {{Prmt(word, pair2, kUpperBytes) & kField,
           Prmt(pair1, pair3, kUpperBytes) & kField}};
}

// The codes of a step as they are: pairs 0 and 1 in `first`, 2 and 3 in
// `second`.
__device__ inline Fp8Rows UnpackE4m3(uint32_t first, uint32_t second) {
  return {{Prmt(first, second, 0x5410), Prmt(first, second, 0x7632)}};
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_LAYOUT_E_FP8_H_
