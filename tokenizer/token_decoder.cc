// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/token_decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "kernels/core/status_macros.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/json_fields.h"

namespace zqfp {
namespace {

using nlohmann::json;

constexpr int kMaxSteps = 64;
// How many times longer than its token a text may become: published decoders
// make it shorter.
constexpr double kMaxGrowth = 16;

std::string ReplaceAll(const std::string& text, const std::string& from,
                       const std::string& to) {
  std::string result;
  size_t at = 0;
  for (size_t found; (found = text.find(from, at)) != std::string::npos;
       at = found + from.size()) {
    result.append(text, at, found - at).append(to);
  }
  return result.append(text, at);
}

}  // namespace

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

// The text of a token does not become long, however many steps there are.
absl::Status TokenDecoder::AddReplace(const json& value,
                                      const std::string& where) {
  ZQFP_RETURN_IF_ERROR(
      OnlyFields(value, {"type", "pattern", "content"}, where));
  ZQFP_ASSIGN_OR_RETURN(
      const std::string from,
      StringField(value.value("pattern", json()), "String", where));
  ZQFP_ASSIGN_OR_RETURN(const std::string to,
                        StringField(value, "content", where));
  if (from.empty()) return absl::InvalidArgumentError(where + ": no pattern");
  growth_ *= std::max(
      1.0, static_cast<double>(to.size()) / static_cast<double>(from.size()));
  if (growth_ > kMaxGrowth) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: want texts at most {} times as long as their tokens, found steps "
        "that make them {:.3g} times as long",
        where, kMaxGrowth, growth_));
  }
  replacements_.emplace_back(from, to);
  return absl::OkStatus();
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
  if (++num_steps_ > kMaxSteps) {
    return absl::InvalidArgumentError(
        fmt::format("decoder: want at most {} steps", kMaxSteps));
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
                          CharacterField(value, "replacement", where));
    replacements_.emplace_back(mark, " ");
    const json scheme = value.value("prepend_scheme", json("always"));
    if (scheme != "never") first_mark_ = mark;
  } else if (type == "Replace") {
    return AddReplace(value, where);
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
    text = ReplaceAll(text, from, to);
  }
  return text;
}

std::string TokenDecoder::FirstBytes(const std::string& token) const {
  if (joined_by_space_) return token;
  const std::string text =
      Bytes(first_mark_.empty() ? token : ReplaceAll(token, first_mark_, ""));
  size_t begin = 0;
  for (int64_t i = 0; i < strip_count_ && begin < text.size(); ++i) {
    if (text.compare(begin, strip_.size(), strip_) != 0) break;
    begin += strip_.size();
  }
  return text.substr(begin);
}

}  // namespace zqfp
