// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_CUDA_EMULATOR_THREAD_API_H_
#define ZQFP_TESTS_CUDA_EMULATOR_THREAD_API_H_

// The words of CUDA C++ inside kernels: qualifiers, indices, barriers, warp
// collectives, atomics. Names are CUDA's, hence no namespace.

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "tests/cuda_emulator/emulator.h"
#include "tests/cuda_emulator/vector_types.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)
#define __grid_constant__
// Thread-local, so that shared_memory.cc can tell it from other variables.
#define __shared__ static thread_local

inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

inline void __syncthreads() { zqfp::kernels::emulator::SyncBlock(); }
inline void __threadfence() {}
inline void __threadfence_block() {}

inline void __syncwarp(unsigned mask = 0xffffffffu) {
  using namespace zqfp::kernels::emulator;  // NOLINT: two names of it
  Exchange(Collective::kSync, mask, nullptr, 0);
}

namespace zqfp::kernels::emulator {

// The value of lane `source`, or the own one where that lane is outside of the
// `width` lanes that shuffle among themselves.
template <typename T>
T Shuffle(unsigned mask, T value, int source, int width) {
  static_assert(sizeof(T) <= sizeof(LaneSlot));
  const LaneSlot* slots =
      Exchange(Collective::kShuffle, mask, &value, sizeof(T));
  const int first = Lane() / width * width;
  if (source >= first && source < first + width) {
    memcpy(&value, slots[source].bytes, sizeof(T));
  }
  return value;
}

inline unsigned Ballot(unsigned mask, int predicate) {
  const uint8_t vote = predicate != 0;
  const LaneSlot* slots = Exchange(Collective::kVote, mask, &vote, 1);
  unsigned votes = 0;
  for (int lane = 0; lane < kWarpSize; ++lane) {
    votes |= static_cast<unsigned>(slots[lane].bytes[0] == 1) << lane;
  }
  return votes;
}

}  // namespace zqfp::kernels::emulator

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const int first = zqfp::kernels::emulator::Lane() / width * width;
  return zqfp::kernels::emulator::Shuffle(mask, value, first + source % width,
                                          width);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32) {
  return zqfp::kernels::emulator::Shuffle(
      mask, value, zqfp::kernels::emulator::Lane() ^ lane_mask, width);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  return zqfp::kernels::emulator::Shuffle(
      mask, value, zqfp::kernels::emulator::Lane() + static_cast<int>(delta),
      width);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  return zqfp::kernels::emulator::Shuffle(
      mask, value, zqfp::kernels::emulator::Lane() - static_cast<int>(delta),
      width);
}

inline unsigned __ballot_sync(unsigned mask, int predicate) {
  return zqfp::kernels::emulator::Ballot(mask, predicate);
}
inline int __any_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, predicate) != 0;
}
inline int __all_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, !predicate) == 0;
}

// Fibers change hands at barriers only, so plain arithmetic is atomic.
template <typename T>
T atomicAdd(T* address, T value) {
  static_assert(sizeof(T) == 4, "int and unsigned only");
  const T before = *address;
  *address = before + value;
  return before;
}
template <typename T>
T atomicMax(T* address, T value) {
  static_assert(sizeof(T) == 4, "int and unsigned only");
  const T before = *address;
  *address = before > value ? before : value;
  return before;
}

inline unsigned __float_as_uint(float value) {
  return __builtin_bit_cast(unsigned, value);
}
inline float __uint_as_float(unsigned bits) {
  return __builtin_bit_cast(float, bits);
}
inline int __float_as_int(float value) {
  return __builtin_bit_cast(int, value);
}
inline float __int_as_float(int bits) {
  return __builtin_bit_cast(float, bits);
}

#endif  // ZQFP_TESTS_CUDA_EMULATOR_THREAD_API_H_
