// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_ROW_VECTORS_H_
#define ZQFP_KERNELS_CUDA_ROW_VECTORS_H_

// How kernels that go over rows of floats read and write them: kWidth values
// at a time, 4 (16 bytes) where every row begins at such an address, else 1.

#include <cuda_runtime.h>
#include <stdint.h>

#include "kernels/cuda/launch.h"

namespace zqfp::kernels::cuda {

// Most threads of a block that has a row to itself.
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

// Whether all these addresses are multiples of 16; null ones do not matter.
template <typename... Pointers>
bool IsAligned16(const Pointers*... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
}

// One block a row of `dim` values, as many warps as find work.
inline LaunchShape RowShape(int64_t num_rows, int64_t dim, int width) {
  const int64_t threads = (dim + width - 1) / width;
  const int64_t warps = (threads + 31) / 32;
  const int64_t most = kRowThreads / 32;
  const int64_t used = warps < 1 ? 1 : warps > most ? most : warps;
  return {.grid = dim3(static_cast<unsigned>(num_rows)),
          .block = dim3(static_cast<unsigned>(used * 32))};
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_ROW_VECTORS_H_
