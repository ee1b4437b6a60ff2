// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_THREAD_POOL_H_
#define ZQFP_KERNELS_CPU_THREAD_POOL_H_

// A fork/join pool: low latency while a step runs, asleep when idle.

#include <memory>

#include "kernels/core/ops.h"

namespace zqfp::kernels {

// Number of physical cores this process may use (affinity and cgroup quota
// respected), at least 1.
int PhysicalCores();

// num_threads - 1 workers plus the calling thread. Workers spin for a short
// while after a loop and then park. One loop at a time: run() is called by one
// thread at a time, and never from inside a loop body.
class ThreadPool {
 public:
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
