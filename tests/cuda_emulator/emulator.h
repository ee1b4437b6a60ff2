// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_CUDA_EMULATOR_EMULATOR_H_
#define ZQFP_TESTS_CUDA_EMULATOR_EMULATOR_H_

// Runs a CUDA kernel on the host: every thread of a block is a fiber, the
// blocks of a grid run one after another on the calling thread.
//
// What it shows that a chip may hide: reads of shared memory that nobody wrote
// (0xff, a NaN, before every block), missing barriers (threads and blocks run
// in ascending order in even launches, descending in odd ones;
// ZQFP_EMULATOR_ORDER=ascending|descending fixes it), asynchronous copies that
// and products that nobody waited for (they are done at the wait), deadlocks,
// accesses behind the dynamic shared memory (a page that may not be touched),
// threads of a grid that overlaps the one before and never waited for it. One
// grid runs at a time in the process.

#include <stdint.h>

#include <functional>
#include <string>

#include "tests/cuda_emulator/vector_types.h"

namespace zqfp::kernels::emulator {

inline constexpr int kWarpSize = 32;
inline constexpr int kWarpgroupSize = 4 * kWarpSize;

struct GridShape {
  dim3 grid;
  dim3 block;
  int64_t dynamic_bytes = 0;
  const void* kernel = nullptr;  // for messages
  bool overlaps = false;         // with the launch before, on the chip
};

// Runs `thread_body` once per thread of the grid.
void RunGrid(const GridShape& shape, const std::function<void()>& thread_body);

// --- For the threads of a running grid --------------------------------------

// What the lanes of a warp do together; all must do the same.
enum class Collective : uint8_t {
  kSync,
  kShuffle,
  kVote,
  kMma,
  kTranspose,
  kLoadMatrices
};

// What one lane shows to the others: at most 64 bytes.
struct alignas(16) LaneSlot {
  uint8_t bytes[64];
};

// Waits for all threads of the block.
void SyncBlock();

// Shows `num_bytes` at `data` to the warp, waits until all its lanes did so,
// and returns the slots of the 32 lanes (valid until the next Exchange).
const LaneSlot* Exchange(Collective kind, unsigned mask, const void* data,
                         int num_bytes);

// The same for the 128 threads of a warpgroup, whose slots it returns.
const LaneSlot* ExchangeInWarpgroup(const void* data, int num_bytes);

// Waits until ready(context); the others run meanwhile.
void WaitUntil(bool (*ready)(void* context), void* context);

// The lane of the running thread within its warp, and its number in the block.
int Lane();
int ThreadNumber();

// Notes an asynchronous copy of the running thread in its open group; closes
// the group; does the copies of all groups but the latest `num_left`.
void NoteCopy(void* to, const void* from, int num_bytes);
void CloseCopyGroup();
void FinishCopies(int num_left);

// Whether every thread of the block that has waited for copies let the async
// proxy know; the running thread does so.
bool CopiesAreFenced();
void FenceCopies();

// Notes an asynchronous product of the running thread in its open group, closes
// the group, finishes all groups but the latest `num_left`. A thread that ends
// with one unfinished is an error.
void NoteProduct(std::function<void()> finish);
void CloseProductGroup();
void FinishProducts(int num_left);

// Notes a copy of the block that its `barrier` counts; does those of a barrier.
// A block that ends with one open is an error.
void NoteBulkCopy(void* to, const void* from, int num_bytes, uint64_t* barrier);
bool FinishBulkCopies(uint64_t* barrier, void (*done)(uint64_t*, int64_t));

// Notes that the running thread has waited for the grid before this one.
void NoteGridWait();

// How many products cublasLtMatmul is still to refuse, after all it has
// offered.
inline int products_to_refuse = 0;

// The dynamic shared memory of the block, 1024-byte aligned.
uint8_t* DynamicShared();

// Stops the program: the kernel broke a rule. Names kernel, block and thread.
[[noreturn]] void Die(const std::string& what);

}  // namespace zqfp::kernels::emulator

#endif  // ZQFP_TESTS_CUDA_EMULATOR_EMULATOR_H_
