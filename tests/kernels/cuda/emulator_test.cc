// SPDX-License-Identifier: Apache-2.0
// The emulator keeps CUDA's rules, and shows where a kernel does not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <vector>

#include "kernels/cuda/launch.h"

namespace zqfp::kernels::cuda {
namespace {

void Start(const LaunchShape& shape, void (*kernel)(int*), int* out) {
  Launch(Exec{}, shape, kernel, out);
}

// Fixes the order of threads for one test.
class Order {
 public:
  explicit Order(const char* value) { setenv("ZQFP_EMULATOR_ORDER", value, 1); }
  ~Order() { unsetenv("ZQFP_EMULATOR_ORDER"); }
};

__global__ void Number(int* out) {
  AwaitInputs();
  const unsigned block =
      (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread =
      (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
  atomicAdd(&out[block * threads + thread],
            static_cast<int>(block * 1000 + thread));
}

TEST(EmulatorTest, EveryThreadOfEveryBlockRunsOnce) {
  std::vector<int> out(2 * 3 * 4 * 45, 0);
  Start({.grid = dim3(2, 3, 4), .block = dim3(3, 5, 3)}, Number, out.data());
  for (int b = 0; b < 24; ++b) {
    for (int t = 0; t < 45; ++t) ASSERT_EQ(out[b * 45 + t], b * 1000 + t);
  }
}

// out[t] = what the opposite thread wrote before the barrier.
__global__ void Reverse(int* out) {
  AwaitInputs();
  __shared__ int values[200];
  const int t = static_cast<int>(threadIdx.x);
  for (int round = 0; round < 3; ++round) {
    values[t] = 10 * t + round;
    __syncthreads();
    out[t] = values[blockDim.x - 1 - threadIdx.x];
    __syncthreads();
  }
}

TEST(EmulatorTest, ABarrierShowsWhatAllWroteBefore) {
  for (const char* order : {"ascending", "descending"}) {
    const Order fixed(order);
    std::vector<int> out(200);
    Start({.grid = 1, .block = 200}, Reverse, out.data());
    for (int t = 0; t < 200; ++t) EXPECT_EQ(out[t], 10 * (199 - t) + 2);
  }
}

template <int kSize>
__global__ void NoBarrier(int* out) {
  AwaitInputs();
  __shared__ int values[kSize];
  values[threadIdx.x] = static_cast<int>(threadIdx.x);
  out[threadIdx.x] = values[(threadIdx.x + 1) % kSize];
}

// Templates, too, have their shared memory poisoned.
TEST(EmulatorTest, AMissingBarrierShows) {
  for (int launch = 0; launch < 3; ++launch) {
    const Order fixed("ascending");
    std::vector<int> out(64);
    Start({.grid = 1, .block = 64}, NoBarrier<64>, out.data());
    EXPECT_EQ(out[5], -1);
    EXPECT_EQ(out[63], 0);
  }
  const Order fixed("descending");
  std::vector<int> out(64);
  Start({.grid = 1, .block = 64}, NoBarrier<64>, out.data());
  EXPECT_EQ(out[5], 6);
  EXPECT_EQ(out[63], -1);
}

__global__ void DynamicEnds(int* out) {
  AwaitInputs();
  uint8_t* shared = DynamicShared();
  out[0] = static_cast<int>(reinterpret_cast<uintptr_t>(shared) % 1024);
  out[1] = shared[1999];
}
__global__ void WritesBehindDynamic(int*) {
  AwaitInputs();
  DynamicShared()[2000] = 1;
}
__global__ void WritesFarBehindDynamic(int*) {
  AwaitInputs();
  DynamicShared()[2048] = 1;
}

TEST(EmulatorTest, DynamicSharedMemoryIsAlignedAndPoisoned) {
  std::vector<int> out(2);
  Start({.grid = 1, .block = 1, .shared_bytes = 2000}, DynamicEnds, out.data());
  EXPECT_THAT(out, ::testing::ElementsAre(0, 255));
}

TEST(EmulatorDeathTest, AWriteBehindDynamicSharedMemoryIsSeen) {
  const LaunchShape shape = {.grid = 1, .block = 1, .shared_bytes = 2000};
  EXPECT_DEATH(Start(shape, WritesBehindDynamic, nullptr),
               "WritesBehindDynamic.*a write behind the dynamic");
  EXPECT_DEATH(Start(shape, WritesFarBehindDynamic, nullptr), "");
}

// --- Warps ------------------------------------------------------------------

__global__ void Shuffles(int* out) {
  AwaitInputs();
  const int t = static_cast<int>(threadIdx.x);
  out[t] = __shfl_sync(0xffffffff, t, 5);
  out[64 + t] = __shfl_xor_sync(0xffffffff, t, 16);
  out[128 + t] = __shfl_down_sync(0xffffffff, t, 3);
  out[192 + t] = __shfl_sync(0xffffffff, t, 1, 8);
  out[256 + t] = __shfl_down_sync(0xffffffff, t, 3, 8);
}

TEST(EmulatorTest, ShufflesAreThoseOfTheManual) {
  std::vector<int> out(320);
  Start({.grid = 1, .block = 64}, Shuffles, out.data());
  for (int t = 0; t < 64; ++t) {
    const int warp = t / 32 * 32, lane = t % 32;
    EXPECT_EQ(out[t], warp + 5);
    EXPECT_EQ(out[64 + t], warp + (lane ^ 16));
    EXPECT_EQ(out[128 + t], lane + 3 < 32 ? t + 3 : t);
    EXPECT_EQ(out[192 + t], t / 8 * 8 + 1);
    EXPECT_EQ(out[256 + t], t % 8 + 3 < 8 ? t + 3 : t);
  }
}

__global__ void Votes(int* out) {
  AwaitInputs();
  const int t = static_cast<int>(threadIdx.x);
  out[t] = static_cast<int>(__ballot_sync(0xffffffff, t % 3 == 0));
  out[64 + t] = __any_sync(0xffffffff, t == 40);
}

TEST(EmulatorTest, VotesCountTheWholeWarp) {
  std::vector<int> out(128);
  Start({.grid = 1, .block = 64}, Votes, out.data());
  for (int t = 0; t < 64; ++t) {
    unsigned wanted = 0;
    for (int lane = 0; lane < 32; ++lane) {
      wanted |= static_cast<unsigned>((t / 32 * 32 + lane) % 3 == 0) << lane;
    }
    EXPECT_EQ(static_cast<unsigned>(out[t]), wanted);
    EXPECT_EQ(out[64 + t], t >= 32 ? 1 : 0);
  }
}

// --- Kernels that break a rule ----------------------------------------------

__global__ void SomeExit(int*) {
  AwaitInputs();
  if (threadIdx.x >= 10) __syncthreads();
}
__global__ void HalfAWarp(int*) {
  AwaitInputs();
  if (threadIdx.x < 16) __syncwarp();
}
__global__ void TwoCollectives(int*) {
  AwaitInputs();
  if (threadIdx.x < 16) {
    __syncwarp();
  } else {
    __ballot_sync(0xffffffff, 1);
  }
}
__global__ void PartOfAMask(int*) {
  AwaitInputs();
  __syncwarp(0xffff);
}

TEST(EmulatorDeathTest, ADeadlockNamesTheKernelAndCounts) {
  const LaunchShape shape = {.grid = 1, .block = 64};
  EXPECT_DEATH(Start(shape, SomeExit, nullptr),
               "SomeExit.*54 threads wait in __syncthreads, 10 have exited");
  EXPECT_DEATH(Start(shape, HalfAWarp, nullptr),
               "HalfAWarp.*deadlock: of 64 threads .* 16 for their warp, 0 for "
               "an mbarrier, 48 have exited");
  EXPECT_DEATH(Start(shape, TwoCollectives, nullptr),
               "different warp collectives");
  EXPECT_DEATH(Start(shape, PartOfAMask, nullptr), "mask 0xffff");
}

// --- Launches ---------------------------------------------------------------

TEST(EmulatorTest, LaunchesThatTheChipRefusesAreErrors) {
  std::vector<int> out(1 << 16, 0);
  const auto error = [&](const LaunchShape& shape) {
    (void)cudaGetLastError();
    Start(shape, Reverse, out.data());
    return cudaGetLastError();
  };
  EXPECT_EQ(error({.grid = 1, .block = 1025}), cudaErrorInvalidConfiguration);
  EXPECT_EQ(error({.grid = dim3(1, 65536), .block = 1}),
            cudaErrorInvalidConfiguration);
  EXPECT_EQ(error({.grid = dim3(1, 1, 65536), .block = 1}),
            cudaErrorInvalidConfiguration);
  EXPECT_NE(error({.grid = 1, .block = 1, .shared_bytes = 227 * 1024 + 1}),
            cudaSuccess);
  EXPECT_EQ(error({.grid = 1, .block = 1, .shared_bytes = 227 * 1024}),
            cudaSuccess);
  EXPECT_EQ(error({.grid = 0, .block = 32}), cudaSuccess);
}

TEST(EmulatorTest, SharedMemoryBeyond48KbWantsTheOptIn) {
  cudaLaunchConfig_t config = {};
  config.dynamicSmemBytes = 48 * 1024 + 1;
  int out[2];
  EXPECT_EQ(cudaLaunchKernelEx(&config, DynamicEnds, out),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

// Half of the threads do not wait for the grid before.
__global__ void HalfWaits(int*) {
  if (threadIdx.x % 2 == 0) AwaitInputs();
}

TEST(EmulatorDeathTest, AThreadThatDoesNotWaitForTheGridBefore) {
  EXPECT_DEATH(Start({.grid = 1, .block = 4}, HalfWaits, nullptr),
               "HalfWaits.*thread 1: the thread ended and has never waited");
}

}  // namespace
}  // namespace zqfp::kernels::cuda
