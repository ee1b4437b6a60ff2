// SPDX-License-Identifier: Apache-2.0
// Products of warpgroups as the emulator does them: fragments, descriptors, the
// order of fences and waits.
#include "kernels/cuda/ptx_wgmma.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "kernels/core/float_formats.h"
#include "kernels/cuda/launch.h"

namespace zqfp::kernels::cuda {
namespace {

constexpr int kRows = 64, kDepth = 32;

// The registers of A [64, 32] that thread `thread` has, element by element as
// the PTX ISA lists them.
__device__ void LoadA(const uint8_t* a, int thread, uint32_t (&registers)[4]) {
  const int group = thread % 32 / 4, t = thread % 4;
  for (int i = 0; i < 4; ++i) registers[i] = 0;
  for (int i = 0; i < 16; ++i) {
    const bool upper = i < 4 || (i >= 8 && i < 12);
    const int row = thread / 32 * 16 + (upper ? group : group + 8);
    const int column = t * 4 + (i & 3) + (i < 8 ? 0 : 16);
    registers[i / 4] |= static_cast<uint32_t>(a[row * kDepth + column])
                        << i % 4 * 8;
  }
}

template <int kCount>
__device__ void StoreD(const float (&sums)[kCount], float* d) {
  const int thread = static_cast<int>(threadIdx.x), t = thread % 4;
  for (int i = 0; i < kCount; ++i) {
    const int row = thread / 32 * 16 + thread % 32 / 4 + ((i & 2) != 0 ? 8 : 0);
    d[row * 2 * kCount + i / 4 * 8 + t * 2 + (i & 1)] = sums[i];
  }
}

// What of a multiplication goes wrong.
enum class Fault {
  kNone,
  kNoRegisterFence,
  kNoMemoryFence,
  kNoWait,
  kEarlyRead,
  kChangedA,
  kChangedB,
  kOtherDescriptor
};

// D = A B^T, B [N, 32] being columns 32 q.. of rows of 128 bytes, q times over
// with `quarter`.
template <int kCount, bool kIsE5m2, Fault kFault>
__global__ void Multiply(const uint8_t* a, const uint8_t* b, int quarter,
                         float* d) {
  AwaitInputs();
  uint8_t* shared = DynamicShared() + kSwizzleAtomBytes;
  const int thread = static_cast<int>(threadIdx.x);
  for (int piece = thread; piece < 2 * kCount * 8; piece += 128) {
    CopyAsync16(shared + SwizzledOffset(piece / 8, piece % 8), b + piece * 16);
  }
  CopyAsyncCommit();
  CopyAsyncWait<0>();
  if (kFault != Fault::kNoMemoryFence) FenceAsyncProxy();
  __syncthreads();
  uint32_t registers[4];
  LoadA(a, thread, registers);
  float sums[kCount];
  for (float& sum : sums) sum = 5;
  uint64_t descriptor = SwizzledMatrix(SharedAddress(shared)) +
                        static_cast<uint64_t>(quarter) * kDescriptorStep;
  if (kFault == Fault::kOtherDescriptor && thread == 77) descriptor += 2;
  if (kFault != Fault::kNoRegisterFence) WgmmaFence();
  for (const bool accumulates : {false, true}) {  // twice the product
    if constexpr (kIsE5m2) {
      WgmmaE5m2(sums, registers, descriptor, accumulates);
    } else {
      WgmmaE4m3(sums, registers, descriptor, accumulates);
    }
  }
  WgmmaCommit();
  if (kFault == Fault::kEarlyRead) StoreD(sums, d);
  if (kFault == Fault::kChangedA) registers[2] ^= 1;
  if (kFault == Fault::kChangedB && thread == 0) shared[quarter * 32] ^= 1;
  if (kFault != Fault::kNoWait) WgmmaWaitForSums(sums);
  if (kFault != Fault::kEarlyRead) StoreD(sums, d);
}

struct Problem {
  std::vector<uint8_t> a, b;  // [64, 32], [N, 128]
  std::vector<float> d;       // [64, N]

