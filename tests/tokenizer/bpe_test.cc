// SPDX-License-Identifier: Apache-2.0
// Byte pair encoding: order of merges, unknown characters, broken tables.
#include "tokenizer/bpe.h"

#include <gtest/gtest.h>

#include <span>
#include <string>

namespace zqfp {
namespace {

struct Case {
  const char* word;
  const char* want;
};

// A vocabulary in the order of its ids.
Bpe MakeBpe(std::initializer_list<const char*> tokens,
            std::initializer_list<std::pair<const char*, const char*>> merges,
            const BpeOptions& options) {
  Bpe bpe;
  int32_t id = 0;
  for (const char* token : tokens) {
    EXPECT_TRUE(bpe.AddToken(token, id++).ok()) << token;
  }
  for (const auto& [left, right] : merges) {
    EXPECT_TRUE(bpe.AddMerge(left, right).ok()) << left << right;
  }
  bpe.set_options(options);
  return bpe;
}

Bpe SmallBpe(const BpeOptions& options) {
  return MakeBpe({"<unk>", "a", "b", "c", "\u00e9", "ab", "bc", "abc", "aa",
                  "aaaa", "<0xE4>", "<0xBD>", "<0xA0>", "cc", "<0x78>"},
                 {{"b", "c"},
                  {"a", "b"},
                  {"ab", "c"},
                  {"a", "bc"},
                  {"a", "a"},
                  {"aa", "aa"}},
                 options);
}

std::string Encoded(const Bpe& bpe, std::string_view word) {
  std::vector<int32_t> ids;
  bpe.Encode(word, &ids);
  std::string out;
  for (const int32_t id : ids) {
    if (!out.empty()) out += ' ';
    out += std::to_string(id);
  }
  return out;
}

void ExpectIds(const Bpe& bpe, std::span<const Case> cases) {
  for (const Case& test : cases) {
    EXPECT_EQ(Encoded(bpe, test.word), test.want) << test.word;
  }
}

// What is wanted is BPE.tokenize() of tokenizers 0.23 for the same tables.
TEST(Bpe, TheBestRankMergesFirst) {
  constexpr Case kCases[] = {
      {"abc", "7"},    {"ab", "5"},          {"abcabc", "7 7"},
      {"aabc", "1 7"}, {"a", "1"},           {"aaa", "8 1"},
      {"aaaa", "9"},   {"aaaaaaa", "9 8 1"}, {"aaaab", "8 1 5"},
      {"cc", "3 3"},   {"bcbcab", "6 6 5"},  {"ébcé", "4 6 4"},
      {"axb", "5"},    {"xy", ""},
  };
  ExpectIds(SmallBpe({}), kCases);
  EXPECT_EQ(Encoded(SmallBpe({}), ""), "");
}

TEST(Bpe, UnknownCharactersBecomeTheUnknownToken) {
  constexpr Case kUnknown[] = {
      {"axyb", "1 0 0 2"},
      {"x你y", "0 0 0"},
      {"axbc", "1 0 6"},
  };
  ExpectIds(SmallBpe({.unk_id = 0}), kUnknown);
  constexpr Case kFused[] = {
      {"axyb", "1 0 2"},
      {"x你ybxx", "0 2 0"},
      {"你", "0"},
  };
  ExpectIds(SmallBpe({.fuse_unk = true, .unk_id = 0}), kFused);
}

TEST(Bpe, BytesStandInWhereAllOfThemAreTokens) {
  constexpr Case kFallback[] = {
      {"a你b", "1 10 11 12 2"},
      {"x", "14"},
  };
  const BpeOptions fallback = {.byte_fallback = true, .unk_id = 0};
  ExpectIds(SmallBpe(fallback), kFallback);
  // The library puts an unknown token behind the bytes that follow it; we keep
  // the order of the text. Published models have all 256 bytes.
  EXPECT_EQ(Encoded(SmallBpe(fallback), "y\u4f60z"), "0 10 11 12 0");
  EXPECT_EQ(
      Encoded(SmallBpe({.byte_fallback = true, .fuse_unk = true, .unk_id = 0}),
              "yz\u4f60yz"),
      "0 10 11 12 0");
  // A character of which only some bytes are tokens is unknown as a whole.
  EXPECT_EQ(Encoded(SmallBpe(fallback), "\u4f61"), "0");
}

TEST(Bpe, WholeWordsMayIgnoreMerges) {
  constexpr Case kCases[] = {
      {"cc", "13"},
      {"abc", "7"},
      {"ccc", "3 3 3"},
      {"aaaa", "9"},
  };
  ExpectIds(SmallBpe({.ignore_merges = true}), kCases);
}

// The ids are those of tiktoken 0.14 for these ranks of bytes.
TEST(Bpe, RankFilesMergeTheLowestIdFirst) {
  Bpe bpe = MakeBpe({"a", "b", "c", "bc", "ab", "abc", "bcb"}, {}, {});
  bpe.MergeByRank();
  constexpr Case kCases[] = {
      {"abc", "5"},          {"abcb", "5 1"},   {"bcbc", "3 3"},
      {"ababab", "4 4 4"},   {"cab", "2 4"},    {"bcb", "6"},
      {"aabbcc", "0 4 3 2"}, {"abcabc", "5 5"}, {"babc", "1 5"},
  };
  ExpectIds(bpe, kCases);
}

TEST(Bpe, AppendsToWhatIsThere) {
  std::vector<int32_t> ids = {99};
  SmallBpe({}).Encode("ab", &ids);
  EXPECT_EQ(ids, (std::vector<int32_t>{99, 5}));
}

TEST(Bpe, TablesAreChecked) {
  Bpe bpe;
  ASSERT_TRUE(bpe.AddToken("a", 5).ok());
  EXPECT_EQ(bpe.AddToken("a", 6).message(),
            "vocab: want unique tokens, found 'a' twice");
  EXPECT_EQ(bpe.AddToken("b", 5).message(),
            "vocab: want unique ids, found 5 twice");
  EXPECT_EQ(bpe.AddToken("c", -1).message(),
            "vocab: want ids of 0..16777216, found -1");
  EXPECT_EQ(bpe.AddToken("c", (1 << 24) + 1).message(),
            "vocab: want ids of 0..16777216, found 16777217");
  ASSERT_TRUE(bpe.AddToken("d", 2).ok());
  EXPECT_EQ(bpe.AddMerge("a", "d").message(),
            "merges: want tokens of the vocabulary, found 'a' + 'd' (merge 0)");
  EXPECT_FALSE(bpe.AddMerge("x", "d").ok());
  EXPECT_FALSE(bpe.AddMerge("a", "x").ok());
}

TEST(Bpe, IdsNeedNotBeDense) {
  Bpe bpe;
  ASSERT_TRUE(bpe.AddToken("a", 5).ok());
  ASSERT_TRUE(bpe.AddToken("b", 2).ok());
  EXPECT_EQ(bpe.max_id(), 5);
  EXPECT_EQ(bpe.num_tokens(), 2);
  EXPECT_EQ(bpe.Text(5), "a");
  EXPECT_EQ(bpe.Text(3), "");
  EXPECT_EQ(bpe.Text(-1), "");
  EXPECT_EQ(bpe.Text(6), "");
  EXPECT_EQ(bpe.IdOf("b"), 2);
  EXPECT_EQ(bpe.IdOf("c"), std::nullopt);
  EXPECT_EQ(Bpe().max_id(), -1);
}

// A long word costs n log n steps: by squares this would take minutes.
TEST(Bpe, LongWordsAreFast) {
  const std::string word(1 << 18, 'a');
  std::vector<int32_t> ids;
  SmallBpe({}).Encode(word, &ids);
  EXPECT_EQ(ids, std::vector<int32_t>(1 << 16, 9));
}

}  // namespace
}  // namespace zqfp
