// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_SENTENCEPIECE_TOKENIZER_H_
#define ZQFP_TOKENIZER_SENTENCEPIECE_TOKENIZER_H_

// A Tokenizer made of a sentencepiece model and a tokenizer_config.json.

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_config.h"

namespace zqfp {

// `bytes` of a tokenizer.model; `name` is the file's name in messages.
absl::StatusOr<std::unique_ptr<Tokenizer>> MakeSentencePieceTokenizer(
    const std::string& bytes, const TokenizerConfig& config,
    const std::string& name);

}  // namespace zqfp

#endif  // ZQFP_TOKENIZER_SENTENCEPIECE_TOKENIZER_H_
