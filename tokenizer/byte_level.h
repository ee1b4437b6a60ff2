// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_BYTE_LEVEL_H_
#define ZQFP_TOKENIZER_BYTE_LEVEL_H_

// GPT-2's alphabet: every byte as a visible character ("Ġ" for a space), so
// that BPE can work on any bytes as text.

#include <string>
#include <string_view>

namespace zqfp {

// Each byte as its character.
std::string BytesToVisible(std::string_view bytes);
// The bytes of a text in that alphabet; characters outside of it stay as they
// are.
std::string VisibleToBytes(std::string_view text);

// The pre-tokenizers as regular expressions.
inline constexpr char kGpt2Regex[] =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr char kLlama3Regex[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr char kQwenRegex[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

}  // namespace zqfp

#endif  // ZQFP_TOKENIZER_BYTE_LEVEL_H_
