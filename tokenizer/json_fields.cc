// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/json_fields.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/core/status_macros.h"
#include "tokenizer/utf8.h"

namespace zqfp {
namespace {

using nlohmann::json;

absl::Status Wrong(const std::string& where, const char* key, const char* want,
                   const char* found) {
  return absl::InvalidArgumentError(
      fmt::format("{}: {}: want {}, found {}", where, key, want, found));
}

const json* Find(const json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

}  // namespace

absl::StatusOr<std::string> StringField(const json& object, const char* key,
                                        const std::string& where) {
  const json* value = Find(object, key);
  if (value == nullptr) return Wrong(where, key, "a string", "none");
  if (!value->is_string()) {
    return Wrong(where, key, "a string", value->type_name());
  }
  return value->get<std::string>();
}

absl::StatusOr<std::string> CharacterField(const json& object, const char* key,
                                           const std::string& where) {
  ZQFP_ASSIGN_OR_RETURN(std::string text, StringField(object, key, where));
  const auto length = static_cast<size_t>(ValidUtf8Prefix(text, nullptr));
  if (length > 0 && length == text.size()) return text;
  return Wrong(where, key, "one character",
               text.empty() ? "none" : "more than one");
}

absl::StatusOr<bool> BoolField(const json& object, const char* key,
                               bool fallback, const std::string& where) {
  const json* value = Find(object, key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) {
    return Wrong(where, key, "true or false", value->type_name());
  }
  return value->get<bool>();
}

absl::StatusOr<int64_t> IntField(const json& object, const char* key,
                                 int64_t fallback, const std::string& where) {
  const json* value = Find(object, key);
  if (value == nullptr) return fallback;
  if (!value->is_number_integer() ||
      (value->is_number_unsigned() && value->get<uint64_t>() > INT64_MAX)) {
    return Wrong(where, key, "an integer", value->type_name());
  }
  return value->get<int64_t>();
}

absl::StatusOr<std::string> TypeField(const json& object,
                                      const std::string& where) {
  if (!object.is_object()) {
    return Wrong(where, "(value)", "an object", object.type_name());
  }
  return StringField(object, "type", where);
}

absl::Status OnlyFields(const json& object,
                        std::initializer_list<const char*> known,
                        const std::string& where) {
  for (const auto& [key, value] : object.items()) {
    const bool found =
        std::any_of(known.begin(), known.end(),
                    [&key = key](const char* name) { return key == name; });
    if (!found) {
      return absl::UnimplementedError(
          fmt::format("{}: the field '{}' is not supported", where, key));
    }
  }
  return absl::OkStatus();
}

}  // namespace zqfp
