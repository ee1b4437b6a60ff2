// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_STREAM_DECODER_H_
#define ZQFP_TOKENIZER_STREAM_DECODER_H_

// Ids to text one at a time, never half a UTF-8 character.

#include <stdint.h>

#include <string>

#include "tokenizer/tokenizer.h"

namespace zqfp {

// What Push and Finish return, put together, is Decode of all the ids.
class StreamDecoder {
 public:
  enum class Start { kText, kContinuation };

  // `tokenizer` outlives the decoder. kText: the first id begins a text;
  // kContinuation: it follows a prompt, so that its leading space counts.
  StreamDecoder(const Tokenizer* tokenizer, Start start);

  // The text that this token completes.
  std::string Push(int32_t id);
  // The text is over: what is left of an incomplete character, as U+FFFD.
  std::string Finish();

 private:
  const Tokenizer* tokenizer_;
  bool at_start_;
  std::string pending_;  // the beginning of a character
};

}  // namespace zqfp

#endif  // ZQFP_TOKENIZER_STREAM_DECODER_H_
