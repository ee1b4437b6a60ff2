// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_KV_VALUES_CUH_
#define ZQFP_KERNELS_CUDA_KV_VALUES_CUH_

// Eight neighbouring values of a row: loaded as they are stored, so that many
// can be in flight in few registers, and decoded to f32 when they are used.

#include <stdint.h>

#include <bit>

#include "kernels/core/views.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ptx.h"

namespace zqfp::kernels::cuda {

template <ValueFormat kFormat>
inline constexpr int kValueBytes = static_cast<int>(ValueBytes(kFormat));

template <ValueFormat kFormat>
struct EightValues {
  uint32_t word[2 * kValueBytes<kFormat>];
};

// Values first .. first + 7 of the row, zeros from `dim` on. With kVectors rows
// are 16-byte aligned (8 with e4m3) and `dim` is a multiple of 8.
template <ValueFormat kFormat, bool kVectors>
__device__ __forceinline__ EightValues<kFormat> LoadEight(
    const uint8_t* __restrict__ row, int first, int dim) {
  constexpr int kBytes = kValueBytes<kFormat>;
  EightValues<kFormat> values = {};
  if constexpr (kVectors && kBytes == 1) {
    if (first >= dim) return values;
    const uint2 pair = *reinterpret_cast<const uint2*>(row + first);
    values.word[0] = pair.x;
    values.word[1] = pair.y;
  } else if constexpr (kVectors) {
    if (first >= dim) return values;
#pragma unroll
    for (int i = 0; i < kBytes / 2; ++i) {
      const uint4 four =
          *reinterpret_cast<const uint4*>(row + first * kBytes + 16 * i);
      values.word[4 * i] = four.x;
      values.word[4 * i + 1] = four.y;
      values.word[4 * i + 2] = four.z;
      values.word[4 * i + 3] = four.w;
    }
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (first + i >= dim) continue;
      const uint8_t* value = row + static_cast<int64_t>(first + i) * kBytes;
      const uint32_t code =
          kBytes == 4   ? *reinterpret_cast<const uint32_t*>(value)
          : kBytes == 2 ? *reinterpret_cast<const uint16_t*>(value)
                        : *value;
      values.word[i * kBytes / 4] |= code << (i * kBytes % 4 * 8);
    }
  }
  return values;
}

template <ValueFormat kFormat>
__device__ __forceinline__ void DecodeEight(const EightValues<kFormat>& values,
                                            float* __restrict__ decoded) {
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    if constexpr (kFormat == ValueFormat::kF32) {
      decoded[i] = std::bit_cast<float>(values.word[i]);
    } else if constexpr (kFormat == ValueFormat::kBf16) {
      const uint32_t word = values.word[i / 2];
      decoded[i] =
          std::bit_cast<float>(i % 2 == 0 ? word << 16 : word & 0xffff0000u);
    } else if (i % 2 == 0) {
      const uint32_t pair = values.word[i / 4] >> (i % 4 * 8);
      const uint32_t halves = F16x2FromE4m3x2(static_cast<uint16_t>(pair));
      decoded[i] = F32FromF16(static_cast<uint16_t>(halves));
      decoded[i + 1] = F32FromF16(static_cast<uint16_t>(halves >> 16));
    }
  }
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_KV_VALUES_CUH_
