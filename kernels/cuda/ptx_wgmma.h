// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_PTX_WGMMA_H_
#define ZQFP_KERNELS_CUDA_PTX_WGMMA_H_

// The part of ptx.h that multiplies by warpgroups: four warps, the first a
// multiple of four, multiply 64 rows of A, in registers, by 8 to 256 columns of
// B, in shared memory, while they go on with something else.
//
// Fragments of wgmma m64nNk32 of 8-bit elements (PTX ISA, "Matrix Fragments for
// wgmma.mma_async.m64nNk32"), with w = warp % 4, g = lane / 4, t = lane % 4,
// r = 16 w + g; a register of A holds four elements, the lowest k in its lowest
// byte:
//   A [64, 32]      a[0] = A[r,     4t..4t+3]    a[2] = A[r,     16+4t..]
//                   a[1] = A[r + 8, 4t..4t+3]    a[3] = A[r + 8, 16+4t..]
//   D [64, N] f32   d[4i..4i+1]   = D[r,     8i+2t..8i+2t+1]
//                   d[4i+2..4i+3] = D[r + 8, 8i+2t..8i+2t+1]
//
// B is [N, 32], "K-major", read as a matrix descriptor says. With the 128-byte
// swizzle a row has 128 bytes, 8 rows are an atom of 1024 bytes (aligned to as
// many), and the 16-byte piece c of row r is where piece c ^ (r % 8) would be:
// 8 rows of one piece are in 32 banks.

#include <stdint.h>

#include "kernels/cuda/ptx.h"

namespace zqfp::kernels::cuda {

inline constexpr int kSwizzleBytes = 128;       // of a row of B
inline constexpr int kSwizzleAtomBytes = 1024;  // of 8 rows

// Where piece c (of 16 bytes) of row r of B lies.
constexpr int SwizzledOffset(int row, int piece) {
  return row * kSwizzleBytes + (piece ^ row % 8) * 16;
}

#if !defined(__CUDACC__)
// The 32-bit address that instructions on shared memory take.
uint32_t SharedAddress(const void* shared);
#endif

// The descriptor of B [N, 32] with the 128-byte swizzle whose atoms follow one
// another from `address` on. Columns 32 q.. of the atom: + kDescriptorStep * q.
constexpr uint64_t SwizzledMatrix(uint32_t address) {
  constexpr uint64_t kBetweenAtoms = kSwizzleAtomBytes >> 4;
  constexpr uint64_t kSwizzle128 = 1;
  return (address & 0x3FFFF) >> 4 | uint64_t{1} << 16 | kBetweenAtoms << 32 |
         kSwizzle128 << 62;
}
inline constexpr uint64_t kDescriptorStep = 32 >> 4;

// d = A B, or d += A B where `accumulates`; A of e5m2 or of e4m3, B of e4m3 and
// of twice as many columns as d has elements. Neither `d` nor `a` may be
// touched before the wait. All threads of the warpgroup together.
ZQFP_PTX void WgmmaE5m2(float (&d)[16], const uint32_t (&a)[4],
                        uint64_t descriptor, bool accumulates);
ZQFP_PTX void WgmmaE5m2(float (&d)[32], const uint32_t (&a)[4],
                        uint64_t descriptor, bool accumulates);
ZQFP_PTX void WgmmaE5m2(float (&d)[64], const uint32_t (&a)[4],
                        uint64_t descriptor, bool accumulates);
ZQFP_PTX void WgmmaE4m3(float (&d)[16], const uint32_t (&a)[4],
                        uint64_t descriptor, bool accumulates);
ZQFP_PTX void WgmmaE4m3(float (&d)[32], const uint32_t (&a)[4],
                        uint64_t descriptor, bool accumulates);
ZQFP_PTX void WgmmaE4m3(float (&d)[64], const uint32_t (&a)[4],
                        uint64_t descriptor, bool accumulates);

// Before the first product, and after registers of one were touched.
ZQFP_PTX void WgmmaFence();
// Makes the registers of A have their values here, rather than where they are
// first used: what a wait is there for is computed before it.
ZQFP_PTX void Keep(const uint32_t (&a)[4]);
// The same for what would be computed again, or twice, in every step of a loop.
ZQFP_PTX void Keep(const uint8_t*& pointer);
ZQFP_PTX void Keep(int& value);
// Closes a group: the products since the last one.
ZQFP_PTX void WgmmaCommit();

// Products read shared memory by another way than threads write it (the async
// proxy): after a thread's own writes or the wait for its copies, before the
// barrier that lets the others know.
ZQFP_PTX void FenceAsyncProxy();

#if !defined(__CUDACC__)
void WgmmaWaitFor(int num_left);
#endif
// Waits for all groups of products but the latest kNumLeft.
template <int kNumLeft>
ZQFP_PTX void WgmmaWait() {
#if defined(__CUDACC__)
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kNumLeft) : "memory");
#else
  WgmmaWaitFor(kNumLeft);
#endif
}

// Waits for all, after which `d` may be read: the compiler knows of no other
// reason why it should not be read earlier.
template <int kCount>
ZQFP_PTX void WgmmaWaitForSums(float (&d)[kCount]) {
  WgmmaWait<0>();
#if defined(__CUDACC__)
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
#else
  (void)d;
#endif
}

