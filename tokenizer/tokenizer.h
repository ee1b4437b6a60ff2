// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_TOKENIZER_H_
#define ZQFP_TOKENIZER_TOKENIZER_H_

// Text <-> token ids, whatever files a model brings.

#include <stdint.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace zqfp {

struct EncodeOptions {
  // Adds the beginning (and end) of text tokens that the model's own
  // configuration asks for.
  bool add_special_tokens = true;
  // Text such as "<|eot_id|>" becomes that token; else it is plain text.
  bool parse_special_tokens = true;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Token ids of a text. Invalid UTF-8 is an InvalidArgument that names the
  // byte offset.
  virtual absl::StatusOr<std::vector<int32_t>> Encode(
      std::string_view text, const EncodeOptions& options) const = 0;
  // Text of ids, special tokens left out; bytes that are not UTF-8 become
  // U+FFFD. Ids outside of the vocabulary give nothing.
  virtual std::string Decode(absl::Span<const int32_t> ids) const = 0;

  // The bytes that a token adds to a text it continues: may be part of a
  // character. Special tokens add nothing.
  virtual std::string TokenBytes(int32_t id) const = 0;
  // As TokenBytes, but for the first token of a text, whose leading space
  // may be the tokenizer's own (sentencepiece's dummy prefix).
  virtual std::string FirstTokenBytes(int32_t id) const {
    return TokenBytes(id);
  }
  // The token as it is written in the vocabulary: "<|eot_id|>", "Ġthe".
  virtual std::string TokenText(int32_t id) const = 0;
  virtual std::optional<int32_t> IdOf(std::string_view token) const = 0;
  virtual bool IsSpecial(int32_t id) const = 0;
  virtual int64_t vocab_size() const = 0;

  // -1 where there is none.
  int32_t bos_id() const { return bos_id_; }
  const std::vector<int32_t>& eos_ids() const { return eos_ids_; }
  // Jinja source of the chat template, "" where the model has none.
  const std::string& chat_template() const { return chat_template_; }
  // xxhash64 of the tokenizer's files as 16 hexadecimal digits; printed next
  // to every perplexity.
  const std::string& hash() const { return hash_; }

 protected:
  int32_t bos_id_ = -1;
  std::vector<int32_t> eos_ids_;
  std::string chat_template_;
  std::string hash_;
};

// Loads the tokenizer of a model directory: tokenizer.json, else
// tokenizer.model (sentencepiece or tiktoken ranks), else vocab.json with
// merges.txt. NotFound where there is none; Unimplemented names a construct of
// the files that is not supported.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(
    const std::string& directory);

}  // namespace zqfp

#endif  // ZQFP_TOKENIZER_TOKENIZER_H_
