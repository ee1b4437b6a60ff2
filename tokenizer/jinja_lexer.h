// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_JINJA_LEXER_H_
#define ZQFP_TOKENIZER_JINJA_LEXER_H_

// Cuts a template into text and tokens, white space control included.

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace zqfp::jinja {

enum class TokenKind {
  kData,  // text between tags
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,  // with its quotes and escapes
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind;
  int offset;             // in the source
  std::string_view text;  // points into the source
};

// Line ends become \n and one at the very end is dropped, as Jinja does.
std::string NormalizeNewlines(std::string_view source);

// `source` is normalized, valid UTF-8 and outlives the tokens; the last token
// is kEnd. trim_blocks and lstrip_blocks are on.
absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source);

// "line 3, column 7" of an offset, both from 1, in code points.
std::string DescribePosition(std::string_view source, int offset);

// The error with its position in front, if it does not carry one.
absl::Status AtPosition(std::string_view source, int offset,
                        const absl::Status& status);

// The text of a string token: escapes resolved as Python does.
absl::StatusOr<std::string> Unquote(std::string_view token);

}  // namespace zqfp::jinja

#endif  // ZQFP_TOKENIZER_JINJA_LEXER_H_
