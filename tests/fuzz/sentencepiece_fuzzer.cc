// SPDX-License-Identifier: Apache-2.0
// Any bytes as a tokenizer.model: it loads and encodes, or an error says why.
#include <stddef.h>
#include <stdint.h>

#include <string>

#include "tokenizer/sentencepiece_tokenizer.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const auto tokenizer =
      zqfp::MakeSentencePieceTokenizer(bytes, {}, "tokenizer.model");
  if (!tokenizer.ok()) return 0;
  for (const char* input :
       {"", "The quick  brown fox's 123", "\n\n\t<s>x</s>",
        "na\u00efve \u4e16\u754c \U0001f642", "\u2581\u2581a"}) {
    const auto ids = (*tokenizer)->Encode(input, {});
    if (ids.ok()) (void)(*tokenizer)->Decode(*ids);
  }
  // Ids that no text has to lead to, and some that are none.
  (void)(*tokenizer)->Decode({0, 1, 2, 3, 300, -1, INT32_MAX});
  return 0;
}
