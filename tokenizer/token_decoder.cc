// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/token_decoder.h"

#include <fmt/format.h>

#include <charconv>

#include "kernels/core/status_macros.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/json_fields.h"

namespace zqfp {

using nlohmann::json;

absl::StatusOr<TokenDecoder> TokenDecoder::Parse(const json& value) {
  TokenDecoder decoder;
  if (value.is_null()) {
    decoder.joined_by_space_ = true;
    return decoder;
  }
  ZQFP_RETURN_IF_ERROR(decoder.Add(value));
  return decoder;
}

TokenDecoder TokenDecoder::ByteLevel() {
  TokenDecoder decoder;
  decoder.byte_level_ = true;
  return decoder;
}

absl::Status TokenDecoder::Add(const json& value) {
  ZQFP_ASSIGN_OR_RETURN(const std::string type, TypeField(value, "decoder"));
  const std::string where = "decoder " + type;
  if (type == "Sequence") {
    ZQFP_RETURN_IF_ERROR(OnlyFields(value, {"type", "decoders"}, where));
    const auto list = value.find("decoders");
    if (list == value.end() || !list->is_array()) {
      return absl::InvalidArgumentError(where + ": want a list");
    }
    for (const json& item : *list) ZQFP_RETURN_IF_ERROR(Add(item));
    return absl::OkStatus();
  }
  if (type == "ByteLevel") {
    ZQFP_RETURN_IF_ERROR(OnlyFields(
        value, {"type", "add_prefix_space", "trim_offsets", "use_regex"},
        where));
    byte_level_ = true;
  } else if (type == "ByteFallback") {
    ZQFP_RETURN_IF_ERROR(OnlyFields(value, {"type"}, where));
    byte_fallback_ = true;
  } else if (type == "Fuse") {
    ZQFP_RETURN_IF_ERROR(OnlyFields(value, {"type"}, where));
    fused_ = true;
  } else if (type == "Metaspace") {
    ZQFP_ASSIGN_OR_RETURN(const std::string mark,
                          StringField(value, "replacement", where));
    replacements_.emplace_back(mark, " ");
    const json scheme = value.value("prepend_scheme", json("always"));
    if (scheme != "never") first_mark_ = mark;
  } else if (type == "Replace") {
    ZQFP_RETURN_IF_ERROR(
        OnlyFields(value, {"type", "pattern", "content"}, where));
    ZQFP_ASSIGN_OR_RETURN(
        const std::string from,
        StringField(value.value("pattern", json()), "String", where));
    ZQFP_ASSIGN_OR_RETURN(const std::string to,
                          StringField(value, "content", where));
    if (from.empty()) return absl::InvalidArgumentError(where + ": no pattern");
    replacements_.emplace_back(from, to);
  } else if (type == "Strip") {
    ZQFP_RETURN_IF_ERROR(
        OnlyFields(value, {"type", "content", "start", "stop"}, where));
    ZQFP_ASSIGN_OR_RETURN(strip_, StringField(value, "content", where));
    ZQFP_ASSIGN_OR_RETURN(strip_count_, IntField(value, "start", 0, where));
    ZQFP_ASSIGN_OR_RETURN(const int64_t stop,
                          IntField(value, "stop", 0, where));
    if (stop != 0 || !fused_ || strip_.empty()) {
      return absl::UnimplementedError(
          where + ": only a strip at the start, after Fuse, is supported");
    }
  } else {
    return absl::UnimplementedError(where + ": not supported");
  }
  return absl::OkStatus();
}

std::string TokenDecoder::Bytes(const std::string& token) const {
  if (joined_by_space_) return " " + token;
  if (byte_level_) return VisibleToBytes(token);
  if (byte_fallback_ && token.size() == 6 && token.rfind("<0x", 0) == 0 &&
      token[5] == '>') {
    uint8_t byte = 0;
    const char* end = token.data() + 5;
    if (std::from_chars(token.data() + 3, end, byte, 16).ptr == end) {
      return std::string(1, static_cast<char>(byte));
    }
  }
  std::string text = token;
  for (const auto& [from, to] : replacements_) {
    for (size_t at = 0; (at = text.find(from, at)) != std::string::npos;
         at += to.size()) {
      text.replace(at, from.size(), to);
    }
  }
  return text;
}

std::string TokenDecoder::FirstBytes(const std::string& token) const {
  if (joined_by_space_) return token;
  std::string first = token;
  for (size_t at; !first_mark_.empty() &&
                  (at = first.find(first_mark_)) != std::string::npos;) {
    first.erase(at, first_mark_.size());
  }
  std::string text = Bytes(first);
  for (int64_t i = 0; i < strip_count_ && !text.empty(); ++i) {
    if (text.rfind(strip_, 0) != 0) break;
    text.erase(0, strip_.size());
  }
  return text;
}

}  // namespace zqfp
