// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <filesystem>

#include "kernels/core/status_macros.h"
#include "tokenizer/bpe_tokenizer.h"
#include "tokenizer/sentencepiece_tokenizer.h"
#include "tokenizer/tokenizer.h"

namespace zqfp {
namespace {

bool Exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

// A rank file is text: base64, a space, a number. A sentencepiece model is a
// protocol buffer, whose first byte is no base64 character.
bool LooksLikeRanks(const std::string& bytes) {
  const size_t end = bytes.find('\n');
  const std::string line = bytes.substr(0, end);
  return end != std::string::npos && line.find(' ') != std::string::npos &&
         line.find_first_not_of(
             "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
             "= ") == std::string::npos;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(
    const std::string& directory) {
  if (!Exists(directory)) {
    return absl::NotFoundError(fmt::format(
        "{}: want a model directory or file, found nothing there", directory));
  }
  ZQFP_ASSIGN_OR_RETURN(const TokenizerConfig config,
                        LoadTokenizerConfig(directory));
  const std::string base = directory + "/";
  if (Exists(base + "tokenizer.json")) {
    ZQFP_ASSIGN_OR_RETURN(const std::string text,
                          ReadTokenizerFile(base + "tokenizer.json"));
    return LoadTokenizerJson(text, config, "tokenizer.json");
  }
  for (const char* name : {"tokenizer.model", "qwen.tiktoken"}) {
    if (!Exists(base + name)) continue;
    ZQFP_ASSIGN_OR_RETURN(const std::string bytes,
                          ReadTokenizerFile(base + name));
    if (LooksLikeRanks(bytes)) return LoadTiktoken(bytes, config, name);
    return MakeSentencePieceTokenizer(bytes, config, name);
  }
  if (Exists(base + "vocab.json") && Exists(base + "merges.txt")) {
    ZQFP_ASSIGN_OR_RETURN(const std::string vocab,
                          ReadTokenizerFile(base + "vocab.json"));
    ZQFP_ASSIGN_OR_RETURN(const std::string merges,
                          ReadTokenizerFile(base + "merges.txt"));
    return LoadVocabAndMerges(vocab, merges, config);
  }
  return absl::NotFoundError(
      fmt::format("{}: want tokenizer.json, tokenizer.model, or vocab.json and "
                  "merges.txt, found none",
                  directory));
}

}  // namespace zqfp
