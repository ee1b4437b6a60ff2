// SPDX-License-Identifier: Apache-2.0
#include "tools/machine.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>

namespace zqfp::tools {
namespace {

// Larger than any last-level cache slice a few cores may use.
constexpr int64_t kBufferBytes = int64_t{256} << 20;
constexpr int64_t kBlockWords = 512;
constexpr int kPasses = 6;
// Timed one by one: on a shared machine a slice is short enough to be left
// alone now and then, a whole pass is not.
constexpr int64_t kSliceBytes = int64_t{32} << 20;
// Distance of the software prefetch. 8-16 KB read fastest on a Zen 5 server
// part, 2 cores, 2026-11; shorter lost up to half.
constexpr int64_t kPrefetchWords = 12 * 1024 / 8;

// Long enough to count a slice's start as nothing.
constexpr double kSliceSeconds = 2e-3;
constexpr int kSlices = 40;

struct ReadJob {
  const uint64_t* data;  // of the slice
  uint64_t sum[256];     // one slot a thread, so that the reads are not dropped
};

// Reads blocks [begin, end) with eight independent chains.
void ReadBlocks(void* context, int64_t begin, int64_t end, int thread) {
  ReadJob& job = *static_cast<ReadJob*>(context);
  uint64_t sum[8] = {};
  const uint64_t* stop = job.data + end * kBlockWords;
  for (const uint64_t* p = job.data + begin * kBlockWords; p < stop; p += 8) {
    __builtin_prefetch(p + kPrefetchWords);
    for (int i = 0; i < 8; ++i) sum[i] ^= p[i];
  }
  for (int i = 0; i < 8; ++i) job.sum[thread % 256] ^= sum[i];
}

struct MultiplyJob {
  int64_t (*multiply)(int64_t) noexcept;
  int64_t rounds;
  std::atomic<int64_t> flop = 0;
};

void MultiplyOnEach(void* context, int64_t begin, int64_t end, int) {
  MultiplyJob& job = *static_cast<MultiplyJob*>(context);
  for (int64_t i = begin; i < end; ++i) job.flop += job.multiply(job.rounds);
}

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
      .count();
}

}  // namespace

std::string CpuName() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) == 0) {
      return line.substr(std::min(line.size(), line.find(':') + 2));
    }
  }
  return "unknown processor";
}

int64_t PeakRssBytes() {
  struct rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;
}

double MeasureReadBandwidth(kernels::ThreadPool& pool) {
  void* memory = mmap(nullptr, kBufferBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 0;
  madvise(memory, kBufferBytes, MADV_HUGEPAGE);
  std::fill_n(static_cast<char*>(memory), kBufferBytes, 1);
  ReadJob job = {};
  const kernels::Parallel parallel = pool.parallel();
  double best = 0;
  for (int64_t i = 0; i < kPasses * kBufferBytes / kSliceBytes; ++i) {
    job.data = static_cast<const uint64_t*>(memory) +
               i * kSliceBytes % kBufferBytes / 8;
    const auto start = std::chrono::steady_clock::now();
    // The last prefetches point past the buffer, which is harmless.
    parallel.run(parallel.pool, kSliceBytes / 8 / kBlockWords, 1, ReadBlocks,
                 &job);
    best = std::max(best, kSliceBytes / SecondsSince(start));
  }
  munmap(memory, kBufferBytes);
  return best;
}

double MeasureMultiplication(kernels::ThreadPool& pool,
                             int64_t (*multiply)(int64_t) noexcept) {
  if (multiply == nullptr) return 0;
  MultiplyJob job = {.multiply = multiply, .rounds = 256};
  const kernels::Parallel parallel = pool.parallel();
  double best = 0;
  for (int slice = 0; slice < kSlices;) {
    job.flop = 0;
    const auto start = std::chrono::steady_clock::now();
    parallel.run(parallel.pool, pool.num_threads(), 1, MultiplyOnEach, &job);
    const double seconds = SecondsSince(start);
    best = std::max(best, static_cast<double>(job.flop) / seconds);
    if (seconds < kSliceSeconds) {
      job.rounds *= 2;
    } else {
      ++slice;
    }
  }
  return best;
}

}  // namespace zqfp::tools
