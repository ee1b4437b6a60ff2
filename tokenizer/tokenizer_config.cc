// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/tokenizer_config.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>

#include "kernels/core/status_macros.h"
#include "tokenizer/utf8.h"

namespace zqfp {
namespace {

using nlohmann::json;

constexpr int64_t kMaxFileBytes = int64_t{256} << 20;
constexpr size_t kMaxJsonBytes = size_t{64} << 20;  // published ones: 34
constexpr int kMaxDepth = 64;
constexpr size_t kMaxEndIds = 1024;

absl::Status Bad(const std::string& name, const std::string& key,
                 const char* want, const json& found) {
  return absl::InvalidArgumentError(fmt::format(
      "{}: {}: want {}, found {}", name, key, want, found.type_name()));
}

// A string, or an object whose "content" is one (both are written for special
// tokens), or null.
absl::Status ReadTokenText(const json& object, const char* key,
                           const std::string& name, std::string* text) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return absl::OkStatus();
  const json* value = &*found;
  if (value->is_object() && value->contains("content")) {
    value = &*value->find("content");
  }
  if (!value->is_string()) return Bad(name, key, "a string", *found);
  *text = value->get<std::string>();
  return absl::OkStatus();
}

absl::Status ReadFlag(const json& object, const char* key,
                      const std::string& name, std::optional<bool>* flag) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return absl::OkStatus();
  if (!found->is_boolean()) return Bad(name, key, "true or false", *found);
  *flag = found->get<bool>();
  return absl::OkStatus();
}

absl::Status CheckId(const json& value, const std::string& name,
                     const std::string& key, int32_t* id) {
  if (!value.is_number_integer() || value < 0 || value > INT32_MAX) {
    return Bad(name, key, "an id below 2^31", value);
  }
  *id = value.get<int32_t>();
  return absl::OkStatus();
}

// A chat template is a string, or a list of {name, template}: then the one
// named "default".
absl::Status ReadChatTemplate(const json& object, const std::string& name,
                              std::string* text) {
  const auto found = object.find("chat_template");
  if (found == object.end() || found->is_null()) return absl::OkStatus();
  if (found->is_string()) {
    *text = found->get<std::string>();
    return absl::OkStatus();
  }
  if (!found->is_array()) {
    return Bad(name, "chat_template", "a string or a list", *found);
  }
  for (const json& entry : *found) {
    if (!entry.is_object() || !entry.contains("name") ||
        !entry.contains("template") || !entry.find("template")->is_string()) {
      return Bad(name, "chat_template", "entries of name and template", entry);
    }
    if (*entry.find("name") == "default") {
      *text = entry.find("template")->get<std::string>();
    }
  }
  return absl::OkStatus();
}

absl::Status ReadAddedTokens(const json& object, const std::string& name,
                             TokenizerConfig* config) {
  const auto decoder = object.find("added_tokens_decoder");
  if (decoder == object.end()) return absl::OkStatus();
  if (!decoder->is_object()) {
    return Bad(name, "added_tokens_decoder", "an object", *decoder);
  }
  for (const auto& [key, entry] : decoder->items()) {
    int32_t id = -1;
    const auto parsed =
        std::from_chars(key.data(), key.data() + key.size(), id);
    if (parsed.ec != std::errc() || parsed.ptr != key.data() + key.size() ||
        id < 0 || id > (1 << 24)) {
      return absl::InvalidArgumentError(fmt::format(
          "{}: added_tokens_decoder: want ids as keys, of 0..2^24, found '{}'",
          name, key));
    }
    ZQFP_ASSIGN_OR_RETURN(config->added_tokens[id],
                          ParseAddedToken(entry, id, name));
  }
  return absl::OkStatus();
}

absl::Status ReadTokenizerConfig(const json& object, const std::string& name,
                                 TokenizerConfig* config) {
  ZQFP_RETURN_IF_ERROR(
      ReadFlag(object, "add_bos_token", name, &config->add_bos_token));
  ZQFP_RETURN_IF_ERROR(
      ReadFlag(object, "add_eos_token", name, &config->add_eos_token));
  ZQFP_RETURN_IF_ERROR(ReadFlag(object, "legacy", name, &config->legacy));
  for (const auto& [key, text] :
       {std::pair{"bos_token", &config->bos_token},
        std::pair{"eos_token", &config->eos_token},
        std::pair{"unk_token", &config->unk_token},
        std::pair{"tokenizer_class", &config->tokenizer_class}}) {
    ZQFP_RETURN_IF_ERROR(ReadTokenText(object, key, name, text));
  }
  ZQFP_RETURN_IF_ERROR(ReadAddedTokens(object, name, config));
  return ReadChatTemplate(object, name, &config->chat_template);
}

// Ids of config.json or generation_config.json: the first file that has them
// wins.
absl::Status ReadModelIds(const json& object, const std::string& name,
                          TokenizerConfig* config) {
  const auto bos = object.find("bos_token_id");
  if (bos != object.end() && bos->is_number() && config->bos_id < 0) {
    ZQFP_RETURN_IF_ERROR(CheckId(*bos, name, "bos_token_id", &config->bos_id));
  }
  const auto eos = object.find("eos_token_id");
  if (eos == object.end() || eos->is_null()) return absl::OkStatus();
  if (eos->is_array() && eos->size() > kMaxEndIds) {
    return absl::InvalidArgumentError(
        fmt::format("{}: eos_token_id: want at most {} ids, found {}", name,
                    kMaxEndIds, eos->size()));
  }
  for (const json& value : eos->is_array() ? *eos : json::array({*eos})) {
    int32_t id;
    ZQFP_RETURN_IF_ERROR(CheckId(value, name, "eos_token_id", &id));
    if (std::find(config->eos_ids.begin(), config->eos_ids.end(), id) ==
        config->eos_ids.end()) {
      config->eos_ids.push_back(id);
    }
  }
  return absl::OkStatus();
}

