// SPDX-License-Identifier: Apache-2.0
// Writes the protocol buffer of a sentencepiece model: sentencepiece's own
// library then encodes with it. Field numbers are those of its published
// sentencepiece_model.proto.
#include <string.h>

#include <algorithm>

#include "tokenizer/gguf_tokenizer.h"

namespace zqfp {
namespace {

// Numbers of the fields, in order of message.
enum ModelField { kPieces = 1, kTrainerSpec = 2, kNormalizerSpec = 3 };
enum PieceField { kText = 1, kScore = 2, kType = 3 };
enum TrainerField {
  kModelType = 3,
  kVocabSize = 4,
  kByteFallback = 35,
  kUnknownPiece = 45,
  kBosPiece = 46,
  kEosPiece = 47,
};
enum NormalizerField {
  kName = 1,
  kCharacterMap = 2,
  kAddDummyPrefix = 3,
  kRemoveExtraWhitespaces = 4,
  kEscapeWhitespaces = 5,
};
constexpr uint64_t kBpeModel = 2;
// How a field is encoded.
enum WireType { kVarint = 0, kBytes = 2, kFixed32 = 5 };

// Appends fields to a message.
class MessageWriter {
 public:
  void Number(int field, uint64_t value) {
    Varint(static_cast<uint64_t>(field) << 3 | kVarint);
    Varint(value);
  }
  void Float(int field, float value) {
    Varint(static_cast<uint64_t>(field) << 3 | kFixed32);
    char bytes[4];
    memcpy(bytes, &value, 4);
    bytes_.append(bytes, 4);
  }
  void Bytes(int field, std::string_view bytes) {
    Varint(static_cast<uint64_t>(field) << 3 | kBytes);
    Varint(bytes.size());
    bytes_ += bytes;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  void Varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) {
      bytes_ += static_cast<char>(value | 0x80);
    }
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
};

std::string TrainerSpec(const GgufVocabulary& vocabulary) {
  MessageWriter spec;
  spec.Number(kModelType, kBpeModel);
  spec.Number(kVocabSize, vocabulary.tokens.size());
  const auto& types = vocabulary.types;
  const bool has_bytes =
      std::find(types.begin(), types.end(), kGgufByteToken) != types.end();
  spec.Number(kByteFallback, has_bytes ? 1 : 0);
  const auto unknown = std::find(types.begin(), types.end(), kGgufUnknownToken);
  if (unknown != types.end()) {
    const auto id = static_cast<size_t>(unknown - types.begin());
    spec.Bytes(kUnknownPiece, vocabulary.tokens[id]);
  }
  if (vocabulary.bos_id >= 0) {
    spec.Bytes(kBosPiece,
               vocabulary.tokens[static_cast<size_t>(vocabulary.bos_id)]);
  }
  if (!vocabulary.eos_ids.empty()) {
    const auto id = static_cast<size_t>(vocabulary.eos_ids.front());
    spec.Bytes(kEosPiece, vocabulary.tokens[id]);
  }
  return spec.bytes();
}

}  // namespace

std::string SentencePieceModelBytes(const GgufVocabulary& vocabulary) {
  MessageWriter model;
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    MessageWriter piece;
    piece.Bytes(kText, vocabulary.tokens[i]);
    piece.Float(kScore, vocabulary.scores[i]);
    piece.Number(kType, static_cast<uint64_t>(vocabulary.types[i]));
    model.Bytes(kPieces, piece.bytes());
  }
  model.Bytes(kTrainerSpec, TrainerSpec(vocabulary));
  MessageWriter normalizer;
  normalizer.Bytes(kName, vocabulary.normalizer.empty() ? "identity" : "file");
  normalizer.Bytes(kCharacterMap, vocabulary.normalizer);
  normalizer.Number(kAddDummyPrefix, vocabulary.add_space_prefix ? 1 : 0);
  normalizer.Number(kRemoveExtraWhitespaces,
                    vocabulary.remove_extra_whitespaces ? 1 : 0);
  normalizer.Number(kEscapeWhitespaces, 1);
  model.Bytes(kNormalizerSpec, normalizer.bytes());
  return model.bytes();
}

}  // namespace zqfp
