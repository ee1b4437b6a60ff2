// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_UNPACK_FP8_H_
#define ZQFP_KERNELS_CUDA_UNPACK_FP8_H_

// A packed weight as rows of e4m3, for cuBLASLt.

#include "kernels/core/ops.h"
#include "kernels/cuda/packed_weight.h"

namespace zqfp::kernels::cuda {

// Whether every weight is row_scale[n] times one e4m3, exactly: e4m3 with a
// scale per row, e2m1 with shifts.
constexpr bool FitsFp8Rows(WeightFormat format) {
  return format == WeightFormat::kE4m3 || format == WeightFormat::kE2m1Shift;
}

// w[n, k] = row_scale[n] * Fp8Unit(format) * e4m3[n, k], row_scale as packed.
// An e2m1 becomes e2m1 * 2^(6 - shift), and a row's scale holds 2^-8.
constexpr float Fp8Unit(WeightFormat format) {
  return format == WeightFormat::kE2m1Shift ? 4.0f : 1.0f;
}

// Enqueues rows [first, first + count) of `w`, first a multiple of 16, into
// `to` [count, k], 16-byte aligned; k is a multiple of 16.
void UnpackFp8(const PackedWeight& w, int64_t first, int64_t count, int64_t k,
               uint8_t* to, const Exec& exec);

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_UNPACK_FP8_H_
