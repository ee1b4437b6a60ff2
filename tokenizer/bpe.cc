// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/bpe.h"

#include <fmt/format.h>

#include <queue>

#include "tokenizer/utf8.h"

namespace zqfp {
namespace {

constexpr int32_t kMaxId = 1 << 24;  // bounds the table a hostile id asks for

uint64_t PairKey(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 |
         static_cast<uint32_t>(right);
}

// A merge that was possible when it was pushed.
struct Candidate {
  int32_t rank;
  int32_t position;  // of the left symbol
  int32_t left_id, right_id, id;
  bool operator>(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : position > other.position;
  }
};

}  // namespace

absl::Status Bpe::AddToken(const std::string& text, int32_t id) {
  if (id < 0 || id > kMaxId) {
    return absl::InvalidArgumentError(
        fmt::format("vocab: want ids of 0..{}, found {}", kMaxId, id));
  }
  if (static_cast<size_t>(id) >= texts_.size()) {
    texts_.resize(static_cast<size_t>(id) + 1);
  }
  if (!ids_.try_emplace(text, id).second) {
    return absl::InvalidArgumentError(
        fmt::format("vocab: want unique tokens, found '{}' twice", text));
  }
  if (!texts_[static_cast<size_t>(id)].empty()) {
    return absl::InvalidArgumentError(
        fmt::format("vocab: want unique ids, found {} twice", id));
  }
  texts_[static_cast<size_t>(id)] = text;
  return absl::OkStatus();
}

absl::Status Bpe::AddMerge(const std::string& left, const std::string& right) {
  const auto a = ids_.find(left), b = ids_.find(right);
  const auto both = ids_.find(left + right);
  if (a == ids_.end() || b == ids_.end() || both == ids_.end()) {
    return absl::InvalidArgumentError(
        fmt::format("merges: want tokens of the vocabulary, found '{}' + '{}' "
                    "(merge {})",
                    left, right, merges_.size()));
  }
  const int32_t rank = static_cast<int32_t>(merges_.size());
  merges_.try_emplace(PairKey(a->second, b->second), Merge{rank, both->second});
  return absl::OkStatus();
}

std::optional<int32_t> Bpe::IdOf(std::string_view text) const {
  const auto found = ids_.find(std::string(text));
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

const std::string& Bpe::Text(int32_t id) const {
  static const std::string& empty = *new std::string();
  if (id < 0 || static_cast<size_t>(id) >= texts_.size()) return empty;
  return texts_[static_cast<size_t>(id)];
}

std::optional<Bpe::Merge> Bpe::Find(int32_t left, int32_t right) const {
  if (left < 0 || right < 0) return std::nullopt;
  if (merge_by_rank_) {
    const auto id = IdOf(Text(left) + Text(right));
    if (!id) return std::nullopt;
    return Merge{*id, *id};
  }
  const auto found = merges_.find(PairKey(left, right));
  if (found == merges_.end()) return std::nullopt;
  return found->second;
}

void Bpe::AddUnknown(std::string_view character,
                     std::vector<Symbol>* symbols) const {
  if (options_.byte_fallback) {
    std::vector<int32_t> bytes;
    for (const char byte : character) {
      const auto id =
          IdOf(fmt::format("<0x{:02X}>", static_cast<uint8_t>(byte)));
      if (!id) break;
      bytes.push_back(*id);
    }
    if (bytes.size() == character.size()) {
      for (const int32_t id : bytes) symbols->push_back({id, 0, 0, true});
      return;
    }
  }
  if (!options_.unk_id) return;
  const bool repeats =
      !symbols->empty() && symbols->back().id == *options_.unk_id;
  if (options_.fuse_unk && repeats) return;
  symbols->push_back({*options_.unk_id, 0, 0, true});
}

// One symbol a character (a byte for rank files), linked to its neighbours.
void Bpe::Start(std::string_view word, std::vector<Symbol>* symbols) const {
  for (size_t at = 0; at < word.size();) {
    const int length =
        merge_by_rank_ ? 1 : Utf8Length(static_cast<uint8_t>(word[at]));
    const std::string_view character =
        word.substr(at, static_cast<size_t>(length > 0 ? length : 1));
    if (const auto id = IdOf(character)) {
      symbols->push_back({*id, 0, 0, true});
    } else {
      AddUnknown(character, symbols);
    }
    at += character.size();
  }
  const int32_t size = static_cast<int32_t>(symbols->size());
  for (int32_t i = 0; i < size; ++i) {
    (*symbols)[static_cast<size_t>(i)].previous = i - 1;
    (*symbols)[static_cast<size_t>(i)].next = i + 1 < size ? i + 1 : -1;
  }
}

void Bpe::Encode(std::string_view word, std::vector<int32_t>* ids) const {
  if (options_.ignore_merges) {
    if (const auto id = IdOf(word)) return ids->push_back(*id);
  }
  std::vector<Symbol> symbols;
  Start(word, &symbols);
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto at = [&symbols](int32_t i) -> Symbol& {
    return symbols[static_cast<size_t>(i)];
  };
  const auto push = [&](int32_t left) {
    if (left < 0 || at(left).next < 0) return;
    const int32_t a = at(left).id, b = at(at(left).next).id;
    if (const auto merge = Find(a, b)) {
      queue.push({merge->rank, left, a, b, merge->id});
    }
  };
  for (int32_t i = 0; i + 1 < static_cast<int32_t>(symbols.size()); ++i) {
    push(i);
  }
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = at(best.position);
    // Either side may have changed since the push.
    if (!left.alive || left.id != best.left_id || left.next < 0) continue;
    Symbol& right = at(left.next);
    if (right.id != best.right_id) continue;
    left.id = best.id;
    left.next = right.next;
    right.alive = false;
    if (left.next >= 0) at(left.next).previous = best.position;
    push(left.previous);
    push(best.position);
  }
  for (const Symbol& symbol : symbols) {
    if (symbol.alive) ids->push_back(symbol.id);
  }
}

}  // namespace zqfp
