// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_OWN_TOKENS_H_
#define ZQFP_KERNELS_CUDA_OWN_TOKENS_H_

// OwnTokens: the tokens of a MatmulA8 that every block of it has for itself,
// all of them from the beginning to the end: quantized by it, norm in front and
// all, or copied.
//
// Of few tokens to quantize them everywhere takes less time than a launch that
// does it once: the blocks of the matmul are on the chip already and their
// weights on the way, and what they read again is in the L2 cache. A block also
// has at hand what it needs for its part of V x, the first half of a low-rank
// branch.

#include <stdint.h>

#include "kernels/core/ops.h"
#include "kernels/cuda/matmul_plan.h"
#include "kernels/cuda/ptx.h"
#include "kernels/cuda/quads.h"
#include "kernels/cuda/quantize_row.h"
#include "kernels/cuda/rms_norm_row.h"

namespace zqfp::kernels::cuda {

static_assert(kReduceThreads == kMatmulThreads, "else the codes might differ");

// As many as one product of the tensor cores has.
inline constexpr int64_t kMostOwnTokens = kTileTokens;

// Up to so many values of all tokens every block quantizes them: 32 KB, which
// each of the 132 multiprocessors reads from L2, by computation in about a
// microsecond, which is what a launch costs. Not measured yet (`zqfp-bench
// --gpu-tables`, T6, has both ways).
inline constexpr int64_t kOwnTokenThreshold = 8192;
// So many codes have room in shared memory.
inline constexpr int64_t kOwnTokenCapacity = 16384;

struct OwnTokens {
  int64_t m = 0;  // 0: none
  int64_t k = 0;
  const float* x = nullptr;            // [m, k]
  const float* norm_weight = nullptr;  // [k], or null: no norm
  float epsilon = 0;
  QuantizedTokensView codes;  // instead of x

  // Offsets in shared memory, where the tokens begin with their scales; then
  // come V x, [token][rank], and the codes. Rows are 16 bytes longer than k, so
  // that the words of the lanes of a product are in 32 banks.
  static constexpr int64_t kInnerAt = kMostOwnTokens * 4;
  __host__ __device__ static constexpr int64_t CodesAt(int64_t token,
                                                       int64_t k) {
    return kInnerAt + kMostOwnTokens * kMaxLorcRank * 4 + token * (k + 16);
  }
};

// What any of them take: kMostOwnTokens, kOwnTokenCapacity.
inline constexpr int64_t kMostOwnBytes =
    OwnTokens::CodesAt(kMostOwnTokens, 0) + kOwnTokenCapacity;

// Whether blocks can have these as their own. Codes are made four at a time and
// read in whole chunks.
constexpr bool FitsOwnTokens(int64_t m, int64_t k) {
  return m > 0 && m <= kMostOwnTokens && m * k <= kOwnTokenCapacity &&
         k % kChunkColumns == 0;
}

// Whether blocks can compute their part of V x.
inline bool FitsOwnInner(const WeightView& weight) {
  return weight.lorc.rank == 0 ||
         HasWholeQuads(weight.lorc.format, weight.lorc.v, weight.k);
}

// Prefetches the norm's weights, which are there before the kernel before this
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
  uint8_t* codes = shared + OwnTokens::CodesAt(t, tokens.k);
  float* scale = reinterpret_cast<float*>(shared) + t;
  if (tokens.norm_weight == nullptr) {
    return QuantizeRow<4, Team>(x, tokens.k, codes, scale);
  }
  const RmsNormRow<4, Team> normed(x, tokens.norm_weight, tokens.k,
                                   tokens.epsilon);
  QuantizeRow<4, Team>(normed, tokens.k, codes, scale);
}

__device__ inline void CopyOwnTokens(const OwnTokens& tokens, uint8_t* shared) {
  for (int64_t t = 0; t < tokens.m; ++t) {
    const uint8_t* from = tokens.codes.data + t * tokens.k;
    uint8_t* to = shared + OwnTokens::CodesAt(t, tokens.k);
    for (int64_t i = threadIdx.x * 16; i < tokens.k; i += blockDim.x * 16) {
      *reinterpret_cast<uint4*>(to + i) =
          *reinterpret_cast<const uint4*>(from + i);
    }
  }
  if (threadIdx.x < tokens.m) {
    reinterpret_cast<float*>(shared)[threadIdx.x] =
        tokens.codes.scale[threadIdx.x];
  }
}

// Brings all tokens to shared memory, after AwaitInputs; all of a block
// together. In the order of RmsNormQuantize and QuantizeTokens: the same codes.
__device__ inline void TakeOwnTokens(const OwnTokens& tokens, uint8_t* shared) {
  if (tokens.x == nullptr) {
    CopyOwnTokens(tokens, shared);
  } else if (tokens.k <= kWarpLoads * 4) {
    const int64_t t = threadIdx.x / 32;
    if (t < tokens.m) QuantizeOwnToken<RowTeam<true>>(tokens, t, shared);
  } else {
    for (int64_t t = 0; t < tokens.m; ++t) {
      QuantizeOwnToken<RowTeam<false>>(tokens, t, shared);
    }
  }
  __syncthreads();
}

// Columns [begin, end) of V times the tokens without their scales, to where V x
// is; a warp a row of V. The block has the tokens, and all of it goes on behind
// a barrier.
template <ValueFormat kFactor>
__device__ void InnerOfColumns(const LorcView& lorc, const OwnTokens& tokens,
                               int begin, int end, uint8_t* shared) {
  float* inner = reinterpret_cast<float*>(shared + OwnTokens::kInnerAt);
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int64_t r = threadIdx.x / 32; r < lorc.rank; r += blockDim.x / 32) {
    for (int64_t t = 0; t < tokens.m; ++t) {
      const uint8_t* codes = shared + OwnTokens::CodesAt(t, tokens.k);
      float sum = 0;
#pragma unroll 4
      for (int i = begin + lane * 4; i < end; i += 32 * 4) {
        sum = AddDot(ReadWholeQuad<kFactor>(lorc.v, r * tokens.k + i),
                     ReadWholeQuad<ValueFormat::kE4m3>(codes, i), sum);
      }
      sum = ReduceWarp<Sum>(sum);
      if (kFactor == ValueFormat::kE4m3) sum *= lorc.v_scale[r];
      if (lane == 0) inner[t * lorc.rank + r] = sum;
    }
  }
}

__device__ inline void OwnInner(const LorcView& lorc, const OwnTokens& tokens,
                                int begin, int end, uint8_t* shared) {
  if (lorc.format == ValueFormat::kE4m3) {
    InnerOfColumns<ValueFormat::kE4m3>(lorc, tokens, begin, end, shared);
  } else {
    InnerOfColumns<ValueFormat::kBf16>(lorc, tokens, begin, end, shared);
  }
}

// Prefetches those columns of V into L2.
__device__ inline void PrefetchFactor(const LorcView& lorc, int64_t k,
                                      int begin, int end) {
  const int bytes = lorc.format == ValueFormat::kE4m3 ? 1 : 2;
  const auto* v = static_cast<const uint8_t*>(lorc.v);
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int64_t r = threadIdx.x / 32; r < lorc.rank; r += blockDim.x / 32) {
    for (int at = begin * bytes + lane * 128; at < end * bytes;
         at += 32 * 128) {
      PrefetchL2(v + r * k * bytes + at);
    }
  }
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_OWN_TOKENS_H_
