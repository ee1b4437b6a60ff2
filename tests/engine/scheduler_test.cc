// SPDX-License-Identifier: Apache-2.0
#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>

namespace zqfp {
namespace {

// Stands in for the model: the cache of a page is the list of the token ids
// written to it, and the next token is a hash of everything a sequence can see
// through its pages. A page given to two sequences, a row computed twice or
// not at all, or a stale prefix changes the answer. So does a row of a sequence
// that had no more than `separate_beyond` ids then, if it has now.
class FakeModel {
 public:
  FakeModel(int64_t num_pages, int64_t page_size, size_t separate_beyond)
      : page_size_(page_size),
        separate_beyond_(separate_beyond),
        cache_(static_cast<size_t>(num_pages * page_size), -1) {}

  void Run(const ScheduledChunk& chunk) {
    const std::vector<int32_t>& ids = chunk.sequence->ids;
    for (int64_t i = chunk.begin; i < chunk.begin + chunk.count; ++i) {
      Slot(*chunk.sequence, i) =
          RowOf(ids, static_cast<size_t>(i), separate_beyond_);
    }
  }

  int32_t Next(const Sequence& sequence) {
    uint64_t hash = 17;
    for (size_t i = 0; i < sequence.ids.size(); ++i) {
      hash = hash * 1000003 +
             static_cast<uint64_t>(Slot(sequence, static_cast<int64_t>(i)));
    }
    return static_cast<int32_t>(hash % 50);
  }

  // The same without pages.
  static int32_t NextOf(const std::vector<int32_t>& ids,
                        size_t separate_beyond) {
    uint64_t hash = 17;
    for (size_t i = 0; i < ids.size(); ++i) {
      hash = hash * 1000003 +
             static_cast<uint64_t>(RowOf(ids, i, separate_beyond));
    }
    return static_cast<int32_t>(hash % 50);
  }

 private:
  static int32_t RowOf(const std::vector<int32_t>& ids, size_t i,
                       size_t separate_beyond) {
    return ids[i] + (ids.size() > separate_beyond ? 1000 : 0);
  }
  int32_t& Slot(const Sequence& sequence, int64_t position) {
    const int32_t page =
        sequence.pages.at(static_cast<size_t>(position / page_size_));
    return cache_.at(
        static_cast<size_t>(page * page_size_ + position % page_size_));
  }

  int64_t page_size_;
  size_t separate_beyond_;
  std::vector<int32_t> cache_;
};

constexpr size_t kNever = 1000000;

struct Job {
  Sequence sequence;
  size_t wanted = 0;  // length of ids at the end
};

// A scheduler with its pages and the fake behind it.
class Machine {
 public:
  Machine(int64_t num_pages, int64_t page_size, int64_t max_step,
          int64_t max_context, size_t separate_beyond = kNever)
      : pages(num_pages, page_size),
        scheduler(&pages, max_step, max_context),
        model_(num_pages, page_size, separate_beyond),
        max_step_(max_step) {
    scheduler.SeparateBeyond(static_cast<int64_t>(separate_beyond));
  }

  void Add(Job* job) {
    job->sequence.prompt_tokens =
        static_cast<int64_t>(job->sequence.ids.size());
    jobs_[&job->sequence] = job;
    scheduler.Add(&job->sequence);
  }

  void Cancel(Job* job) {
    scheduler.Remove(&job->sequence);
    jobs_.erase(&job->sequence);
  }

  // One step as the engine does it, with what must always hold.
  std::vector<ScheduledChunk> Step() {
    const auto step = scheduler.Plan();
    EXPECT_EQ(step.empty(), scheduler.idle());
    int64_t rows = 0;
    std::set<const Sequence*> seen;
    for (const ScheduledChunk& chunk : step) {
      const Sequence& sequence = *chunk.sequence;
      rows += chunk.count;
      EXPECT_GE(chunk.count, 1);
      EXPECT_TRUE(seen.insert(&sequence).second) << "two chunks of one";
      EXPECT_EQ(chunk.begin, sequence.computed_tokens);
      const int64_t size = static_cast<int64_t>(sequence.ids.size());
      EXPECT_LE(chunk.begin + chunk.count, size);
      EXPECT_EQ(chunk.wants_logits, chunk.begin + chunk.count == size);
      EXPECT_GE(static_cast<int64_t>(sequence.pages.size()) * pages.page_size(),
                chunk.begin + chunk.count);
      model_.Run(chunk);
    }
    EXPECT_LE(rows, max_step_);
    scheduler.Commit(step);
    for (const ScheduledChunk& chunk : step) {
      if (!chunk.wants_logits) continue;
      Sequence& sequence = *chunk.sequence;
      sequence.ids.push_back(model_.Next(sequence));
      if (sequence.ids.size() >= jobs_.at(&sequence)->wanted) {
        scheduler.Remove(&sequence);
        jobs_.erase(&sequence);
      }
    }
    return step;
  }

