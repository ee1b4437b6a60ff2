// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_JSON_FIELDS_H_
#define ZQFP_TOKENIZER_JSON_FIELDS_H_

// Typed fields of tokenizer.json objects, with errors that name them.

#include <initializer_list>
#include <string>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace zqfp {

// `where` says in messages which object is meant: "pre_tokenizer Split".
absl::StatusOr<std::string> StringField(const nlohmann::json& object,
                                        const char* key,
                                        const std::string& where);
// The same, of one character.
absl::StatusOr<std::string> CharacterField(const nlohmann::json& object,
                                           const char* key,
                                           const std::string& where);
// `fallback` where the key is absent or null.
absl::StatusOr<bool> BoolField(const nlohmann::json& object, const char* key,
                               bool fallback, const std::string& where);
absl::StatusOr<int64_t> IntField(const nlohmann::json& object, const char* key,
                                 int64_t fallback, const std::string& where);
// The "type" of an object.
absl::StatusOr<std::string> TypeField(const nlohmann::json& object,
                                      const std::string& where);
// Unimplemented for a key that is not in `known`: nothing is ignored.
absl::Status OnlyFields(const nlohmann::json& object,
                        std::initializer_list<const char*> known,
                        const std::string& where);

}  // namespace zqfp

#endif  // ZQFP_TOKENIZER_JSON_FIELDS_H_
