// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_BPE_TOKENIZER_H_
#define ZQFP_TOKENIZER_BPE_TOKENIZER_H_

// A Tokenizer made of parts: added tokens, normalizer, pre-tokenizer, BPE,
// what goes around a text, and the decoder.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/token_decoder.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_config.h"

namespace zqfp {

struct BpeParts {
  Bpe bpe;
  std::map<int32_t, AddedToken> added_tokens;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  TokenDecoder decoder = TokenDecoder::ByteLevel();
  // Around every text, when special tokens are asked for.
  std::vector<int32_t> prefix_ids, suffix_ids;
  bool bytes_are_text = false;  // vocabulary of raw bytes (rank files)
};

// Takes bos, eos and chat template from `config`; `hash` is of the files.
absl::StatusOr<std::unique_ptr<Tokenizer>> MakeBpeTokenizer(
    BpeParts parts, const TokenizerConfig& config, const std::string& hash);

// Readers of the three kinds of files. `name` is the file's name in messages.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizerJson(
    const std::string& text, const TokenizerConfig& config,
    const std::string& name);
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadVocabAndMerges(
    const std::string& vocab, const std::string& merges,
    const TokenizerConfig& config);
// The kind of model decides regex and special tokens: config.model_type
// "llama" or "qwen...", or an error, since a rank file says neither.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTiktoken(
    const std::string& ranks, const TokenizerConfig& config,
    const std::string& name);

}  // namespace zqfp

#endif  // ZQFP_TOKENIZER_BPE_TOKENIZER_H_
