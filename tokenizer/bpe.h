// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_BPE_H_
#define ZQFP_TOKENIZER_BPE_H_

// Byte pair encoding of one word: the best-ranked pair of neighbours is merged
// until none is left.                                      [arXiv:1508.07909]

#include <stdint.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"

namespace zqfp {

struct BpeOptions {
  bool byte_fallback = false;  // unknown characters become "<0x..>" tokens
  bool fuse_unk = false;       // neighbouring unknown characters are one
  bool ignore_merges = false;  // a word of the vocabulary is its own token
  std::optional<int32_t> unk_id;
};

class Bpe {
 public:
  // Ids need not be dense; texts and ids are unique (InvalidArgument else).
  absl::Status AddToken(const std::string& text, int32_t id);
  // The next merge in order of rank. Both parts and what they make must be
  // tokens; `which` names the merge in the error.
  absl::Status AddMerge(const std::string& left, const std::string& right);
  // For rank files: two neighbours merge where their texts together are a
  // token, the one with the lowest id first.
  void MergeByRank() { merge_by_rank_ = true; }
  void set_options(const BpeOptions& options) { options_ = options; }
  const BpeOptions& options() const { return options_; }

  // Appends the ids of one word. O(n log n). Unknown characters without a
  // fallback are left out, as Hugging Face does.
  void Encode(std::string_view word, std::vector<int32_t>* ids) const;

  std::optional<int32_t> IdOf(std::string_view text) const;
  // "" for an id that is not there.
  const std::string& Text(int32_t id) const;
  int64_t num_tokens() const { return static_cast<int64_t>(ids_.size()); }
  int32_t max_id() const { return static_cast<int32_t>(texts_.size()) - 1; }

 private:
  struct Merge {
    int32_t rank;
    int32_t id;
  };
  struct Symbol {
    int32_t id;
    int32_t previous, next;  // -1: none
    bool alive;
  };

  void Start(std::string_view word, std::vector<Symbol>* symbols) const;
  void AddUnknown(std::string_view character,
                  std::vector<Symbol>* symbols) const;
  std::optional<Merge> Find(int32_t left, int32_t right) const;

  BpeOptions options_;
  bool merge_by_rank_ = false;
  absl::flat_hash_map<std::string, int32_t> ids_;
  std::vector<std::string> texts_;  // by id
  absl::flat_hash_map<uint64_t, Merge> merges_;
};

}  // namespace zqfp

#endif  // ZQFP_TOKENIZER_BPE_H_
