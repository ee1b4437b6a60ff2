// SPDX-License-Identifier: Apache-2.0
#include "tools/machine.h"

#include <emmintrin.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <fstream>

namespace zqfp::tools {
namespace {

// Larger than any last-level cache slice a few cores may use.
constexpr int64_t kBufferBytes = int64_t{256} << 20;
constexpr int64_t kBlockBytes = 4096;
constexpr int kPasses = 6;
// Distance of the software prefetch. 8-16 KB read fastest on a Zen 5 server
// part, 2 cores, 2026-11; shorter lost up to half.
constexpr int64_t kPrefetchBytes = 12 * 1024;

struct ReadJob {
  const char* data;
  int64_t sum[256];  // one slot a thread, so that the reads are not dropped
};

// Reads blocks [begin, end) with four independent chains.
void ReadBlocks(void* context, int64_t begin, int64_t end, int thread) {
  ReadJob& job = *static_cast<ReadJob*>(context);
  __m128i sum[4] = {};
  const char* stop = job.data + end * kBlockBytes;
  for (const char* p = job.data + begin * kBlockBytes; p < stop; p += 64) {
    _mm_prefetch(p + kPrefetchBytes, _MM_HINT_T0);
    for (int i = 0; i < 4; ++i) {
      const auto* block = reinterpret_cast<const __m128i*>(p);
      sum[i] = _mm_xor_si128(sum[i], _mm_load_si128(block + i));
    }
  }
  const __m128i all = _mm_xor_si128(_mm_xor_si128(sum[0], sum[1]),
                                    _mm_xor_si128(sum[2], sum[3]));
  job.sum[thread % 256] ^= _mm_cvtsi128_si64(all);
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
  ReadJob job = {static_cast<const char*>(memory), {}};
  const kernels::Parallel parallel = pool.parallel();
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    // The last prefetches point past the buffer, which is harmless.
    parallel.run(parallel.pool, kBufferBytes / kBlockBytes, 1, ReadBlocks,
                 &job);
    const std::chrono::duration<double> time =
        std::chrono::steady_clock::now() - start;
    best = std::max(best, kBufferBytes / time.count());
  }
  munmap(memory, kBufferBytes);
  return best;
}

}  // namespace zqfp::tools
