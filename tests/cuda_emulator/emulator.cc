// SPDX-License-Identifier: Apache-2.0
#include "tests/cuda_emulator/emulator.h"

#include <fmt/format.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <deque>
#include <memory>
#include <vector>

#include "tests/cuda_emulator/fiber.h"
#include "tests/cuda_emulator/shared_memory.h"
#include "tests/cuda_emulator/thread_api.h"

namespace zqfp::kernels::emulator {
namespace {

enum class State : uint8_t {
  kReady,
  kAtBarrier,
  kInWarp,
  kInWarpgroup,
  kWaiting,
  kDone
};

struct Copy {
  void* to;
  const void* from;
  int num_bytes;
  uint64_t* barrier;  // bulk copies only

  void Do() const { memcpy(to, from, static_cast<size_t>(num_bytes)); }
};

// One thread of the block.
struct Thread {
  Fiber fiber;
  State state = State::kReady;
  uint3 index;
  int number = 0;
  Collective collective = Collective::kSync;  // kInWarp
  int num_collectives = 0;
  bool has_waited = false;  // for the grid before
  int num_warpgroup_collectives = 0;
  bool (*ready)(void*) = nullptr;  // kWaiting
  void* ready_context = nullptr;
  std::deque<std::vector<Copy>> copy_groups;  // closed ones, oldest first
  std::vector<Copy> open_copies;
  bool has_unfenced_copies = false;
  using Products = std::vector<std::function<void()>>;
  std::deque<Products> product_groups;  // closed ones, oldest first
  Products open_products;
};

// The block that runs.
struct Block {
  GridShape shape;
  const std::function<void()>* body = nullptr;
  int num_threads = 0;
  bool descending = false;
  std::vector<std::unique_ptr<Thread>> threads;  // kept from block to block
  // By warp: what its lanes show each other. Two sets in turn: a lane may be
  // in the next collective while another still reads this one's.
  std::vector<LaneSlot> slots[2];
  std::vector<LaneSlot> warpgroup_slots[2];
  std::vector<Copy> bulk_copies;
  Thread* current = nullptr;
};

// Never destroyed: Boost would unwind its fibers behind the sanitizer's back.
Block& block = *new Block;
bool is_running = false;
int64_t num_launches = 0;

int NumLanes(int warp) {
  return std::min(kWarpSize, block.num_threads - warp * kWarpSize);
}

int Count(State state) {
  int count = 0;
  for (int t = 0; t < block.num_threads; ++t) {
    count += block.threads[t]->state == state ? 1 : 0;
  }
  return count;
}

void Run(Thread& thread) {
  block.current = &thread;
  threadIdx = thread.index;
  thread.state = State::kReady;
  thread.fiber.Resume(*block.body);
  if (!thread.fiber.is_running()) {
    FinishCopies(0);
    if (block.shape.overlaps && !thread.has_waited) {
      Die("the thread ended and has never waited for the grid before");
    }
    if (!thread.product_groups.empty() || !thread.open_products.empty()) {
      Die("the thread ended before it waited for its products");
    }
    thread.state = State::kDone;
  }
  block.current = nullptr;
}

// Stops the running thread in `state` until the scheduler picks it again.
void Stop(State state) {
  Thread& thread = *block.current;
  thread.state = state;
  thread.fiber.Suspend();
}

// Lets the lanes of a warp go on if all of them are in a collective.
bool ReleaseWarp(int warp) {
  const int first = warp * kWarpSize;
  for (int lane = 0; lane < NumLanes(warp); ++lane) {
    const Thread& thread = *block.threads[first + lane];
    if (thread.state != State::kInWarp) return false;
    if (thread.collective != block.threads[first]->collective) {
      Die(
          fmt::format("lanes 0 and {} of warp {} are in different warp "
                      "collectives",
                      lane, warp));
    }
  }
  for (int lane = 0; lane < NumLanes(warp); ++lane) {
    block.threads[first + lane]->state = State::kReady;
  }
  return true;
}

// The same for four warps.
bool ReleaseWarpgroup(int warpgroup) {
  const int first = warpgroup * kWarpgroupSize;
  if (first + kWarpgroupSize > block.num_threads) return false;
  for (int t = 0; t < kWarpgroupSize; ++t) {
    if (block.threads[first + t]->state != State::kInWarpgroup) return false;
  }
  for (int t = 0; t < kWarpgroupSize; ++t) {
    block.threads[first + t]->state = State::kReady;
  }
  return true;
}

// Runs the warp until no lane can go on; false if none could.
bool RunWarp(int warp) {
  bool any = false;
  for (bool again = true; again;) {
    again = false;
    for (int i = 0; i < NumLanes(warp); ++i) {
      const int lane = block.descending ? NumLanes(warp) - 1 - i : i;
      Thread& thread = *block.threads[warp * kWarpSize + lane];
      const bool can_run =
          thread.state == State::kReady || (thread.state == State::kWaiting &&
                                            thread.ready(thread.ready_context));
      if (!can_run) continue;
      Run(thread);
      again = true;
    }
    again |= ReleaseWarp(warp);
    any |= again;
  }
  return any;
}

bool ReleaseBlock() {
  const int at_barrier = Count(State::kAtBarrier), done = Count(State::kDone);
  if (at_barrier == 0 || at_barrier + done < block.num_threads) return false;
  if (done > 0) {
    Die(fmt::format("{} threads wait in __syncthreads, {} have exited",
                    at_barrier, done));
  }
  for (int t = 0; t < block.num_threads; ++t) {
    block.threads[t]->state = State::kReady;
  }
  return true;
}

void RunBlock() {
  PoisonStaticShared();
  PoisonDynamicShared(block.shape.dynamic_bytes);
  for (int t = 0; t < block.num_threads; ++t) {
    block.threads[t]->state = State::kReady;
    block.threads[t]->num_collectives = 0;
    block.threads[t]->has_waited = false;
    block.threads[t]->num_warpgroup_collectives = 0;
    block.threads[t]->has_unfenced_copies = false;
  }
  const int num_warps = (block.num_threads + kWarpSize - 1) / kWarpSize;
  while (Count(State::kDone) < block.num_threads) {
    bool any = false;
    for (int w = 0; w < num_warps; ++w) {
      any |= RunWarp(block.descending ? num_warps - 1 - w : w);
    }
    for (int g = 0; g < (num_warps + 3) / 4; ++g) any |= ReleaseWarpgroup(g);
    if (!ReleaseBlock() && !any) {
      Die(fmt::format(
          "deadlock: of {} threads {} wait in __syncthreads, {} for their "
          "warpgroup, {} for their warp, {} for an mbarrier, {} have exited",
          block.num_threads, Count(State::kAtBarrier),
          Count(State::kInWarpgroup), Count(State::kInWarp),
          Count(State::kWaiting), Count(State::kDone)));
    }
  }
  if (!block.bulk_copies.empty()) {
    Die("the block ended before somebody waited for its bulk copies");
  }
  if (!DynamicSharedIsWhole(block.shape.dynamic_bytes)) {
    Die("a write behind the dynamic shared memory");
  }
}

// Thread numbers and their places in a block of this shape.
void Prepare(const GridShape& shape, const std::function<void()>& thread_body) {
  const dim3 size = shape.block;
  block.shape = shape;
  block.body = &thread_body;
  block.num_threads = static_cast<int>(size.x * size.y * size.z);
  while (static_cast<int>(block.threads.size()) < block.num_threads) {
    block.threads.push_back(std::make_unique<Thread>());
    for (auto& slots : block.slots) slots.resize(block.threads.size() + 31);
    for (auto& slots : block.warpgroup_slots) {
      slots.resize(block.threads.size());
    }
  }
  for (int t = 0; t < block.num_threads; ++t) {
    const unsigned number = static_cast<unsigned>(t);
    block.threads[t]->number = t;
    block.threads[t]->index = {number % size.x, number / size.x % size.y,
                               number / size.x / size.y};
  }
  gridDim = shape.grid;
  blockDim = size;
}

bool IsDescending() {
  const char* order = getenv("ZQFP_EMULATOR_ORDER");
  if (order == nullptr || *order == '\0') return num_launches % 2 == 1;
  if (strcmp(order, "ascending") == 0) return false;
  if (strcmp(order, "descending") == 0) return true;
  Die(
      fmt::format("ZQFP_EMULATOR_ORDER: want ascending or descending, found "
                  "'{}'",
                  order));
}

}  // namespace

void RunGrid(const GridShape& shape, const std::function<void()>& thread_body) {
  if (is_running) Die("a launch from inside a kernel, or from two threads");
  is_running = true;
  Prepare(shape, thread_body);
  block.descending = IsDescending();
  ++num_launches;
  const uint64_t num_blocks =
      uint64_t{shape.grid.x} * shape.grid.y * shape.grid.z;
  for (uint64_t i = 0; i < num_blocks; ++i) {
    const uint64_t b = block.descending ? num_blocks - 1 - i : i;
    blockIdx = {static_cast<unsigned>(b % shape.grid.x),
                static_cast<unsigned>(b / shape.grid.x % shape.grid.y),
                static_cast<unsigned>(b / shape.grid.x / shape.grid.y)};
    RunBlock();
  }
  is_running = false;
}

void SyncBlock() { Stop(State::kAtBarrier); }

const LaneSlot* Exchange(Collective kind, unsigned mask, const void* data,
                         int num_bytes) {
  if (mask != 0xffffffffu) {
    Die(
        fmt::format("a warp collective with the mask {:#x}: the emulator has "
                    "none but whole warps",
                    mask));
  }
  Thread& thread = *block.current;
  std::vector<LaneSlot>& slots = block.slots[thread.num_collectives++ % 2];
  if (num_bytes > 0) {
    memcpy(slots[thread.number].bytes, data, static_cast<size_t>(num_bytes));
  }
  thread.collective = kind;
  Stop(State::kInWarp);
  return &slots[thread.number / kWarpSize * kWarpSize];
}

const LaneSlot* ExchangeInWarpgroup(const void* data, int num_bytes) {
  Thread& thread = *block.current;
  std::vector<LaneSlot>& slots =
      block.warpgroup_slots[thread.num_warpgroup_collectives++ % 2];
  memcpy(slots[thread.number].bytes, data, static_cast<size_t>(num_bytes));
  Stop(State::kInWarpgroup);
  return &slots[thread.number / kWarpgroupSize * kWarpgroupSize];
}

void WaitUntil(bool (*ready)(void* context), void* context) {
  if (ready(context)) return;
  block.current->ready = ready;
  block.current->ready_context = context;
  Stop(State::kWaiting);
}

void NoteGridWait() { block.current->has_waited = true; }

int Lane() { return block.current->number % kWarpSize; }
int ThreadNumber() { return block.current->number; }

void NoteCopy(void* to, const void* from, int num_bytes) {
  block.current->open_copies.push_back({to, from, num_bytes, nullptr});
}

void CloseCopyGroup() {
  block.current->copy_groups.push_back(std::move(block.current->open_copies));
  block.current->open_copies.clear();
}

void FinishCopies(int num_left) {
  auto& groups = block.current->copy_groups;
  while (static_cast<int>(groups.size()) > num_left) {
    for (const Copy& copy : groups.front()) copy.Do();
    block.current->has_unfenced_copies |= !groups.front().empty();
    groups.pop_front();
  }
}

bool CopiesAreFenced() {
  for (int t = 0; t < block.num_threads; ++t) {
    if (block.threads[t]->has_unfenced_copies) return false;
  }
  return true;
}

void FenceCopies() { block.current->has_unfenced_copies = false; }

void NoteProduct(std::function<void()> finish) {
  block.current->open_products.push_back(std::move(finish));
}

void CloseProductGroup() {
  block.current->product_groups.push_back(
      std::move(block.current->open_products));
  block.current->open_products.clear();
}

void FinishProducts(int num_left) {
  auto& groups = block.current->product_groups;
  while (static_cast<int>(groups.size()) > num_left) {
    for (const auto& finish : groups.front()) finish();
    groups.pop_front();
  }
}

void NoteBulkCopy(void* to, const void* from, int num_bytes,
                  uint64_t* barrier) {
  block.bulk_copies.push_back({to, from, num_bytes, barrier});
}

bool FinishBulkCopies(uint64_t* barrier, void (*done)(uint64_t*, int64_t)) {
  return std::erase_if(block.bulk_copies, [&](const Copy& copy) {
           if (copy.barrier != barrier) return false;
           copy.Do();
           done(barrier, copy.num_bytes);
           return true;
         }) > 0;
}

void Die(const std::string& what) {
  std::string where = "emulator";
  if (block.shape.kernel != nullptr) {
    where = fmt::format("emulator: {}, block ({}, {}, {})",
                        KernelName(block.shape.kernel), blockIdx.x, blockIdx.y,
                        blockIdx.z);
  }
  if (block.current != nullptr) {
    where += fmt::format(", thread {}", block.current->number);
  }
  fprintf(stderr, "%s: %s\n", where.c_str(), what.c_str());
  abort();
}

}  // namespace zqfp::kernels::emulator
