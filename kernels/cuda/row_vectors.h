// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_ROW_VECTORS_H_
#define ZQFP_KERNELS_CUDA_ROW_VECTORS_H_

// How kernels that go over rows of floats read and write them: kWidth values
// at a time, 4 (16 bytes) where every row begins at such an address, else 1.

#include <cuda_runtime.h>
#include <stdint.h>

#include "kernels/core/float_formats.h"
#include "kernels/core/views.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ptx.h"

namespace zqfp::kernels::cuda {

// Most threads of a block that copies rows.
inline constexpr int kRowThreads = 256;

template <int kWidth>
struct Floats {
  float value[kWidth];
};

template <int kWidth>
__device__ __forceinline__ Floats<kWidth> LoadFloats(const float* from) {
  Floats<kWidth> floats;
  if constexpr (kWidth == 4) {
    const float4 vector = *reinterpret_cast<const float4*>(from);
    floats.value[0] = vector.x;
    floats.value[1] = vector.y;
    floats.value[2] = vector.z;
    floats.value[3] = vector.w;
  } else {
    for (int i = 0; i < kWidth; ++i) floats.value[i] = from[i];
  }
  return floats;
}

template <int kWidth>
__device__ __forceinline__ void StoreFloats(float* to,
                                            const Floats<kWidth>& floats) {
  if constexpr (kWidth == 4) {
    *reinterpret_cast<float4*>(to) = make_float4(
        floats.value[0], floats.value[1], floats.value[2], floats.value[3]);
  } else {
    for (int i = 0; i < kWidth; ++i) to[i] = floats.value[i];
  }
}

// Values index .. index + kWidth - 1 of a table of f32, bf16 or f16.
template <ValueFormat kFormat, int kWidth>
__device__ __forceinline__ Floats<kWidth> LoadValues(const void* table,
                                                     int64_t index) {
  if constexpr (kFormat == ValueFormat::kF32) {
    return LoadFloats<kWidth>(static_cast<const float*>(table) + index);
  } else {
    const uint16_t* from = static_cast<const uint16_t*>(table) + index;
    uint16_t code[kWidth];
    if constexpr (kWidth == 4) {
      const uint2 pairs = *reinterpret_cast<const uint2*>(from);
      for (int i = 0; i < 4; ++i) {
        const uint32_t pair = i < 2 ? pairs.x : pairs.y;
        code[i] = static_cast<uint16_t>(pair >> i % 2 * 16);
      }
    } else {
      for (int i = 0; i < kWidth; ++i) code[i] = from[i];
    }
    Floats<kWidth> floats;
    for (int i = 0; i < kWidth; ++i) {
      floats.value[i] = kFormat == ValueFormat::kBf16 ? Bf16ToFloat(code[i])
                                                      : F32FromF16(code[i]);
    }
    return floats;
  }
}

// Whether all these addresses are multiples of 16; null ones do not matter.
template <typename... Pointers>
bool IsAligned16(const Pointers*... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
}

// The same of a row of codes, 4 of which are one word.
inline bool IsAligned4(const uint8_t* codes) {
  return reinterpret_cast<uintptr_t>(codes) % 4 == 0;
}

// Whole warps, at most `most` threads, for `count` values, `width` a thread.
inline unsigned ThreadsFor(int64_t count, int width, int most) {
  const int64_t warps = (count + 32 * width - 1) / (32 * width);
  const int64_t used = warps < 1 ? 1 : warps > most / 32 ? most / 32 : warps;
  return static_cast<unsigned>(used * 32);
}

// One block a row of `dim` values.
inline LaunchShape RowShape(int64_t num_rows, int64_t dim, int width,
                            int most_threads = kRowThreads) {
  return {.grid = dim3(static_cast<unsigned>(num_rows)),
          .block = dim3(ThreadsFor(dim, width, most_threads))};
}

// Blocks for `count` values that no row structure binds, `width` a thread.
inline LaunchShape FlatShape(int64_t count, int width) {
  const int64_t per_block = int64_t{kRowThreads} * width;
  const int64_t num_blocks = (count + per_block - 1) / per_block;
  return {.grid = dim3(static_cast<unsigned>(num_blocks)),
          .block = dim3(kRowThreads)};
}

// The first value of this thread of a FlatShape.
template <int kWidth>
__device__ __forceinline__ int64_t FlatIndex() {
  return (static_cast<int64_t>(blockIdx.x) * kRowThreads + threadIdx.x) *
         kWidth;
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_ROW_VECTORS_H_