#if defined(__CUDACC__)

#define ZQFP_REGISTERS_16 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define ZQFP_REGISTERS_32                                                    \
  ZQFP_REGISTERS_16                                                          \
  ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, " \
  "%30, %31"
#define ZQFP_REGISTERS_64                                                    \
  ZQFP_REGISTERS_32                                                          \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, " \
  "%46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, "   \
  "%60, %61, %62, %63"
#define ZQFP_SUMS_16                                                      \
  "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), \
      "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]),        \
      "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15])
#define ZQFP_SUMS_32                                                   \
  ZQFP_SUMS_16, "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]),    \
      "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), \
      "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), \
      "+f"(d[30]), "+f"(d[31])
#define ZQFP_SUMS_64                                                   \
  ZQFP_SUMS_32, "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]),    \
      "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), \
      "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), \
      "+f"(d[46]), "+f"(d[47]), "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), \
      "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), \
      "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), \
      "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
#define ZQFP_FACTORS                                           \
  "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(descriptor), \
      "r"(static_cast<int>(accumulates))

ZQFP_PTX void WgmmaE5m2(float (&d)[16], const uint32_t (&a)[4],
                        uint64_t descriptor, bool accumulates) {
  asm volatile(
      "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %21, 0;\n\t"
      "wgmma.mma_async.sync.aligned.m64n32k32.f32.e5m2.e4m3 "
      "{" ZQFP_REGISTERS_16 "}, {%16, %17, %18, %19}, %20, p, 1, 1;\n\t}"
      : ZQFP_SUMS_16
      : ZQFP_FACTORS);
}

ZQFP_PTX void WgmmaE5m2(float (&d)[32], const uint32_t (&a)[4],
                        uint64_t descriptor, bool accumulates) {
  asm volatile(
      "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %37, 0;\n\t"
      "wgmma.mma_async.sync.aligned.m64n64k32.f32.e5m2.e4m3 "
      "{" ZQFP_REGISTERS_32 "}, {%32, %33, %34, %35}, %36, p, 1, 1;\n\t}"
      : ZQFP_SUMS_32
      : ZQFP_FACTORS);
}

ZQFP_PTX void WgmmaE5m2(float (&d)[64], const uint32_t (&a)[4],
                        uint64_t descriptor, bool accumulates) {
  asm volatile(
      "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %69, 0;\n\t"
      "wgmma.mma_async.sync.aligned.m64n128k32.f32.e5m2.e4m3 "
      "{" ZQFP_REGISTERS_64 "}, {%64, %65, %66, %67}, %68, p, 1, 1;\n\t}"
      : ZQFP_SUMS_64
      : ZQFP_FACTORS);
}

ZQFP_PTX void WgmmaE4m3(float (&d)[16], const uint32_t (&a)[4],
                        uint64_t descriptor, bool accumulates) {
  asm volatile(
      "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %21, 0;\n\t"
      "wgmma.mma_async.sync.aligned.m64n32k32.f32.e4m3.e4m3 "
      "{" ZQFP_REGISTERS_16 "}, {%16, %17, %18, %19}, %20, p, 1, 1;\n\t}"
      : ZQFP_SUMS_16
      : ZQFP_FACTORS);
}

ZQFP_PTX void WgmmaE4m3(float (&d)[32], const uint32_t (&a)[4],
                        uint64_t descriptor, bool accumulates) {
  asm volatile(
      "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %37, 0;\n\t"
      "wgmma.mma_async.sync.aligned.m64n64k32.f32.e4m3.e4m3 "
      "{" ZQFP_REGISTERS_32 "}, {%32, %33, %34, %35}, %36, p, 1, 1;\n\t}"
      : ZQFP_SUMS_32
      : ZQFP_FACTORS);
}

ZQFP_PTX void WgmmaE4m3(float (&d)[64], const uint32_t (&a)[4],
                        uint64_t descriptor, bool accumulates) {
  asm volatile(
      "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %69, 0;\n\t"
      "wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 "
      "{" ZQFP_REGISTERS_64 "}, {%64, %65, %66, %67}, %68, p, 1, 1;\n\t}"
      : ZQFP_SUMS_64
      : ZQFP_FACTORS);
}

#undef ZQFP_REGISTERS_16
#undef ZQFP_REGISTERS_32
#undef ZQFP_REGISTERS_64
#undef ZQFP_SUMS_16
#undef ZQFP_SUMS_32
#undef ZQFP_SUMS_64
#undef ZQFP_FACTORS

ZQFP_PTX void WgmmaFence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

ZQFP_PTX void Keep(const uint32_t (&a)[4]) {
  asm volatile("" ::"r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]) : "memory");
}

ZQFP_PTX void Keep(const uint8_t*& pointer) {
  asm volatile("" : "+l"(pointer));
}

ZQFP_PTX void Keep(int& value) { asm volatile("" : "+r"(value)); }

ZQFP_PTX void WgmmaCommit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

ZQFP_PTX void FenceAsyncProxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

#endif  // __CUDACC__

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_PTX_WGMMA_H_
