// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "kernels/core/check.h"

namespace zqfp::kernels {
namespace {

// How long a thread turns on the spot before it sleeps: longer than the gaps
// between the ops of a step, far shorter than a human's pause.
constexpr int64_t kSpinNs = 50000;
constexpr int kTurnsPerLook = 32;  // between two looks at the clock

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

// A loop is cut into one piece per thread. Each worker has a ticket: the number
// of the loop and how far its piece is. Whoever moves a ticket from open to
// taken runs the piece, and that may be the caller: a worker that the system
// has put aside (a busy machine, more threads than cores) holds nobody up, and
// a short loop is over before a parked worker has woken.
struct ThreadPool::State {
  enum : uint32_t { kOpen = 0, kTaken = 1, kDone = 2, kStates = 4 };

  // One cache line a worker.
  struct alignas(64) Ticket {
    std::atomic<uint32_t> value{kDone};
  };

  int num_threads = 1;
  int64_t spin_ns = 0;
  std::vector<std::thread> workers;
  std::vector<Ticket> tickets;
  std::atomic<bool> stop{false};
  uint32_t loop = 0;  // the caller's; wraps around

  // The current job; written before the tickets open, read after one is taken.
  int64_t count = 0;
  int64_t piece = 0;
  LoopBody body = nullptr;
  void* context = nullptr;

  void RunPiece(int thread) const {
    const int64_t begin = std::min(count, piece * thread);
    const int64_t end = std::min(count, begin + piece);
    if (begin < end) body(context, begin, end, thread);
  }

  // Waits while the ticket has the state `waiting`: turns on the spot for
  // spin_ns, then sleeps.
  void AwaitOther(const std::atomic<uint32_t>& ticket, uint32_t waiting) const {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point end =
        Clock::now() + std::chrono::nanoseconds(spin_ns);
    do {
      for (int i = 0; i < kTurnsPerLook; ++i) {
        if (ticket.load(std::memory_order_acquire) != waiting) return;
        Pause();
      }
    } while (Clock::now() < end);
    ticket.wait(waiting, std::memory_order_acquire);
  }

  void Work(int thread) {
    std::atomic<uint32_t>& ticket = tickets[static_cast<size_t>(thread)].value;
    while (true) {
      uint32_t now = ticket.load(std::memory_order_acquire);
      // After the ticket: whoever sees the destructor's ticket sees its stop.
      if (stop.load(std::memory_order_acquire)) return;
      if (now % kStates != kOpen) {
        AwaitOther(ticket, now);
        continue;
      }
      if (!ticket.compare_exchange_strong(now, now + kTaken)) continue;
      RunPiece(thread);
      ticket.store(now + kDone);
      ticket.notify_one();
    }
  }

  // Runs the piece of every worker that has not begun, then waits for the rest.
  void Finish() {
    for (int t = 1; t < num_threads; ++t) {
      std::atomic<uint32_t>& ticket = tickets[static_cast<size_t>(t)].value;
      uint32_t now = loop + kOpen;
      if (ticket.compare_exchange_strong(now, now + kTaken)) {
        RunPiece(t);
        ticket.store(loop + kDone);
      }
    }
    for (int t = 1; t < num_threads; ++t) {
      const std::atomic<uint32_t>& ticket =
          tickets[static_cast<size_t>(t)].value;
      while (ticket.load(std::memory_order_acquire) == loop + kTaken) {
        AwaitOther(ticket, loop + kTaken);
      }
    }
  }

  static void Run(void* pool, int64_t count, int64_t grain, LoopBody body,
                  void* context) {
    State& state = *static_cast<State*>(pool);
    if (count <= 0) return;
    const int64_t units = (count + grain - 1) / grain;
    const int64_t share = (units + state.num_threads - 1) / state.num_threads;
    if (share * grain >= count || state.num_threads == 1) {
      body(context, 0, count, 0);
      return;
    }
    state.count = count;
    state.piece = share * grain;
    state.body = body;
    state.context = context;
    state.loop += kStates;
    for (int t = 1; t < state.num_threads; ++t) {
      std::atomic<uint32_t>& ticket =
          state.tickets[static_cast<size_t>(t)].value;
      ticket.store(state.loop + kOpen);
      ticket.notify_one();
    }
    state.RunPiece(0);
    state.Finish();
  }
};

ThreadPool::ThreadPool(int num_threads) : state_(std::make_unique<State>()) {
  ZQFP_CHECK(num_threads >= 1);
  state_->num_threads = num_threads;
  state_->spin_ns = num_threads <= PhysicalCores() ? kSpinNs : 0;
  state_->tickets =
      std::vector<State::Ticket>(static_cast<size_t>(num_threads));
  for (int i = 1; i < num_threads; ++i) {
    state_->workers.emplace_back([state = state_.get(), i] { state->Work(i); });
  }
}

ThreadPool::~ThreadPool() {
  state_->stop.store(true);
  // A ticket of a loop that never was: no worker can be waiting for just this
  // value to go away, and "taken" is not acted upon.
  for (State::Ticket& ticket : state_->tickets) {
    ticket.value.store(state_->loop + State::kStates + State::kTaken);
    ticket.value.notify_one();
  }
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::num_threads() const { return state_->num_threads; }

Parallel ThreadPool::parallel() {
  return {.num_threads = state_->num_threads,
          .pool = state_.get(),
          .run = State::Run};
}

}  // namespace zqfp::kernels
