// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_CEILINGS_H_
#define ZQFP_KERNELS_CUDA_CEILINGS_H_

// Loops that do one thing only, as fast as the chip can: what kernels are held
// against.

#include "kernels/core/device_lab.h"
#include "kernels/core/ops.h"

namespace zqfp::kernels::cuda {

// Reads memory and keeps nothing of it but a word a thread, 64 KB of `sums`.
// Whole 16-byte pieces only.
void ReadCeiling(const void* from, int64_t num_bytes, void* sums,
                 const Exec& exec);
// The same by bulk copies of whole 16 KB to shared memory, four in flight in
// each of its blocks.
void BulkReadCeiling(const void* from, int64_t num_bytes, void* sums,
                     const Exec& exec);

// A kernel of one warp that returns; whether it may overlap the one before.
void NothingCeiling(LaunchOverlap overlap, const Exec& exec);

// HMMA m16n8k16 from registers on all multiprocessors; the flops of that. Each
// warp keeps eight sums, so that no product waits for the one before.
int64_t HmmaCeiling(int64_t rounds, void* sink, const Exec& exec);

// wgmma m64nNk32 of e4m3 on all multiprocessors, N = 32, 64 or 128, one factor
// in registers and one in shared memory; the flops of that.
int64_t WgmmaCeiling(int columns, int64_t rounds, void* sink, const Exec& exec);

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_CEILINGS_H_
