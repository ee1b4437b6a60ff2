// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_ENGINE_SCHEDULER_H_
#define ZQFP_ENGINE_SCHEDULER_H_

// Decides what runs next. Knows tokens and pages, nothing of the model.
//
// Every step has room for `max_step_tokens` rows. Running sequences that
// generate get one row each first; the rest of the room goes to prompts, in
// order of arrival, in chunks. A waiting sequence is admitted when its whole
// prompt and one more token fit into the available pages. A running sequence
// that finds no page takes one from the youngest running one, which gives all
// its pages back and waits at the front of the queue to be computed again
// (vLLM's recomputation, arXiv:2309.06180 section 4.5). The oldest sequence
// always advances, and one that is alone always fits, since admission is
// limited to `max_context`.

#include <stdint.h>

#include <deque>
#include <limits>
#include <vector>

#include "engine/page_allocator.h"

namespace zqfp {

// One sequence, as the scheduler sees it. The owner appends to ids.
struct Sequence {
  std::vector<int32_t> ids;     // prompt, then what was generated
  int64_t prompt_tokens = 0;    // ids that came with the request
  int64_t computed_tokens = 0;  // the first of ids that are in the cache
  int64_t reused_tokens = 0;    // found in the cache at the first admission
  std::vector<int32_t> pages;   // page i holds positions [i, i+1)*page_size
  int64_t published_pages = 0;  // of pages, from the front
  PrefixId prefix = 0;          // of the published ones
  PrefixId beginning = 0;       // in front of the first page
  bool started = false;         // was admitted at least once
};

// Rows [begin, begin + count) of a sequence in this step.
struct ScheduledChunk {
  Sequence* sequence = nullptr;
  int64_t begin = 0;
  int64_t count = 0;
  bool wants_logits = false;  // the chunk ends with the last known token
};

class Scheduler {
 public:
  // max_context: most tokens of one sequence, at most the cache's capacity.
  Scheduler(PageAllocator* pages, int64_t max_step_tokens, int64_t max_context);

  int64_t max_context() const { return max_context_; }

  // From now on a token's key depends on how long its sequence was when it
  // came: no sequence shares pages with another or an earlier one, and what is
  // computed again comes token by token behind the prompt, as it was generated.
  void ComputeAsGenerated() { as_generated_ = true; }
  // From now on the keys of sequences of more than `tokens` are other ones than
  // those of the others: they share pages among themselves only, and a sequence
  // that grows beyond that is computed again.
  void SeparateBeyond(int64_t tokens) { separate_beyond_ = tokens; }

  // Queues a sequence (not owned) with 1 .. max_context prompt tokens.
  void Add(Sequence* sequence);
  // Takes a sequence out, wherever it is, and gives its pages back.
  void Remove(Sequence* sequence);
  bool idle() const { return running_.empty() && waiting_.empty(); }

  // The chunks of the next step; empty only where idle. Pages for every row
  // are held.
  std::vector<ScheduledChunk> Plan();
  // The step has run: counts its tokens as computed, publishes full pages. What
  // was removed since Plan is left out.
  void Commit(const std::vector<ScheduledChunk>& step);

  int64_t num_running() const { return static_cast<int64_t>(running_.size()); }
  int64_t num_waiting() const { return static_cast<int64_t>(waiting_.size()); }
  int64_t num_preemptions() const { return num_preemptions_; }

 private:
  int64_t PagesFor(int64_t tokens) const;
  PrefixId BeginningOf(const Sequence& sequence) const;
  bool Admit(Sequence* sequence);
  void FreePages(Sequence* sequence);
  // Makes room for `tokens` of the sequence at running_[index], preempting
  // younger ones; false where it had to be preempted itself.
  bool Reserve(size_t index, int64_t tokens);
  void Preempt(size_t index);
  bool Schedule(size_t index, int64_t room, std::vector<ScheduledChunk>* step);

  PageAllocator* pages_;
  int64_t max_step_tokens_;
  int64_t max_context_;
  int64_t num_preemptions_ = 0;
  bool as_generated_ = false;
  int64_t separate_beyond_ = std::numeric_limits<int64_t>::max();
  std::vector<Sequence*> running_;  // oldest first
  std::deque<Sequence*> waiting_;
};

}  // namespace zqfp

#endif  // ZQFP_ENGINE_SCHEDULER_H_
