// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/launch.h"
#include "kernels/cuda/random_fill.h"

namespace zqfp::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostBlocks = 4096;

template <RandomKind kKind>
__device__ auto Value(uint64_t bits, float unit) {
  if constexpr (kKind == RandomKind::kByte) {
    return RandomByte(bits);
  } else if constexpr (kKind == RandomKind::kFiniteE4m3) {
    return RandomFiniteE4m3(bits);
  } else if constexpr (kKind == RandomKind::kNormalE4m3) {
    return RandomNormalE4m3(bits);
  } else if constexpr (kKind == RandomKind::kShift) {
    return RandomShift(bits);
  } else if constexpr (kKind == RandomKind::kBf16) {
    return FloatToBf16(RandomFloat(bits, unit));
  } else if constexpr (kKind == RandomKind::kF32) {
    return RandomFloat(bits, unit);
  } else {
    return unit;
  }
}

template <RandomKind kKind, typename T>
__global__ void __launch_bounds__(kThreads)
    RandomFillKernel(uint64_t seed, float unit, int64_t count, T* to) {
  AwaitInputs();
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count;
       i += step) {
    to[i] = Value<kKind>(RandomBits(seed, i), unit);
  }
}

template <RandomKind kKind, typename T>
void Run(uint64_t seed, float unit, int64_t count, void* to, const Exec& exec) {
  const int64_t blocks = (count + kThreads - 1) / kThreads;
  Launch(exec,
         {.grid = dim3(static_cast<unsigned>(
              blocks < kMostBlocks ? blocks : kMostBlocks)),
          .block = dim3(kThreads)},
         RandomFillKernel<kKind, T>, seed, unit, count, static_cast<T*>(to));
}

}  // namespace

void RandomFill(RandomKind kind, uint64_t seed, float unit, int64_t count,
                void* memory, const Exec& exec) {
  switch (kind) {
    case RandomKind::kByte:
      return Run<RandomKind::kByte, uint8_t>(seed, unit, count, memory, exec);
    case RandomKind::kFiniteE4m3:
      return Run<RandomKind::kFiniteE4m3, uint8_t>(seed, unit, count, memory,
                                                   exec);
    case RandomKind::kNormalE4m3:
      return Run<RandomKind::kNormalE4m3, uint8_t>(seed, unit, count, memory,
                                                   exec);
    case RandomKind::kShift:
      return Run<RandomKind::kShift, uint8_t>(seed, unit, count, memory, exec);
    case RandomKind::kBf16:
      return Run<RandomKind::kBf16, uint16_t>(seed, unit, count, memory, exec);
    case RandomKind::kF32:
      return Run<RandomKind::kF32, float>(seed, unit, count, memory, exec);
    case RandomKind::kConstant:
      return Run<RandomKind::kConstant, float>(seed, unit, count, memory, exec);
  }
}

}  // namespace zqfp::kernels::cuda
