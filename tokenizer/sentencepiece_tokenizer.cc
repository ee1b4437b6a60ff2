// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/sentencepiece_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "kernels/core/status_macros.h"
#include "tokenizer/charsmap.h"
#include "tokenizer/sentencepiece_bridge.h"
#include "tokenizer/utf8.h"

namespace zqfp {
namespace {

constexpr std::string_view kSpaceMark = "\xe2\x96\x81";  // U+2581

// "<0x0A>" as its byte; false for anything else.
bool ParseBytePiece(std::string_view piece, char* byte) {
  if (piece.size() != 6 || piece.substr(0, 3) != "<0x" || piece[5] != '>') {
    return false;
  }
  uint8_t value = 0;
  const auto end = piece.data() + 5;
  if (std::from_chars(piece.data() + 3, end, value, 16).ptr != end) {
    return false;
  }
  *byte = static_cast<char>(value);
  return true;
}

class SentencePieceTokenizer : public Tokenizer {
 public:
  SentencePieceTokenizer(std::unique_ptr<SentencePieceBridge> model,
                         const TokenizerConfig& config)
      : model_(std::move(model)), legacy_(config.legacy.value_or(true)) {
    TakeTokens(config);
    // Llama's tokenizers put BOS in front unless told otherwise.
    adds_bos_ = config.add_bos_token.value_or(true) && bos_id_ >= 0;
    adds_eos_ = config.add_eos_token.value_or(false) && !eos_ids_.empty();
    chat_template_ = config.chat_template;
  }

  void set_hash(std::string hash) { hash_ = std::move(hash); }

