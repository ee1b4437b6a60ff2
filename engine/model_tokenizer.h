// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_ENGINE_MODEL_TOKENIZER_H_
#define ZQFP_ENGINE_MODEL_TOKENIZER_H_

// The tokenizer of a model, wherever it lies: files of a directory, or the
// metadata of a GGUF file. Here, because the readers of the one and of the
// other do not know each other.

#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "models/gguf.h"
#include "tokenizer/gguf_tokenizer.h"
#include "tokenizer/tokenizer.h"

namespace zqfp {

// tokenizer.* of the metadata; views into the file. InvalidArgument for a value
// of another type.
absl::StatusOr<GgufVocabulary> ReadGgufVocabulary(const Gguf& gguf);

// LoadTokenizer(path), or the tokenizer of the GGUF file that `path` names
// (FindGguf). NotFound where there is none.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadModelTokenizer(
    const std::string& path);

// The files, name to content, that a directory of the model needs beside its
// config and its weights. Empty where `path` is a directory with files of its
// own, or a GGUF file without a tokenizer.
absl::StatusOr<std::map<std::string, std::string>> TokenizerFilesOfGguf(
    const std::string& path);

}  // namespace zqfp

#endif  // ZQFP_ENGINE_MODEL_TOKENIZER_H_
