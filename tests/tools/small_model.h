// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_TOOLS_SMALL_MODEL_H_
#define ZQFP_TESTS_TOOLS_SMALL_MODEL_H_

// A model in full precision that scores a text in milliseconds: the weights of
// a golden one, the tokenizer of the bundled one.

#include <filesystem>
#include <string>

#include "tests/models/editable_checkpoint.h"
#include "tests/tools/program.h"

namespace zqfp::testing {

// Two layers of width 32, tied embedding, context 256; the 48 rows of the
// embedding again and again for the 4096 ids.
inline void WriteSmallModel(const ScratchDirectory& directory) {
  constexpr int64_t kVocabSize = 4096;
  EditableCheckpoint checkpoint = EditableCheckpoint::Golden("llama_gqa_tied");
  EditableTensor& embedding =
      checkpoint.tensors.at("model.embed_tokens.weight");
  const std::string rows = embedding.bytes;
  const size_t row_bytes =
      rows.size() / static_cast<size_t>(embedding.shape[0]);
  while (embedding.bytes.size() < kVocabSize * row_bytes) {
    embedding.bytes += rows;
  }
  embedding.bytes.resize(kVocabSize * row_bytes);
  embedding.shape[0] = kVocabSize;
  checkpoint.config["vocab_size"] = kVocabSize;
  checkpoint.Write(directory);
  for (const char* name : {"tokenizer.model", "tokenizer_config.json"}) {
    std::filesystem::copy_file(DemoModel() + "/" + name, directory / name);
  }
}

// Stories no two sentences of which are the same, split by "<end>".
inline std::string SmallStories(int count, int first_number) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    for (int j = 0; j < 12; ++j) {
      text += "One day " + std::to_string(first_number + 37 * i + j * j) +
              " cats and a little girl saw a big red ball in the park. ";
    }
    text += "<end>";
  }
  return text;
}

}  // namespace zqfp::testing

#endif  // ZQFP_TESTS_TOOLS_SMALL_MODEL_H_
