// SPDX-License-Identifier: Apache-2.0
// Where added tokens are found, and what they take with them.
#include "tokenizer/added_tokens.h"

#include <gtest/gtest.h>

#include <span>
#include <string>

namespace zqfp {
namespace {

struct Case {
  const char* text;
  const char* want;  // ids, and plain text in brackets
};

void ExpectPieces(const std::vector<AddedToken>& tokens,
                  std::span<const Case> cases) {
  AddedTokenSplitter splitter;
  for (const AddedToken& token : tokens) splitter.Add(token, token.content);
  for (const Case& test : cases) {
    std::string found;
    for (const TextPiece& piece : splitter.Split(test.text)) {
      if (!found.empty()) found += ' ';
      found += piece.id >= 0 ? std::to_string(piece.id)
                             : "[" + std::string(piece.text) + "]";
    }
    EXPECT_EQ(found, test.want) << "'" << test.text << "'";
  }
}

// What is wanted is encode() of tokenizers 0.23, with a model that makes one
// token of every plain piece, whose offsets tell its text.
TEST(AddedTokens, TheLeftmostLongestWins) {
  constexpr Case kCases[] = {
      {"abcd", "2 [d]"},
      {"abxabcbcd", "1 [x] 2 3"},
      {"aab bc abab", "[a] 1 [ bc ] 1 1"},
      {"a", "[a]"},
      {"xyz ab", "[xyz ] 1"},
  };
  ExpectPieces({{.id = 1, .content = "ab"},
                {.id = 2, .content = "abc"},
                {.id = 3, .content = "bcd"}},
               kCases);
}

TEST(AddedTokens, SidesTakeWhiteSpace) {
  constexpr Case kCases[] = {
      {"a \n<l> b", "[a] 1 [ b]"},
      {"a <r> \tb", "[a ] 2 [b]"},
      {"a <b> b <n> c", "[a] 3 [b ] 4 [ c]"},
      {" <l>", "1"},
      {"<r> <l> <b>", "2 1 3"},
      {"<n> <l> <n>", "4 1 [ ] 4"},
      {"é\343\200\200<l>\343\200\200é <r>\343\200\200",
       "[é] 1 [\343\200\200é ] 2"},
      {"<r> <r>\342\200\213a", "2 2 [\342\200\213a]"},
  };
  ExpectPieces({{.id = 1, .content = "<l>", .lstrip = true},
                {.id = 2, .content = "<r>", .rstrip = true},
                {.id = 3, .content = "<b>", .lstrip = true, .rstrip = true},
                {.id = 4, .content = "<n>"}},
               kCases);
}

TEST(AddedTokens, SingleWordsStandAlone) {
  constexpr Case kCases[] = {
      {"ab", "1"},
      {"ab ab,ab-ab", "1 [ ] 1 [,] 1 [-] 1"},
      {"xab abx ab1 1ab ab_ _ab", "[xab abx ab1 1ab ab_ _ab]"},
      {"éab abé ab你 ab。", "[éab abé ab你 ] 1 [。]"},
      {"abab ab", "[abab ] 1"},
      {"ab\314\202 ab½ ab²", "[ab\314\202 ] 1 [½ ] 1 [²]"},
      {"(ab)[ab]'ab'", "[(] 1 [)[] 1 []'] 1 [']"},
  };
  ExpectPieces({{.id = 1, .content = "ab", .single_word = true}}, kCases);
}

TEST(AddedTokens, PiecesAreViewsOfTheText) {
  AddedTokenSplitter splitter;
  EXPECT_TRUE(splitter.empty());
  EXPECT_TRUE(splitter.Split("").empty());
  splitter.Add({.id = 1, .content = ""}, "");
  EXPECT_TRUE(splitter.empty());  // what is empty would match everywhere
  splitter.Add({.id = 7, .content = "X"}, "x");
  EXPECT_FALSE(splitter.empty());
  const std::string text = "a x b";  // found by its pattern, not its content
  const std::vector<TextPiece> pieces = splitter.Split(text);
  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_EQ(pieces[1].id, 7);
  EXPECT_EQ(pieces[1].text.data(), text.data() + 2);
  EXPECT_EQ(pieces[2].text, " b");
  EXPECT_EQ(pieces[2].id, -1);
}

TEST(AddedTokens, TheLastOfEqualPatternsWins) {
  AddedTokenSplitter splitter;
  splitter.Add({.id = 1, .content = "x"}, "x");
  splitter.Add({.id = 2, .content = "x"}, "x");
  const std::vector<TextPiece> pieces = splitter.Split("x");
  ASSERT_EQ(pieces.size(), 1u);
  EXPECT_EQ(pieces[0].id, 2);
}

}  // namespace
}  // namespace zqfp
