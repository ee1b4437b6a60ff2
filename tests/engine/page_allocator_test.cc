// SPDX-License-Identifier: Apache-2.0
#include "engine/page_allocator.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace zqfp {
namespace {

std::vector<int32_t> Ids(std::initializer_list<int32_t> ids) { return ids; }

TEST(PageAllocator, HandsOutEveryPageOnceThenNone) {
  PageAllocator pages(5, 4);
  std::set<int32_t> held;
  for (int i = 0; i < 5; ++i) {
    const auto page = pages.Allocate();
    ASSERT_TRUE(page.has_value());
    EXPECT_GE(*page, 0);
    EXPECT_LT(*page, 5);
    EXPECT_TRUE(held.insert(*page).second) << "page handed out twice";
  }
  EXPECT_FALSE(pages.Allocate().has_value());
  EXPECT_EQ(pages.num_available(), 0);
  for (const int32_t page : held) pages.Release(page);
  EXPECT_EQ(pages.num_available(), 5);
  EXPECT_EQ(pages.num_cached(), 0);
}

TEST(PageAllocator, NoPagesAtAll) {
  PageAllocator pages(0, 4);
  EXPECT_FALSE(pages.Allocate().has_value());
  EXPECT_TRUE(pages.Match(Ids({1, 2, 3, 4})).pages.empty());
}

// Publishes `ids` (whole pages) and returns the pages, held.
std::vector<int32_t> PublishChain(PageAllocator& pages,
                                  const std::vector<int32_t>& ids) {
  std::vector<int32_t> chain;
  PrefixId prefix = 0;
  const size_t size = static_cast<size_t>(pages.page_size());
  for (size_t at = 0; at + size <= ids.size(); at += size) {
    chain.push_back(*pages.Allocate());
    prefix = pages.Publish(chain.back(), prefix,
                           absl::MakeConstSpan(ids).subspan(at, size));
  }
  return chain;
}

TEST(PageAllocator, MatchesTheLongestPublishedBeginning) {
  PageAllocator pages(8, 2);
  const auto chain = PublishChain(pages, Ids({1, 2, 3, 4, 5, 6}));
  const auto match = [&](std::initializer_list<int32_t> ids) {
    PrefixMatch found = pages.Match(Ids(ids));
    for (const int32_t page : found.pages) pages.Release(page);
    return found.pages;
  };
  EXPECT_EQ(match({1, 2, 3, 4, 5, 6, 7}), chain);
  EXPECT_EQ(match({1, 2, 3, 4, 5}), (std::vector<int32_t>{chain[0], chain[1]}));
  EXPECT_TRUE(match({1}).empty());
  EXPECT_TRUE(match({}).empty());
  // A difference in an early page hides all that follows, although the ids
  // of the later pages are equal.
  EXPECT_TRUE(match({9, 2, 3, 4, 5, 6}).empty());
  // The same ids elsewhere in a text are another beginning.
  EXPECT_TRUE(match({3, 4, 5, 6}).empty());
}

TEST(PageAllocator, SharedPagesAreFreedByTheLastHolder) {
  PageAllocator pages(2, 2);
  const auto chain = PublishChain(pages, Ids({1, 2}));
  const auto other = pages.Match(Ids({1, 2}));
  ASSERT_EQ(other.pages, chain);
  pages.Release(chain[0]);
  EXPECT_EQ(pages.num_available(), 1);  // still held by the other
  pages.Release(chain[0]);
  EXPECT_EQ(pages.num_available(), 2);
  EXPECT_EQ(pages.num_cached(), 1);
  // Reused out of the cache.
  EXPECT_EQ(pages.Match(Ids({1, 2})).pages, chain);
  EXPECT_EQ(pages.num_cached(), 0);
}

TEST(PageAllocator, EvictsTheOldestCachedPage) {
  PageAllocator pages(2, 1);
  const auto first = PublishChain(pages, Ids({1}));
  const auto second = PublishChain(pages, Ids({2}));
  pages.Release(second[0]);
  pages.Release(first[0]);
  EXPECT_EQ(pages.num_cached(), 2);
  EXPECT_EQ(pages.Allocate(), second[0]);  // released longer ago
  EXPECT_TRUE(pages.Match(Ids({2})).pages.empty());
  EXPECT_EQ(pages.Match(Ids({1})).pages, first);
}

TEST(PageAllocator, TwinsShareOnePublishedPage) {
  PageAllocator pages(4, 1);
  const int32_t a = *pages.Allocate(), b = *pages.Allocate();
  const PrefixId id = pages.Publish(a, 0, Ids({7}));
  EXPECT_EQ(pages.Publish(b, 0, Ids({7})), id);
  pages.Release(b);  // never published: free at once
  EXPECT_EQ(pages.num_cached(), 0);
  EXPECT_EQ(pages.Match(Ids({7})).pages, std::vector<int32_t>{a});
}

TEST(PageAllocator, DropCachedForgetsWhatNobodyHolds) {
  PageAllocator pages(3, 1);
  const auto chain = PublishChain(pages, Ids({1, 2, 3}));
  pages.Release(chain[2]);
  pages.Release(chain[1]);
  pages.DropCached();
  EXPECT_EQ(pages.num_cached(), 0);
  EXPECT_EQ(pages.num_available(), 2);
  EXPECT_EQ(pages.Match(Ids({1, 2, 3})).pages, std::vector<int32_t>{chain[0]});
}

// What a page holds, as plain as can be: the ids from position 0 to its end.
struct Model {
  std::map<int32_t, int> holds;
  std::map<int32_t, std::vector<int32_t>> content;  // of pages ever filled
};

// Random sequences come, match, grow and go; the allocator never hands out a
// page that is held, and a match never returns a page with other content.
TEST(PageAllocator, RandomOperationsAgainstAPlainModel) {
  constexpr int64_t kPages = 12, kPageSize = 2;
  for (uint32_t seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    PageAllocator pages(kPages, kPageSize);
    Model model;
    struct Holder {
      std::vector<int32_t> ids, pages;
      PrefixId prefix = 0;
    };
    std::vector<Holder> holders;
    for (int step = 0; step < 3000; ++step) {
      const uint32_t action = random() % 4;
      if (action == 0) {
        Holder holder;
        for (int i = 0; i < 8; ++i) holder.ids.push_back(random() % 2);
        const PrefixMatch match = pages.Match(holder.ids);
        holder.pages = match.pages;
        holder.prefix = match.prefix;
        for (size_t i = 0; i < match.pages.size(); ++i) {
          ++model.holds[match.pages[i]];
          ASSERT_EQ(
              model.content[match.pages[i]],
              std::vector<int32_t>(holder.ids.begin(),
                                   holder.ids.begin() + (i + 1) * kPageSize));
        }
        holder.ids.resize(holder.pages.size() * kPageSize);
        holders.push_back(holder);
      } else if (action <= 2 && !holders.empty()) {
        Holder& holder = holders[random() % holders.size()];
        const auto page = pages.Allocate();
        ASSERT_EQ(page.has_value(),
                  std::count_if(model.holds.begin(), model.holds.end(),
                                [](auto& e) { return e.second > 0; }) < kPages);
        if (!page) continue;
        ASSERT_EQ(model.holds[*page], 0) << "page was held already";
        model.holds[*page] = 1;
        std::vector<int32_t> added = {static_cast<int32_t>(random() % 2),
                                      static_cast<int32_t>(random() % 2)};
        holder.ids.insert(holder.ids.end(), added.begin(), added.end());
        holder.pages.push_back(*page);
        holder.prefix = pages.Publish(*page, holder.prefix, added);
        model.content[*page] = holder.ids;
      } else if (!holders.empty()) {
        const size_t index = random() % holders.size();
        Holder& holder = holders[index];
        while (!holder.pages.empty()) {
          --model.holds[holder.pages.back()];
          pages.Release(holder.pages.back());
          holder.pages.pop_back();
        }
        holders.erase(holders.begin() + index);
      }
      int64_t held = 0;
      for (const auto& [page, count] : model.holds) held += count > 0;
      ASSERT_EQ(pages.num_available(), kPages - held);
      ASSERT_LE(pages.num_cached(), pages.num_available());
    }
  }
}

}  // namespace
}  // namespace zqfp
