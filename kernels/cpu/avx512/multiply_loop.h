// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AVX512_MULTIPLY_LOOP_H_
#define ZQFP_KERNELS_CPU_AVX512_MULTIPLY_LOOP_H_

// The dots of a unit (blocked_matmul.h) and nothing else: OpTable::multiply.

#include <immintrin.h>
#include <stdint.h>

namespace zqfp::kernels::avx512 {
namespace {

template <typename Unit>
inline int64_t MultiplyLoop(int64_t rounds) {
  constexpr int kSums = 16;  // as many as gemm.h has: no sum waits for itself
  typename Unit::Sum sum[kSums];
  // Two BF16 or two integers, or an f32, of which the compiler knows nothing.
  __m512i w = _mm512_set1_epi32(0x3f803f80);
  const __m512i x = _mm512_set1_epi32(0x3dcc3dcc);
#pragma GCC unroll 16
  for (int j = 0; j < kSums; ++j) {
    __asm__ volatile("" : "+v"(w));
    sum[j] = Unit::Dot(Unit::Zero(), w, x);
  }
  for (int64_t i = 0; i < rounds; ++i) {
    __asm__ volatile("" : "+v"(w));
#pragma GCC unroll 16
    for (int j = 0; j < kSums; ++j) sum[j] = Unit::Dot(sum[j], w, x);
  }
#pragma GCC unroll 16
  for (int j = 0; j < kSums; ++j) __asm__ volatile("" : : "v"(sum[j]));
  return rounds * kSums * 16 * Unit::kStep * 2;
}

}  // namespace
}  // namespace zqfp::kernels::avx512

#endif  // ZQFP_KERNELS_CPU_AVX512_MULTIPLY_LOOP_H_
