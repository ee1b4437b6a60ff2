// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_RMS_NORM_ROW_H_
#define ZQFP_KERNELS_CUDA_RMS_NORM_ROW_H_

// One row of RmsNorm without its residual: RmsNorm, and RmsNorm in front of
// QuantizeTokens.

#include <stdint.h>

#include "kernels/cuda/row_reduction.h"
#include "kernels/cuda/row_vectors.h"

namespace zqfp::kernels::cuda {

template <int kWidth, typename Team>
class RmsNormRow {
 public:
  // x, weight [dim]; the whole team constructs it.
  __device__ __forceinline__ RmsNormRow(const float* x, const float* weight,
                                        int64_t dim, float epsilon)
      : x_(x), weight_(weight) {
    const int64_t first = Team::Member() * kWidth, step = Team::Size() * kWidth;
    float sum = 0;
    for (int64_t i = first; i < dim; i += step) {
      const Floats<kWidth> part = LoadFloats<kWidth>(x + i);
      for (int j = 0; j < kWidth; ++j) {
        sum = fmaf(part.value[j], part.value[j], sum);
      }
    }
    sum = Team::template Reduce<Sum>(sum);
    inverse_ = 1.0f / sqrtf(sum / static_cast<float>(dim) + epsilon);
  }

  // Values i .. i + kWidth - 1.
  __device__ __forceinline__ Floats<kWidth> operator()(int64_t i) const {
    const Floats<kWidth> factor = LoadFloats<kWidth>(weight_ + i);
    Floats<kWidth> part = LoadFloats<kWidth>(x_ + i);
    for (int j = 0; j < kWidth; ++j) {
      part.value[j] = part.value[j] * inverse_ * factor.value[j];
    }
    return part;
  }

 private:
  const float* x_;
  const float* __restrict__ weight_;
  float inverse_;
};

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_RMS_NORM_ROW_H_