  // Small whole numbers, so that every sum is exact in 13 bits.
  Problem(int columns, bool is_e5m2) : d(kRows * columns) {
    std::mt19937 random(static_cast<uint32_t>(columns));
    for (int i = 0; i < kRows * kDepth; ++i) {
      const float value = static_cast<float>(random() % 7) - 3;
      a.push_back(is_e5m2 ? static_cast<uint8_t>(FloatToF16(value) >> 8)
                          : FloatToE4m3(value));
    }
    for (int i = 0; i < columns * kSwizzleBytes; ++i) {
      b.push_back(FloatToE4m3(static_cast<float>(random() % 15) - 7));
    }
  }
};

template <int kCount, bool kIsE5m2, Fault kFault = Fault::kNone>
void RunKernel(Problem& problem, int quarter) {
  Launch(Exec{},
         {.grid = 1,
          .block = 128,
          .shared_bytes = kSwizzleAtomBytes + 2 * kCount * kSwizzleBytes},
         Multiply<kCount, kIsE5m2, kFault>, problem.a.data(), problem.b.data(),
         quarter, problem.d.data());
}

template <int kCount, bool kIsE5m2>
void ExpectProduct() {
  const int columns = 2 * kCount;
  Problem problem(columns, kIsE5m2);
  for (int quarter = 0; quarter < 4; ++quarter) {
    RunKernel<kCount, kIsE5m2>(problem, quarter);
    for (int i = 0; i < kRows * columns; ++i) {
      const int row = i / columns, column = i % columns;
      float wanted = 0;
      for (int k = 0; k < kDepth; ++k) {
        const uint8_t code = problem.a[row * kDepth + k];
        const float x = kIsE5m2 ? F16ToFloat(static_cast<uint16_t>(code << 8))
                                : E4m3ToFloat(code);
        wanted +=
            2 * x *
            E4m3ToFloat(problem.b[column * kSwizzleBytes + quarter * 32 + k]);
      }
      ASSERT_EQ(problem.d[i], wanted) << columns << " " << row << " " << column;
    }
  }
}

TEST(PtxWgmmaTest, IsAProductOfMatrices) {
  ExpectProduct<16, true>();
  ExpectProduct<32, true>();
  ExpectProduct<64, true>();
  ExpectProduct<16, false>();
  ExpectProduct<32, false>();
  ExpectProduct<64, false>();
}

// Terms are cut to 13 bits behind the largest one's exponent.
TEST(PtxWgmmaTest, SumsAreCut) {
  Problem problem(32, false);
  std::fill(problem.a.begin(), problem.a.end(), FloatToE4m3(1));
  std::fill(problem.b.begin(), problem.b.end(), 0);
  for (int column = 0; column < 32; ++column) {
    // 256, and column times 2^-6: 14 bits below, or 2^-5: 13 bits.
    uint8_t* b = &problem.b[column * kSwizzleBytes];
    b[0] = FloatToE4m3(256);
    for (int k = 1; k < 16; ++k) b[k] = FloatToE4m3(ldexpf(1, -6));
    for (int k = 16; k < 32; ++k) b[k] = FloatToE4m3(-ldexpf(1, -5));
  }
  RunKernel<16, false>(problem, 0);
  for (const float sum : problem.d) EXPECT_EQ(sum, 2 * (256 - 0.5f));
}

TEST(PtxWgmmaTest, SumsAreThereAfterTheWaitOnly) {
  Problem problem(32, true);
  RunKernel<16, true, Fault::kEarlyRead>(problem, 0);
  for (const float sum : problem.d) EXPECT_EQ(sum, 5);
}

template <Fault kFault>
void Fail() {
  Problem problem(32, true);
  RunKernel<16, true, kFault>(problem, 1);
}

TEST(PtxWgmmaDeathTest, BrokenRulesAreErrors) {
  EXPECT_DEATH(Fail<Fault::kNoRegisterFence>(), "without wgmma.fence");
  EXPECT_DEATH(Fail<Fault::kNoMemoryFence>(), "without fence.proxy.async");
  EXPECT_DEATH(Fail<Fault::kNoWait>(), "ended before it waited");
  EXPECT_DEATH(Fail<Fault::kChangedA>(), "registers of A changed");
  EXPECT_DEATH(Fail<Fault::kChangedB>(), "memory of B changed");
  EXPECT_DEATH(Fail<Fault::kOtherDescriptor>(), "different things");
}

}  // namespace
}  // namespace zqfp::kernels::cuda
