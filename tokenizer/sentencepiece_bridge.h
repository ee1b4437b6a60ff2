// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_SENTENCEPIECE_BRIDGE_H_
#define ZQFP_TOKENIZER_SENTENCEPIECE_BRIDGE_H_

// The real sentencepiece library behind standard types.
//
// Its header and Abseil's cannot share a translation unit on Debian (both
// define absl::string_view): sentencepiece_bridge.cc alone includes it.

#include <stdint.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace zqfp {

class SentencePieceBridge {
 public:
  // Parses the bytes of a tokenizer.model. Null where they are not one;
  // `error` then says why.
  static std::unique_ptr<SentencePieceBridge> Load(std::string_view bytes,
                                                   std::string* error);
  ~SentencePieceBridge();

  // Ids of a text (valid UTF-8); false where the library fails.
  bool Encode(std::string_view text, std::vector<int32_t>* ids) const;

  int32_t size() const;
  const std::string& Piece(int32_t id) const;    // 0 <= id < size()
  int32_t IdOf(const std::string& piece) const;  // unknown ones: unk_id()
  int32_t bos_id() const;                        // -1: none
  int32_t eos_id() const;
  int32_t unk_id() const;
  bool IsControl(int32_t id) const;
  bool IsByte(int32_t id) const;
  bool IsUnused(int32_t id) const;
  bool adds_dummy_prefix() const { return adds_dummy_prefix_; }

 private:
  SentencePieceBridge();
  struct State;
  std::unique_ptr<State> state_;
  bool adds_dummy_prefix_ = true;
};

}  // namespace zqfp

#endif  // ZQFP_TOKENIZER_SENTENCEPIECE_BRIDGE_H_
