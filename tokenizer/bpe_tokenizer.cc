// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/bpe_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/core/status_macros.h"
#include "tokenizer/utf8.h"

namespace zqfp {
namespace {

class BpeTokenizer : public Tokenizer {
 public:
  explicit BpeTokenizer(BpeParts parts) : parts_(std::move(parts)) {}

  absl::Status Start(const TokenizerConfig& config, const std::string& hash) {
    for (const auto& [id, token] : parts_.added_tokens) {
      if (!token.normalized || parts_.normalizer.empty()) {
        raw_tokens_.Add(token, token.content);
        continue;
      }
      // Looked for after normalization, so its text is normalized too.
      ZQFP_ASSIGN_OR_RETURN(const std::string pattern,
                            parts_.normalizer.Apply(token.content));
      normalized_tokens_.Add(token, pattern);
    }
    if (!config.bos_token.empty()) {
      bos_id_ = IdOf(config.bos_token).value_or(-1);
    }
    if (bos_id_ < 0) bos_id_ = config.bos_id;
    if (const auto eos = IdOf(config.eos_token);
        eos && !config.eos_token.empty()) {
      eos_ids_.push_back(*eos);
    }
    for (const int32_t id : config.eos_ids) {
      if (std::find(eos_ids_.begin(), eos_ids_.end(), id) == eos_ids_.end()) {
        eos_ids_.push_back(id);
      }
    }
    chat_template_ = config.chat_template;
    hash_ = hash;
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<int32_t>> Encode(
      std::string_view text, const EncodeOptions& options) const override {
    if (const size_t bad = FirstInvalidUtf8(text); bad != text.npos) {
      return absl::InvalidArgumentError(
          fmt::format("text: want UTF-8, found an invalid byte at {}", bad));
    }
    std::vector<int32_t> ids;
    if (options.add_special_tokens) ids = parts_.prefix_ids;
    const bool parse = options.parse_special_tokens;
    for (const TextPiece& piece : SplitBy(raw_tokens_, text, parse)) {
      if (piece.id >= 0) {
        ids.push_back(piece.id);
        continue;
      }
      const InputPlace place = piece.text.data() == text.data()
                                   ? InputPlace::kStart
                                   : InputPlace::kLater;
      ZQFP_RETURN_IF_ERROR(EncodePiece(piece.text, place, parse, &ids));
    }
    if (options.add_special_tokens) {
      ids.insert(ids.end(), parts_.suffix_ids.begin(), parts_.suffix_ids.end());
    }
    return ids;
  }

  std::string Decode(absl::Span<const int32_t> ids) const override {
    std::string bytes;
    bool first = true;
    for (const int32_t id : ids) {
      if (IsSpecial(id)) continue;
      bytes += first ? FirstTokenBytes(id) : TokenBytes(id);
      first = false;
    }
    return ReplaceInvalidUtf8(bytes);
  }

  std::string TokenBytes(int32_t id) const override {
    if (IsSpecial(id)) return "";
    const auto added = parts_.added_tokens.find(id);
    if (added != parts_.added_tokens.end()) return added->second.content;
    const std::string& text = parts_.bpe.Text(id);
    return parts_.bytes_are_text ? text : parts_.decoder.Bytes(text);
  }

  std::string FirstTokenBytes(int32_t id) const override {
    if (IsSpecial(id) || parts_.bytes_are_text ||
        parts_.added_tokens.contains(id)) {
      return TokenBytes(id);
    }
    return parts_.decoder.FirstBytes(parts_.bpe.Text(id));
  }

  std::string TokenText(int32_t id) const override {
    const auto added = parts_.added_tokens.find(id);
    if (added != parts_.added_tokens.end()) return added->second.content;
    return parts_.bpe.Text(id);
  }

  std::optional<int32_t> IdOf(std::string_view token) const override {
    for (const auto& [id, added] : parts_.added_tokens) {
      if (added.content == token) return id;
    }
    return parts_.bpe.IdOf(token);
  }

  bool IsSpecial(int32_t id) const override {
    const auto added = parts_.added_tokens.find(id);
    if (added != parts_.added_tokens.end()) return added->second.special;
    return parts_.bpe.Text(id).empty();
  }

  int64_t vocab_size() const override {
    const int64_t last =
        parts_.added_tokens.empty() ? -1 : parts_.added_tokens.rbegin()->first;
    return std::max(int64_t{parts_.bpe.max_id()}, last) + 1;
  }

 private:
  static std::vector<TextPiece> SplitBy(const AddedTokenSplitter& splitter,
                                        std::string_view text, bool parse) {
    if (text.empty()) return {};
    if (!parse || splitter.empty()) return {{text}};
    return splitter.Split(text);
  }

  // Text between the tokens that were found as they are written.
  absl::Status EncodePiece(std::string_view text, InputPlace place, bool parse,
                           std::vector<int32_t>* ids) const {
    ZQFP_ASSIGN_OR_RETURN(const std::string normalized,
                          parts_.normalizer.Apply(std::string(text)));
    for (const TextPiece& piece :
         SplitBy(normalized_tokens_, normalized, parse)) {
      if (piece.id >= 0) {
        ids->push_back(piece.id);
        continue;
      }
      const bool first = piece.text.data() == normalized.data();
      ZQFP_ASSIGN_OR_RETURN(
          const std::vector<std::string> words,
          parts_.pre_tokenizer.Apply(std::string(piece.text),
                                     first ? place : InputPlace::kLater));
      for (const std::string& word : words) parts_.bpe.Encode(word, ids);
    }
    return absl::OkStatus();
  }

  BpeParts parts_;
  AddedTokenSplitter raw_tokens_, normalized_tokens_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> MakeBpeTokenizer(
    BpeParts parts, const TokenizerConfig& config, const std::string& hash) {
  auto tokenizer = std::make_unique<BpeTokenizer>(std::move(parts));
  ZQFP_RETURN_IF_ERROR(tokenizer->Start(config, hash));
  return std::unique_ptr<Tokenizer>(std::move(tokenizer));
}

}  // namespace zqfp
