// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "kernels/core/check.h"

namespace zqfp::kernels {
namespace {

// Empty turns a worker makes before it parks: some 50 us, longer than the gaps
// between the ops of a step, far shorter than a human's pause.
constexpr int kSpins = 20000;

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Cores that the cgroup's CPU quota pays for, or a large number.
int CgroupQuota() {
  std::ifstream v2("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (v2 >> quota >> period && quota != "max" && period > 0) {
    return std::max(1, static_cast<int>(std::atof(quota.c_str()) / period));
  }
  std::ifstream v1_quota("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::ifstream v1_period("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  double allowed = 0;
  if (v1_quota >> allowed && v1_period >> period && allowed > 0 && period > 0) {
    return std::max(1, static_cast<int>(allowed / period));
  }
  return 1 << 20;
}

}  // namespace

int PhysicalCores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) {
    return std::max(1u, std::thread::hardware_concurrency());
  }
  // Hyper-threads of one core share a (package, core) pair.
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    const std::string folder =
        "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    std::string package, core;
    std::ifstream(folder + "physical_package_id") >> package;
    std::ifstream(folder + "core_id") >> core;
    cores.insert(core.empty() ? "cpu" + std::to_string(cpu)
                              : package + ":" + core);
  }
  const int num_cores = std::max<int>(1, static_cast<int>(cores.size()));
  return std::min(num_cores, CgroupQuota());
}

// One loop is an epoch: the caller writes the job, bumps `epoch`, does its own
// piece and waits until `pending` is zero. Workers spin on `epoch`, then park.
struct ThreadPool::State {
  int num_threads = 1;
  std::vector<std::thread> workers;

  // The current job; written before `epoch` moves, read after.
  int64_t count = 0;
  int64_t piece = 0;
  LoopBody body = nullptr;
  void* context = nullptr;

  alignas(64) std::atomic<uint32_t> epoch{0};
  alignas(64) std::atomic<int> pending{0};
  alignas(64) std::atomic<int> parked{0};
  std::atomic<bool> stop{false};

  void RunPiece(int thread) const {
    const int64_t begin = std::min(count, piece * thread);
    const int64_t end = std::min(count, begin + piece);
    if (begin < end) body(context, begin, end, thread);
  }

  // Returns the epoch that follows `seen`.
  uint32_t AwaitEpoch(uint32_t seen) {
    for (int spin = 0; spin < kSpins; ++spin) {
      const uint32_t now = epoch.load(std::memory_order_acquire);
      if (now != seen) return now;
      Pause();
    }
    parked.fetch_add(1);
    epoch.wait(seen);
    parked.fetch_sub(1);
    return epoch.load(std::memory_order_acquire);
  }

  void Work(int thread) {
    uint32_t seen = 0;
    while (true) {
      const uint32_t now = AwaitEpoch(seen);
      if (now == seen) continue;
      seen = now;
      if (stop.load(std::memory_order_relaxed)) return;
      RunPiece(thread);
      if (pending.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        pending.notify_one();
      }
    }
  }

  void Announce() {
    epoch.fetch_add(1);
    // A worker that parks after this load sees the new epoch and returns.
    if (parked.load() > 0) epoch.notify_all();
  }

  void AwaitWorkers() {
    for (int spin = 0; spin < kSpins; ++spin) {
      if (pending.load(std::memory_order_acquire) == 0) return;
      Pause();
    }
    // More threads than cores: let the others have ours.
    for (int left = pending.load(); left != 0; left = pending.load()) {
      pending.wait(left);
    }
  }

  static void Run(void* pool, int64_t count, int64_t grain, LoopBody body,
                  void* context) {
    State& state = *static_cast<State*>(pool);
    if (count <= 0) return;
    const int64_t units = (count + grain - 1) / grain;
    const int64_t share = (units + state.num_threads - 1) / state.num_threads;
    state.count = count;
    state.piece = share * grain;
    state.body = body;
    state.context = context;
    if (state.piece >= count || state.num_threads == 1) {
      body(context, 0, count, 0);
      return;
    }
    state.pending.store(state.num_threads - 1, std::memory_order_relaxed);
    state.Announce();
    state.RunPiece(0);
    state.AwaitWorkers();
  }
};

ThreadPool::ThreadPool(int num_threads) : state_(std::make_unique<State>()) {
  ZQFP_CHECK(num_threads >= 1);
  state_->num_threads = num_threads;
  for (int i = 1; i < num_threads; ++i) {
    state_->workers.emplace_back([state = state_.get(), i] { state->Work(i); });
  }
}

ThreadPool::~ThreadPool() {
  state_->stop.store(true);
  state_->epoch.fetch_add(1);
  state_->epoch.notify_all();
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::num_threads() const { return state_->num_threads; }

Parallel ThreadPool::parallel() {
  return {.num_threads = state_->num_threads,
          .pool = state_.get(),
          .run = State::Run};
}

}  // namespace zqfp::kernels
