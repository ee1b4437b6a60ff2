// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/normalizer.h"

#include <fmt/format.h>
#include <stdlib.h>
#include <utf8proc.h>

#include <algorithm>

#include "kernels/core/status_macros.h"
#include "tokenizer/json_fields.h"
#include "tokenizer/utf8.h"

namespace zqfp {
namespace {

using nlohmann::json;

constexpr int kMaxSteps = 64;
// How long a text may become: so many times as long, and a little.
constexpr size_t kMaxGrowth = 16;
constexpr size_t kAlwaysAllowed = size_t{1} << 20;

absl::StatusOr<std::string> Map(const std::string& text, int options) {
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                   static_cast<utf8proc_option_t>(options));
  if (size < 0) {
    return absl::InvalidArgumentError(
        fmt::format("normalizer: {}", utf8proc_errmsg(size)));
  }
  std::string result(reinterpret_cast<const char*>(mapped),
                     static_cast<size_t>(size));
  free(mapped);
  return result;
}

// Calls append(code point, result) for every character.
template <typename Append>
std::string ForEach(const std::string& text, const Append& append) {
  std::string result;
  for (size_t at = 0; at < text.size();) {
    const std::string_view rest = std::string_view(text).substr(at);
    append(DecodeUtf8(rest), &result);
    at += static_cast<size_t>(Utf8Length(static_cast<uint8_t>(rest[0])));
  }
  return result;
}

absl::Status TooLong(size_t limit) {
  return absl::ResourceExhaustedError(fmt::format(
      "normalizer: want at most {} bytes of text, found more", limit));
}

absl::StatusOr<std::string> ReplaceAll(const std::string& text,
                                       const std::string& from,
                                       const std::string& to, size_t limit) {
  std::string result;
  size_t at = 0;
  for (size_t found; (found = text.find(from, at)) != std::string::npos;
       at = found + from.size()) {
    result.append(text, at, found - at).append(to);
    if (result.size() > limit) return TooLong(limit);
  }
  return result.append(text, at);
}

absl::StatusOr<std::string> ReplaceMatches(const std::string& text,
                                           const Regex& regex,
                                           const std::string& to,
                                           size_t limit) {
  ZQFP_ASSIGN_OR_RETURN(const auto matches,
                        regex.FindAll(text, Regex::EmptyMatches::kKept));
  if (matches.size() * to.size() > limit) return TooLong(limit);
  std::string result;
  size_t at = 0;
  for (const auto& [begin, end] : matches) {
    result.append(text, at, begin - at).append(to);
    at = end;
  }
  return result.append(text, at);
}

void AppendLowercase(uint32_t c, std::string* text) {
  if (c == 0x130) {  // the only one that becomes two
    text->append("i\u0307");
    return;
  }
  AppendUtf8(
      static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))),
      text);
}

void AppendUnlessMark(uint32_t c, std::string* text) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  if (category != UTF8PROC_CATEGORY_MN && category != UTF8PROC_CATEGORY_MC &&
      category != UTF8PROC_CATEGORY_ME) {
    AppendUtf8(c, text);
  }
}

std::string Strip(const std::string& text, bool left, bool right) {
  size_t begin = text.size(), end = 0;  // of what is not space
  for (size_t at = 0; at < text.size();) {
    const std::string_view rest = std::string_view(text).substr(at);
    const size_t next =
        at + static_cast<size_t>(Utf8Length(static_cast<uint8_t>(rest[0])));
    if (!IsWhiteSpace(DecodeUtf8(rest))) {
      begin = std::min(begin, at);
      end = next;
    }
    at = next;
  }
  if (end == 0) return left || right ? "" : text;
  if (!left) begin = 0;
  if (!right) end = text.size();
  return text.substr(begin, end - begin);
}

}  // namespace

absl::StatusOr<Normalizer> Normalizer::Parse(const json& value) {
  Normalizer normalizer;
  if (value.is_null()) return normalizer;
  ZQFP_RETURN_IF_ERROR(normalizer.Add(value));
  return normalizer;
}

