// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_TOKEN_DECODER_H_
#define ZQFP_TOKENIZER_TOKEN_DECODER_H_

// The "decoder" of a tokenizer.json: from a token's text to its bytes.

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace zqfp {

class TokenDecoder {
 public:
  // Null: tokens are joined by spaces, as Hugging Face does.
  static absl::StatusOr<TokenDecoder> Parse(const nlohmann::json& json);
  static TokenDecoder ByteLevel();

  // The bytes of a token inside of a text, and at its beginning.
  std::string Bytes(const std::string& token) const;
  std::string FirstBytes(const std::string& token) const;

 private:
  absl::Status Add(const nlohmann::json& json);
  absl::Status AddReplace(const nlohmann::json& json, const std::string& where);

  bool byte_level_ = false;
  bool byte_fallback_ = false;  // "<0x0A>" is a byte
  bool joined_by_space_ = false;
  bool fused_ = false;  // a Fuse came: a later Strip sees the whole text
  std::vector<std::pair<std::string, std::string>> replacements_;
  double growth_ = 1;  // how many times longer they may make a text
  int num_steps_ = 0;
  std::string strip_;  // this text, up to strip_count_ times, at the beginning
  int64_t strip_count_ = 0;
  std::string first_mark_;  // not a space in the first token, but nothing
};

}  // namespace zqfp

#endif  // ZQFP_TOKENIZER_TOKEN_DECODER_H_
