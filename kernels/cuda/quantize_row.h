// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_QUANTIZE_ROW_H_
#define ZQFP_KERNELS_CUDA_QUANTIZE_ROW_H_

// One row of floats to e4m3 with one scale: QuantizeTokens, what is fused with
// it, and StoreKv per token and head.

#include <stdint.h>

#include "kernels/core/float_formats.h"
#include "kernels/cuda/row_reduction.h"
#include "kernels/cuda/row_vectors.h"

namespace zqfp::kernels::cuda {

inline constexpr uint32_t kMagnitudeBits = 0x7fffffffu;
inline constexpr uint32_t kInfinityBits = 0x7f800000u;  // a NaN's are larger

// The scale of a row whose largest magnitude has these bits: 1 for zeros (or
// numbers so small that it underflows), NaN for a row that is not finite.
__device__ __forceinline__ float ScaleOf(uint32_t largest) {
  if (largest >= kInfinityBits) return __uint_as_float(0x7fc00000u);
  const float scale = __uint_as_float(largest) / kE4m3Max;
  return scale > 0 ? scale : 1.0f;
}

// Writes kWidth codes; 4 of them are one aligned word.
template <int kWidth>
__device__ __forceinline__ void StoreCodes(uint8_t* to, const Floats<kWidth>& x,
                                           float scale) {
  if constexpr (kWidth == 4) {
    const uint32_t low = CvtE4m3x2(x.value[1] / scale, x.value[0] / scale);
    const uint32_t high = CvtE4m3x2(x.value[3] / scale, x.value[2] / scale);
    *reinterpret_cast<uint32_t*>(to) = high << 16 | low;
  } else {
    for (int i = 0; i < kWidth; ++i) {
      to[i] = static_cast<uint8_t>(CvtE4m3x2(0, x.value[i] / scale));
    }
  }
}

// Quantizes a row of dim values, of which source(i) returns those from i on;
// the whole team calls it. It asks for everything twice: the second time it is
// in the L1 cache, or cheap.
template <int kWidth, typename Team, typename Source>
__device__ __forceinline__ void QuantizeRow(const Source& source, int64_t dim,
                                            uint8_t* q, float* scale) {
  const int64_t first = Team::Member() * kWidth, step = Team::Size() * kWidth;
  uint32_t largest = 0;
  for (int64_t i = first; i < dim; i += step) {
    const Floats<kWidth> part = source(i);
    for (int j = 0; j < kWidth; ++j) {
      largest = MaxBits::Join(largest,
                              __float_as_uint(part.value[j]) & kMagnitudeBits);
    }
  }
  const float row_scale = ScaleOf(Team::template Reduce<MaxBits>(largest));
  if (Team::Member() == 0) *scale = row_scale;
  for (int64_t i = first; i < dim; i += step) {
    StoreCodes<kWidth>(q + i, source(i), row_scale);
  }
}

// Of x [dim].
template <int kWidth, typename Team>
__device__ __forceinline__ void QuantizeRow(const float* x, int64_t dim,
                                            uint8_t* q, float* scale) {
  const auto source = [x](int64_t i) { return LoadFloats<kWidth>(x + i); };
  QuantizeRow<kWidth, Team>(source, dim, q, scale);
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_QUANTIZE_ROW_H_
