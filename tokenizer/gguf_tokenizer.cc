// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/gguf_tokenizer.h"

#include <fmt/format.h>

#include <set>

#include "kernels/core/status_macros.h"
#include "tokenizer/bpe_tokenizer.h"
#include "tokenizer/sentencepiece_tokenizer.h"
#include "tokenizer/utf8.h"

namespace zqfp {
namespace {

using nlohmann::ordered_json;

constexpr char kSentencePieceFile[] = "tokenizer.model";
constexpr char kBpeFile[] = "tokenizer.json";

// What any kind needs: tokens that are texts, each once, each with a type.
absl::Status CheckTokens(const GgufVocabulary& vocabulary) {
  const auto bad = [&](const std::string& message) {
    return absl::InvalidArgumentError(
        fmt::format("{}: tokenizer.ggml.{}", vocabulary.name, message));
  };
  const size_t size = vocabulary.tokens.size();
  if (vocabulary.types.size() != size) {
    return bad(
        fmt::format("token_type: want one for each of {} tokens, found "
                    "{}",
                    size, vocabulary.types.size()));
  }
  std::set<std::string_view> seen;
  for (size_t i = 0; i < size; ++i) {
    const std::string_view token = vocabulary.tokens[i];
    if (token.empty() || FirstInvalidUtf8(token) != token.npos) {
      return bad(fmt::format("tokens: want UTF-8 texts, found {} as token {}",
                             token.empty() ? "nothing" : "other bytes", i));
    }
    if (!seen.insert(token).second) {
      return bad(
          fmt::format("tokens: want each once, found token {} ('{}') "
                      "before, too",
                      i, token));
    }
    if (vocabulary.types[i] < 1 || vocabulary.types[i] > kGgufByteToken) {
      return bad(fmt::format("token_type: want 1..{}, found {} of token {}",
                             kGgufByteToken, vocabulary.types[i], i));
    }
  }
  std::vector<int32_t> ids = vocabulary.eos_ids;
  ids.push_back(vocabulary.bos_id);
  for (const int32_t id : ids) {
    if (id < -1 || id >= static_cast<int64_t>(size)) {
      return bad(
          fmt::format("tokens: want the special token {} among {}", id, size));
    }
  }
  return absl::OkStatus();
}

// As far as it is not in the vocabulary itself.
std::string ConfigText(const GgufVocabulary& vocabulary) {
  ordered_json config = ordered_json::object();
  if (vocabulary.add_bos) config["add_bos_token"] = *vocabulary.add_bos;
  if (vocabulary.add_eos) config["add_eos_token"] = *vocabulary.add_eos;
  const auto text = [&](int32_t id) {
    return std::string(vocabulary.tokens[static_cast<size_t>(id)]);
  };
  if (vocabulary.bos_id >= 0) config["bos_token"] = text(vocabulary.bos_id);
  if (!vocabulary.eos_ids.empty()) {
    config["eos_token"] = text(vocabulary.eos_ids.front());
  }
  if (!vocabulary.chat_template.empty()) {
    config["chat_template"] = vocabulary.chat_template;
  }
  return config.dump(2, ' ', false, ordered_json::error_handler_t::replace) +
         "\n";
}

}  // namespace

absl::StatusOr<TokenizerFiles> MakeTokenizerFiles(
    const GgufVocabulary& vocabulary) {
  const std::string& model = vocabulary.model;
  if (model.empty() || model == "none" || model == "no_vocab") {
    return absl::NotFoundError(fmt::format(
        "{}: want a tokenizer in the file, found none", vocabulary.name));
  }
  if (model != "llama" && model != "gpt2") {
    return absl::UnimplementedError(fmt::format(
        "{}: tokenizer.ggml.model: '{}' is not supported; supported are llama "
        "(sentencepiece) and gpt2 (byte-level BPE)",
        vocabulary.name, ReplaceInvalidUtf8(model)));
  }
  ZQFP_RETURN_IF_ERROR(CheckTokens(vocabulary));
  if (FirstInvalidUtf8(vocabulary.chat_template) != std::string_view::npos) {
    return absl::InvalidArgumentError(
        fmt::format("{}: tokenizer.chat_template: want UTF-8, found other "
                    "bytes",
                    vocabulary.name));
  }
  if (model == "llama") {
    if (vocabulary.scores.size() != vocabulary.tokens.size()) {
      return absl::InvalidArgumentError(fmt::format(
          "{}: tokenizer.ggml.scores: want one for each of {} tokens, found {}",
          vocabulary.name, vocabulary.tokens.size(), vocabulary.scores.size()));
    }
    return TokenizerFiles{kSentencePieceFile,
                          SentencePieceModelBytes(vocabulary),
                          ConfigText(vocabulary)};
  }
  ZQFP_ASSIGN_OR_RETURN(const std::string text, BpeTokenizerJson(vocabulary));
  return TokenizerFiles{kBpeFile, text, ConfigText(vocabulary)};
}

absl::StatusOr<std::unique_ptr<Tokenizer>> MakeGgufTokenizer(
    const GgufVocabulary& vocabulary) {
  ZQFP_ASSIGN_OR_RETURN(const TokenizerFiles files,
                        MakeTokenizerFiles(vocabulary));
  ZQFP_ASSIGN_OR_RETURN(TokenizerConfig config,
                        ParseTokenizerConfig(files.config, vocabulary.name));
  config.eos_ids = vocabulary.eos_ids;
  if (files.name == kSentencePieceFile) {
    return MakeSentencePieceTokenizer(files.bytes, config, vocabulary.name);
  }
  return LoadTokenizerJson(files.bytes, config, vocabulary.name);
}

}  // namespace zqfp
