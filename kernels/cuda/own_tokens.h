// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_OWN_TOKENS_H_
#define ZQFP_KERNELS_CUDA_OWN_TOKENS_H_

// OwnTokens: the tokens of a MatmulA8 that every block of it quantizes for
// itself, norm in front of it and all.
//
// Of few tokens that takes less time than a launch that does it once: the
// blocks of the matmul are on the chip already and their weights on the way,
// and what they read again is in the L2 cache.

#include <stdint.h>

#include "kernels/core/ops.h"
#include "kernels/cuda/matmul_plan.h"
#include "kernels/cuda/ptx.h"
#include "kernels/cuda/quantize_row.h"
#include "kernels/cuda/rms_norm_row.h"

namespace zqfp::kernels::cuda {

// As many as one product of the tensor cores has.
inline constexpr int64_t kMostOwnTokens = kTileTokens;

// Values of all tokens up to which that is so: 32 KB, which each of the 132
// multiprocessors reads from L2, by computation in about a microsecond, which
// is what a launch costs. Not measured yet (`zqfp-bench --gpu-tables`, T6, has
// both ways). There is room for more.
inline constexpr int64_t kOwnValues = 8192;
inline constexpr int64_t kMostOwnValues = 16384;

struct OwnTokens {
  int64_t m = 0;
  int64_t k = 0;
  const float* x = nullptr;            // [m, k]
  const float* norm_weight = nullptr;  // [k], or null: no norm
  float epsilon = 0;

  // In shared memory from byte `first` on: a scale for each of kMostOwnTokens,
  // then their codes. Rows are 16 bytes longer than k, so that the words of the
  // lanes of a product are in 32 banks.
  __host__ __device__ static constexpr int64_t At(int64_t first, int64_t token,
                                                  int64_t k) {
    return first + kMostOwnTokens * 4 + token * (k + 16);
  }
};

inline int64_t OwnTokenBytes(const OwnTokens& tokens) {
  return OwnTokens::At(0, tokens.m, tokens.k);
}

// Whether blocks can have these as their own. Codes are made four at a time and
// read in whole chunks.
inline bool FitsOwnTokens(const RmsNormArgs& input) {
  return input.num_rows <= kMostOwnTokens &&
         input.num_rows * input.dim <= kMostOwnValues &&
         input.dim % kChunkColumns == 0 && IsAligned16(input.x, input.weight);
}

// Has the norm's weights come, which are there before the kernel before this
// one is done.
__device__ inline void PrefetchNorm(const OwnTokens& tokens) {
  constexpr int kLine = 128 / sizeof(float);
  if (tokens.norm_weight == nullptr) return;
  for (int64_t i = threadIdx.x * kLine; i < tokens.k;
       i += int64_t{blockDim.x} * kLine) {
    PrefetchL2(tokens.norm_weight + i);
  }
}

template <typename Team>
__device__ void QuantizeOwnToken(const OwnTokens& tokens, int64_t t,
                                 uint8_t* shared) {
  const float* x = tokens.x + t * tokens.k;
  uint8_t* codes = shared + OwnTokens::At(0, t, tokens.k);
  float* scale = reinterpret_cast<float*>(shared) + t;
  if (tokens.norm_weight == nullptr) {
    return QuantizeRow<4, Team>(x, tokens.k, codes, scale);
  }
  const RmsNormRow<4, Team> normed(x, tokens.norm_weight, tokens.k,
                                   tokens.epsilon);
  QuantizeRow<4, Team>(normed, tokens.k, codes, scale);
}

// Quantizes all tokens to shared memory, after AwaitInputs; all of a block
// together. In the order of RmsNormQuantize and QuantizeTokens: the same bits.
__device__ inline void QuantizeOwnTokens(const OwnTokens& tokens,
                                         uint8_t* shared) {
  if (tokens.k <= kWarpLoads * 4) {
    const int64_t t = threadIdx.x / 32;
    if (t < tokens.m) QuantizeOwnToken<RowTeam<true>>(tokens, t, shared);
  } else {
    for (int64_t t = 0; t < tokens.m; ++t) {
      QuantizeOwnToken<RowTeam<false>>(tokens, t, shared);
    }
  }
  __syncthreads();
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_OWN_TOKENS_H_
