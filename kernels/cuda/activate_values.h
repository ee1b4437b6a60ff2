// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_ACTIVATE_VALUES_H_
#define ZQFP_KERNELS_CUDA_ACTIVATE_VALUES_H_

// f(x) * up of some values: Activate, and Activate in front of QuantizeTokens.

#include <math.h>
#include <stdint.h>

#include "kernels/core/ops.h"
#include "kernels/cuda/row_vectors.h"

namespace zqfp::kernels::cuda {

template <Activation kActivation>
__device__ __forceinline__ float Apply(float x) {
  if constexpr (kActivation == Activation::kRelu) {
    return x < 0 ? 0.0f : x;  // NaN stays NaN
  } else if constexpr (kActivation == Activation::kSilu) {
    return x / (1.0f + expf(-x));
  } else {
    // x sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3))
    const float u = x * fmaf(x * x, 0.044715f, 1.0f) * 1.5957691216f;
    return x / (1.0f + expf(-u));
  }
}

// Values i .. i + kWidth - 1; `up` may be null.
template <Activation kActivation, int kWidth>
__device__ __forceinline__ Floats<kWidth> Activated(const float* x,
                                                    const float* up,
                                                    int64_t i) {
  Floats<kWidth> part = LoadFloats<kWidth>(x + i);
  for (int j = 0; j < kWidth; ++j) {
    part.value[j] = Apply<kActivation>(part.value[j]);
  }
  if (up == nullptr) return part;
  const Floats<kWidth> factor = LoadFloats<kWidth>(up + i);
  for (int j = 0; j < kWidth; ++j) part.value[j] *= factor.value[j];
  return part;
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_ACTIVATE_VALUES_H_