absl::Status Normalizer::Add(const json& value) {
  ZQFP_ASSIGN_OR_RETURN(const std::string type, TypeField(value, "normalizer"));
  const std::string where = "normalizer " + type;
  if (type == "Sequence") {
    ZQFP_RETURN_IF_ERROR(OnlyFields(value, {"type", "normalizers"}, where));
    const auto list = value.find("normalizers");
    if (list == value.end() || !list->is_array()) {
      return absl::InvalidArgumentError(where + ": want a list");
    }
    for (const json& item : *list) ZQFP_RETURN_IF_ERROR(Add(item));
    return absl::OkStatus();
  }
  if (steps_.size() >= kMaxSteps) {
    return absl::InvalidArgumentError("normalizer: want at most 64 steps");
  }
  ZQFP_ASSIGN_OR_RETURN(Step step, ParseStep(value, type));
  steps_.push_back(std::move(step));
  return absl::OkStatus();
}

absl::StatusOr<Normalizer::Step> Normalizer::ParseStep(
    const json& value, const std::string& type) {
  const std::string where = "normalizer " + type;
  if (type == "Replace") return ParseReplace(value, where);
  Step step = {};
  if (type == "Prepend") {
    step.kind = Kind::kPrepend;
    ZQFP_RETURN_IF_ERROR(OnlyFields(value, {"type", "prepend"}, where));
    ZQFP_ASSIGN_OR_RETURN(step.to, StringField(value, "prepend", where));
    return step;
  }
  if (type == "Strip") {
    step.kind = Kind::kStrip;
    ZQFP_RETURN_IF_ERROR(
        OnlyFields(value, {"type", "strip_left", "strip_right"}, where));
    ZQFP_ASSIGN_OR_RETURN(step.left,
                          BoolField(value, "strip_left", true, where));
    ZQFP_ASSIGN_OR_RETURN(step.right,
                          BoolField(value, "strip_right", true, where));
    return step;
  }
  static constexpr std::pair<const char*, Kind> kSimple[] = {
      {"NFC", Kind::kNfc},
      {"NFD", Kind::kNfd},
      {"NFKC", Kind::kNfkc},
      {"NFKD", Kind::kNfkd},
      {"Lowercase", Kind::kLowercase},
      {"StripAccents", Kind::kStripAccents}};
  ZQFP_RETURN_IF_ERROR(OnlyFields(value, {"type"}, where));
  for (const auto& [name, kind] : kSimple) {
    if (type != name) continue;
    step.kind = kind;
    return step;
  }
  return absl::UnimplementedError(where + ": not supported");
}

absl::StatusOr<Normalizer::Step> Normalizer::ParseReplace(
    const json& value, const std::string& where) {
  Step step = {};
  step.kind = Kind::kReplace;
  ZQFP_RETURN_IF_ERROR(
      OnlyFields(value, {"type", "pattern", "content"}, where));
  ZQFP_ASSIGN_OR_RETURN(step.to, StringField(value, "content", where));
  const json pattern = value.value("pattern", json());
  if (pattern.is_object() && pattern.contains("Regex")) {
    ZQFP_ASSIGN_OR_RETURN(const std::string source,
                          StringField(pattern, "Regex", where));
    ZQFP_ASSIGN_OR_RETURN(Regex regex, Regex::Compile(source));
    step.regex = std::make_shared<Regex>(std::move(regex));
    return step;
  }
  ZQFP_ASSIGN_OR_RETURN(step.from, StringField(pattern, "String", where));
  if (!step.from.empty()) return step;
  return absl::InvalidArgumentError(where + ": want a pattern");
}

absl::StatusOr<std::string> Normalizer::ApplyStep(const Step& step,
                                                  std::string text,
                                                  size_t limit) {
  switch (step.kind) {
    case Kind::kNfc:
      return Map(text, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    case Kind::kNfd:
      return Map(text, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE);
    case Kind::kNfkc:
      return Map(text, UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
    case Kind::kNfkd:
      return Map(text, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT);
    case Kind::kPrepend:
      return text.empty() ? text : step.to + text;
    case Kind::kReplace:
      return step.regex ? ReplaceMatches(text, *step.regex, step.to, limit)
                        : ReplaceAll(text, step.from, step.to, limit);
    case Kind::kStrip:
      return Strip(text, step.left, step.right);
    case Kind::kLowercase:
      return ForEach(text, AppendLowercase);
    case Kind::kStripAccents:
      return ForEach(text, AppendUnlessMark);
  }
  return text;
}

absl::StatusOr<std::string> Normalizer::Apply(std::string text) const {
  const size_t limit = kMaxGrowth * text.size() + kAlwaysAllowed;
  for (const Step& step : steps_) {
    ZQFP_ASSIGN_OR_RETURN(text, ApplyStep(step, std::move(text), limit));
    if (text.size() > limit) return TooLong(limit);
  }
  return text;
}

}  // namespace zqfp
