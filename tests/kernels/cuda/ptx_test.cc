// SPDX-License-Identifier: Apache-2.0
// The instructions of kernels/cuda/ptx.h as the emulator does them.
#include "kernels/cuda/ptx.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "kernels/core/float_formats.h"
#include "kernels/cuda/launch.h"

namespace zqfp::kernels::cuda {
namespace {

// D = A B of one warp; A [16, 16] and B [8, 16] (rows are columns) of 16 bits.
// Fragments as the table in the PTX ISA lists them, element by element.
template <bool kIsBf16>
__global__ void MultiplyTile(const uint16_t* a, const uint16_t* b, float* d) {
  AwaitInputs();
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4;
  uint16_t a_elements[8], b_elements[4];
  for (int i = 0; i < 8; ++i) {
    const int row = (i < 2 || (i >= 4 && i < 6)) ? g : g + 8;
    const int column = t * 2 + (i & 1) + (i < 4 ? 0 : 8);
    a_elements[i] = a[row * 16 + column];
  }
  for (int i = 0; i < 4; ++i) {
    const int row = t * 2 + (i & 1) + (i < 2 ? 0 : 8);
    b_elements[i] = b[g * 16 + row];
  }
  uint32_t a_registers[4], b_registers[2];
  for (int i = 0; i < 4; ++i) {
    a_registers[i] =
        a_elements[2 * i] | static_cast<uint32_t>(a_elements[2 * i + 1]) << 16;
  }
  for (int i = 0; i < 2; ++i) {
    b_registers[i] =
        b_elements[2 * i] | static_cast<uint32_t>(b_elements[2 * i + 1]) << 16;
  }
  float sums[4] = {1, 2, 3, 4};
  if (kIsBf16) {
    MmaBf16(sums, a_registers, b_registers);
  } else {
    MmaF16(sums, a_registers, b_registers);
  }
  for (int i = 0; i < 4; ++i) {
    d[(i < 2 ? g : g + 8) * 8 + t * 2 + (i & 1)] = sums[i];
  }
}

TEST(PtxTest, AnMmaIsAProductOfMatrices) {
  std::mt19937 random(7);
  std::uniform_int_distribution<int> small(-8, 8);
  for (const bool is_bf16 : {false, true}) {
    std::vector<float> a(256), b(128), d(128);
    std::vector<uint16_t> a_codes, b_codes;
    for (float& value : a) {
      value = static_cast<float>(small(random));
      a_codes.push_back(is_bf16 ? FloatToBf16(value) : FloatToF16(value));
    }
    for (float& value : b) {
      value = static_cast<float>(small(random));
      b_codes.push_back(is_bf16 ? FloatToBf16(value) : FloatToF16(value));
    }
    Launch(Exec{}, {.grid = 1, .block = 32},
           is_bf16 ? MultiplyTile<true> : MultiplyTile<false>, a_codes.data(),
           b_codes.data(), d.data());
    for (int row = 0; row < 16; ++row) {
      for (int column = 0; column < 8; ++column) {
        float wanted = static_cast<float>(1 + column % 2 + (row < 8 ? 0 : 2));
        for (int k = 0; k < 16; ++k) {
          wanted += a[row * 16 + k] * b[column * 16 + k];
        }
        EXPECT_EQ(d[row * 8 + column], wanted) << row << " " << column;
      }
    }
  }
}

__global__ void Transpose(const uint32_t* in, uint32_t* out) {
  AwaitInputs();
  out[threadIdx.x] = MoveMatrixTrans(in[threadIdx.x]);
}

TEST(PtxTest, MoveMatrixTransposes) {
  std::vector<uint16_t> in(64), out(64);
  for (uint16_t i = 0; i < 64; ++i) in[i] = i;
  Launch(Exec{}, {.grid = 1, .block = 32}, Transpose,
         reinterpret_cast<const uint32_t*>(in.data()),
         reinterpret_cast<uint32_t*>(out.data()));
  for (int i = 0; i < 64; ++i) EXPECT_EQ(out[i], in[i % 8 * 8 + i / 8]);
}

// Four matrices, one below the other, in rows of 24 elements; `elements` gets
// two of each lane and matrix, [matrix][lane][2].
template <bool kTrans>
__global__ void LoadFourMatrices(const uint16_t* in, uint32_t* elements) {
  AwaitInputs();
  __shared__ __align__(16) uint16_t rows[32 * 24];
  for (unsigned i = 0; i < 8; ++i) {
    rows[threadIdx.x * 24 + i] = in[threadIdx.x * 8 + i];
  }
  __syncwarp();
  uint32_t matrices[4];
  if (kTrans) {
    LoadMatricesTrans(matrices, rows + threadIdx.x * 24);
  } else {
    LoadMatrices(matrices, rows + threadIdx.x * 24);
  }
  for (unsigned i = 0; i < 4; ++i) {
    elements[i * 32 + threadIdx.x] = matrices[i];
  }
}

TEST(PtxTest, MatricesAreLoadedAsFragments) {
  std::vector<uint16_t> in(256);
  for (uint16_t i = 0; i < 256; ++i) in[i] = i;
  for (const bool trans : {false, true}) {
    std::vector<uint32_t> elements(128);
    Launch(Exec{}, {.grid = 1, .block = 32},
           trans ? LoadFourMatrices<true> : LoadFourMatrices<false>, in.data(),
           elements.data());
    for (int matrix = 0; matrix < 4; ++matrix) {
      for (int lane = 0; lane < 32; ++lane) {
        for (int i = 0; i < 2; ++i) {
          const int outer = lane / 4, inner = lane % 4 * 2 + i;
          const int row = trans ? inner : outer, column = trans ? outer : inner;
          EXPECT_EQ(elements[matrix * 32 + lane] >> i * 16 & 0xffff,
                    in[matrix * 64 + row * 8 + column])
              << matrix << " " << lane << " " << i;
        }
      }
    }
  }
}

TEST(PtxTest, Exp2IsThatOfTheChip) {
  EXPECT_EQ(Exp2(3), 8);
  EXPECT_EQ(Exp2(-126), 0x1p-126f);
  EXPECT_EQ(Exp2(-127), 0);
  EXPECT_EQ(Exp2(-INFINITY), 0);
  EXPECT_EQ(Exp2(200), INFINITY);
  EXPECT_TRUE(IsNan(Exp2(NAN)));
}

TEST(PtxTest, ConversionsAreThoseOfTheFormats) {
  EXPECT_EQ(CvtE4m3x2(1.0f, -448.0f), 0x38feu);
  EXPECT_EQ(CvtE4m3x2(INFINITY, NAN), 0x7e7fu);
  EXPECT_EQ(F16x2FromE4m3x2(0x38fe), 0x3c00df00u);
  EXPECT_EQ(F16x2FromF32(1.0f, 1e9f), 0x3c007c00u);
  EXPECT_EQ(Bf16x2FromF32(1.0f, -2.0f), 0x3f80c000u);
  EXPECT_EQ(Prmt(0x03020100, 0x87868584, 0x7430), 0x87840300u);
  EXPECT_EQ(Prmt(0x03020100, 0x87868584, 0xc804), 0xff000084u);
}

// --- Asynchronous copies ----------------------------------------------------

// out[0..3] after the wait for the first of two groups, out[4..7] after both.
__global__ void CopyInGroups(const float* in, float* out) {
  AwaitInputs();
  __shared__ __align__(16) float to[8];
  CopyAsync16(to, in);
  CopyAsyncCommit();
  for (int i = 4; i < 8; ++i) CopyAsync4(to + i, in + i);
  CopyAsyncCommit();
  CopyAsyncWait<1>();
  for (int i = 0; i < 8; ++i) out[i] = to[i];
  CopyAsyncWait<0>();
  for (int i = 0; i < 8; ++i) out[8 + i] = to[i];
}

TEST(PtxTest, AnAsynchronousCopyIsThereAfterItsWait) {
  alignas(16) const float in[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<float> out(16);
  Launch(Exec{}, {.grid = 1, .block = 1}, CopyInGroups, in, out.data());
  EXPECT_EQ(out[3], 4);
  EXPECT_TRUE(IsNan(out[4]));
  EXPECT_EQ(out[12], 5);
  EXPECT_EQ(out[15], 8);
}

// Warp 0 copies pieces of 64 floats in two buffers in turn, warp 1 sums them.
__global__ void ProduceAndConsume(const float* in, int num_pieces, float* out) {
  AwaitInputs();
  __shared__ __align__(128) float buffers[2][64];
  __shared__ uint64_t full[2], empty[2];
  if (threadIdx.x == 0) {
    for (int b = 0; b < 2; ++b) {
      BarrierInit(&full[b], 1);
      BarrierInit(&empty[b], 32);
    }
  }
  __syncthreads();
  float sum = 0;
  for (int p = 0; p < num_pieces; ++p) {
    const int b = p % 2;
    const uint32_t round = static_cast<uint32_t>(p / 2);
    if (threadIdx.x == 0) {
      if (round > 0) BarrierWait(&empty[b], (round - 1) % 2);
      BarrierExpect(&full[b], 256);
      BulkCopy(buffers[b], in + p * 64, 256, &full[b]);
    } else if (threadIdx.x >= 32) {
      BarrierWait(&full[b], round % 2);
      sum += buffers[b][threadIdx.x - 32] + buffers[b][threadIdx.x];
      BarrierArrive(&empty[b]);
    }
  }
  if (threadIdx.x >= 32) out[threadIdx.x - 32] = sum;
}

TEST(PtxTest, BulkCopiesGoThroughARingOfBarriers) {
  alignas(16) float in[7 * 64];
  for (int i = 0; i < 7 * 64; ++i) in[i] = static_cast<float>(i);
  for (int launch = 0; launch < 2; ++launch) {
    std::vector<float> out(32);
    Launch(Exec{}, {.grid = 1, .block = 64}, ProduceAndConsume, in, 7,
           out.data());
    for (int t = 0; t < 32; ++t) {
      float wanted = 0;
      for (int p = 0; p < 7; ++p)
        wanted += in[p * 64 + t] + in[p * 64 + 32 + t];
      EXPECT_EQ(out[t], wanted);
    }
  }
}

__global__ void NobodyWaits(const float* in) {
  AwaitInputs();
  __shared__ __align__(16) float to[4];
  __shared__ uint64_t barrier;
  BarrierInit(&barrier, 1);
  BarrierExpect(&barrier, 16);
  BulkCopy(to, in, 16, &barrier);
}
__global__ void NobodyCopies(const float*) {
  AwaitInputs();
  __shared__ uint64_t barrier;
  BarrierInit(&barrier, 1);
  BarrierExpect(&barrier, 16);
  BarrierWait(&barrier, 0);
}

TEST(PtxDeathTest, CopiesThatDoNotMeetTheirWaitAreErrors) {
  alignas(16) static const float in[8] = {};
  const LaunchShape one = {.grid = 1, .block = 1};
  EXPECT_DEATH(Launch(Exec{}, one, NobodyWaits, in),
               "before somebody waited for its bulk copies");
  EXPECT_DEATH(Launch(Exec{}, one, NobodyCopies, in),
               "deadlock.* 1 for an mbarrier");
  EXPECT_DEATH(Launch(Exec{}, one, NobodyWaits, in + 1), "not 16-byte aligned");
}

}  // namespace
}  // namespace zqfp::kernels::cuda
