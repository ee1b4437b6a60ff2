// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_GGUF_TOKENIZER_H_
#define ZQFP_TOKENIZER_GGUF_TOKENIZER_H_

// The tokenizer that a GGUF file carries, made into the files that a model
// directory would have: those readers are proved against their libraries, and
// a quantized copy of the model takes the files along.
//
//   "llama"  a sentencepiece model of scored pieces   tokenizer.model
//   "gpt2"   byte-level BPE                           tokenizer.json

#include <stdint.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tokenizer/tokenizer.h"

namespace zqfp {

// tokenizer.ggml.* of the metadata, as it is there; views are the caller's.
struct GgufVocabulary {
  std::string name;   // of the file, for messages
  std::string model;  // "llama", "gpt2"
  std::string pre;    // how gpt2 kinds split text: "llama-bpe"
  std::vector<std::string_view> tokens;
  std::vector<int64_t> types;            // 1..6, one for each token
  std::vector<float> scores;             // llama: one for each token
  std::vector<std::string_view> merges;  // gpt2: "left right"
  std::optional<bool> add_bos, add_eos;
  bool add_space_prefix = true;           // llama
  bool remove_extra_whitespaces = false;  // llama
  std::string_view normalizer;            // llama: precompiled character map
  int32_t bos_id = -1;
  std::vector<int32_t> eos_ids;  // the end of text first
  std::string chat_template;
};

struct TokenizerFiles {
  std::string name;    // "tokenizer.model" or "tokenizer.json"
  std::string bytes;   // its content
  std::string config;  // content of tokenizer_config.json
};

// NotFound where the file has no vocabulary; Unimplemented names a kind or a
// pre-tokenizer that is not known; InvalidArgument names the broken entry.
absl::StatusOr<TokenizerFiles> MakeTokenizerFiles(
    const GgufVocabulary& vocabulary);

absl::StatusOr<std::unique_ptr<Tokenizer>> MakeGgufTokenizer(
    const GgufVocabulary& vocabulary);

// A sentencepiece model as the library's files have it (a protocol buffer).
std::string SentencePieceModelBytes(const GgufVocabulary& vocabulary);

// The text of a tokenizer.json.
absl::StatusOr<std::string> BpeTokenizerJson(const GgufVocabulary& vocabulary);

// Numbers of GgufVocabulary::types; sentencepiece has the same.
inline constexpr int64_t kGgufUnknownToken = 2;
inline constexpr int64_t kGgufControlToken = 3;
inline constexpr int64_t kGgufUserToken = 4;
inline constexpr int64_t kGgufUnusedToken = 5;
inline constexpr int64_t kGgufByteToken = 6;

}  // namespace zqfp

#endif  // ZQFP_TOKENIZER_GGUF_TOKENIZER_H_
