// SPDX-License-Identifier: Apache-2.0
#include "engine/scheduler.h"

#include <algorithm>

#include "kernels/core/check.h"

namespace zqfp {
namespace {

constexpr PrefixId kLongBeginning = -1;

}  // namespace

Scheduler::Scheduler(PageAllocator* pages, int64_t max_step_tokens,
                     int64_t max_context)
    : pages_(pages),
      max_step_tokens_(max_step_tokens),
      max_context_(
          std::min(max_context, pages->num_pages() * pages->page_size())) {
  ZQFP_CHECK(max_step_tokens_ >= 1);
}

int64_t Scheduler::PagesFor(int64_t tokens) const {
  return (tokens + pages_->page_size() - 1) / pages_->page_size();
}

void Scheduler::Add(Sequence* sequence) {
  const int64_t size = static_cast<int64_t>(sequence->ids.size());
  ZQFP_CHECK(size >= 1 && size <= max_context_);
  waiting_.push_back(sequence);
}

void Scheduler::FreePages(Sequence* sequence) {
  // From the end: the cache drops the oldest release first, and the beginning
  // of a text is what others can reuse.
  while (!sequence->pages.empty()) {
    pages_->Release(sequence->pages.back());
    sequence->pages.pop_back();
  }
  sequence->computed_tokens = 0;
  sequence->published_pages = 0;
  sequence->prefix = 0;
}

void Scheduler::Remove(Sequence* sequence) {
  std::erase(running_, sequence);
  std::erase(waiting_, sequence);
  FreePages(sequence);
}

PrefixId Scheduler::BeginningOf(const Sequence& sequence) const {
  return std::ssize(sequence.ids) > separate_beyond_ ? kLongBeginning : 0;
}

bool Scheduler::Admit(Sequence* sequence) {
  const int64_t size = static_cast<int64_t>(sequence->ids.size());
  sequence->beginning = BeginningOf(*sequence);
  // The last token is computed in any case: its logits are wanted.
  PrefixMatch match = pages_->Match(
      absl::MakeConstSpan(sequence->ids)
          .first(as_generated_ ? 0 : static_cast<size_t>(size - 1)),
      sequence->beginning);
  const int64_t shared = static_cast<int64_t>(match.pages.size());
  const int64_t wanted = PagesFor(std::min(size + 1, max_context_));
  if (wanted - shared > pages_->num_available()) {
    while (!match.pages.empty()) {
      pages_->Release(match.pages.back());
      match.pages.pop_back();
    }
    return false;
  }
  sequence->pages = std::move(match.pages);
  sequence->prefix = match.prefix;
  sequence->published_pages = shared;
  sequence->computed_tokens = shared * pages_->page_size();
  if (!sequence->started) {
    sequence->reused_tokens = sequence->computed_tokens;
    sequence->started = true;
  }
  running_.push_back(sequence);
  return true;
}

void Scheduler::Preempt(size_t index) {
  Sequence* victim = running_[index];
  running_.erase(running_.begin() + static_cast<ptrdiff_t>(index));
  FreePages(victim);
  waiting_.push_front(victim);
  ++num_preemptions_;
}

bool Scheduler::Reserve(size_t index, int64_t tokens) {
  Sequence* sequence = running_[index];
  while (static_cast<int64_t>(sequence->pages.size()) < PagesFor(tokens)) {
    if (const auto page = pages_->Allocate()) {
      sequence->pages.push_back(*page);
      continue;
    }
    const size_t youngest = running_.size() - 1;
    Preempt(youngest);
    if (youngest == index) return false;
  }
  return true;
}

bool Scheduler::Schedule(size_t index, int64_t room,
                         std::vector<ScheduledChunk>* step) {
  Sequence* sequence = running_[index];
  const int64_t size = static_cast<int64_t>(sequence->ids.size());
  const int64_t begin = sequence->computed_tokens;
  int64_t count = std::min(room, size - begin);
  if (as_generated_) {
    count =
        std::min(count, std::max<int64_t>(1, sequence->prompt_tokens - begin));
  }
  if (!Reserve(index, begin + count)) return false;
  step->push_back({sequence, begin, count, begin + count == size});
  return true;
}

std::vector<ScheduledChunk> Scheduler::Plan() {
  for (Sequence* sequence : running_) {
    const PrefixId beginning = BeginningOf(*sequence);
    if (sequence->beginning == beginning) continue;
    FreePages(sequence);
    sequence->beginning = sequence->prefix = beginning;
  }
  std::vector<ScheduledChunk> step;
  int64_t room = max_step_tokens_;
  const auto is_decode = [](const Sequence* s) {
    return static_cast<int64_t>(s->ids.size()) - s->computed_tokens == 1;
  };
  // Two rounds over the running ones: those that generate, then prompts.
  for (const bool decode : {true, false}) {
    for (size_t i = 0; i < running_.size() && room > 0; ++i) {
      if (is_decode(running_[i]) != decode) continue;
      if (Schedule(i, room, &step)) room -= step.back().count;
    }
  }
  // A later Reserve may have preempted a sequence that was already scheduled.
  std::erase_if(step, [&](const ScheduledChunk& chunk) {
    return std::find(running_.begin(), running_.end(), chunk.sequence) ==
           running_.end();
  });
  while (room > 0 && !waiting_.empty() && Admit(waiting_.front())) {
    waiting_.pop_front();
    if (!Schedule(running_.size() - 1, room, &step)) break;
    room -= step.back().count;
  }
  return step;
}

void Scheduler::Commit(const std::vector<ScheduledChunk>& step) {
  const int64_t page_size = pages_->page_size();
  for (const ScheduledChunk& chunk : step) {
    Sequence& sequence = *chunk.sequence;
    if (sequence.pages.empty()) continue;  // removed since
    sequence.computed_tokens = chunk.begin + chunk.count;
    if (as_generated_) continue;
    const int64_t full = sequence.computed_tokens / page_size;
    for (int64_t i = sequence.published_pages; i < full; ++i) {
      sequence.prefix = pages_->Publish(
          sequence.pages[static_cast<size_t>(i)], sequence.prefix,
          absl::MakeConstSpan(sequence.ids)
              .subspan(static_cast<size_t>(i * page_size),
                       static_cast<size_t>(page_size)));
    }
    sequence.published_pages = std::max(sequence.published_pages, full);
  }
}

}  // namespace zqfp
