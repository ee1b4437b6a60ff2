// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/added_tokens.h"

#include <utf8proc.h>

#include "tokenizer/utf8.h"

namespace zqfp {
namespace {

uint64_t Edge(uint32_t node, char byte) {
  return uint64_t{node} << 8 | static_cast<uint8_t>(byte);
}

bool IsWordCharacter(uint32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return false;
  }
}

// Start of the character that ends right before `at` (at > 0).
size_t PreviousStart(std::string_view text, size_t at) {
  size_t start = at - 1;
  while (start > 0 && (static_cast<uint8_t>(text[start]) & 0xc0) == 0x80) {
    --start;
  }
  return start;
}

bool StandsAlone(std::string_view text, size_t begin, size_t end) {
  if (begin > 0 &&
      IsWordCharacter(DecodeUtf8(text.substr(PreviousStart(text, begin))))) {
    return false;
  }
  return end >= text.size() || !IsWordCharacter(DecodeUtf8(text.substr(end)));
}

}  // namespace

void AddedTokenSplitter::Add(const AddedToken& token,
                             std::string_view pattern) {
  if (pattern.empty()) return;
  starts_[static_cast<uint8_t>(pattern[0])] = true;
  uint32_t node = 0;
  for (const char byte : pattern) {
    const auto [edge, inserted] = children_.try_emplace(
        Edge(node, byte), static_cast<uint32_t>(token_of_node_.size()));
    if (inserted) token_of_node_.push_back(-1);
    node = edge->second;
  }
  token_of_node_[node] = static_cast<int32_t>(tokens_.size());
  tokens_.push_back(token);
}

const AddedToken* AddedTokenSplitter::MatchAt(std::string_view text, size_t at,
                                              size_t* length) const {
  const AddedToken* best = nullptr;
  uint32_t node = 0;
  for (size_t i = at; i < text.size(); ++i) {
    const auto edge = children_.find(Edge(node, text[i]));
    if (edge == children_.end()) break;
    node = edge->second;
    const int32_t index = token_of_node_[node];
    if (index < 0) continue;
    const AddedToken& token = tokens_[static_cast<size_t>(index)];
    if (token.single_word && !StandsAlone(text, at, i + 1)) continue;
    best = &token;
    *length = i + 1 - at;
  }
  return best;
}

std::vector<TextPiece> AddedTokenSplitter::Split(std::string_view text) const {
  std::vector<TextPiece> pieces;
  size_t plain = 0;  // start of the text not yet put in a piece
  for (size_t at = 0; at < text.size();) {
    size_t length = 0;
    const AddedToken* token = starts_[static_cast<uint8_t>(text[at])]
                                  ? MatchAt(text, at, &length)
                                  : nullptr;
    if (token == nullptr) {
      ++at;
      continue;
    }
    size_t begin = at, end = at + length;
    while (token->lstrip && begin > plain) {
      const size_t previous = PreviousStart(text, begin);
      if (!IsWhiteSpace(DecodeUtf8(text.substr(previous)))) break;
      begin = previous;
    }
    while (token->rstrip && end < text.size() &&
           IsWhiteSpace(DecodeUtf8(text.substr(end)))) {
      end += static_cast<size_t>(Utf8Length(static_cast<uint8_t>(text[end])));
    }
    if (begin > plain) pieces.push_back({text.substr(plain, begin - plain)});
    pieces.push_back({text.substr(at, length), token->id});
    plain = at = end;
  }
  if (plain < text.size()) pieces.push_back({text.substr(plain)});
  return pieces;
}

}  // namespace zqfp
