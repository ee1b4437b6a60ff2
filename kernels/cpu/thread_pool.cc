// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/thread_pool.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <set>
#include <string>
#include <system_error>
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

// A loop is cut into a share for each thread, and that into some pieces. A
// thread runs the pieces of its own share first, then what is left of others':
// a core that has less time (a busy machine, a slower kind of core, more
// threads than cores) holds the loop up by a piece at most, and a short loop is
// over before a parked worker has woken.
struct ThreadPool::State {
  static constexpr uint32_t kPiecesOfShare = 4;

  // One cache line each.
  struct alignas(64) Share {
    // Number of the loop, of the share's pieces, and of the next one to be
    // taken: 32, 16 and 16 bits. Whoever counts it up runs that piece.
    std::atomic<uint64_t> next{0};
    std::atomic<uint32_t> done{0};  // pieces
  };
  // What a worker waits for: another loop than the one it has seen.
  struct alignas(64) Ticket {
    std::atomic<uint32_t> loop{0};
  };

  int num_threads = 1;
  int64_t spin_ns = 0;
  std::vector<std::thread> workers;
  std::vector<Share> shares;
  std::vector<Ticket> tickets;
  std::atomic<bool> stop{false};
  uint32_t loop = 0;  // the caller's; wraps around

  // The current job: written before its pieces can be taken, read while one is
  // not done.
  int64_t count = 0;
  int64_t share = 0;  // items
  int64_t piece = 0;  // items
  LoopBody body = nullptr;
  void* context = nullptr;

  // Runs the next piece of share `owner`; false where none is left.
  bool RunPiece(int owner, int thread, uint32_t wanted) {
    Share& of = shares[static_cast<size_t>(owner)];
    uint64_t next = of.next.load(std::memory_order_acquire);
    uint32_t number = 0, pieces = 0;
    do {
      number = next & 0xffff;
      pieces = next >> 16 & 0xffff;
      if (next >> 32 != wanted || number == pieces) return false;
    } while (!of.next.compare_exchange_weak(
        next, next + 1, std::memory_order_acq_rel, std::memory_order_acquire));
    const int64_t begin = share * owner + piece * number;
    const int64_t end = std::min({begin + piece, share * (owner + 1), count});
    body(context, begin, end, thread);
    if (of.done.fetch_add(1, std::memory_order_release) + 1 == pieces) {
      of.done.notify_one();
    }
    return true;
  }

  // All that is left of the loop, the thread's own share first.
  void RunPieces(int thread, uint32_t wanted) {
    for (int i = 0; i < num_threads; ++i) {
      while (RunPiece((thread + i) % num_threads, thread, wanted)) {
      }
    }
  }

  // Waits while the value is `waiting`: turns on the spot for spin_ns, then
  // sleeps.
  void AwaitOther(const std::atomic<uint32_t>& value, uint32_t waiting) const {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point end =
        Clock::now() + std::chrono::nanoseconds(spin_ns);
    do {
      for (int i = 0; i < kTurnsPerLook; ++i) {
        if (value.load(std::memory_order_acquire) != waiting) return;
        Pause();
      }
    } while (Clock::now() < end);
    value.wait(waiting, std::memory_order_acquire);
  }

  void Work(int thread) {
    const std::atomic<uint32_t>& ticket =
        tickets[static_cast<size_t>(thread)].loop;
    uint32_t seen = 0;
    while (true) {
      AwaitOther(ticket, seen);
      seen = ticket.load(std::memory_order_acquire);
      // After the ticket: whoever sees the destructor's ticket sees its stop.
      if (stop.load(std::memory_order_acquire)) return;
      RunPieces(thread, seen);
    }
  }

  // Cuts the loop and lets the workers see it. The last shares may be smaller,
  // or empty.
  void Open(int64_t units, int64_t grain) {
    ++loop;
    const int64_t share_units = (units + num_threads - 1) / num_threads;
    const int64_t piece_units =
        (share_units + kPiecesOfShare - 1) / kPiecesOfShare;
    share = share_units * grain;
    piece = piece_units * grain;
    for (int t = 0; t < num_threads; ++t) {
      const int64_t left =
          std::clamp<int64_t>(units - share_units * t, 0, share_units);
      const auto pieces =
          static_cast<uint64_t>((left + piece_units - 1) / piece_units);
      Share& of = shares[static_cast<size_t>(t)];
      of.done.store(0, std::memory_order_relaxed);
      of.next.store(uint64_t{loop} << 32 | pieces << 16,
                    std::memory_order_release);
    }
    for (int t = 1; t < num_threads; ++t) {
      std::atomic<uint32_t>& ticket = tickets[static_cast<size_t>(t)].loop;
      ticket.store(loop, std::memory_order_release);
      ticket.notify_one();
    }
  }

  // Waits for the pieces that others have begun.
  void Finish() {
    for (Share& of : shares) {
      const uint32_t pieces = of.next.load() >> 16 & 0xffff;
      uint32_t done = 0;
      while ((done = of.done.load(std::memory_order_acquire)) != pieces) {
        AwaitOther(of.done, done);
      }
    }
  }

  static void Run(void* pool, int64_t count, int64_t grain, LoopBody body,
                  void* context) {
    State& state = *static_cast<State*>(pool);
    if (count <= 0) return;
    const int64_t units = (count + grain - 1) / grain;
    if (units == 1 || state.num_threads == 1) {
      body(context, 0, count, 0);
      return;
    }
    state.count = count;
    state.body = body;
    state.context = context;
    state.Open(units, grain);
    state.RunPieces(0, state.loop);
    state.Finish();
  }
};

absl::StatusOr<std::unique_ptr<ThreadPool>> ThreadPool::Create(
    int num_threads) {
  if (num_threads < 1 || num_threads > kMaxThreads) {
    return absl::InvalidArgumentError(fmt::format(
        "threads: want 1 .. {}, found {}", kMaxThreads, num_threads));
  }
  auto pool = std::make_unique<ThreadPool>(num_threads);
  if (pool->num_threads() == num_threads) return pool;
  return absl::ResourceExhaustedError(
      fmt::format("threads: want {}, the system gave {}", num_threads,
                  pool->num_threads()));
}

ThreadPool::ThreadPool(int num_threads) : state_(std::make_unique<State>()) {
  ZQFP_CHECK(num_threads >= 1);
  state_->num_threads = num_threads;
  state_->spin_ns = num_threads <= PhysicalCores() ? kSpinNs : 0;
  state_->shares = std::vector<State::Share>(static_cast<size_t>(num_threads));
  state_->tickets =
      std::vector<State::Ticket>(static_cast<size_t>(num_threads));
  // No worker looks at the number before its first loop.
  for (int i = 1; i < num_threads; ++i) {
    try {
      state_->workers.emplace_back(
          [state = state_.get(), i] { state->Work(i); });
    } catch (const std::system_error&) {
      state_->num_threads = i;
      break;
    }
  }
}

ThreadPool::~ThreadPool() {
  state_->stop.store(true);
  // A loop that never was.
  for (State::Ticket& ticket : state_->tickets) {
    ticket.loop.store(state_->loop + 1);
    ticket.loop.notify_one();
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
