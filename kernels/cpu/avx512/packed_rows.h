// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AVX512_PACKED_ROWS_H_
#define ZQFP_KERNELS_CPU_AVX512_PACKED_ROWS_H_

// Rows of packed weights in 64-byte loads: what the blocked matmuls share.
//
// A load of packed e2m1 weights holds a block of 128 elements; its 16-bit lane
// j holds 4j .. 4j+3, so that shifts alone make four vectors of them, vector i
// with the elements 4j+i. A dot of pairs of 16-bit lanes adds lanes 2l and 2l+1
// into 32-bit lane l: over the four vectors lane l sums the elements 8l ..
// 8l+7, all of one group.

#include <immintrin.h>
#include <stdint.h>

#include "kernels/core/ops.h"
#include "kernels/cpu/avx512/lanes.h"

namespace zqfp::kernels::avx512 {
namespace {

constexpr int64_t kBlock = 128;  // elements of k
constexpr int kVectors = 4;      // of 32 16-bit lanes in a block

// k up to whole blocks.
inline int64_t PaddedK(int64_t k) { return CeilDiv(k, kBlock) * kBlock; }

// The lowest `count` bits, all 64 where count is larger, none where negative.
inline __mmask64 LowBits64(int64_t count) {
  if (count >= 64) return ~uint64_t{0};
  return count <= 0 ? 0 : (uint64_t{1} << count) - 1;
}

// Lane r: value[r * stride] of the first `count` of 16 rows, else zero.
inline __m512i GatherBytes(const uint8_t* value, int64_t stride,
                           int64_t count) {
  alignas(64) int32_t lanes[16] = {};
  const int64_t end = count < 16 ? count : 16;
  for (int64_t r = 0; r < end; ++r) lanes[r] = value[r * stride];
  return _mm512_load_si512(lanes);
}
inline __m512 GatherFloats(const float* value, int64_t stride, int64_t count) {
  alignas(64) float lanes[16] = {};
  const int64_t end = count < 16 ? count : 16;
  for (int64_t r = 0; r < end; ++r) lanes[r] = value[r * stride];
  return _mm512_load_ps(lanes);
}

// BF16 of the 16 e2m1 codes, and so the upper halves of their f32; twice, since
// vpermw reads 5 bits of a lane, and the fifth belongs to the next code.
inline __m512i Bf16OfE2m1() {
  alignas(64) static constexpr uint16_t kTable[32] = {
      0x0000, 0x3f00, 0x3f80, 0x3fc0, 0x4000, 0x4040, 0x4080, 0x40c0,
      0x8000, 0xbf00, 0xbf80, 0xbfc0, 0xc000, 0xc040, 0xc080, 0xc0c0,
      0x0000, 0x3f00, 0x3f80, 0x3fc0, 0x4000, 0x4040, 0x4080, 0x40c0,
      0x8000, 0xbf00, 0xbf80, 0xbfc0, 0xc000, 0xc040, 0xc080, 0xc0c0};
  return _mm512_load_si512(kTable);
}

// 2^-shift in every lane.
inline __m512 PowerOfTwo(__m512i shift) {
  const __m512i exponent = _mm512_sub_epi32(_mm512_set1_epi32(127), shift);
  return _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23));
}

// Bytes of one row of a weight in e4m3 or e2m1.
inline int64_t RowBytes(const WeightView& w) {
  return w.format == WeightFormat::kE4m3 ? w.k : CeilDiv(w.k, 2);
}

}  // namespace
}  // namespace zqfp::kernels::avx512

#endif  // ZQFP_KERNELS_CPU_AVX512_PACKED_ROWS_H_
