// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_ROW_REDUCTION_H_
#define ZQFP_KERNELS_CUDA_ROW_REDUCTION_H_

// Sums and maxima over a row, for which either a block or one warp works. The
// tree is fixed by the shape of the launch, so the same row gives the same bits
// every time.

#include <stdint.h>

#include "kernels/cuda/row_vectors.h"

namespace zqfp::kernels::cuda {

// Most threads of a block that reduces: as many as a matmul's, which reduces in
// the same order where it quantizes its own tokens. Four loads of 16 bytes a
// thread cover a row of 4096.
inline constexpr int kReduceThreads = 256;
// Rows up to this many loads are one warp's business: no barrier.
inline constexpr int64_t kWarpLoads = 4 * 32;

struct Sum {
  using Value = float;
  static constexpr float kNone = 0;
  __device__ static float Join(float a, float b) { return a + b; }
};

// Of numbers as they are ordered: bits of magnitudes.
struct MaxBits {
  using Value = uint32_t;
  static constexpr uint32_t kNone = 0;
  __device__ static uint32_t Join(uint32_t a, uint32_t b) {
    return a > b ? a : b;
  }
};

// Every lane gets the result of the warp.
template <typename Kind>
__device__ __forceinline__ typename Kind::Value ReduceWarp(
    typename Kind::Value value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    value = Kind::Join(value, __shfl_xor_sync(0xffffffffu, value, distance));
  }
  return value;
}

// Who works on a row: 32 threads, or those of the block.
template <bool kIsWarp>
struct RowTeam {
  // Both of the thread that calls; rows of a launch are numbered through.
  __device__ static int64_t Row() {
    return kIsWarp ? static_cast<int64_t>(blockIdx.x) * (blockDim.x / 32) +
                         threadIdx.x / 32
                   : static_cast<int64_t>(blockIdx.x);
  }
  __device__ static int Member() {
    return static_cast<int>(kIsWarp ? threadIdx.x % 32 : threadIdx.x);
  }
  __device__ static int Size() {
    return kIsWarp ? 32 : static_cast<int>(blockDim.x);
  }

  // Every member gets the result of the team. Whole teams call it.
  template <typename Kind>
  __device__ static typename Kind::Value Reduce(typename Kind::Value value) {
    value = ReduceWarp<Kind>(value);
    if constexpr (!kIsWarp) {
      __shared__ typename Kind::Value of_warp[32];
      __syncthreads();  // the last reduction may still be read
      if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
      __syncthreads();
      const unsigned lane = threadIdx.x % 32;
      value = lane < blockDim.x / 32 ? of_warp[lane] : Kind::kNone;
      value = ReduceWarp<Kind>(value);
    }
    return value;
  }
};

inline bool IsWarpRow(int64_t dim, int width) {
  return dim <= kWarpLoads * width;
}

// Teams for all rows: 8 rows a block, or one.
inline LaunchShape TeamShape(int64_t num_rows, int64_t dim, int width) {
  if (!IsWarpRow(dim, width)) {
    return RowShape(num_rows, dim, width, kReduceThreads);
  }
  return {.grid = dim3(static_cast<unsigned>((num_rows + 7) / 8)),
          .block = dim3(256)};
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_ROW_REDUCTION_H_
