// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/thread_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels/core/parallel.h"

namespace zqfp::kernels {
namespace {

struct Piece {
  int64_t begin, end;
  bool operator==(const Piece&) const = default;
};

// The pieces, in the order of the range.
std::vector<Piece> Pieces(ThreadPool& pool, int64_t count, int64_t grain) {
  std::vector<Piece> pieces;
  std::mutex mutex;
  const Exec exec = {.parallel = pool.parallel()};
  ParallelFor(exec, count, grain, [&](int64_t begin, int64_t end, int thread) {
    EXPECT_GE(thread, 0);
    EXPECT_LT(thread, pool.num_threads());
    const std::lock_guard<std::mutex> lock(mutex);
    pieces.push_back({begin, end});
  });
  std::sort(pieces.begin(), pieces.end(),
            [](const Piece& a, const Piece& b) { return a.begin < b.begin; });
  return pieces;
}

class ThreadPoolTest : public testing::TestWithParam<int> {};

TEST_P(ThreadPoolTest, PiecesCoverTheRangeOnceInOrder) {
  ThreadPool pool(GetParam());
  for (int64_t count : {1, 2, 3, 7, 8, 63, 64, 65, 1000}) {
    for (int64_t grain : {1, 3, 16, 2000}) {
      int64_t next = 0;
      for (const Piece& piece : Pieces(pool, count, grain)) {
        EXPECT_EQ(piece.begin, next);
        EXPECT_LT(piece.begin, piece.end);
        EXPECT_EQ(piece.begin % grain, 0);
        next = piece.end;
      }
      EXPECT_EQ(next, count) << "count " << count << " grain " << grain;
    }
  }
}

TEST_P(ThreadPoolTest, SameCountSamePieces) {
  ThreadPool pool(GetParam());
  const std::vector<Piece> first = Pieces(pool, 777, 8);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Pieces(pool, 777, 8), first);
}

TEST_P(ThreadPoolTest, NothingToDoIsNoCall) {
  ThreadPool pool(GetParam());
  const Exec exec = {.parallel = pool.parallel()};
  ParallelFor(exec, 0, 1, [](int64_t, int64_t, int) { FAIL(); });
}

// What one loop writes the next one reads: a missing fence or a piece run
// twice changes the sums.
TEST_P(ThreadPoolTest, ManyLoopsSeeEachOther) {
  ThreadPool pool(GetParam());
  const Exec exec = {.parallel = pool.parallel()};
  std::vector<int64_t> a(97, 1), b(97, 0);
  constexpr int kLoops = 3000;
  for (int i = 0; i < kLoops; ++i) {
    ParallelFor(exec, 97, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t j = begin; j < end; ++j) {
        b[static_cast<size_t>(j)] = a[static_cast<size_t>(96 - j)] + 1;
      }
    });
    std::swap(a, b);
  }
  EXPECT_THAT(a, testing::Each(1 + kLoops));
}

TEST_P(ThreadPoolTest, NoTwoBodiesShareAThreadIndex) {
  ThreadPool pool(GetParam());
  const Exec exec = {.parallel = pool.parallel()};
  std::vector<std::atomic<int>> busy(static_cast<size_t>(GetParam()));
  for (int i = 0; i < 500; ++i) {
    ParallelFor(exec, 64, 1, [&](int64_t, int64_t, int thread) {
      std::atomic<int>& flag = busy[static_cast<size_t>(thread)];
      EXPECT_EQ(flag.fetch_add(1), 0);
      std::this_thread::yield();
      flag.fetch_sub(1);
    });
  }
}

// A thread that is slow, or has not even begun, leaves its share to the others.
TEST_P(ThreadPoolTest, WhoHasTimeHelps) {
  ThreadPool pool(GetParam());
  if (pool.num_threads() == 1) return;
  const Exec exec = {.parallel = pool.parallel()};
  std::atomic<int> by_slow = 0, by_all = 0;
  ParallelFor(exec, 64 * pool.num_threads(), 1,
              [&](int64_t begin, int64_t end, int thread) {
                by_all += static_cast<int>(end - begin);
                if (thread != 1) return;
                by_slow += static_cast<int>(end - begin);
                std::this_thread::sleep_for(std::chrono::milliseconds(200));
              });
  EXPECT_EQ(by_all, 64 * pool.num_threads());
  // Two pieces of four at the most, however busy the machine is.
  EXPECT_LE(by_slow, 32);
}

TEST_P(ThreadPoolTest, WorksAgainAfterItSlept) {
  ThreadPool pool(GetParam());
  for (int i = 0; i < 5; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    int64_t covered = 0;
    for (const Piece& piece : Pieces(pool, 100, 1)) {
      covered += piece.end - piece.begin;
    }
    EXPECT_EQ(covered, 100);
  }
}

TEST_P(ThreadPoolTest, IdleUsesNoProcessor) {
  ThreadPool pool(GetParam());
  Pieces(pool, 100, 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const auto cpu_us = [] {
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
           usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
  };
  const int64_t before = cpu_us();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  // A single spinning worker would use 200 ms.
  EXPECT_LT(cpu_us() - before, 50000);
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, testing::Range(1, 9));

TEST(ThreadPoolTest, RefusesWhatCannotBeHad) {
  EXPECT_THAT(std::string(ThreadPool::Create(0).status().message()),
              testing::HasSubstr("want 1 .. 1024, found 0"));
  EXPECT_FALSE(ThreadPool::Create(kMaxThreads + 1).ok());
  ASSERT_TRUE(ThreadPool::Create(3).ok());
  EXPECT_EQ((*ThreadPool::Create(3))->num_threads(), 3);
}

// qemu knows no such limit, and sanitizers have memory of their own.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
// Where the system gives fewer threads, Create says so and loops run on those.
TEST(ThreadPoolDeathTest, FewerThreads) {
  const auto limited = [] {
    const rlimit few = {64 << 20, 64 << 20};  // stacks have 8 MB each
    setrlimit(RLIMIT_DATA, &few);
    ThreadPool pool(64);
    std::atomic<int64_t> sum = 0;
    ParallelFor({.parallel = pool.parallel()}, 1000, 1,
                [&](int64_t begin, int64_t end, int) { sum += end - begin; });
    const bool is_right =
        pool.num_threads() < 64 && sum == 1000 &&
        absl::IsResourceExhausted(ThreadPool::Create(64).status());
    _exit(is_right ? 0 : 1);
  };
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(limited(), testing::ExitedWithCode(0), "");
}
#endif

TEST(PhysicalCoresTest, AtLeastOneAtMostTheMachine) {
  EXPECT_GE(PhysicalCores(), 1);
  EXPECT_LE(PhysicalCores(),
            static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace
}  // namespace zqfp::kernels
