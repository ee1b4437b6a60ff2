// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_PTX_H_
#define ZQFP_KERNELS_CUDA_PTX_H_

// The instructions that C++ has no word for, one small function each. nvcc gets
// inline PTX; the emulator (tests/cuda_emulator/ptx_emulated.cc) does the same
// on the host.
//
// Fragments of the 16 x 8 x 16 mma (PTX ISA, "Matrix Fragments for
// mma.m16n8k16"), with g = lane / 4 and t = lane % 4; a register holds two
// 16-bit elements, the lower k index in its low half:
//   A [16, 16] row-major   a[0] = A[g,     2t..2t+1]   a[2] = A[g,     2t+8..]
//                          a[1] = A[g + 8, 2t..2t+1]   a[3] = A[g + 8, 2t+8..]
//   B [16, 8]              b[0] = B[2t..2t+1, g]       b[1] = B[2t+8.., g]
//   D [16, 8] f32          d[0..1] = D[g, 2t..2t+1]    d[2..3] = D[g + 8, ..]

#include <stdint.h>

#if defined(__CUDACC__)
#define ZQFP_PTX __device__ __forceinline__
#else
#define ZQFP_PTX
#endif

namespace zqfp::kernels::cuda {

// --- Numbers ----------------------------------------------------------------

// d += A B, of f16 or of bf16. All lanes of the warp together.
ZQFP_PTX void MmaF16(float (&d)[4], const uint32_t (&a)[4],
                     const uint32_t (&b)[2]);
ZQFP_PTX void MmaBf16(float (&d)[4], const uint32_t (&a)[4],
                      const uint32_t (&b)[2]);

// Transposes an 8 x 8 matrix of 16-bit elements of which lane holds the pair
// [lane / 4][lane % 4 * 2 ..]. All lanes of the warp together.
ZQFP_PTX uint32_t MoveMatrixTrans(uint32_t row);

// Four 8 x 8 matrices of 16-bit elements from shared memory. Lane l names row
// l % 8 of matrix l / 8: 16 bytes, aligned so. Then lane l has of matrix i, in
// matrices[i], the pair [l / 4][l % 4 * 2 ..]; with Trans the pair
// [l % 4 * 2 ..][l / 4], of two rows. All lanes of the warp together.
ZQFP_PTX void LoadMatrices(uint32_t (&matrices)[4], const void* shared_row);
ZQFP_PTX void LoadMatricesTrans(uint32_t (&matrices)[4],
                                const void* shared_row);

// 2^x to 2 ulp; less than 2^-126 is 0.
ZQFP_PTX float Exp2(float x);

// Two e4m3 codes, hi << 8 | lo: to nearest even, saturating, NaN to 0x7f.
// FloatToE4m3 (float_formats.h) of each.
ZQFP_PTX uint32_t CvtE4m3x2(float hi, float lo);
// Two f16, exact, of two e4m3 codes; a NaN stays one.
ZQFP_PTX uint32_t F16x2FromE4m3x2(uint16_t pair);
ZQFP_PTX float F32FromF16(uint16_t code);
// hi << 16 | lo, each to nearest even; f16 overflows to infinity.
ZQFP_PTX uint32_t F16x2FromF32(float hi, float lo);
ZQFP_PTX uint32_t Bf16x2FromF32(float hi, float lo);

// Byte i of the result is byte (selector >> 4i) & 7 of b << 32 | a; with bit 3
// of that nibble set, its sign bit eight times.
ZQFP_PTX uint32_t Prmt(uint32_t a, uint32_t b, uint32_t selector);

// x, of which the compiler no longer knows what it is: it computes again what
// depends on it, rather than keep it in registers through a loop.
ZQFP_PTX uint32_t Opaque(uint32_t x);

// --- Copies to shared memory that go on behind the thread's back ------------

// 16 bytes, both ends 16-byte aligned; visible to this thread after the wait
// for its group, to the others after a barrier behind that.
ZQFP_PTX void CopyAsync16(void* shared, const void* global);
// The same, or zeros where `has` is not: `global` is not read then.
ZQFP_PTX void CopyAsync16OrZero(void* shared, const void* global, bool has);
// As CopyAsync16, of 4 bytes.
ZQFP_PTX void CopyAsync4(void* shared, const void* global);
// Prefetches a line of global memory into L2.
ZQFP_PTX void PrefetchL2(const void* global);
// Closes a group: the copies since the last one.
ZQFP_PTX void CopyAsyncCommit();
#if !defined(__CUDACC__)
void CopyAsyncWaitFor(int num_left);
#endif
// Waits for all groups of this thread but the latest kNumLeft.
template <int kNumLeft>
ZQFP_PTX void CopyAsyncWait() {
#if defined(__CUDACC__)
  asm volatile("cp.async.wait_group %0;" ::"n"(kNumLeft) : "memory");
#else
  CopyAsyncWaitFor(kNumLeft);
#endif
}

// An mbarrier: 8 bytes of shared memory that count arrivals and bytes of one
// phase after the other; the first phase has parity 0. One thread initializes
// it, then __syncthreads.
ZQFP_PTX void BarrierInit(uint64_t* barrier, uint32_t num_arrivals);
ZQFP_PTX void BarrierArrive(uint64_t* barrier);
// An arrival that also says how many bytes of bulk copies the phase awaits.
ZQFP_PTX void BarrierExpect(uint64_t* barrier, uint32_t num_bytes);
// Until the phase of this parity is over.
ZQFP_PTX void BarrierWait(uint64_t* barrier, uint32_t parity);

// A multiple of 16 bytes, both ends 16-byte aligned; `barrier` counts them.
ZQFP_PTX void BulkCopy(void* shared, const void* global, uint32_t num_bytes,
                       uint64_t* barrier);

// --- Blocks that wait for nobody, but have to know who was last -------------

// Adds to what other blocks add to, and returns what was there before. What the
// block wrote before (a barrier in front) is seen by those that find this
// addition, with a barrier behind theirs.
ZQFP_PTX uint32_t AddAcquireRelease(uint32_t* address, uint32_t value);

// --- Grids that overlap (programmatic dependent launch) ---------------------

// Before the first access to what the kernel before wrote, or to what it reads
// and this one writes.
ZQFP_PTX void GridDependencyWait();
// From here on the blocks of the next kernel may start.
ZQFP_PTX void GridDependencyLaunch();

#if defined(__CUDACC__)

ZQFP_PTX void MmaF16(float (&d)[4], const uint32_t (&a)[4],
                     const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

ZQFP_PTX void MmaBf16(float (&d)[4], const uint32_t (&a)[4],
                      const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

ZQFP_PTX uint32_t MoveMatrixTrans(uint32_t row) {
  uint32_t result;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;"
               : "=r"(result)
               : "r"(row));
  return result;
}

ZQFP_PTX float Exp2(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

ZQFP_PTX uint32_t CvtE4m3x2(float hi, float lo) {
  uint16_t pair;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;"
      : "=h"(pair)
      : "f"(hi), "f"(lo));
  return pair;
}

ZQFP_PTX uint32_t F16x2FromE4m3x2(uint16_t pair) {
  uint32_t result;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(result) : "h"(pair));
  return result;
}

ZQFP_PTX float F32FromF16(uint16_t code) {
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(code));
  return result;
}

