// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_ROPE_ROW_H_
#define ZQFP_KERNELS_CUDA_ROPE_ROW_H_

// Rope of one head of one token: Rope, and Rope in front of StoreKv and of
// Attention.

#include "kernels/cuda/row_vectors.h"

namespace zqfp::kernels::cuda {

// Rotates the pairs (row[i], row[half + i]) by the angles of cos and sin
// [half], to the same places of `to`, which may be row. Thread `member` of
// `size`.
template <int kWidth>
__device__ __forceinline__ void RotateRow(const float* cos, const float* sin,
                                          int half, int member, int size,
                                          const float* row, float* to) {
  for (int i = member * kWidth; i < half; i += size * kWidth) {
    const Floats<kWidth> c = LoadFloats<kWidth>(cos + i);
    const Floats<kWidth> s = LoadFloats<kWidth>(sin + i);
    Floats<kWidth> a = LoadFloats<kWidth>(row + i);
    Floats<kWidth> b = LoadFloats<kWidth>(row + half + i);
    for (int j = 0; j < kWidth; ++j) {
      const float before = a.value[j];
      a.value[j] = before * c.value[j] - b.value[j] * s.value[j];
      b.value[j] = b.value[j] * c.value[j] + before * s.value[j];
    }
    StoreFloats<kWidth>(to + i, a);
    StoreFloats<kWidth>(to + half + i, b);
  }
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_ROPE_ROW_H_
