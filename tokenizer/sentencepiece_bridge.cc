// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/sentencepiece_bridge.h"

#include <sentencepiece_processor.h>

#include <exception>

namespace zqfp {
namespace {

// The library's double array (darts) throws where a piece begins with a zero
// byte: "darts.h:1143: exception: failed to insert key: zero-length key".
std::string Reason(const std::exception& thrown) {
  const std::string what = thrown.what();
  const std::string mark = "exception: ";
  const size_t at = what.find(mark);
  return at == std::string::npos ? what : what.substr(at + mark.size());
}

}  // namespace

struct SentencePieceBridge::State {
  sentencepiece::SentencePieceProcessor processor;
};

SentencePieceBridge::SentencePieceBridge()
    : state_(std::make_unique<State>()) {}
SentencePieceBridge::~SentencePieceBridge() = default;

std::unique_ptr<SentencePieceBridge> SentencePieceBridge::Load(
    std::string_view bytes, std::string* error) {
  std::unique_ptr<SentencePieceBridge> bridge(new SentencePieceBridge());
  auto& processor = bridge->state_->processor;
  try {
    const auto status = processor.LoadFromSerializedProto(
        absl::string_view(bytes.data(), bytes.size()));
    if (!status.ok()) {
      *error = status.ToString();
      return nullptr;
    }
  } catch (const std::exception& thrown) {
    *error = Reason(thrown);
    return nullptr;
  }
  // What the normalizer does to a lone letter shows whether it adds a space.
  std::vector<std::string> pieces;
  if (processor.Encode("a", &pieces).ok() && !pieces.empty()) {
    bridge->adds_dummy_prefix_ = pieces[0].rfind("\xe2\x96\x81", 0) == 0;
  }
  return bridge;
}

bool SentencePieceBridge::Encode(std::string_view text,
                                 std::vector<int32_t>* ids) const {
  std::vector<int> result;
  const absl::string_view view(text.data(), text.size());
  if (!state_->processor.Encode(view, &result).ok()) return false;
  ids->assign(result.begin(), result.end());
  return true;
}

int32_t SentencePieceBridge::size() const {
  return state_->processor.GetPieceSize();
}

const std::string& SentencePieceBridge::Piece(int32_t id) const {
  return state_->processor.IdToPiece(id);
}

int32_t SentencePieceBridge::IdOf(const std::string& piece) const {
  return state_->processor.PieceToId(piece);
}

int32_t SentencePieceBridge::bos_id() const {
  return state_->processor.bos_id();
}
int32_t SentencePieceBridge::eos_id() const {
  return state_->processor.eos_id();
}
int32_t SentencePieceBridge::unk_id() const {
  return state_->processor.unk_id();
}

bool SentencePieceBridge::IsControl(int32_t id) const {
  return state_->processor.IsControl(id) || state_->processor.IsUnknown(id);
}
bool SentencePieceBridge::IsByte(int32_t id) const {
  return state_->processor.IsByte(id);
}
bool SentencePieceBridge::IsUnused(int32_t id) const {
  return state_->processor.IsUnused(id);
}

}  // namespace zqfp
