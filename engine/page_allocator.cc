// SPDX-License-Identifier: Apache-2.0
#include "engine/page_allocator.h"

#include "kernels/core/check.h"

namespace zqfp {

PageAllocator::PageAllocator(int64_t num_pages, int64_t page_size)
    : page_size_(page_size), pages_(static_cast<size_t>(num_pages)) {
  // Low pages first: an idle cache touches little memory.
  for (int64_t i = num_pages; i-- > 0;) {
    free_.push_back(static_cast<int32_t>(i));
  }
}

int64_t PageAllocator::num_available() const {
  return static_cast<int64_t>(free_.size() + cached_.size());
}

void PageAllocator::Unpublish(Page& page) {
  published_.erase(page.key);
  page.published = false;
  page.key = {};
}

std::optional<int32_t> PageAllocator::Allocate() {
  int32_t index;
  if (!free_.empty()) {
    index = free_.back();
    free_.pop_back();
  } else if (!cached_.empty()) {
    index = cached_.front();
    cached_.pop_front();
    Unpublish(pages_[index]);
  } else {
    return std::nullopt;
  }
  pages_[index].holds = 1;
  return index;
}

void PageAllocator::Release(int32_t index) {
  Page& page = pages_[index];
  ZQFP_CHECK(page.holds > 0);
  if (--page.holds > 0) return;
  if (page.published) {
    page.cached_at = cached_.insert(cached_.end(), index);
  } else {
    free_.push_back(index);
  }
}

PrefixMatch PageAllocator::Match(absl::Span<const int32_t> ids,
                                 PrefixId beginning) {
  PrefixMatch match = {.prefix = beginning};
  const size_t step = static_cast<size_t>(page_size_);
  for (size_t at = 0; at + step <= ids.size(); at += step) {
    const Key key = {match.prefix, {ids.begin() + at, ids.begin() + at + step}};
    const auto found = published_.find(key);
    if (found == published_.end()) break;
    Page& page = pages_[found->second.page];
    if (page.holds++ == 0) cached_.erase(page.cached_at);
    match.pages.push_back(found->second.page);
    match.prefix = found->second.prefix;
  }
  return match;
}

PrefixId PageAllocator::Publish(int32_t index, PrefixId before,
                                absl::Span<const int32_t> ids) {
  Page& page = pages_[index];
  ZQFP_CHECK(page.holds > 0 && !page.published);
  ZQFP_CHECK(static_cast<int64_t>(ids.size()) == page_size_);
  Key key = {before, {ids.begin(), ids.end()}};
  const auto [entry, inserted] =
      published_.try_emplace(key, Published{index, next_prefix_});
  if (!inserted) return entry->second.prefix;
  page.published = true;
  page.key = std::move(key);
  return next_prefix_++;
}

void PageAllocator::DropCached() {
  for (const int32_t index : cached_) {
    Unpublish(pages_[index]);
    free_.push_back(index);
  }
  cached_.clear();
}

}  // namespace zqfp
