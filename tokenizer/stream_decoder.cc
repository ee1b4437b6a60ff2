// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/stream_decoder.h"

#include "tokenizer/utf8.h"

namespace zqfp {

StreamDecoder::StreamDecoder(const Tokenizer* tokenizer, Start start)
    : tokenizer_(tokenizer), at_start_(start == Start::kText) {}

std::string StreamDecoder::Push(int32_t id) {
  if (tokenizer_->IsSpecial(id)) return "";
  pending_ +=
      at_start_ ? tokenizer_->FirstTokenBytes(id) : tokenizer_->TokenBytes(id);
  at_start_ = false;
  // All but an incomplete character at the very end is certain.
  size_t certain = 0;
  while (certain < pending_.size()) {
    bool incomplete;
    const std::string_view rest = std::string_view(pending_).substr(certain);
    const int length = ValidUtf8Prefix(rest, &incomplete);
    if (length == 0 && incomplete) break;
    certain += static_cast<size_t>(length > 0 ? length : 1);
  }
  std::string text =
      ReplaceInvalidUtf8(std::string_view(pending_).substr(0, certain));
  pending_.erase(0, certain);
  return text;
}

std::string StreamDecoder::Finish() {
  std::string text = ReplaceInvalidUtf8(pending_);
  pending_.clear();
  return text;
}

}  // namespace zqfp
