// SPDX-License-Identifier: Apache-2.0
// Reads vocab.json + merges.txt, the files of GPT-2 and OPT.
#include <fmt/format.h>

#include <sstream>

#include "kernels/core/status_macros.h"
#include "tokenizer/bpe_tokenizer.h"
#include "tokenizer/byte_level.h"

namespace zqfp {
namespace {

using nlohmann::json;

absl::Status ReadVocab(const std::string& text, Bpe* bpe) {
  ZQFP_ASSIGN_OR_RETURN(const json vocab,
                        ParseTokenizerJson(text, "vocab.json"));
  if (!vocab.is_object()) {
    return absl::InvalidArgumentError("vocab.json: want an object");
  }
  for (const auto& [token, id] : vocab.items()) {
    if (!id.is_number_integer() || id < 0 || id > INT32_MAX) {
      return absl::InvalidArgumentError(
          fmt::format("vocab.json: want an id for '{}'", token));
    }
    const absl::Status added = bpe->AddToken(token, id.get<int32_t>());
    if (!added.ok()) {
      return absl::InvalidArgumentError("vocab.json: " +
                                        std::string(added.message()));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadMerges(const std::string& text, Bpe* bpe) {
  std::istringstream lines(text);
  int64_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty() || (number == 1 && line.rfind("#version", 0) == 0)) {
      continue;
    }
    const size_t space = line.find(' ');
    if (space == std::string::npos) {
      return absl::InvalidArgumentError(fmt::format(
          "merges.txt: want 'a b' in line {}, found '{}'", number, line));
    }
    const absl::Status added =
        bpe->AddMerge(line.substr(0, space), line.substr(space + 1));
    if (!added.ok()) {
      return absl::InvalidArgumentError(fmt::format(
          "merges.txt: line {}: {}", number, std::string(added.message())));
    }
  }
  return absl::OkStatus();
}

// Tokens that the configuration names as special, and GPT-2's own.
void AddSpecials(const TokenizerConfig& config, BpeParts* parts) {
  parts->added_tokens = config.added_tokens;
  for (const std::string& text :
       {config.bos_token, config.eos_token, config.unk_token,
        std::string("<|endoftext|>")}) {
    const auto id = parts->bpe.IdOf(text);
    if (text.empty() || !id || parts->added_tokens.contains(*id)) continue;
    parts->added_tokens[*id] = {.id = *id, .content = text, .special = true};
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadVocabAndMerges(
    const std::string& vocab, const std::string& merges,
    const TokenizerConfig& config) {
  BpeParts parts;
  ZQFP_RETURN_IF_ERROR(ReadVocab(vocab, &parts.bpe));
  ZQFP_RETURN_IF_ERROR(ReadMerges(merges, &parts.bpe));
  AddSpecials(config, &parts);
  ZQFP_ASSIGN_OR_RETURN(parts.pre_tokenizer,
                        PreTokenizer::ByteLevel(kGpt2Regex));
  if (config.add_bos_token.value_or(false)) {
    const auto bos = parts.bpe.IdOf(config.bos_token);
    if (!bos) {
      return absl::InvalidArgumentError(fmt::format(
          "tokenizer_config.json: bos_token: want a token of vocab.json, found "
          "'{}'",
          config.bos_token));
    }
    parts.prefix_ids.push_back(*bos);
  }
  return MakeBpeTokenizer(std::move(parts), config, HashOf(vocab + merges));
}

}  // namespace zqfp
