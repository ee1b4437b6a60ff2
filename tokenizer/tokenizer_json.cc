// SPDX-License-Identifier: Apache-2.0
// Reads tokenizer.json, the file of Hugging Face's tokenizers library.
#include <fmt/format.h>

#include "kernels/core/status_macros.h"
#include "tokenizer/bpe_tokenizer.h"
#include "tokenizer/json_fields.h"

namespace zqfp {
namespace {

using nlohmann::json;

// Tokens that every text gets; published tokenizers add one or two.
constexpr size_t kMaxAround = 64;

// A member, or null where it is absent.
const json& Member(const json& object, const char* key) {
  static const json& null = *new json();
  const auto found = object.is_object() ? object.find(key) : object.end();
  return found == object.end() ? null : *found;
}

absl::Status Bad(const std::string& what) {
  return absl::InvalidArgumentError("model: " + what);
}

absl::Status ReadVocab(const json& vocab, Bpe* bpe) {
  if (!vocab.is_object()) return Bad("vocab: want an object");
  for (const auto& [text, id] : vocab.items()) {
    if (!id.is_number_integer() || id < 0 || id > INT32_MAX) {
      return Bad(fmt::format("vocab: want an id for '{}'", text));
    }
    ZQFP_RETURN_IF_ERROR(bpe->AddToken(text, id.get<int32_t>()));
  }
  return absl::OkStatus();
}

// Merges are "a b" strings, or pairs in newer files.
absl::Status ReadMerges(const json& merges, Bpe* bpe) {
  if (!merges.is_array()) return Bad("merges: want a list");
  for (const json& merge : merges) {
    if (merge.is_string()) {
      const std::string text = merge.get<std::string>();
      const size_t space = text.find(' ');
      if (space == std::string::npos) {
        return Bad(fmt::format("merges: want 'a b', found '{}'", text));
      }
      ZQFP_RETURN_IF_ERROR(
          bpe->AddMerge(text.substr(0, space), text.substr(space + 1)));
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      ZQFP_RETURN_IF_ERROR(bpe->AddMerge(merge[0].get<std::string>(),
                                         merge[1].get<std::string>()));
    } else {
      return Bad("merges: want 'a b' or two strings");
    }
  }
  return absl::OkStatus();
}

// A setting that must be absent, null, empty or zero.
absl::Status MustBeOff(const json& model, const char* key) {
  const json& value = Member(model, key);
  const bool off = value.is_null() || value == "" || value == 0 || value == 0.0;
  if (off) return absl::OkStatus();
  return absl::UnimplementedError(
      fmt::format("model BPE: {} is not supported", key));
}

absl::Status ReadModel(const json& model, Bpe* bpe) {
  const json& type = Member(model, "type");
  // Old files leave the type out; then merges tell that it is BPE.
  if (!(type.is_null() && model.is_object() && model.contains("merges")) &&
      type != "BPE") {
    return absl::UnimplementedError(fmt::format(
        "model: want BPE, found {}",
        type.is_string() ? type.get<std::string>() : type.type_name()));
  }
  ZQFP_RETURN_IF_ERROR(
      OnlyFields(model,
                 {"type", "dropout", "unk_token", "continuing_subword_prefix",
                  "end_of_word_suffix", "fuse_unk", "byte_fallback",
                  "ignore_merges", "vocab", "merges"},
                 "model BPE"));
  for (const char* key :
       {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}) {
    ZQFP_RETURN_IF_ERROR(MustBeOff(model, key));
  }
  ZQFP_RETURN_IF_ERROR(ReadVocab(Member(model, "vocab"), bpe));
  ZQFP_RETURN_IF_ERROR(ReadMerges(Member(model, "merges"), bpe));
  BpeOptions options;
  for (const auto& [key, flag] :
       {std::pair{"fuse_unk", &options.fuse_unk},
        std::pair{"byte_fallback", &options.byte_fallback},
        std::pair{"ignore_merges", &options.ignore_merges}}) {
    ZQFP_ASSIGN_OR_RETURN(*flag, BoolField(model, key, false, "model BPE"));
  }
  if (!Member(model, "unk_token").is_null()) {
    ZQFP_ASSIGN_OR_RETURN(const std::string unk,
                          StringField(model, "unk_token", "model BPE"));
    options.unk_id = bpe->IdOf(unk);
    if (!options.unk_id) {
      return Bad(fmt::format("unk_token: '{}' is not in the vocabulary", unk));
    }
  }
  bpe->set_options(options);
  return absl::OkStatus();
}

absl::Status ReadAddedTokens(const json& list, const std::string& name,
                             std::map<int32_t, AddedToken>* tokens) {
  if (list.is_null()) return absl::OkStatus();
  if (!list.is_array()) {
    return absl::InvalidArgumentError("added_tokens: want a list");
  }
  for (const json& entry : list) {
    ZQFP_ASSIGN_OR_RETURN(const int64_t id,
                          IntField(entry, "id", -1, "added_tokens"));
    if (id < 0 || id > (1 << 24)) {
      return absl::InvalidArgumentError(
          fmt::format("added_tokens: want ids of 0..2^24, found {}", id));
    }
    ZQFP_ASSIGN_OR_RETURN(
        (*tokens)[static_cast<int32_t>(id)],
        ParseAddedToken(entry, static_cast<int32_t>(id), name));
  }
  return absl::OkStatus();
}

// "single" of TemplateProcessing: special tokens around one "Sequence".
absl::Status ReadTemplate(const json& value, BpeParts* parts) {
  const json& single = Member(value, "single");
  const json& specials = Member(value, "special_tokens");
  if (!single.is_array()) {
    return absl::InvalidArgumentError(
        "post_processor TemplateProcessing: single: want a list");
  }
  bool after = false;
  for (const json& item : single) {
    if (item.is_object() && item.contains("Sequence")) {
      after = true;
      continue;
    }
    ZQFP_ASSIGN_OR_RETURN(const std::string token,
                          StringField(Member(item, "SpecialToken"), "id",
                                      "post_processor TemplateProcessing"));
    const json& ids = Member(Member(specials, token.c_str()), "ids");
    if (!ids.is_array()) {
      return absl::InvalidArgumentError(fmt::format(
          "post_processor TemplateProcessing: want ids of '{}'", token));
    }
    for (const json& id : ids) {
      if (!id.is_number_integer() || id < 0 || id > (1 << 24)) {
        return absl::InvalidArgumentError(
            "post_processor TemplateProcessing: want ids of 0..2^24");
      }
      if (parts->prefix_ids.size() + parts->suffix_ids.size() >= kMaxAround) {
        return absl::InvalidArgumentError(fmt::format(
            "post_processor TemplateProcessing: want at most {} ids around a "
            "text, found more",
            kMaxAround));
      }
      (after ? parts->suffix_ids : parts->prefix_ids)
          .push_back(id.get<int32_t>());
    }
  }
  return absl::OkStatus();
}

absl::Status ReadPostProcessor(const json& value, BpeParts* parts) {
  if (value.is_null()) return absl::OkStatus();
  ZQFP_ASSIGN_OR_RETURN(const std::string type,
                        TypeField(value, "post_processor"));
  if (type == "ByteLevel") return absl::OkStatus();  // offsets only
  if (type == "TemplateProcessing") return ReadTemplate(value, parts);
  if (type == "Sequence") {
    const json& list = Member(value, "processors");
    if (!list.is_array()) {
      return absl::InvalidArgumentError("post_processor Sequence: want a list");
    }
    for (const json& item : list) {
      ZQFP_RETURN_IF_ERROR(ReadPostProcessor(item, parts));
    }
    return absl::OkStatus();
  }
  return absl::UnimplementedError("post_processor " + type + ": not supported");
}

absl::Status ReadParts(const json& root, const std::string& name,
                       BpeParts* parts) {
  if (!root.is_object()) return absl::InvalidArgumentError("want an object");
  ZQFP_RETURN_IF_ERROR(OnlyFields(
      root,
      {"version", "truncation", "padding", "added_tokens", "normalizer",
       "pre_tokenizer", "post_processor", "decoder", "model"},
      "(root)"));
  ZQFP_RETURN_IF_ERROR(ReadModel(Member(root, "model"), &parts->bpe));
  ZQFP_RETURN_IF_ERROR(ReadAddedTokens(Member(root, "added_tokens"), name,
                                       &parts->added_tokens));
  ZQFP_ASSIGN_OR_RETURN(parts->normalizer,
                        Normalizer::Parse(Member(root, "normalizer")));
  ZQFP_ASSIGN_OR_RETURN(parts->pre_tokenizer,
                        PreTokenizer::Parse(Member(root, "pre_tokenizer")));
  ZQFP_ASSIGN_OR_RETURN(parts->decoder,
                        TokenDecoder::Parse(Member(root, "decoder")));
  return ReadPostProcessor(Member(root, "post_processor"), parts);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizerJson(
    const std::string& text, const TokenizerConfig& config,
    const std::string& name) {
  ZQFP_ASSIGN_OR_RETURN(const json root, ParseTokenizerJson(text, name));
  BpeParts parts;
  const absl::Status status = ReadParts(root, name, &parts);
  if (!status.ok()) {
    return absl::Status(status.code(),
                        name + ": " + std::string(status.message()));
  }
  return MakeBpeTokenizer(std::move(parts), config, HashOf(text));
}

}  // namespace zqfp