// Known before anything is built. Of a text that is no JSON it may be wrong
// behind the place where the parser stops.
bool IsNestedDeeper(const std::string& text, int limit) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string && c == '\\') {
      ++i;
    } else if (c == '"') {
      in_string = !in_string;
    } else if (in_string) {
      continue;
    } else if (c == '[' || c == '{') {
      if (++depth > limit) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

// Calls `read` with the parsed object of DIRECTORY/name where the file exists.
template <typename Read>
absl::Status ReadIfThere(const std::string& directory, const std::string& name,
                         const Read& read) {
  const std::string path = directory + "/" + name;
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return absl::OkStatus();
  ZQFP_ASSIGN_OR_RETURN(const std::string text, ReadTokenizerFile(path));
  ZQFP_ASSIGN_OR_RETURN(const json object, ParseTokenizerJson(text, name));
  if (!object.is_object()) return Bad(name, "(root)", "an object", object);
  return read(object, name);
}

}  // namespace

absl::StatusOr<std::string> ReadTokenizerFile(const std::string& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) {
    return absl::NotFoundError(
        fmt::format("{}: cannot be read: {}", path, error.message()));
  }
  if (size > static_cast<uintmax_t>(kMaxFileBytes)) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: want at most {} bytes, found {}", path, kMaxFileBytes, size));
  }
  std::ifstream file(path, std::ios::binary);
  std::string text(size, '\0');
  file.read(text.data(), static_cast<std::streamsize>(size));
  if (!file || file.gcount() != static_cast<std::streamsize>(size)) {
    return absl::NotFoundError(fmt::format("{}: cannot be read", path));
  }
  return text;
}

absl::StatusOr<json> ParseTokenizerJson(const std::string& text,
                                        const std::string& name) {
  if (text.size() > kMaxJsonBytes) {
    return absl::InvalidArgumentError(
        fmt::format("{}: want JSON of at most {} bytes, found {}", name,
                    kMaxJsonBytes, text.size()));
  }
  if (const size_t bad = FirstInvalidUtf8(text); bad != std::string::npos) {
    return absl::InvalidArgumentError(
        fmt::format("{}: want UTF-8, found an invalid byte at {}", name, bad));
  }
  if (IsNestedDeeper(text, kMaxDepth)) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: want JSON of at most {} levels, found more", name, kMaxDepth));
  }
  const json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) {
    return absl::InvalidArgumentError(
        fmt::format("{}: want JSON, found something else", name));
  }
  return value;
}

absl::StatusOr<AddedToken> ParseAddedToken(const json& entry, int32_t id,
                                           const std::string& name) {
  if (!entry.is_object() || !entry.contains("content") ||
      !entry.find("content")->is_string()) {
    return Bad(name, fmt::format("added token {}", id),
               "an object with content", entry);
  }
  AddedToken token = {.id = id,
                      .content = entry.find("content")->get<std::string>()};
  for (const auto& [key, flag] :
       {std::pair{"special", &token.special},
        std::pair{"lstrip", &token.lstrip}, std::pair{"rstrip", &token.rstrip},
        std::pair{"single_word", &token.single_word},
        std::pair{"normalized", &token.normalized}}) {
    std::optional<bool> value;
    ZQFP_RETURN_IF_ERROR(ReadFlag(entry, key, name, &value));
    *flag = value.value_or(false);
  }
  return token;
}

std::string HashOf(std::string_view bytes) {
  return fmt::format("{:016x}", XXH64(bytes.data(), bytes.size(), 0));
}

absl::StatusOr<TokenizerConfig> ParseTokenizerConfig(const std::string& text,
                                                     const std::string& name) {
  ZQFP_ASSIGN_OR_RETURN(const json object, ParseTokenizerJson(text, name));
  if (!object.is_object()) return Bad(name, "(root)", "an object", object);
  TokenizerConfig config;
  ZQFP_RETURN_IF_ERROR(ReadTokenizerConfig(object, name, &config));
  return config;
}

absl::StatusOr<TokenizerConfig> LoadTokenizerConfig(
    const std::string& directory) {
  TokenizerConfig config;
  const auto read_texts = [&config](const json& object,
                                    const std::string& name) {
    return ReadTokenizerConfig(object, name, &config);
  };
  // The later file has the last word.
  ZQFP_RETURN_IF_ERROR(
      ReadIfThere(directory, "special_tokens_map.json", read_texts));
  ZQFP_RETURN_IF_ERROR(
      ReadIfThere(directory, "tokenizer_config.json", read_texts));
  const auto read_ids = [&config](const json& object, const std::string& name) {
    if (name == "config.json") {
      ZQFP_RETURN_IF_ERROR(
          ReadTokenText(object, "model_type", name, &config.model_type));
    }
    return ReadModelIds(object, name, &config);
  };
  ZQFP_RETURN_IF_ERROR(
      ReadIfThere(directory, "generation_config.json", read_ids));
  ZQFP_RETURN_IF_ERROR(ReadIfThere(directory, "config.json", read_ids));
  const std::string jinja = directory + "/chat_template.jinja";
  std::error_code error;
  if (std::filesystem::exists(jinja, error)) {
    ZQFP_ASSIGN_OR_RETURN(config.chat_template, ReadTokenizerFile(jinja));
  }
  return config;
}

}  // namespace zqfp
