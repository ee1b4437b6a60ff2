// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_THREAD_POOL_H_
#define ZQFP_KERNELS_CPU_THREAD_POOL_H_

// A fork/join pool: low latency while a step runs, asleep when idle.

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/core/ops.h"

namespace zqfp::kernels {

// Number of physical cores this process may use (affinity and cgroup quota
// respected), at least 1.
int PhysicalCores();

inline constexpr int kMaxThreads = 1024;

// num_threads - 1 workers plus the calling thread. Workers spin for a short
// while after a loop and then park. One loop at a time: run() is called by one
// thread at a time, and never from inside a loop body.
class ThreadPool {
 public:
  // InvalidArgument for less than one thread or more than kMaxThreads;
  // ResourceExhausted where the system gives a process less than it wants.
  static absl::StatusOr<std::unique_ptr<ThreadPool>> Create(int num_threads);
  // num_threads() may be less than that.
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const;
  Parallel parallel();  // the view that Exec carries

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace zqfp::kernels

#endif  // ZQFP_KERNELS_CPU_THREAD_POOL_H_
