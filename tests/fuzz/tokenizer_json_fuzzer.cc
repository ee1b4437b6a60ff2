// SPDX-License-Identifier: Apache-2.0
// Any bytes as a tokenizer.json: it loads and encodes, or an error says why.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <string>

#include "tokenizer/bpe_tokenizer.h"
#include "tokenizer/stream_decoder.h"
#include "tokenizer/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto tokenizer = zqfp::LoadTokenizerJson(text, {}, "tokenizer.json");
  if (!tokenizer.ok()) return 0;
  for (const char* input :
       {"", "The quick  brown fox's 123", "\n\n\t<s>x</s> <|end|>",
        "na\u00efve \u4e16\u754c \U0001f642", "aaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
    const auto ids = (*tokenizer)->Encode(input, {});
    if (!ids.ok()) continue;
    zqfp::StreamDecoder decoder(tokenizer->get(),
                                zqfp::StreamDecoder::Start::kText);
    std::string streamed;
    for (const int32_t id : *ids) streamed += decoder.Push(id);
    streamed += decoder.Finish();
    if (streamed != (*tokenizer)->Decode(*ids)) abort();
    if (zqfp::FirstInvalidUtf8(streamed) != std::string::npos) abort();
  }
  // Ids that no text has to lead to, and some that are none.
  (void)(*tokenizer)->Decode({0, 1, 2, 3, 300, -1, INT32_MAX});
  return 0;
}