  // Runs until idle; false where that takes more than `limit` steps.
  bool Finish(int limit) {
    while (!scheduler.idle() && limit-- > 0) Step();
    return scheduler.idle();
  }

  PageAllocator pages;
  Scheduler scheduler;

 private:
  FakeModel model_;
  int64_t max_step_;
  std::map<Sequence*, Job*> jobs_;
};

Job MakeJob(std::vector<int32_t> prompt, size_t generate) {
  Job job;
  job.wanted = prompt.size() + generate;
  job.sequence.ids = std::move(prompt);
  return job;
}

std::vector<int32_t> ExpectedIds(std::vector<int32_t> ids, size_t wanted,
                                 size_t separate_beyond = kNever) {
  while (ids.size() < wanted) {
    ids.push_back(FakeModel::NextOf(ids, separate_beyond));
  }
  return ids;
}

std::vector<int32_t> Prompt(uint32_t seed, size_t size) {
  std::mt19937 random(seed);
  std::vector<int32_t> ids(size);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % 50);
  return ids;
}

TEST(Scheduler, ChunksAPromptAndMixesItWithGeneration) {
  Machine machine(64, 4, 8, 256);
  Job early = MakeJob(Prompt(1, 3), 20);
  machine.Add(&early);
  machine.Step();
  Job late = MakeJob(Prompt(2, 30), 4);
  machine.Add(&late);
  const auto step = machine.Step();
  ASSERT_EQ(step.size(), 2u);
  EXPECT_EQ(step[0].sequence, &early.sequence);
  EXPECT_EQ(step[0].count, 1);
  EXPECT_EQ(step[1].sequence, &late.sequence);
  EXPECT_EQ(step[1].count, 7) << "the rest of the room";
  EXPECT_FALSE(step[1].wants_logits);
  EXPECT_TRUE(machine.Finish(100));
  EXPECT_EQ(early.sequence.ids, ExpectedIds(Prompt(1, 3), 23));
  EXPECT_EQ(late.sequence.ids, ExpectedIds(Prompt(2, 30), 34));
  EXPECT_EQ(machine.pages.num_available(), 64);
}

TEST(Scheduler, AdmitsInOrderAndOnlyWhatFits) {
  Machine machine(4, 4, 100, 16);
  Job first = MakeJob(Prompt(1, 9), 3);   // 3 pages
  Job second = MakeJob(Prompt(2, 9), 3);  // would need 3 more
  Job third = MakeJob(Prompt(3, 2), 3);   // would fit, but is not its turn
  machine.Add(&first);
  machine.Add(&second);
  machine.Add(&third);
  machine.Step();
  EXPECT_EQ(machine.scheduler.num_running(), 1);
  EXPECT_EQ(machine.scheduler.num_waiting(), 2);
  EXPECT_TRUE(machine.Finish(100));
  EXPECT_EQ(machine.scheduler.num_preemptions(), 0);
  EXPECT_EQ(third.sequence.ids, ExpectedIds(Prompt(3, 2), 5));
}

TEST(Scheduler, PreemptsTheYoungestAndLosesNothing) {
  Machine machine(6, 4, 100, 24);
  Job first = MakeJob(Prompt(1, 7), 16);
  Job second = MakeJob(Prompt(2, 7), 16);
  machine.Add(&first);
  machine.Add(&second);
  EXPECT_TRUE(machine.Finish(200));
  EXPECT_GE(machine.scheduler.num_preemptions(), 1);
  EXPECT_EQ(first.sequence.ids, ExpectedIds(Prompt(1, 7), 23));
  EXPECT_EQ(second.sequence.ids, ExpectedIds(Prompt(2, 7), 23));
  EXPECT_EQ(machine.pages.num_available(), 6);
}

TEST(Scheduler, ReusesTheBeginningOfAnEarlierTurn) {
  Machine machine(32, 4, 100, 128);
  Job turn = MakeJob(Prompt(1, 10), 7);
  machine.Add(&turn);
  ASSERT_TRUE(machine.Finish(100));
  // 17 ids, of which the last was never run: 16 are in the cache.
  Job next = MakeJob(turn.sequence.ids, 5);
  const auto more = Prompt(5, 6);
  next.sequence.ids.insert(next.sequence.ids.end(), more.begin(), more.end());
  next.wanted = next.sequence.ids.size() + 5;
  const auto prompt = next.sequence.ids;
  machine.Add(&next);
  const auto step = machine.Step();
  EXPECT_EQ(next.sequence.reused_tokens, 16);
  EXPECT_EQ(step[0].begin, 16);
  ASSERT_TRUE(machine.Finish(100));
  EXPECT_EQ(next.sequence.ids, ExpectedIds(prompt, prompt.size() + 5));
}

TEST(Scheduler, LongSequencesShareNothingWithShortOnes) {
  Machine machine(64, 4, 100, 128, 20);
  const auto reused = [&](size_t prompt, size_t generate) {
    Job job = MakeJob(Prompt(1, prompt), generate);
    machine.Add(&job);
    EXPECT_TRUE(machine.Finish(100));
    EXPECT_EQ(job.sequence.ids,
              ExpectedIds(Prompt(1, prompt), prompt + generate, 20));
    return job.sequence.reused_tokens;
  };
  EXPECT_EQ(reused(14, 2), 0);
  EXPECT_EQ(reused(17, 12), 12) << "grows beyond while it generates";
  EXPECT_EQ(reused(30, 2), 16) << "of the one that grew";
  EXPECT_EQ(reused(18, 1), 16) << "of the short ones";
  EXPECT_EQ(machine.pages.num_available(), 64);
}

TEST(Scheduler, ARepeatedPromptStillComputesItsLastToken) {
  Machine machine(8, 4, 100, 32);
  for (int round = 0; round < 3; ++round) {
    Job job = MakeJob(Prompt(1, 8), 1);  // exactly two pages
    machine.Add(&job);
    const auto step = machine.Step();
    ASSERT_EQ(step.size(), 1u);
    EXPECT_TRUE(step[0].wants_logits);
    EXPECT_EQ(job.sequence.reused_tokens, round == 0 ? 0 : 4);
    EXPECT_EQ(job.sequence.ids, ExpectedIds(Prompt(1, 8), 9));
  }
}

TEST(Scheduler, FillsTheWholeContext) {
  Machine machine(3, 4, 5, 1000);
  EXPECT_EQ(machine.scheduler.max_context(), 12);
  Job job = MakeJob(Prompt(1, 11), 1);
  machine.Add(&job);
  EXPECT_TRUE(machine.Finish(10));
  Job full = MakeJob(Prompt(2, 12), 1);
  machine.Add(&full);
  EXPECT_TRUE(machine.Finish(10));
  EXPECT_EQ(full.sequence.ids.size(), 13u);
}

TEST(Scheduler, RemovalFromAnyStateGivesThePagesBack) {
  Machine machine(8, 4, 6, 32);
  std::vector<Job> jobs;
  for (uint32_t i = 0; i < 4; ++i) jobs.push_back(MakeJob(Prompt(i, 14), 9));
  for (Job& job : jobs) machine.Add(&job);
  machine.Step();
  machine.Step();
  machine.Cancel(&jobs[3]);  // waiting
  machine.Cancel(&jobs[0]);  // running, in the middle of its prompt
  EXPECT_TRUE(machine.Finish(200));
  EXPECT_EQ(jobs[1].sequence.ids, ExpectedIds(Prompt(1, 14), 23));
  EXPECT_EQ(jobs[2].sequence.ids, ExpectedIds(Prompt(2, 14), 23));
  EXPECT_EQ(machine.pages.num_available(), 8);
}

// Many requests with common beginnings on few pages, arriving and cancelled
// at random: every answer is what it would be alone, and all pages come back.
TEST(Scheduler, RandomLoadsEqualSingleRuns) {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    std::mt19937 random(seed);
    const int64_t page_size = 1 + random() % 5;
    const int64_t context = 40;
    const int64_t num_pages =
        (context + page_size - 1) / page_size + random() % 30;
    const size_t beyond = seed % 2 == 0 ? kNever : 1 + random() % 40;
    Machine machine(num_pages, page_size, 1 + random() % 20, context, beyond);
    std::vector<std::unique_ptr<Job>> jobs;
    std::vector<std::vector<int32_t>> prompts;
    std::set<size_t> cancelled;
    for (int step = 0; step < 200; ++step) {
      if (jobs.size() < 25 && random() % 3 == 0) {
        auto prompt = Prompt(random() % 3, 1 + random() % 30);
        const size_t generate = 1 + random() % (context - prompt.size());
        jobs.push_back(std::make_unique<Job>(MakeJob(prompt, generate)));
        prompts.push_back(prompt);
        machine.Add(jobs.back().get());
      }
      if (!jobs.empty() && random() % 40 == 0) {
        const size_t index = random() % jobs.size();
        if (jobs[index]->sequence.ids.size() < jobs[index]->wanted) {
          machine.Cancel(jobs[index].get());
          cancelled.insert(index);
        }
      }
      machine.Step();
    }
    ASSERT_TRUE(machine.Finish(5000)) << "seed " << seed;
    for (size_t i = 0; i < jobs.size(); ++i) {
      if (cancelled.count(i)) continue;
      EXPECT_EQ(jobs[i]->sequence.ids,
                ExpectedIds(prompts[i], jobs[i]->wanted, beyond))
          << "seed " << seed << " job " << i;
    }
    EXPECT_EQ(machine.pages.num_available(), num_pages);
  }
}

}  // namespace
}  // namespace zqfp
