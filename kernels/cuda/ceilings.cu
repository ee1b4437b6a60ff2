// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/random_values.h"
#include "kernels/cuda/ceilings.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/multiprocessors.h"
#include "kernels/cuda/ptx_wgmma.h"

namespace zqfp::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kLoads = 8;  // in flight, 16 bytes each
constexpr int kSums = 8;
// Of `sums` and `sink`: a word each.
constexpr int kMostWords = 65536 / 4;

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
  unsigned all = sum.x ^ sum.y ^ sum.z ^ sum.w;
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    all ^= __shfl_xor_sync(0xffffffffu, all, offset);
  }
  // One word a warp: `sums` has room for those of 256 multiprocessors.
  if (threadIdx.x % 32 == 0) sums[first / 32 % kMostWords] = all;
}

constexpr int kBulkStages = 4;
constexpr int kBulkBytes = 16384;

// One thread has it done: that is what bulk copies are for.
__global__ void __launch_bounds__(32)
    BulkReadKernel(const uint8_t* from, int64_t count, unsigned* sums) {
  AwaitInputs();
  __shared__ uint64_t full[kBulkStages];
  if (threadIdx.x == 0) {
    for (uint64_t& barrier : full) BarrierInit(&barrier, 1);
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  uint8_t* const shared = DynamicShared();
  const int64_t step = gridDim.x;
  const auto start = [&](int64_t piece, int stage) {
    if (piece >= count) return;
    BarrierExpect(&full[stage], kBulkBytes);
    BulkCopy(shared + stage * kBulkBytes, from + piece * kBulkBytes, kBulkBytes,
             &full[stage]);
  };
  for (int stage = 0; stage < kBulkStages; ++stage) {
    start(blockIdx.x + stage * step, stage);
  }
  unsigned sum = 0;
  int stage = 0;
  uint32_t parity = 0;
  for (int64_t piece = blockIdx.x; piece < count; piece += step) {
    BarrierWait(&full[stage], parity);
    sum ^= *reinterpret_cast<const volatile unsigned*>(shared +
                                                       stage * kBulkBytes);
    start(piece + kBulkStages * step, stage);
    stage = stage + 1 == kBulkStages ? 0 : stage + 1;
    if (stage == 0) parity ^= 1;
  }
  sums[blockIdx.x % kMostWords] = sum;
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

// Two warpgroups a block, each with one factor of 64 rows in registers; the
// other, of kColumns, is in shared memory and both's.
template <int kColumns>
__global__ void __launch_bounds__(kThreads)
    WgmmaKernel(int64_t rounds, float* sink) {
  AwaitInputs();
  auto* const columns = reinterpret_cast<uint32_t*>(DynamicShared());
  const unsigned thread = blockIdx.x * kThreads + threadIdx.x;
  // e4m3 of 1..2 and of both signs.
  const auto random = [](uint64_t seed, unsigned i) {
    const uint64_t bits = RandomBits(seed, i);
    return (static_cast<uint32_t>(bits) & 0x87878787u) | 0x38383838u;
  };
  constexpr int kWords = kColumns * kSwizzleBytes / 4;
  for (int i = static_cast<int>(threadIdx.x); i < kWords; i += kThreads) {
    columns[i] = random(8, static_cast<unsigned>(i));
  }
  uint32_t a[4];
#pragma unroll
  for (unsigned i = 0; i < 4; ++i) a[i] = random(7, thread * 4 + i);
  FenceAsyncProxy();
  __syncthreads();
  const uint64_t descriptor = SwizzledMatrix(SharedAddress(columns));
  float d[kColumns / 2] = {};
  for (int64_t round = 0; round < rounds; ++round) {
    WgmmaFence();
#pragma unroll
    for (int i = 0; i < kSwizzleBytes / 32; ++i) {
      WgmmaE4m3(d, a, descriptor + kDescriptorStep * i, true);
    }
    WgmmaCommit();
    WgmmaWait<1>();
  }
  WgmmaWaitForSums(d);
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kColumns / 2; ++i) sum += d[i];
  sink[thread % kMostWords] = sum;
}

template <int kColumns>
void LaunchWgmma(int64_t blocks, int64_t rounds, void* sink, const Exec& exec) {
  Launch(exec,
         {.grid = dim3(static_cast<unsigned>(blocks)),
          .block = dim3(kThreads),
          .shared_bytes = kColumns * kSwizzleBytes},
         WgmmaKernel<kColumns>, rounds, static_cast<float*>(sink));
}

}  // namespace

void ReadCeiling(const void* from, int64_t num_bytes, void* sums,
                 const Exec& exec) {
  const int64_t blocks = NumMultiprocessors() * 8;
  Launch(exec,
         {.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(kThreads)},
         ReadKernel, static_cast<const uint4*>(from), num_bytes / 16,
         static_cast<unsigned*>(sums));
}

void BulkReadCeiling(const void* from, int64_t num_bytes, void* sums,
                     const Exec& exec) {
  const int64_t blocks = NumMultiprocessors() * 3;  // as many fit one
  Launch(exec,
         {.grid = dim3(static_cast<unsigned>(blocks)),
          .block = dim3(32),
          .shared_bytes = kBulkStages * kBulkBytes},
         BulkReadKernel, static_cast<const uint8_t*>(from),
         num_bytes / kBulkBytes, static_cast<unsigned*>(sums));
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

int64_t WgmmaCeiling(int columns, int64_t rounds, void* sink,
                     const Exec& exec) {
  const int64_t blocks = NumMultiprocessors() * 2;
  switch (columns) {
    case 32:
      LaunchWgmma<32>(blocks, rounds, sink, exec);
      break;
    case 64:
      LaunchWgmma<64>(blocks, rounds, sink, exec);
      break;
    case 128:
      LaunchWgmma<128>(blocks, rounds, sink, exec);
      break;
    default:
      return 0;
  }
  constexpr int64_t kSteps = kSwizzleBytes / 32;
  constexpr int64_t kFlopOfColumn = 2 * 64 * 32;
  return blocks * (kThreads / 128) * rounds * kSteps * kFlopOfColumn * columns;
}

}  // namespace zqfp::kernels::cuda
