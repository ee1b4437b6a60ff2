// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_ADDED_TOKENS_H_
#define ZQFP_TOKENIZER_ADDED_TOKENS_H_

// Tokens that are found in a text before any other rule looks at it.

#include <stdint.h>

#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace zqfp {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool special = false;      // control: not part of decoded text
  bool lstrip = false;       // takes the white space in front with it
  bool rstrip = false;       // and behind
  bool single_word = false;  // only between characters that are not of a word
  bool normalized = false;   // looked for after normalization
};

// A piece of a text: a token (id >= 0) or plain text (id < 0).
struct TextPiece {
  std::string_view text;
  int32_t id = -1;
};

// Finds the leftmost, then longest, of a set of tokens.
class AddedTokenSplitter {
 public:
  void Add(const AddedToken& token, std::string_view pattern);
  bool empty() const { return tokens_.empty(); }

  // The pieces of the text in order, none of them empty; views into `text`.
  std::vector<TextPiece> Split(std::string_view text) const;

 private:
  // The token that the text at `at` begins with, or null; *length is its
  // pattern's length.
  const AddedToken* MatchAt(std::string_view text, size_t at,
                            size_t* length) const;

  // Nodes of a trie over bytes; children are found by (node, byte).
  absl::flat_hash_map<uint64_t, uint32_t> children_;
  std::vector<int32_t> token_of_node_ = {-1};
  bool starts_[256] = {};  // bytes some pattern begins with
  std::vector<AddedToken> tokens_;
};

}  // namespace zqfp

#endif  // ZQFP_TOKENIZER_ADDED_TOKENS_H_