  absl::StatusOr<std::vector<int32_t>> Encode(
      std::string_view text, const EncodeOptions& options) const override {
    if (const size_t bad = FirstInvalidUtf8(text); bad != text.npos) {
      return absl::InvalidArgumentError(
          fmt::format("text: want UTF-8, found an invalid byte at {}", bad));
    }
    std::vector<int32_t> ids;
    if (options.add_special_tokens && adds_bos_) ids.push_back(bos_id_);
    std::vector<TextPiece> pieces;
    if (options.parse_special_tokens) {
      pieces = splitter_.Split(text);
    } else if (!text.empty()) {
      pieces = {{text}};
    }
    bool after_token = false;
    for (const TextPiece& piece : pieces) {
      if (piece.id >= 0) {
        ids.push_back(piece.id);
      } else {
        ZQFP_RETURN_IF_ERROR(EncodePlain(piece.text, after_token, &ids));
      }
      after_token = piece.id >= 0;
    }
    if (options.add_special_tokens && adds_eos_) {
      ids.push_back(eos_ids_.front());
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
    return IsSpecial(id) ? "" : Bytes(id);
  }

  std::string FirstTokenBytes(int32_t id) const override {
    std::string bytes = TokenBytes(id);
    if (model_->adds_dummy_prefix() && bytes.rfind(' ', 0) == 0) {
      bytes.erase(0, 1);
    }
    return bytes;
  }

  std::string TokenText(int32_t id) const override {
    const auto added = added_.find(id);
    if (added != added_.end()) return added->second.content;
    return id >= 0 && id < model_->size() ? model_->Piece(id) : "";
  }

  std::optional<int32_t> IdOf(std::string_view token) const override {
    for (const auto& [id, added] : added_) {
      if (added.content == token) return id;
    }
    const int32_t id = model_->IdOf(std::string(token));
    if (model_->Piece(id) != token) return std::nullopt;
    return id;
  }

  bool IsSpecial(int32_t id) const override {
    const auto added = added_.find(id);
    if (added != added_.end()) return added->second.special;
    return id < 0 || id >= model_->size() || model_->IsControl(id);
  }

  int64_t vocab_size() const override {
    const int64_t last = added_.empty() ? -1 : added_.rbegin()->first;
    return std::max(int64_t{model_->size()}, last + 1);
  }

 private:
  void TakeTokens(const TokenizerConfig& config) {
    added_ = config.added_tokens;
    for (const auto& [id, token] : added_) splitter_.Add(token, token.content);
    for (int32_t id = 0; id < model_->size(); ++id) {
      // Hugging Face sees <s> and </s> in a text as tokens, and <unk> too.
      if (!model_->IsControl(id) || added_.contains(id)) continue;
      const AddedToken token = {
          .id = id, .content = model_->Piece(id), .special = true};
      splitter_.Add(token, token.content);
    }
    bos_id_ = model_->bos_id();
    if (!config.bos_token.empty()) {
      bos_id_ = IdOf(config.bos_token).value_or(bos_id_);
    }
    eos_ids_ = config.eos_ids;
    int32_t eos = model_->eos_id();
    if (!config.eos_token.empty()) eos = IdOf(config.eos_token).value_or(eos);
    if (eos >= 0 &&
        std::find(eos_ids_.begin(), eos_ids_.end(), eos) == eos_ids_.end()) {
      eos_ids_.insert(eos_ids_.begin(), eos);
    }
  }

  // Bytes of an ordinary piece: "<0x0A>" is a byte, U+2581 a space.
  std::string Bytes(int32_t id) const {
    if (id >= model_->size()) {
      const auto added = added_.find(id);
      return added == added_.end() ? "" : added->second.content;
    }
    const std::string& piece = model_->Piece(id);
    char byte;
    if (model_->IsByte(id) && ParseBytePiece(piece, &byte)) {
      return std::string(1, byte);
    }
    std::string bytes;
    for (size_t at = 0; at < piece.size();) {
      if (piece.compare(at, kSpaceMark.size(), kSpaceMark) == 0) {
        bytes += ' ';
        at += kSpaceMark.size();
      } else {
        bytes += piece[at++];
      }
    }
    return bytes;
  }

  // Text between tokens. With legacy=false a text that follows a token gets no
  // dummy prefix; the library has no such switch, so, as Hugging Face does,
  // the unknown token's text goes in front and its pieces are dropped again.
  absl::Status EncodePlain(std::string_view text, bool after_token,
                           std::vector<int32_t>* ids) const {
    std::vector<int32_t> pieces;
    size_t skip = 0;
    bool ok;
    if (after_token && !legacy_ && model_->adds_dummy_prefix()) {
      const std::string guard = "<unk>";
      ok = model_->Encode(guard, &pieces);
      skip = pieces.size();
      ok = ok && model_->Encode(guard + std::string(text), &pieces);
    } else {
      ok = model_->Encode(text, &pieces);
    }
    if (!ok || pieces.size() < skip) {
      return absl::InternalError("sentencepiece: could not encode the text");
    }
    ids->insert(ids->end(), pieces.begin() + static_cast<ptrdiff_t>(skip),
                pieces.end());
    return absl::OkStatus();
  }

  std::unique_ptr<SentencePieceBridge> model_;
  std::map<int32_t, AddedToken> added_;
  AddedTokenSplitter splitter_;
  bool legacy_;
  bool adds_bos_ = false;
  bool adds_eos_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> MakeSentencePieceTokenizer(
    const std::string& bytes, const TokenizerConfig& config,
    const std::string& name) {
  ZQFP_RETURN_IF_ERROR(CheckCharsMaps(bytes, name));
  std::string error;
  auto model = SentencePieceBridge::Load(bytes, &error);
  if (model == nullptr) {
    return absl::InvalidArgumentError(
        fmt::format("{}: want a sentencepiece model: {}", name, error));
  }
  if (model->size() == 0) {
    return absl::InvalidArgumentError(
        fmt::format("{}: want pieces, found none", name));
  }
  auto tokenizer =
      std::make_unique<SentencePieceTokenizer>(std::move(model), config);
  tokenizer->set_hash(HashOf(bytes));
  return std::unique_ptr<Tokenizer>(std::move(tokenizer));
}

}  // namespace zqfp
