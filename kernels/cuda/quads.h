// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_QUADS_H_
#define ZQFP_KERNELS_CUDA_QUADS_H_

// Four neighbours of a row of numbers in any format, in one access where the
// rows are aligned for that, and never beyond the row's end.

#include <cuda_runtime.h>
#include <stdint.h>

#include "kernels/core/views.h"
#include "kernels/cuda/decode.h"

namespace zqfp::kernels::cuda {

// Whether four values at any multiple of four columns are aligned as one.
inline bool HasWholeQuads(ValueFormat format, const void* data,
                          int64_t columns) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(data);
  return columns % 4 == 0 &&
         address % static_cast<uintptr_t>(4 * ValueBytes(format)) == 0;
}

template <ValueFormat kFormat>
__device__ inline float ReadOne(const void* data, int64_t index) {
  if constexpr (kFormat == ValueFormat::kF32) {
    return static_cast<const float*>(data)[index];
  } else if constexpr (kFormat == ValueFormat::kBf16) {
    return DecodeBf16(static_cast<const uint16_t*>(data)[index]);
  } else if constexpr (kFormat == ValueFormat::kF16) {
    return DecodeF16(static_cast<const uint16_t*>(data)[index]);
  } else {
    return DecodeE4m3(static_cast<const uint8_t*>(data)[index]);
  }
}

__device__ inline float Decode16(ValueFormat format, uint32_t code) {
  return format == ValueFormat::kBf16 ? DecodeBf16(code) : DecodeF16(code);
}

// Values index .. index + 3, aligned.
template <ValueFormat kFormat>
__device__ inline float4 ReadWholeQuad(const void* data, int64_t index) {
  if constexpr (kFormat == ValueFormat::kF32) {
    return *reinterpret_cast<const float4*>(static_cast<const float*>(data) +
                                            index);
  } else if constexpr (kFormat == ValueFormat::kE4m3) {
    const uint32_t four = *reinterpret_cast<const uint32_t*>(
        static_cast<const uint8_t*>(data) + index);
    return make_float4(DecodeE4m3(four & 0xff), DecodeE4m3(four >> 8 & 0xff),
                       DecodeE4m3(four >> 16 & 0xff), DecodeE4m3(four >> 24));
  } else {
    const uint2 four = *reinterpret_cast<const uint2*>(
        static_cast<const uint16_t*>(data) + index);
    return make_float4(
        Decode16(kFormat, four.x & 0xffff), Decode16(kFormat, four.x >> 16),
        Decode16(kFormat, four.y & 0xffff), Decode16(kFormat, four.y >> 16));
  }
}

// Row `row`, columns k .. k + 3 of a matrix of `columns`; 0 beyond the row.
template <ValueFormat kFormat>
__device__ inline float4 ReadQuad(const void* data, int64_t row,
                                  int64_t columns, int64_t k, bool whole) {
  const int64_t begin = row * columns + k;
  if (whole && k < columns) return ReadWholeQuad<kFormat>(data, begin);
  float value[4];
  for (int i = 0; i < 4; ++i) {
    value[i] = k + i < columns ? ReadOne<kFormat>(data, begin + i) : 0.0f;
  }
  return make_float4(value[0], value[1], value[2], value[3]);
}

// Word i of a piece of 16 bytes.
__device__ inline uint32_t WordOf(const uint4& piece, int i) {
  return i == 0 ? piece.x : i == 1 ? piece.y : i == 2 ? piece.z : piece.w;
}

// sum + a . b.
__device__ inline float AddDot(float4 a, float4 b, float sum) {
  sum = fmaf(a.x, b.x, sum);
  sum = fmaf(a.y, b.y, sum);
  sum = fmaf(a.z, b.z, sum);
  return fmaf(a.w, b.w, sum);
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_QUADS_H_
