// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_TOKENIZER_CONFIG_H_
#define ZQFP_TOKENIZER_TOKENIZER_CONFIG_H_

// What stands beside a tokenizer in a model directory: special tokens, whether
// a text begins with one, the chat template.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "tokenizer/added_tokens.h"

namespace zqfp {

// tokenizer_config.json, special_tokens_map.json, chat_template.jinja,
// generation_config.json and config.json, as far as they concern tokens.
struct TokenizerConfig {
  std::optional<bool> add_bos_token, add_eos_token;
  std::optional<bool> legacy;
  std::string bos_token, eos_token, unk_token;  // "" where not stated
  std::map<int32_t, AddedToken> added_tokens;   // added_tokens_decoder
  std::string chat_template;
  std::string tokenizer_class;
  std::string model_type;        // of config.json
  std::vector<int32_t> eos_ids;  // of config.json and generation_config.json
  int32_t bos_id = -1;           // of config.json
};

// Reads whichever of the files exist.
absl::StatusOr<TokenizerConfig> LoadTokenizerConfig(
    const std::string& directory);

// The text of a tokenizer_config.json alone; `name` stands in messages.
absl::StatusOr<TokenizerConfig> ParseTokenizerConfig(const std::string& text,
                                                     const std::string& name);

// The whole file; NotFound, or InvalidArgument above 256 MiB.
absl::StatusOr<std::string> ReadTokenizerFile(const std::string& path);

// Parses JSON without exceptions; `name` is the file's name in messages.
// More than 64 MiB, or nesting deeper than 64, is refused.
absl::StatusOr<nlohmann::json> ParseTokenizerJson(const std::string& text,
                                                  const std::string& name);

// One entry of "added_tokens" or a value of "added_tokens_decoder".
absl::StatusOr<AddedToken> ParseAddedToken(const nlohmann::json& entry,
                                           int32_t id, const std::string& name);

// xxhash64 of the bytes as 16 hexadecimal digits.
std::string HashOf(std::string_view bytes);

}  // namespace zqfp

#endif  // ZQFP_TOKENIZER_TOKENIZER_CONFIG_H_
