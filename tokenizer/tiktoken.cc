// SPDX-License-Identifier: Apache-2.0
// Reads tiktoken rank files: lines of base64 bytes and a rank.
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <set>

#include "kernels/core/status_macros.h"
#include "tokenizer/bpe_tokenizer.h"
#include "tokenizer/byte_level.h"

namespace zqfp {
namespace {

// Value of a base64 character, or -1.
int Base64Value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  return c == '/' ? 63 : -1;
}

bool DecodeBase64(std::string_view text, std::string* bytes) {
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  uint32_t bits = 0;
  int num_bits = 0;
  for (const char c : text) {
    const int value = Base64Value(c);
    if (value < 0) return false;
    bits = bits << 6 | static_cast<uint32_t>(value);
    num_bits += 6;
    if (num_bits >= 8) {
      num_bits -= 8;
      bytes->push_back(static_cast<char>(bits >> num_bits & 0xff));
    }
  }
  return !bytes->empty();
}

absl::Status ReadRanks(std::string_view text, const std::string& name,
                       Bpe* bpe) {
  int64_t number = 0;
  while (!text.empty()) {
    ++number;
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(text.size(), end + 1));
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) continue;
    const size_t space = line.find(' ');
    std::string bytes;
    int32_t rank = -1;
    const char* const line_end = line.data() + line.size();
    bool fits =
        space != line.npos && DecodeBase64(line.substr(0, space), &bytes);
    if (fits) {
      const auto parsed =
          std::from_chars(line.data() + space + 1, line_end, rank);
      fits = parsed.ec == std::errc() && parsed.ptr == line_end;
    }
    if (!fits) {
      return absl::InvalidArgumentError(
          fmt::format("{}: want base64 and a rank in line {}", name, number));
    }
    const absl::Status added = bpe->AddToken(bytes, rank);
    if (!added.ok()) {
      return absl::InvalidArgumentError(fmt::format(
          "{}: line {}: {}", name, number, std::string(added.message())));
    }
  }
  // Else some text would lose bytes without a word.
  for (int byte = 0; byte < 256; ++byte) {
    if (!bpe->IdOf(std::string(1, static_cast<char>(byte)))) {
      return absl::InvalidArgumentError(
          fmt::format("{}: want a rank for every byte, found none for {:#04x}",
                      name, byte));
    }
  }
  return absl::OkStatus();
}

std::vector<std::string> Llama3Specials() {
  std::vector<std::string> names = {"<|begin_of_text|>",
                                    "<|end_of_text|>",
                                    "<|reserved_special_token_0|>",
                                    "<|reserved_special_token_1|>",
                                    "<|finetune_right_pad_id|>",
                                    "<|reserved_special_token_2|>",
                                    "<|start_header_id|>",
                                    "<|end_header_id|>",
                                    "<|eom_id|>",
                                    "<|eot_id|>",
                                    "<|python_tag|>"};
  for (int i = 3; names.size() < 256; ++i) {
    names.push_back(fmt::format("<|reserved_special_token_{}|>", i));
  }
  return names;
}

std::vector<std::string> QwenSpecials() {
  return {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTiktoken(
    const std::string& ranks, const TokenizerConfig& config,
    const std::string& name) {
  BpeParts parts;
  parts.bytes_are_text = true;
  ZQFP_RETURN_IF_ERROR(ReadRanks(ranks, name, &parts.bpe));
  parts.bpe.MergeByRank();
  parts.bpe.set_options({.ignore_merges = true});
  const bool llama = config.model_type == "llama";
  const bool qwen = config.model_type.rfind("qwen", 0) == 0;
  if (!llama && !qwen) {
    return absl::UnimplementedError(fmt::format(
        "{}: a rank file does not say how to split text; want model_type "
        "llama or qwen in config.json, found '{}'",
        name, config.model_type));
  }
  // The splitting regex alone: these vocabularies are of raw bytes.
  const std::string regex = llama ? kLlama3Regex : kQwenRegex;
  ZQFP_ASSIGN_OR_RETURN(parts.pre_tokenizer,
                        PreTokenizer::Parse({{"type", "Split"},
                                             {"pattern", {{"Regex", regex}}},
                                             {"behavior", "Isolated"},
                                             {"invert", false}}));
  int32_t next = parts.bpe.max_id() + 1;
  for (const std::string& text : llama ? Llama3Specials() : QwenSpecials()) {
    parts.added_tokens[next] = {.id = next, .content = text, .special = true};
    ++next;
  }
  for (const auto& [id, token] : config.added_tokens) {
    parts.added_tokens[id] = token;
  }
  TokenizerConfig known = config;
  if (llama) {
    if (known.bos_token.empty()) known.bos_token = "<|begin_of_text|>";
    if (known.eos_token.empty()) known.eos_token = "<|end_of_text|>";
    if (known.add_bos_token.value_or(true)) {
      parts.prefix_ids = {parts.bpe.max_id() + 1};
    }
  } else if (known.eos_token.empty()) {
    known.eos_token = "<|endoftext|>";
  }
  return MakeBpeTokenizer(std::move(parts), known, HashOf(ranks));
}

}  // namespace zqfp
