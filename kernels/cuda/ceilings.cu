// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/random_values.h"
#include "kernels/cuda/ceilings.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ptx.h"

namespace zqfp::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kLoads = 8;  // in flight, 16 bytes each
constexpr int kSums = 8;
// Of `sums` and `sink`: a word each.
constexpr int kMostWords = 65536 / 4;

int NumMultiprocessors() {
  int count = 0;
  const bool known =
      cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, 0) ==
      cudaSuccess;
  return known && count > 0 ? count : 132;
}

// 2048 threads for each multiprocessor would be 8 blocks of them; they wait for
// memory, so that threads of the same block may take more of it instead.
__global__ void __launch_bounds__(kThreads)
    ReadKernel(const uint4* __restrict__ from, int64_t count, unsigned* sums) {
  AwaitInputs();
  const int64_t step = int64_t{gridDim.x} * kThreads;
  const int64_t first = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  uint4 sum = make_uint4(0, 0, 0, 0);
  int64_t i = first;
  for (; i + (kLoads - 1) * step < count; i += kLoads * step) {
    uint4 loaded[kLoads];
#pragma unroll
    for (int j = 0; j < kLoads; ++j) loaded[j] = from[i + j * step];
#pragma unroll
    for (int j = 0; j < kLoads; ++j) {
      sum.x ^= loaded[j].x;
      sum.y ^= loaded[j].y;
      sum.z ^= loaded[j].z;
      sum.w ^= loaded[j].w;
    }
  }
  for (; i < count; i += step) {
    const uint4 loaded = from[i];
    sum.x ^= loaded.x ^ loaded.y ^ loaded.z ^ loaded.w;
  }
  sums[first % kMostWords] = sum.x ^ sum.y ^ sum.z ^ sum.w;
}

__global__ void NothingKernel() { AwaitInputs(); }

__global__ void __launch_bounds__(kThreads)
    HmmaKernel(int64_t rounds, float* sink) {
  AwaitInputs();
  const unsigned thread = blockIdx.x * kThreads + threadIdx.x;
  // f16 of 1..2 and of both signs: bits as random as those of data.
  const auto random = [&](unsigned i) {
    const uint64_t bits = RandomBits(7, thread * 8 + i);
    return (static_cast<uint32_t>(bits) & 0x83ff83ffu) | 0x3c003c00u;
  };
  uint32_t a[4], b[2];
#pragma unroll
  for (unsigned i = 0; i < 4; ++i) a[i] = random(i);
#pragma unroll
  for (unsigned i = 0; i < 2; ++i) b[i] = random(4 + i);
  float d[kSums][4] = {};
  for (int64_t round = 0; round < rounds; ++round) {
#pragma unroll
    for (int i = 0; i < kSums; ++i) MmaF16(d[i], a, b);
  }
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kSums; ++i) sum += d[i][0] + d[i][1] + d[i][2] + d[i][3];
  sink[thread % kMostWords] = sum;
}

}  // namespace

void ReadCeiling(const void* from, int64_t num_bytes, void* sums,
                 const Exec& exec) {
  const int blocks = NumMultiprocessors() * 8;
  Launch(exec,
         {.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(kThreads)},
         ReadKernel, static_cast<const uint4*>(from), num_bytes / 16,
         static_cast<unsigned*>(sums));
}

void NothingCeiling(LaunchOverlap overlap, const Exec& exec) {
  const LaunchShape shape = {.grid = dim3(1), .block = dim3(32)};
  if (overlap == LaunchOverlap::kYes) {
    return Launch(exec, shape, NothingKernel);
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.stream = static_cast<cudaStream_t>(exec.stream);
  (void)cudaLaunchKernelEx(&config, NothingKernel);
}

int64_t HmmaCeiling(int64_t rounds, void* sink, const Exec& exec) {
  // 16 warps for each multiprocessor: four for each of its tensor cores.
  const int64_t blocks = NumMultiprocessors() * 2;
  Launch(exec,
         {.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(kThreads)},
         HmmaKernel, rounds, static_cast<float*>(sink));
  constexpr int64_t kFlop = 2 * 16 * 8 * 16;
  return blocks * (kThreads / 32) * rounds * kSums * kFlop;
}

}  // namespace zqfp::kernels::cuda