ZQFP_PTX uint32_t F16x2FromF32(float hi, float lo) {
  uint32_t result;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(hi), "f"(lo));
  return result;
}

ZQFP_PTX uint32_t Bf16x2FromF32(float hi, float lo) {
  uint32_t result;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(hi), "f"(lo));
  return result;
}

ZQFP_PTX uint32_t Prmt(uint32_t a, uint32_t b, uint32_t selector) {
  return __byte_perm(a, b, selector);
}

ZQFP_PTX uint32_t Opaque(uint32_t x) {
  asm volatile("" : "+r"(x));
  return x;
}

// The 32-bit address that instructions on shared memory take.
ZQFP_PTX uint32_t SharedAddress(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

ZQFP_PTX void LoadMatrices(uint32_t (&matrices)[4], const void* shared_row) {
  asm volatile(
      "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
      : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]),
        "=r"(matrices[3])
      : "r"(SharedAddress(shared_row))
      : "memory");
}

ZQFP_PTX void LoadMatricesTrans(uint32_t (&matrices)[4],
                                const void* shared_row) {
  asm volatile(
      "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
      : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]),
        "=r"(matrices[3])
      : "r"(SharedAddress(shared_row))
      : "memory");
}

ZQFP_PTX void CopyAsync4(void* shared, const void* global) {
  asm volatile(
      "cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(SharedAddress(shared)),
      "l"(global)
      : "memory");
}

ZQFP_PTX void CopyAsync16(void* shared, const void* global) {
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(SharedAddress(shared)),
      "l"(global)
      : "memory");
}

ZQFP_PTX void CopyAsync16OrZero(void* shared, const void* global, bool has) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                   SharedAddress(shared)),
               "l"(global), "r"(has ? 16 : 0)
               : "memory");
}
ZQFP_PTX void PrefetchL2(const void* global) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(global));
}
ZQFP_PTX void CopyAsyncCommit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

ZQFP_PTX void BarrierInit(uint64_t* barrier, uint32_t num_arrivals) {
  // The fence shows it to the engine that does bulk copies.
  asm volatile(
      "mbarrier.init.shared::cta.b64 [%0], %1;\n\t"
      "fence.mbarrier_init.release.cluster;" ::"r"(SharedAddress(barrier)),
      "r"(num_arrivals)
      : "memory");
}

ZQFP_PTX void BarrierArrive(uint64_t* barrier) {
  asm volatile(
      "mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(SharedAddress(barrier))
      : "memory");
}

ZQFP_PTX void BarrierExpect(uint64_t* barrier, uint32_t num_bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                   SharedAddress(barrier)),
               "r"(num_bytes)
               : "memory");
}

ZQFP_PTX void BarrierWait(uint64_t* barrier, uint32_t parity) {
  uint32_t is_over = 0;
  while (is_over == 0) {
    asm volatile(
        "{\n\t.reg .pred p;\n\t"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n\t"
        "selp.u32 %0, 1, 0, p;\n\t}"
        : "=r"(is_over)
        : "r"(SharedAddress(barrier)), "r"(parity)
        : "memory");
  }
}

ZQFP_PTX void BulkCopy(void* shared, const void* global, uint32_t num_bytes,
                       uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1], %2, [%3];" ::"r"(SharedAddress(shared)),
      "l"(global), "r"(num_bytes), "r"(SharedAddress(barrier))
      : "memory");
}

ZQFP_PTX uint32_t AddAcquireRelease(uint32_t* address, uint32_t value) {
  uint32_t before = 0;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;"
               : "=r"(before)
               : "l"(address), "r"(value)
               : "memory");
  return before;
}

ZQFP_PTX void GridDependencyWait() {
  asm volatile("griddepcontrol.wait;" ::: "memory");
}

ZQFP_PTX void GridDependencyLaunch() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

#endif  // __CUDACC__

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_PTX_H_
