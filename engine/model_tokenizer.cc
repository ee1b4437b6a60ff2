// SPDX-License-Identifier: Apache-2.0
#include "engine/model_tokenizer.h"

#include <limits>

#include "kernels/core/status_macros.h"
#include "models/gguf_config.h"

namespace zqfp {
namespace {

constexpr IntRange kTokenTypes = {0, std::numeric_limits<int32_t>::max()};

absl::Status ReadFlag(const Gguf& gguf, const std::string& key,
                      std::optional<bool>* flag) {
  bool value = false;
  ZQFP_RETURN_IF_ERROR(gguf.Read(key, &value));
  if (gguf.Has(key)) *flag = value;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GgufVocabulary> ReadGgufVocabulary(const Gguf& gguf) {
  const std::string prefix = "tokenizer.ggml.";
  GgufVocabulary vocabulary;
  vocabulary.name = gguf.name();
  ZQFP_RETURN_IF_ERROR(gguf.Read(prefix + "model", &vocabulary.model));
  ZQFP_RETURN_IF_ERROR(gguf.Read(prefix + "pre", &vocabulary.pre));
  ZQFP_RETURN_IF_ERROR(
      gguf.Read("tokenizer.chat_template", &vocabulary.chat_template));
  ZQFP_ASSIGN_OR_RETURN(vocabulary.tokens, gguf.Strings(prefix + "tokens"));
  ZQFP_ASSIGN_OR_RETURN(vocabulary.types,
                        gguf.Ints(prefix + "token_type", kTokenTypes));
  ZQFP_ASSIGN_OR_RETURN(vocabulary.scores, gguf.Floats(prefix + "scores"));
  ZQFP_ASSIGN_OR_RETURN(vocabulary.merges, gguf.Strings(prefix + "merges"));
  ZQFP_RETURN_IF_ERROR(
      ReadFlag(gguf, prefix + "add_bos_token", &vocabulary.add_bos));
  ZQFP_RETURN_IF_ERROR(
      ReadFlag(gguf, prefix + "add_eos_token", &vocabulary.add_eos));
  ZQFP_RETURN_IF_ERROR(
      gguf.Read(prefix + "add_space_prefix", &vocabulary.add_space_prefix));
  ZQFP_RETURN_IF_ERROR(gguf.Read(prefix + "remove_extra_whitespaces",
                                 &vocabulary.remove_extra_whitespaces));
  ZQFP_ASSIGN_OR_RETURN(vocabulary.normalizer,
                        gguf.Blob(prefix + "precompiled_charsmap"));
  ZQFP_ASSIGN_OR_RETURN(vocabulary.bos_id, GgufBeginId(gguf));
  ZQFP_ASSIGN_OR_RETURN(vocabulary.eos_ids, GgufEndIds(gguf));
  return vocabulary;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadModelTokenizer(
    const std::string& path) {
  ZQFP_ASSIGN_OR_RETURN(const std::string found, FindGguf(path));
  if (found.empty()) return LoadTokenizer(path);
  ZQFP_ASSIGN_OR_RETURN(const auto file, OpenGguf(found));
  ZQFP_ASSIGN_OR_RETURN(const GgufVocabulary vocabulary,
                        ReadGgufVocabulary(file->content));
  return MakeGgufTokenizer(vocabulary);
}

absl::StatusOr<std::map<std::string, std::string>> TokenizerFilesOfGguf(
    const std::string& path) {
  std::map<std::string, std::string> files;
  ZQFP_ASSIGN_OR_RETURN(const std::string found, FindGguf(path));
  if (found.empty()) return files;
  ZQFP_ASSIGN_OR_RETURN(const auto file, OpenGguf(found));
  ZQFP_ASSIGN_OR_RETURN(const GgufVocabulary vocabulary,
                        ReadGgufVocabulary(file->content));
  absl::StatusOr<TokenizerFiles> made = MakeTokenizerFiles(vocabulary);
  if (absl::IsNotFound(made.status())) return files;
  ZQFP_RETURN_IF_ERROR(made.status());
  files[made->name] = std::move(made->bytes);
  files["tokenizer_config.json"] = std::move(made->config);
  return files;
}

}  // namespace zqfp
