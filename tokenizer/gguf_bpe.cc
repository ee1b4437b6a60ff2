// SPDX-License-Identifier: Apache-2.0
// Writes the tokenizer.json of a byte-level BPE vocabulary. A GGUF file names
// the way its text is split; what that stands for is what the models' own
// tokenizer.json files have.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "kernels/core/status_macros.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/gguf_tokenizer.h"
#include "tokenizer/utf8.h"

namespace zqfp {
namespace {

using nlohmann::ordered_json;

// Mistral's: a word keeps its capitals in front and slashes behind.
constexpr char kTekkenRegex[] =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

enum class Normalization { kNone, kNfc };
enum class Merges { kAlways, kUnlessWhole };  // a whole word of the vocabulary
enum class Begin { kIfAsked, kUnlessRefused };

struct PreRow {
  const char* name;   // tokenizer.ggml.pre
  const char* regex;  // null: GPT-2's, inside of the ByteLevel step
  bool single_digits;
  Normalization normalization;
  Merges merges;
  Begin begin;  // what holds where the file does not say
};

constexpr PreRow kPres[] = {
    {"gpt-2", nullptr, false, Normalization::kNone, Merges::kAlways,
     Begin::kIfAsked},
    {"smollm", nullptr, true, Normalization::kNone, Merges::kAlways,
     Begin::kIfAsked},
    {"llama-bpe", kLlama3Regex, false, Normalization::kNone,
     Merges::kUnlessWhole, Begin::kUnlessRefused},
    {"llama3", kLlama3Regex, false, Normalization::kNone, Merges::kUnlessWhole,
     Begin::kUnlessRefused},
    {"llama-v3", kLlama3Regex, false, Normalization::kNone,
     Merges::kUnlessWhole, Begin::kUnlessRefused},
    {"tekken", kTekkenRegex, false, Normalization::kNone, Merges::kUnlessWhole,
     Begin::kUnlessRefused},
    {"qwen2", kQwenRegex, false, Normalization::kNfc, Merges::kAlways,
     Begin::kIfAsked},
};

absl::StatusOr<const PreRow*> FindPre(const GgufVocabulary& vocabulary) {
  std::string supported;
  for (const PreRow& row : kPres) {
    if (vocabulary.pre == row.name) return &row;
    supported += fmt::format("{}{}", supported.empty() ? "" : ", ", row.name);
  }
  return absl::UnimplementedError(fmt::format(
      "{}: tokenizer.ggml.pre: {} is not supported; supported are {}",
      vocabulary.name,
      vocabulary.pre.empty() ? "a file that does not say how text is split"
                             : "'" + ReplaceInvalidUtf8(vocabulary.pre) + "'",
      supported));
}

ordered_json ByteLevel(const PreRow& pre) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", pre.regex == nullptr}};
}

ordered_json PreTokenizer(const PreRow& pre) {
  if (pre.regex == nullptr && !pre.single_digits) return ByteLevel(pre);
  ordered_json first;
  if (pre.single_digits) {
    first = {{"type", "Digits"}, {"individual_digits", true}};
  } else {
    first = {{"type", "Split"},
             {"pattern", {{"Regex", pre.regex}}},
             {"behavior", "Isolated"},
             {"invert", false}};
  }
  return {{"type", "Sequence"},
          {"pretokenizers", ordered_json::array({first, ByteLevel(pre)})}};
}

// Special tokens around a text, as TemplateProcessing.
ordered_json PostProcessor(const GgufVocabulary& vocabulary,
                           const PreRow& pre) {
  const bool begins =
      vocabulary.add_bos.value_or(pre.begin == Begin::kUnlessRefused) &&
      vocabulary.bos_id >= 0;
  const bool ends =
      vocabulary.add_eos.value_or(false) && !vocabulary.eos_ids.empty();
  if (!begins && !ends) return ByteLevel(pre);
  ordered_json specials = ordered_json::object();
  ordered_json single = ordered_json::array();
  ordered_json pair = ordered_json::array();
  const auto add_token = [&](int32_t id) {
    const std::string text(vocabulary.tokens[static_cast<size_t>(id)]);
    specials[text] = {{"id", text},
                      {"ids", ordered_json::array({id})},
                      {"tokens", ordered_json::array({text})}};
    for (ordered_json* list : {&single, &pair}) {
      list->push_back({{"SpecialToken", {{"id", text}, {"type_id", 0}}}});
    }
  };
  if (begins) add_token(vocabulary.bos_id);
  for (ordered_json* list : {&single, &pair}) {
    list->push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  }
  pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 1}}}});
  if (ends) add_token(vocabulary.eos_ids.front());
  return {{"type", "TemplateProcessing"},
          {"single", std::move(single)},
          {"pair", std::move(pair)},
          {"special_tokens", std::move(specials)}};
}

}  // namespace

absl::StatusOr<std::string> BpeTokenizerJson(const GgufVocabulary& vocabulary) {
  ZQFP_ASSIGN_OR_RETURN(const PreRow* pre, FindPre(vocabulary));
  ordered_json added = ordered_json::array();
  nlohmann::json vocab = nlohmann::json::object();
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const int64_t type = vocabulary.types[id];
    // Fills holes of the embedding; no text leads there.
    if (type == kGgufUnusedToken) continue;
    const std::string text(vocabulary.tokens[id]);
    vocab[text] = id;
    if (type != kGgufControlToken && type != kGgufUserToken) continue;
    added.push_back({{"id", id},
                     {"content", text},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", type == kGgufControlToken}});
  }
  ordered_json merges = ordered_json::array();
  for (const std::string_view merge : vocabulary.merges) {
    if (FirstInvalidUtf8(merge) != merge.npos) {
      return absl::InvalidArgumentError(
          fmt::format("{}: tokenizer.ggml.merges: want UTF-8, found other "
                      "bytes in merge {}",
                      vocabulary.name, merges.size()));
    }
    merges.push_back(std::string(merge));
  }
  ordered_json model = {{"type", "BPE"},
                        {"dropout", nullptr},
                        {"unk_token", nullptr},
                        {"continuing_subword_prefix", nullptr},
                        {"end_of_word_suffix", nullptr},
                        {"fuse_unk", false},
                        {"byte_fallback", false},
                        {"ignore_merges", pre->merges == Merges::kUnlessWhole},
                        {"vocab", std::move(vocab)},
                        {"merges", std::move(merges)}};
  ordered_json normalizer;  // null
  if (pre->normalization == Normalization::kNfc) normalizer["type"] = "NFC";
  const ordered_json root = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", std::move(added)},
      {"normalizer", std::move(normalizer)},
      {"pre_tokenizer", PreTokenizer(*pre)},
      {"post_processor", PostProcessor(vocabulary, *pre)},
      {"decoder", ByteLevel(*pre)},
      {"model", std::move(model)}};
  return root.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace zqfp
