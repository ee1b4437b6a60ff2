// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_CHARSMAP_H_
#define ZQFP_TOKENIZER_CHARSMAP_H_

// The compiled normalization rules of a sentencepiece model, which its library
// walks through without looking where they lead.

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace zqfp {

// The rules: a u32 that says how many bytes the trie has, the trie (a double
// array of Darts-clone: u32 units), the texts it leads to, each with a zero
// byte at its end. No bytes are no rules.
//
// InvalidArgument, opened by `where`, unless every walk that a text can cause
// stays inside: of the trie, of the 32 results that the library has room for,
// of the texts.
absl::Status CheckCharsMap(std::string_view rules, const std::string& where);

// All rules in the bytes of a tokenizer.model: of its normalizer and of its
// denormalizer. InvalidArgument also for bytes that are no message.
absl::Status CheckCharsMaps(std::string_view model, const std::string& name);

}  // namespace zqfp

#endif  // ZQFP_TOKENIZER_CHARSMAP_H_
