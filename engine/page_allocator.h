// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_ENGINE_PAGE_ALLOCATOR_H_
#define ZQFP_ENGINE_PAGE_ALLOCATOR_H_

// Who owns which KV page, and which full pages hold a beginning that a later
// prompt can reuse.

#include <stdint.h>

#include <list>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"

namespace zqfp {

// Identifies the tokens from position 0 to the end of a published page. Never
// reused, so a chain cannot be mistaken. 0 and less are empty beginnings: what
// begins with one is never taken for what begins with another.
using PrefixId = int64_t;

// Pages that a prompt can share, in order, and what they end with.
struct PrefixMatch {
  std::vector<int32_t> pages;
  PrefixId prefix = 0;
};

// A page is held by some sequences (reference count), or cached (published and
// held by nobody: kept until its room is needed, oldest first), or free.
class PageAllocator {
 public:
  PageAllocator(int64_t num_pages, int64_t page_size);

  int64_t page_size() const { return page_size_; }
  int64_t num_pages() const { return static_cast<int64_t>(pages_.size()); }
  // Pages that Allocate could hand out: free and cached ones.
  int64_t num_available() const;
  int64_t num_cached() const { return static_cast<int64_t>(cached_.size()); }

  // One page, held once by the caller; evicts the oldest cached page where no
  // page is free. nullopt where all are held.
  std::optional<int32_t> Allocate();
  // Gives one hold back.
  void Release(int32_t page);

  // The longest run of published full pages after `beginning` that `ids` begins
  // with; the caller holds each of them once more. Token ids are compared, not
  // hashes of them.
  PrefixMatch Match(absl::Span<const int32_t> ids, PrefixId beginning = 0);
  // Says that `page` (held) now contains the tokens `ids` [page_size] that
  // follow `before`. Returns the identity of the longer beginning. Where
  // another page holds the same already, that one stays the published one.
  PrefixId Publish(int32_t page, PrefixId before,
                   absl::Span<const int32_t> ids);

  // Forgets every published page that nobody holds.
  void DropCached();

 private:
  using Key = std::pair<PrefixId, std::vector<int32_t>>;
  struct Page {
    int64_t holds = 0;
    bool published = false;
    Key key;  // where published
    std::list<int32_t>::iterator cached_at;
  };
  struct Published {
    int32_t page;
    PrefixId prefix;
  };

  void Unpublish(Page& page);

  int64_t page_size_;
  PrefixId next_prefix_ = 1;
  std::vector<Page> pages_;
  std::vector<int32_t> free_;
  std::list<int32_t> cached_;  // oldest first
  absl::flat_hash_map<Key, Published> published_;
};

}  // namespace zqfp

#endif  // ZQFP_ENGINE_PAGE_ALLOCATOR_H_
